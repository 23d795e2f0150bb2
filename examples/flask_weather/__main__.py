"""Serve the example: `python -m examples.flask_weather --port 8003`."""

import argparse

from werkzeug.serving import make_server

from examples.flask_weather import readings
from examples.flask_weather.app import app


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m examples.flask_weather", description=__doc__)
    parser.add_argument("--port", type=int, default=8003)
    arguments = parser.parse_args()
    readings.make(readings.database())
    make_server("127.0.0.1", arguments.port, app, threaded=True).serve_forever()


if __name__ == "__main__":
    main()
