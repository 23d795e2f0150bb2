"""System checks, and the settings of production as `check --deploy` sees them."""

import os
import subprocess
import sys

import pytest
from django.core import checks
from django.core.exceptions import ImproperlyConfigured

from console import deployment, workers
from console.checks import check_mail, check_settings, refuse_to_serve_with_errors
from tests.conftest import ROOT, foreign

SECRET = "c1Yt-zvVnK0mR8eQ2uHs7WfXoJpLbDgA4iTxE9rNMqk3SyZaUh"
PRODUCTION = {
    "SECRET_KEY": SECRET,
    "ALLOWED_HOSTS": "policy.example.com",
    "EMAIL_URL": "smtp+tls://policies:secret@mail.example.com",
    "CONSOLE_URL": "https://policy.example.com",
}


def check_deploy(**variables):
    """`manage.py check --deploy --fail-level INFO` in a process of its own."""
    env = {name: value for name, value in os.environ.items() if not foreign(name)} | variables
    command = [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "INFO", "--database", "default"]
    return subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=False)


def test_check_deploy_is_clean_with_postgresql_and_redis(postgres_url, redis_url):
    result = check_deploy(**PRODUCTION, DATABASE_URL=postgres_url, REDIS_URL=redis_url)
    assert result.returncode == 0, result.stderr
    assert "no issues (0 silenced)" in result.stdout


def test_check_deploy_says_that_process_memory_allows_one_worker(tmp_path):
    result = check_deploy(**PRODUCTION, DATABASE_URL=f"sqlite:///{tmp_path}/console.sqlite3")
    assert result.returncode == 1
    assert "console.W001" in result.stderr
    assert "identified 1 issue (2 silenced)" in result.stderr


@pytest.mark.parametrize(
    ("variables", "found"),
    [
        ({}, ["console.W002"]),
        ({"EMAIL_URL": "dummymail://"}, ["console.W003"]),
        ({"EMAIL_URL": "dummymail://", "CONSOLE_URL": "https://policy.example.com"}, []),
    ],
)
def test_check_deploy_says_that_nobody_is_told_by_mail(tmp_path, settings, variables, found):
    settings.DEPLOYMENT = deployment.read({"SECRET_KEY": SECRET, **variables}, tmp_path)
    assert [message.id for message in check_mail()] == found


def test_a_missing_secret_is_refused():
    result = check_deploy(ALLOWED_HOSTS="policy.example.com", REDIS_URL="redis://127.0.0.1:1/0")
    assert result.returncode == 1
    assert "console.E001" in result.stderr
    assert "On your own machine: export DEBUG=1" in result.stderr


def test_several_workers_without_redis_are_refused(monkeypatch):
    monkeypatch.setenv("WEB_CONCURRENCY", "4")
    found = check_settings()
    assert [message.id for message in found] == ["console.E009"]
    assert isinstance(found[0], checks.Error)
    assert "REDIS_URL" in str(found[0].hint)
    with pytest.raises(ImproperlyConfigured, match=r"console\.E009"):
        refuse_to_serve_with_errors()


def test_one_worker_is_served(monkeypatch):
    monkeypatch.delenv("WEB_CONCURRENCY", raising=False)
    assert check_settings() == []
    refuse_to_serve_with_errors()


@pytest.mark.parametrize(
    ("variables", "arguments", "count"),
    [
        ({}, ["uvicorn", "console.asgi:application"], 1),
        ({"WEB_CONCURRENCY": "3"}, ["uvicorn"], 3),
        ({"WEB_CONCURRENCY": "3"}, ["uvicorn", "--workers", "2"], 2),
        ({}, ["uvicorn", "--workers=5"], 5),
        ({}, ["gunicorn", "-w", "2"], 2),
        ({}, ["uvicorn", "--workers"], 1),
    ],
)
def test_the_number_of_workers_is_read_where_servers_read_it(variables, arguments, count):
    assert workers.announced(variables, arguments) == count
