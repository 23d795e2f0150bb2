"""A console as it runs in production: TLS ends at a proxy, two workers share PostgreSQL and Redis."""

import json
import subprocess
import sys
from http.client import HTTPConnection

import pytest
from django.core.management import call_command

from console.static_storage import CollectedOrFound
from tests.conftest import ROOT

SERVE = ["python", "-m", "uvicorn", "console.asgi:application", "--no-proxy-headers", "--lifespan", "off"]


@pytest.fixture
def production(postgres_url, redis_url, tmp_path):
    """The variables of a production console."""
    (tmp_path / "metrics").mkdir()
    return {
        "SECRET_KEY": "c1Yt-zvVnK0mR8eQ2uHs7WfXoJpLbDgA4iTxE9rNMqk3SyZaUh",
        "ALLOWED_HOSTS": "policy.example.com",
        "DATABASE_URL": postgres_url,
        "REDIS_URL": redis_url,
        "TRUSTED_PROXIES": "127.0.0.1",
        "LOG_FORMAT": "json",
        "PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "metrics"),
    }


def get(port, path, **headers):
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer, body


def test_two_workers_behind_a_proxy(process, free_port, production):
    migrate = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
    subprocess.run(migrate, env=production, cwd=ROOT, check=True)
    command = [*SERVE, "--port", str(free_port), "--workers", "2", "--timeout-graceful-shutdown", "5"]
    process(command, ready=f"http://127.0.0.1:{free_port}/health", **production)

    answer, body = get(free_port, "/health/ready")
    assert (answer.status, json.loads(body)["ok"]) == (200, True)

    answer, _ = get(free_port, "/admin/login/", Host="policy.example.com")
    assert (answer.status, answer.headers["Location"]) == (301, "https://policy.example.com/admin/login/")

    behind = {"Host": "policy.example.com", "X_Forwarded_Proto": "https", "X_Forwarded_For": "198.51.100.1"}
    answer, body = get(free_port, "/admin/login/", **behind)
    assert answer.status == 200
    assert "includeSubDomains" in answer.headers["Strict-Transport-Security"]
    assert "Secure" in answer.headers["Set-Cookie"]
    assert b"csrfmiddlewaretoken" in body

    answer, _ = get(free_port, "/static/console/plain.css", **behind)
    assert answer.status == 200
    answer, body = get(free_port, "/no-such-page", **behind)
    assert answer.status == 404
    assert b"no such page" in body

    # Both workers' counts, whichever of the two answers.
    _, body = get(free_port, "/metrics")
    assert b'console_requests_total{status="404",view="none"} 1.0' in body


def test_two_workers_without_redis_do_not_start(process, free_port, tmp_path):
    variables = {"DEBUG": "1", "DATABASE_URL": f"sqlite:///{tmp_path}/console.sqlite3"}
    running = process([*SERVE, "--port", str(free_port), "--workers", "2"], **variables)
    running.wait_until(lambda: "console.E009" in running.text())
    assert "Started server process" not in running.text()


def test_a_console_without_its_secret_does_not_start(process, free_port):
    running = process([*SERVE, "--port", str(free_port)])
    assert running.process.wait(timeout=30) != 0
    assert "console.E001" in running.text()


def test_collected_files_are_named_by_their_content(settings, tmp_path):
    settings.DEBUG = False
    settings.STATIC_ROOT = str(tmp_path)
    storage = CollectedOrFound(location=tmp_path, base_url="/static/")
    assert storage.url("console/plain.css") == "/static/console/plain.css"
    call_command("collectstatic", interactive=False, verbosity=0)
    collected = CollectedOrFound(location=tmp_path, base_url="/static/")
    assert collected.url("console/plain.css").startswith("/static/console/plain.")
    assert collected.url("console/plain.css") != "/static/console/plain.css"
    assert collected.url("made/later.css") == "/static/made/later.css"
