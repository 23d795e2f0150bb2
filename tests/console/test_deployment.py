"""The one gate that settings pass."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from console import deployment
from console.deployment import SQLITE
from tests.conftest import ROOT


def test_a_laptop_needs_no_variable_but_debug(tmp_path):
    read = deployment.read({"DEBUG": "1"}, tmp_path)
    assert read.problems == ()
    assert read.debug and read.embedded
    assert read.database["ENGINE"] == SQLITE
    assert read.database["NAME"] == str(tmp_path / "console.sqlite3")
    assert "127.0.0.1" in read.allowed_hosts


def test_debug_is_off_by_default_and_then_the_secret_is_required(tmp_path):
    read = deployment.read({}, tmp_path)
    assert not read.debug
    assert [problem.number for problem in read.problems] == [1]
    assert read.allowed_hosts == []
    assert not (tmp_path / "secret_key").exists()


def test_the_secret_of_a_laptop_is_made_once_and_readable_by_its_owner_alone(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: deployment.read({"DEBUG": "1"}, tmp_path).secret_key, range(16)))
    assert len(keys) == 1
    assert len(keys.pop()) >= 50
    assert (tmp_path / "secret_key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["secret_key"]


def test_sqlite_serialises_its_writers(tmp_path):
    options = deployment.read({"DEBUG": "1"}, tmp_path).database["OPTIONS"]
    assert options["transaction_mode"] == "IMMEDIATE"
    assert "journal_mode=WAL" in options["init_command"]
    assert "synchronous=NORMAL" in options["init_command"]


def test_postgresql_has_a_pool_and_django_keeps_no_connection(tmp_path):
    url = "postgres://console:s%40crt@db.example:5433/policies?sslmode=require"
    settings = deployment.read({"DEBUG": "1", "DATABASE_URL": url}, tmp_path).database
    assert settings["ENGINE"] == "django.db.backends.postgresql"
    assert (settings["HOST"], settings["PORT"], settings["PASSWORD"]) == ("db.example", 5433, "s@crt")
    assert settings["OPTIONS"]["sslmode"] == "require"
    assert settings["OPTIONS"]["pool"]["max_size"] > 0
    assert settings["CONN_MAX_AGE"] == 0


def test_lists_and_networks_are_parsed(tmp_path):
    variables = {
        "DEBUG": "0",
        "SECRET_KEY": "s",
        "ALLOWED_HOSTS": "policy.example.com, policy.internal",
        "CSRF_TRUSTED_ORIGINS": "https://policy.example.com",
        "TRUSTED_PROXIES": "10.0.0.0/8, 192.0.2.7,fd00::/8",
        "REDIS_URL": "rediss://cache.example:6379/0",
        "LOG_FORMAT": "json",
    }
    read = deployment.read(variables, tmp_path)
    assert read.problems == ()
    assert read.allowed_hosts == ["policy.example.com", "policy.internal"]
    trusted = ["10.1.2.3", "192.0.2.7", "fd00::1", "192.0.2.8"]
    assert [read.trusted_proxies.trusts(address) for address in trusted] == [True, True, True, False]
    assert not read.embedded


def test_mail_goes_where_its_url_says(tmp_path):
    url = "smtp+tls://policies:s%40crt@mail.example.com"
    variables = {"DEBUG": "1", "SECRET_KEY": "s", "EMAIL_URL": url, "EMAIL_FROM": "Policies <p@example.com>"}
    read = deployment.read({**variables, "CONSOLE_URL": "https://policy.example.com/"}, tmp_path)
    assert read.problems == ()
    assert (read.email["EMAIL_HOST"], read.email["EMAIL_PORT"], read.email["EMAIL_USE_TLS"]) == (
        "mail.example.com",
        587,
        True,
    )
    assert read.email["EMAIL_HOST_PASSWORD"] == "s@crt"
    assert read.console_url == "https://policy.example.com"
    assert deployment.parse_email_url("filemail:///var/mail/out")["EMAIL_FILE_PATH"] == "/var/mail/out"


def test_mail_is_printed_on_a_laptop_and_goes_nowhere_elsewhere_unless_told(tmp_path):
    assert "console" in deployment.read({"DEBUG": "1", "SECRET_KEY": "s"}, tmp_path).email["EMAIL_BACKEND"]
    assert deployment.read({"SECRET_KEY": "s"}, tmp_path).email is None


@pytest.mark.parametrize(
    ("name", "value", "number"),
    [
        ("DATABASE_URL", "mysql://a@b/c", 2),
        ("DATABASE_URL", "nonsense", 2),
        ("REDIS_URL", "http://cache.example/", 3),
        ("TRUSTED_PROXIES", "10.0.0.0/8,somewhere", 4),
        ("LOG_FORMAT", "xml", 5),
        ("DEBUG", "perhaps", 6),
        ("EMAIL_URL", "http://mail.example", 10),
        ("EMAIL_URL", "smtp://", 10),
        ("EMAIL_URL", "smtp://mail.example:port", 10),
        ("EMAIL_FROM", "nobody", 11),
        ("CONSOLE_URL", "policy.example.com", 12),
        ("CONSOLE_URL", "https://policy.example.com/admin/", 12),
        ("KEEP_COUNTS_DAYS", "0", 13),
        ("KEEP_COUNTS_DAYS", "long", 13),
    ],
)
def test_a_value_that_cannot_be_used_is_a_numbered_problem_with_a_hint(tmp_path, name, value, number):
    variables = {"DEBUG": "1", "SECRET_KEY": "s", name: value}
    problems = deployment.read(variables, tmp_path).problems
    assert [problem.number for problem in problems] == [number]
    assert name in problems[0].message
    assert problems[0].hint


def test_the_check_prints_number_and_hint_and_fails():
    env = {**os.environ, "DEBUG": "1", "LOG_FORMAT": "xml", "DJANGO_SETTINGS_MODULE": "console.settings"}
    command = [sys.executable, "manage.py", "check"]
    result = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "console.E005" in result.stderr
    assert "HINT: Set LOG_FORMAT=console or LOG_FORMAT=json." in result.stderr
