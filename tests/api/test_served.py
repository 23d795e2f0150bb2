"""REST as uvicorn serves it, in production dress: what a test client cannot show."""

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.test_telemetry import report
from tests.conftest import ROOT, foreign

SERVE = ["python", "-m", "uvicorn", "console.asgi:application", "--no-proxy-headers", "--lifespan", "off"]
SETUP = """
from policies.lifecycle import keys
from tests.policies.factories import SYSTEM, make_catalogue, make_policy
from policies.lifecycle.releasing import releases
from policies.lifecycle.editing.policies import newest
from django.contrib.auth.models import User
catalogue = make_catalogue()
releases.release(newest(make_policy()), catalogue.production, mode="enforce", by=SYSTEM, reason="go")
user = User.objects.create_superuser("alice", password="x")
print(keys.issue_service_key(catalogue.reports, catalogue.production, by=SYSTEM)[1])
print(keys.issue_api_token(user, by=SYSTEM)[1])
"""


class Served:
    """One connection, as a client holds it open."""

    def __init__(self, port: int, key: str, token: str) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        self.key, self.token = key, token

    def ask(
        self, method: str, path: str, body: Any = None, *, secret: str | None = None, **headers: str
    ) -> tuple[Any, bytes]:
        given = {"Host": "console.example", "X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.1"}
        given |= {"Authorization": f"Bearer {secret or self.key}", "Content-Type": "application/json"}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        self.connection.request(method, path, body, given, encode_chunked=False)
        answer = self.connection.getresponse()
        return answer, answer.read()


@pytest.fixture
def served(process: Any, free_port: int, tmp_path: Path) -> Iterator[Served]:
    variables = {
        "SECRET_KEY": "served-0123456789-0123456789-0123456789-0123456789",
        "ALLOWED_HOSTS": "console.example",
        "DATABASE_URL": f"sqlite:///{tmp_path}/console.sqlite3",
        "TRUSTED_PROXIES": "127.0.0.1",
    }
    shell = {name: value for name, value in os.environ.items() if not foreign(name)} | variables
    for arguments in (["migrate", "--verbosity", "0"], ["shell", "--verbosity", "0", "-c", SETUP]):
        ran = subprocess.run(
            [sys.executable, "manage.py", *arguments], env=shell, cwd=ROOT, capture_output=True, text=True, check=True
        )
    key, token = ran.stdout.split()[-2:]
    process([*SERVE, "--port", str(free_port)], ready=f"http://127.0.0.1:{free_port}/health", **variables)
    served = Served(free_port, key, token)
    yield served
    served.connection.close()


def test_the_api_is_right_on_the_wire(served: Served) -> None:
    full, body = served.ask("GET", "/api/v1/bundle", Accept_Encoding="gzip, br")
    assert (full.status, json.loads(body)["service"]) == (200, "reports")
    assert len(full.headers.get_all("Date")) == 1 and full.headers["Content-Encoding"] is None
    assert int(full.headers["Content-Length"]) == len(body)

    same, nothing = served.ask("GET", "/api/v1/bundle", If_None_Match=full.headers["ETag"])
    assert (same.status, nothing) == (304, b"")
    assert len(same.headers.get_all("Date")) == 1 and same.headers["Bundle-Version"] == full.headers["Bundle-Version"]

    beat, _ = served.ask("POST", "/api/v1/telemetry", json.dumps(report()))
    assert beat.status == 202
    assert served.ask("HEAD", "/api/v1/bundle")[0].headers["Bundle-Instances"] == "1"

    export, lines = served.ask("GET", "/api/v1/audit/export.jsonl", secret=served.token)
    assert export.status == 200 and len(lines.splitlines()) == int(export.headers["Audit-Head"].partition(":")[0])

    problems = {
        "foreign": served.ask("GET", "/api/v1/bundle", secret="pck_\xe4\xf6"),
        "a person's": served.ask("GET", "/api/v1/bundle", secret=served.token),
        "deep": served.ask("POST", "/api/v1/telemetry", b"[" * 100_000),
        "in chunks": served.ask("POST", "/api/v1/telemetry", b"2\r\n{}\r\n0\r\n\r\n", Transfer_Encoding="chunked"),
        "nowhere": served.ask("GET", "/api/nowhere"),
        "another host": served.ask("GET", "/api/v1/bundle", Host="elsewhere.example"),
    }
    assert {name: answer.status for name, (answer, _) in problems.items()} == {
        "foreign": 401,
        "a person's": 403,
        "deep": 400,
        "in chunks": 411,
        "nowhere": 404,
        "another host": 400,
    }
    for name, (answer, text) in problems.items():
        assert answer.headers["Content-Type"] == "application/problem+json", name
        assert json.loads(text)["status"] == answer.status
