"""Serve the example: `python -m examples.fastapi_reports --port 8001`."""

import argparse

import uvicorn

from examples.fastapi_reports import figures


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m examples.fastapi_reports", description=__doc__)
    parser.add_argument("--port", type=int, default=8001)
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    figures.make(figures.database())
    uvicorn.run(
        "examples.fastapi_reports.app:app",
        port=arguments.port,
        workers=arguments.workers,
        # The client decides whose X-Forwarded-For to believe (POLICY_TRUSTED_PROXIES).
        proxy_headers=False,
        timeout_graceful_shutdown=5,
    )


if __name__ == "__main__":
    main()
