"""Explain: the same decision as in a service, told in fields and words, and nothing counted."""

import json
from pathlib import Path

import pytest

from policy_client.__main__ import main
from policy_client.call import Call
from policy_client.decision import Decision, conclude, prepare
from policy_client.errors import Refused
from policy_client.explain import explain, sample_call
from policy_client.explain.sample import split_header
from policy_client.explain.wording import as_text
from policy_client.plan import compile
from policy_client.stores.memory import MemoryStore
from policy_client.testing import bundle
from tests.policy_client.counting import START, bundle_of, entry, guard, limit, plan_of

SOURCE = {"scope": "endpoint", "policy": "POL-0001", "revision": 3}


def test_a_call_is_told_with_its_endpoint_its_policy_and_the_rules_with_their_source() -> None:
    plan = plan_of(guard(max_body=10), limit(source=SOURCE), limit("shadowed", mode="shadow", key=[]))
    told = explain(plan, sample_call("post", "/export/7?x=1", user="alice"), START)
    assert (told.matched.how, told.matched.endpoint, told.matched.route) == ("path", "export", "/export/{id}")
    assert told.policy is not None
    assert (told.policy.reference, told.policy.revision, told.policy.owner) == ("POL-0001", 1, "data")
    assert [(one.rule, one.mode, one.verdict) for one in told.guards] == [("guard", "enforce", "passes")]
    per_user, shadowed = told.limits
    assert (per_user.rule, per_user.mode, per_user.source, per_user.asked) == ("per-user", "enforce", SOURCE, True)
    assert [(part.part, part.value, part.counted_as) for part in per_user.key] == [("user", "alice", "value")]
    assert per_user.sentence.startswith("Each user may make 5 calls")
    assert (shadowed.mode, shadowed.key) == ("shadow", ())
    assert (told.decision.outcome, told.decision.depends_on) == ("allow", ("per-user",))
    assert told.decision.words.startswith("Allowed as long as per-user is not used up")
    assert told.answer is None


def test_endpoints_are_found_by_name_by_route_by_path_or_not_at_all() -> None:
    plan = plan_of(limit())
    for call, how in (
        (Call(endpoint="export", method="PUT"), "name"),
        (Call(method="GET", route="/export/<int:pk>"), "route"),
        (Call(method="GET", path="/export/7"), "path"),
    ):
        told = explain(plan, call, START)
        assert (told.matched.how, told.policy is not None) == (how, True)
    unknown = explain(plan, Call(endpoint="imports", method="GET"), START)
    assert (unknown.decision.reason, unknown.policy) == ("unknown_endpoint", None)
    nowhere = explain(plan, sample_call("GET", "/imports"), START)
    assert (nowhere.matched.how, nowhere.decision.reason) == ("none", "no_policy")
    other_method = explain(plan, sample_call("DELETE", "/export/7"), START)
    assert (other_method.matched.route, other_method.decision.reason) == ("/export/{id}", "no_policy")


def test_a_service_default_is_told_for_what_no_policy_names() -> None:
    default = entry(limit(key=["ip"]), reference="POL-0002", scope="service", endpoints=[])
    plan = compile(bundle_of(entry(limit()), default))
    told = explain(plan, sample_call("GET", "/other/{x", ip="2001:db8::7"), START)
    assert told.matched.how == "default" and told.policy is not None and told.policy.reference == "POL-0002"
    assert told.limits[0].key[0].value == "2001:db8::/64"
    other_method = explain(plan, sample_call("DELETE", "/export/7"), START)
    assert other_method.policy is not None and other_method.policy.reference == "POL-0002"
    assert explain(plan, sample_call("OPTIONS", "/other"), START).decision.reason == "no_policy"


def test_what_a_call_lacks_is_said_part_by_part() -> None:
    plan = plan_of(
        limit("a", key=["user", "path:id"]),
        limit("b", key=["tenant"], on_missing="shared"),
        limit("c", key=["header:x-client", "api_key"], on_missing="skip"),
    )
    call = sample_call("GET", "/export/7%20a", ip="::ffff:192.0.2.1", headers=[("X-Client", "k" * 80)])
    told = explain(plan, call, START)
    parts = [[(part.value, part.counted_as) for part in one.key] for one in told.limits]
    assert parts[:2] == [[("192.0.2.1", "address"), ("7 a", "value")], [(None, "shared")]]
    assert [how for _, how in parts[2]] == ["hash", "skipped"]
    assert [one.asked for one in told.limits] == [True, True, False]
    assert told.decision.depends_on == ("a", "b")
    nobody = explain(plan, sample_call("GET", "/export/7"), START)
    assert (nobody.limits[0].key[0].value, nobody.limits[0].key[0].counted_as) == (None, "address")
    assert "user is not given, and no address to count instead" in as_text(nobody)


