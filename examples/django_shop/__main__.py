"""Serve the example: `python -m examples.django_shop --port 8002`, or with `--wsgi`."""

import argparse
import os

import django


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m examples.django_shop", description=__doc__)
    parser.add_argument("--port", type=int, default=8002)
    parser.add_argument("--wsgi", action="store_true", help="threads and WSGI instead of ASGI")
    arguments = parser.parse_args()
    os.environ["DJANGO_SETTINGS_MODULE"] = "examples.django_shop.settings"
    django.setup()

    from examples.django_shop.models import make_products  # noqa: PLC0415 - models need Django to be set up

    make_products()
    if arguments.wsgi:
        serve_wsgi(arguments.port)
    else:
        serve_asgi(arguments.port)


def serve_asgi(port: int) -> None:
    import uvicorn  # noqa: PLC0415 - either server

    uvicorn.run(
        "examples.django_shop.asgi:application",
        port=port,
        lifespan="off",
        # The client decides whose X-Forwarded-For to believe (POLICY_TRUSTED_PROXIES).
        proxy_headers=False,
        timeout_graceful_shutdown=5,
    )


def serve_wsgi(port: int) -> None:
    from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler  # noqa: PLC0415

    from examples.django_shop.wsgi import application  # noqa: PLC0415

    server = ThreadedWSGIServer(("127.0.0.1", port), WSGIRequestHandler)
    server.set_app(application)
    server.serve_forever()


if __name__ == "__main__":
    main()
