from ipaddress import ip_network
from pathlib import Path

import pytest

from policy_client.errors import Misconfigured
from policy_client.options import Mode, Options, examine


def test_nothing_set_gives_the_defaults() -> None:
    options = Options.from_env({})
    assert options == Options()
    assert (options.poll_seconds, options.store_timeout_ms, options.store_url) == (15.0, 20, "memory://")
    assert options.instance_name()


def test_every_variable_is_read() -> None:
    options = Options.from_env(
        {
            "POLICY_CONSOLE_URL": "https://console.example.com/policies/",
            "POLICY_SERVICE_KEY": "pck_secret",
            "POLICY_STORE_URL": "redis://127.0.0.1:6379/3",
            "POLICY_SNAPSHOT": "/var/lib/app/policies",
            "POLICY_POLL_SECONDS": "2.5",
            "POLICY_STORE_TIMEOUT_MS": "50",
            "POLICY_TRUSTED_PROXIES": "10.0.0.0/8, ::1",
            "POLICY_INSTANCE": "web-1",
            "POLICY_MODE": "shadow",
        }
    )
    assert options == Options(
        console_url="https://console.example.com/policies",
        service_key="pck_secret",
        store_url="redis://127.0.0.1:6379/3",
        snapshot=Path("/var/lib/app/policies"),
        poll_seconds=2.5,
        store_timeout_ms=50,
        trusted_proxies=(ip_network("10.0.0.0/8"), ip_network("::1/128")),
        instance="web-1",
        mode=Mode.SHADOW,
    )
    assert "pck_secret" not in repr(options)


def test_empty_variables_count_as_absent() -> None:
    assert Options.from_env({"POLICY_CONSOLE_URL": "", "POLICY_MODE": ""}) == Options()


@pytest.mark.parametrize(
    ("name", "value", "fix"),
    [
        ("CONSOLE_URL", "console.example.com", "https://"),
        ("CONSOLE_URL", "ftp://console.example.com", "https://"),
        ("CONSOLE_URL", "https://user:secret@console.example.com", "leave them out"),
        ("CONSOLE_URL", "https://console.example.com/?a=1", "https://"),
        ("CONSOLE_URL", "http://[::1", "https://"),
        ("CONSOLE_URL", "https://console.example.com:99999", "https://"),
        ("CONSOLE_URL", "file://relative/bundle.json", "file:///"),
        ("STORE_URL", "mongodb://x", "memory://"),
        ("STORE_URL", "redis", "memory://"),
        ("SNAPSHOT", "/", "Name a file"),
        ("POLL_SECONDS", "0", "from 0.05 to 3600"),
        ("POLL_SECONDS", "soon", "from 0.05 to 3600"),
        ("POLL_SECONDS", "nan", "from 0.05 to 3600"),
        ("STORE_TIMEOUT_MS", "20.5", "milliseconds"),
        ("STORE_TIMEOUT_MS", "-1", "milliseconds"),
        ("TRUSTED_PROXIES", "10.0.0.0/8, example.com", "CIDR"),
        ("SERVICE_KEY", "pck_ключ", "Copy it again"),
        ("INSTANCE", "x" * 101, "Name the machine"),
        ("MODE", "enforce", "off or shadow"),
        ("PUBLIC_KEY", "abc", "Remove"),
    ],
)
def test_a_bad_value_names_the_variable_and_the_fix(name: str, value: str, fix: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        Options.from_env({f"POLICY_{name}": value})
    assert f"POLICY_{name}: " in str(caught.value)
    assert fix in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_console_needs_a_key() -> None:
    with pytest.raises(Misconfigured, match=r"POLICY_SERVICE_KEY.*create_service_key"):
        Options.from_env({"POLICY_CONSOLE_URL": "https://console.example.com"})


def test_all_problems_are_told_at_once_under_the_names_of_the_place() -> None:
    _, problems = examine({"CONSOLE_URL": "x", "MODE": "y", "POLL_SECONDS": True}, prefix="")
    assert {problem.setting for problem in problems} == {"CONSOLE_URL", "MODE", "POLL_SECONDS"}