def test_a_denial_is_told_with_the_answer_it_gets() -> None:
    plan = plan_of(guard(required_headers=["idempotency-key"]), limit())
    told = explain(plan, sample_call("POST", "/export/7"), START)
    assert (told.decision.outcome, told.decision.reason, told.decision.rule) == ("deny", "guard", "guard")
    assert told.answer is not None and told.answer.body is not None
    assert (told.answer.status, told.answer.body["status"]) == (400, 400)
    assert "decision_id" not in told.answer.body and "Policy-Decision" not in told.answer.headers
    assert not told.limits[0].asked
    calm = explain(plan_of(guard(methods=["GET"], mode="shadow"), limit()), sample_call("POST", "/export/7"), START)
    assert (calm.decision.outcome, calm.decision.would_deny, calm.guards[0].verdict) == (
        "allow",
        ("guard",),
        "would_deny",
    )
    assert "In shadow, guard would deny it." in calm.decision.words


def test_switches_that_hold_are_told_and_which_of_them_decides() -> None:
    over = {"id": 1, "effect": "block", "policy": "POL-0001", "until": "2020-01-01T00:00:00Z"}
    block = {"id": 2, "effect": "block", "policy": "POL-0001", "status": 503, "retry_after": 60, "detail": "Paused."}
    everywhere = {"id": 3, "effect": "bypass", "policy": None}
    plan = plan_of(limit(), switches=[over, block, everywhere])
    call = sample_call("POST", "/export/7", user="alice")
    told = explain(plan, call, START * 1.1)
    assert [(one.id, one.decides) for one in told.switches] == [(2, True), (3, False)]
    assert told.decision.words == "Denied with 503: a switch blocks it. Paused."
    assert told.answer is not None and told.answer.headers["Retry-After"] == "60"
    lowered = explain(plan_of(limit(), switches=[block], mode="shadow"), call, START)
    assert (lowered.decision.outcome, lowered.limits[0].mode, lowered.switches[0].decides) == ("allow", "shadow", False)
    off = explain(plan_of(limit(), mode="off"), call, START)
    assert off.decision.reason == "mode_off"


def test_nothing_is_counted() -> None:
    plan, store = plan_of(limit(limit=2)), MemoryStore(clock=lambda: START)
    call = sample_call("POST", "/export/7", user="alice")
    before = (call.path_params, len(store))
    for _ in range(5):
        explain(plan, call, START)
    assert (call.path_params, len(store)) == before
    entry_of_it = plan.entry_for_path("POST", "/export/7")
    for expected in (True, True, False):
        claim = prepare(plan, call, START, entry_of_it)
        assert not isinstance(claim, Decision)
        assert conclude(claim, store.take(claim), START).allowed is expected


def test_the_decision_is_that_of_the_client_for_every_kind_of_call() -> None:
    plan = plan_of(guard(max_body=10, content_types=["text/*"], require_authenticated=True), limit())
    for headers in ([], [("Content-Length", "11")], [("content-length", "5"), ("Content-Type", "image/png")]):
        for user in (None, "alice"):
            call = sample_call("POST", "/export/7", headers=headers, user=user)
            decided = prepare(plan, call, START, plan.entry_for_path("POST", "/export/7"))
            told = explain(plan, call, START)
            status = decided.status if isinstance(decided, Decision) else 200
            assert told.decision.status == status


