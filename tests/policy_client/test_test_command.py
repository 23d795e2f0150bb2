"""python -m policy_client test: the examples of a bundle, run in a service's own CI."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from policy_client.__main__ import main
from tests.policy_client.counting import entry, guard, limit
from tests.policy_client.peer import Peer, Reply

Write = Callable[..., str]


def example(repeat: int, outcome: str, rule: str = "", **request: Any) -> dict[str, Any]:
    expect = {"outcome": outcome} | ({"rule": rule} if rule else {})
    return {
        "request": {"method": "GET", "path": "/export/7", "user": "42", **request},
        "repeat": repeat,
        "expect": expect,
    }


RIGHT = [example(5, "allow"), example(6, "deny", "per-user")]


def body(*entries: dict[str, Any]) -> bytes:
    head = {"schema": 1, "service": "reports", "environment": "production", "generation": 1, "version": 42}
    return json.dumps({**head, "policies": entries}).encode()


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a bundle of these entries and gives its path."""

    def written(*entries: dict[str, Any]) -> str:
        path = tmp_path / "bundle.json"
        path.write_bytes(body(*entries))
        return str(path)

    return written


def test_examples_that_come_out_as_expected_are_a_success(write: Write, capsys: Any) -> None:
    assert main(["test", "--bundle", write(entry(limit(), examples=RIGHT)), "--require-examples"]) == 0
    first, second, last = capsys.readouterr().out.splitlines()
    assert first == "passed  POL-0001 export example 1: After 4 calls like it, GET /export/7 by user 42 is allowed."
    assert second.endswith("is denied by per-user.")
    assert last == "2 examples in the bundle of reports/production, version 42: all as expected."


def test_one_that_does_not_says_what_was_expected_and_what_came(write: Write, capsys: Any) -> None:
    assert main(["test", "--bundle", write(entry(limit(), examples=[*RIGHT, example(5, "deny")]))]) == 1
    *_, failed, last = capsys.readouterr().out.splitlines()
    assert failed.startswith("failed  POL-0001 export example 3: After 4 calls like it")
    assert "Expected deny at call 5, but the call was allowed: per-user lets 0 more pass." in failed
    assert last.endswith("1 of them failed.")


def test_rules_in_shadow_or_for_a_few_callers_count_as_enforced(write: Write) -> None:
    shadow = limit(mode="shadow", rollout=0)
    assert main(["test", "--bundle", write(entry(shadow, examples=RIGHT))]) == 0


def test_what_an_entry_inherits_takes_part(write: Write, capsys: Any) -> None:
    source = {"scope": "service", "policy": "POL-0009", "revision": 3}
    inherited = guard("signed-in", require_authenticated=True, source=source)
    assert main(["test", "--bundle", write(entry(limit(), inherited, examples=[example(1, "allow", user="")]))]) == 1
    assert "the call was denied by signed-in with 401" in capsys.readouterr().out


def test_each_policy_is_tried_alone(write: Write, capsys: Any) -> None:
    other = entry(limit(limit=1), reference="POL-0002", name="merge", examples=[example(2, "deny", "per-user")])
    other["endpoints"] = [{"name": "", "methods": ["GET"], "route": "/merge/{id}"}]
    other["examples"][0]["request"]["path"] = "/merge/7"
    switched = [{"id": 1, "effect": "block", "policy": None, "status": 503}]
    path = Path(write(entry(limit(), examples=RIGHT), other))
    path.write_text(json.dumps({**json.loads(path.read_text()), "switches": switched}))
    assert main(["test", "--bundle", str(path)]) == 0
    assert "3 examples" in capsys.readouterr().out


def test_policies_without_examples_are_named_and_fail_where_they_are_required(write: Write, capsys: Any) -> None:
    path = write(entry(limit(), examples=[]))
    assert main(["test", "--bundle", path]) == 0
    out = capsys.readouterr().out
    assert "none    POL-0001 export: has no example." in out and "There is no example at all" in out
    assert main(["test", "--bundle", path, "--require-examples"]) == 1
    assert main(["test", "--bundle", write(), "--require-examples"]) == 1


def test_examples_of_a_newer_console_fail_and_say_why(write: Write, capsys: Any) -> None:
    assert main(["test", "--bundle", write(entry(limit(), examples=[example(1, "cache_hit")]))]) == 1
    assert "cannot be read: examples.0.expect.outcome" in capsys.readouterr().out


def test_without_a_bundle_there_is_nothing_to_test(
    tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("POLICY_CONSOLE_URL", "POLICY_SERVICE_KEY"):
        monkeypatch.delenv(name, raising=False)
    assert main(["test"]) == 2
    assert "POLICY_CONSOLE_URL" in capsys.readouterr().err
    assert main(["test", "--bundle", str(tmp_path / "none.json")]) == 2
    assert capsys.readouterr().err == f"test: {tmp_path / 'none.json'} cannot be read: No such file or directory\n"
    (tmp_path / "bad.json").write_text("{}")
    assert main(["test", "--bundle", str(tmp_path / "bad.json")]) == 2
    assert capsys.readouterr().out == ""


def test_the_bundle_comes_from_the_console_unless_it_is_named(
    peer: Peer, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("POLICY_CONSOLE_URL", peer.url)
    monkeypatch.setenv("POLICY_SERVICE_KEY", "pck_key")
    peer.body = body(entry(limit(), examples=RIGHT))
    assert main(["test"]) == 0
    assert "version 42" in capsys.readouterr().out
    peer.answer = lambda asked: Reply(503, b"", {})
    assert main(["test"]) == 2
