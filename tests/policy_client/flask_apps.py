"""What the tests of Flask share: applications, and how they are asked."""

from typing import Any

from flask import Flask
from werkzeug.test import Client

from policy_client.flask import Policies

ONCE = {"key": [], "limit": 1, "window": 60}
MANY = {"key": [], "limit": 10, "window": 600}


def protected(**facts: Any) -> Flask:
    app = plain()
    Policies(app, **facts)
    return app


def plain() -> Flask:
    app = Flask(__name__)
    app.testing = True
    return app


def statuses(app: Any, path: str, method: str = "GET", times: int = 2, **facts: Any) -> list[int]:
    client = Client(app, use_cookies=False)
    return [client.open(path, method=method, buffered=True, **facts).status_code for _ in range(times)]