@pytest.mark.parametrize(
    ("field", "request_of"),
    [
        ("method", lambda: sample_call("not a method", "/")),
        ("path", lambda: sample_call("GET", "https://example.com/")),
        ("ip", lambda: sample_call("GET", "/", ip="here")),
        ("headers", lambda: sample_call("GET", "/", headers=[split_header("no colon")])),
        ("headers", lambda: sample_call("GET", "/", headers=[("a", "b")] * 101)),
        ("headers", lambda: sample_call("GET", "/", headers=[("a", "\ud800")])),
        ("user", lambda: sample_call("GET", "/", user="\udcff")),
    ],
)
def test_a_sample_that_is_no_request_is_refused_at_its_field(field, request_of) -> None:
    with pytest.raises(Refused) as refused:
        request_of()
    assert list(refused.value.errors) == [field]


def test_the_text_has_everything() -> None:
    plan = plan_of(guard(max_body=10, mode="shadow"), limit(source=SOURCE), switches=[{"id": 3, "effect": "bypass"}])
    text = as_text(explain(plan, sample_call("POST", "/export/7", user="alice"), START))
    for part in (
        "POL-0001",
        "per-user (enforce, from endpoint policy POL-0001 r3)",
        "user = alice",
        "switch    3: lets every call through",
        "data",
    ):
        assert part in text


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "bundle.json"
    path.write_bytes(bundle(per_user={"key": ["user"], "limit": 1, "window": 60}))
    return path


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CONSOLE_URL", "SERVICE_KEY", "STORE_URL", "MODE", "SNAPSHOT"):
        monkeypatch.delenv(f"POLICY_{name}", raising=False)


def test_the_command_explains_by_a_file_or_by_what_the_environment_names(file, capsys, monkeypatch) -> None:
    arguments = ["explain", "GET", "/a?b=c", "-H", "X-A: b", "--user", "alice", "--format", "json"]
    assert main([*arguments, "--bundle", str(file)]) == 0
    by_file = json.loads(capsys.readouterr().out)
    assert by_file["decision"]["depends_on"] == ["per-user"] and by_file["limits"][0]["key"][0]["value"] == "alice"
    assert main(arguments) == 1
    assert "POLICY_CONSOLE_URL" in capsys.readouterr().err
    monkeypatch.setenv("POLICY_CONSOLE_URL", f"file://{file}")
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out) == by_file
    monkeypatch.setenv("POLICY_MODE", "off")
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["decision"]["reason"] == "mode_off"
    assert main(["explain", "GET", "a", "--bundle", str(file)]) == 1
    assert "path: Must begin with /" in capsys.readouterr().err


def test_fetch_gives_the_exact_bytes_or_says_why_not(file, capsysbinary, monkeypatch, tmp_path) -> None:
    assert main(["fetch"]) == 1
    monkeypatch.setenv("POLICY_CONSOLE_URL", f"file://{file}")
    capsysbinary.readouterr()
    assert main(["fetch"]) == 0
    got = capsysbinary.readouterr()
    assert got.out == file.read_bytes() and got.err.startswith(b'etag: "sha256:')
    out = tmp_path / "kept.json"
    assert main(["fetch", "--out", str(out)]) == 0
    assert out.read_bytes() == file.read_bytes() and capsysbinary.readouterr().out == b""
    file.write_text("{}")
    assert main(["fetch", "--out", str(out)]) == 1
    assert out.read_bytes() != b"{}"


def test_status_tells_the_settings_without_secrets(file, capsys, monkeypatch, tmp_path) -> None:
    assert main(["status"]) == 1
    assert "POLICY_CONSOLE_URL" in capsys.readouterr().err
    snapshot = tmp_path / "snapshot"
    monkeypatch.setenv("POLICY_CONSOLE_URL", f"file://{file}")
    monkeypatch.setenv("POLICY_SERVICE_KEY", "pck_a-secret-of-ours")
    monkeypatch.setenv("POLICY_SNAPSHOT", str(snapshot))
    assert main(["status"]) == 0
    told = capsys.readouterr().out
    assert "service/test, version 1, generation 1" in told and "memory://: reached" in told
    assert "secret" not in told and not snapshot.exists()
    monkeypatch.setenv("POLICY_STORE_URL", "redis://me:pass-word@127.0.0.1:1/0")
    assert main(["status"]) == 1
    told = capsys.readouterr().out
    assert "redis://127.0.0.1:1/0: not reached" in told and "pass-word" not in told
    monkeypatch.delenv("POLICY_STORE_URL")
    file.unlink()
    assert main(["status"]) == 1
    assert "unreadable" in capsys.readouterr().out
