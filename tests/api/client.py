"""A client that speaks JSON and checks that every error is a problem document."""

import json
from typing import Any

from django.http import HttpResponse
from django.test import Client

JSON = "application/json"


class Api:
    """`Api(secret).post("/teams/", {...})`; paths are below /api/v1. The answer's JSON is `.json()`, as in Django."""

    def __init__(self, secret: str | None = None, **extra: Any) -> None:
        self.client = Client(raise_request_exception=True, **extra)
        self.headers = {"Authorization": f"Bearer {secret}"} if secret is not None else {}

    def request(self, method: str, path: str, body: Any = None, *, raw: bytes | None = None, **headers: str) -> Any:
        """Headers are named like Python's names: `If_Match`."""
        content = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        given = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        kind = given.pop("Content-Type", JSON)
        path = path if path.startswith("/api") else f"/api/v1{path}"
        answer = self.client.generic(method, path, content, kind if content or method != "GET" else "", headers=given)
        if answer.status_code >= 400:
            check_problem(answer)
        return answer

    def get(self, path: str, **headers: str) -> Any:
        return self.request("GET", path, **headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        return self.request("POST", path, {} if body is None else body, **headers)

    def patch(self, path: str, body: Any, **headers: str) -> Any:
        return self.request("PATCH", path, body, **headers)

    def put(self, path: str, body: Any, **headers: str) -> Any:
        return self.request("PUT", path, body, **headers)

    def delete(self, path: str, **headers: str) -> Any:
        return self.request("DELETE", path, **headers)


def check_problem(answer: HttpResponse) -> dict[str, Any]:
    """The problem document, after checking its form (RFC 9457)."""
    assert answer.headers["Content-Type"] == "application/problem+json", answer.content[:300]
    problem: dict[str, Any] = json.loads(answer.content)
    assert set(problem) == {"type", "title", "status", "detail", "code", "errors"}
    assert problem["status"] == answer.status_code
    assert problem["title"] and problem["detail"] and problem["code"] and problem["type"] == "about:blank"
    for messages in problem["errors"].values():
        assert messages and all(isinstance(message, str) and message for message in messages)
    return problem
