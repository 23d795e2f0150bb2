"""Explain: the same decision as in a service, told in fields and words, and nothing counted."""

import itertools
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
from policy_client.rollout import is_inside
from policy_client.rules import KINDS
from policy_client.stores.memory import MemoryStore
from policy_client.testing import bundle
from tests.policy_client.counting import START, bundle_of, entry, guard, limit, plan_of

SOURCE = {"scope": "endpoint", "policy": "POL-0001", "revision": 3}


def test_a_call_is_told_with_its_endpoint_its_policy_and_the_rules_with_their_source() -> None:
    plan = plan_of(guard(max_body=10), limit(source=SOURCE), limit("shadowed", mode="shadow", key=[]))
    told = explain(plan, sample_call("post", "/export/7?x=1", user="alice", headers=[("content-length", "9")]), START)
    assert (told.matched.how, told.matched.endpoint, told.matched.route) == ("path", "export", "/export/{id}")
    assert told.policy is not None
    assert (told.policy.reference, told.policy.revision, told.policy.owner) == ("POL-0001", 1, "data")
    guarded, per_user, shadowed = told.rules
    assert (guarded.kind, guarded.name, guarded.mode, guarded.verdict) == (
        "request_guard",
        "guard",
        "enforce",
        "passes",
    )
    assert (per_user.name, per_user.mode, per_user.source, per_user.reached) == ("per-user", "enforce", SOURCE, True)
    assert [(part.part, part.value, part.counted_as) for part in per_user.key] == [("user", "alice", "value")]
    assert (per_user.verdict, per_user.cost, per_user.content["limit"]) == ("counts", 1, 5)
    assert per_user.sentence.startswith("Each user may make 5 calls")
    assert (shadowed.mode, shadowed.key, shadowed.words) == ("shadow", (), "counts 1 call; one counter for all")
    assert (told.decision.outcome, told.decision.depends_on) == ("allow", ("per-user",))
    assert told.decision.words == "Allowed as long as per-user is not used up (else 429)."
    assert told.answer is None and told.candidate is None


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
    assert told.rules[0].key[0].value == "2001:db8::/64"
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
    parts = [[(part.value, part.counted_as) for part in one.key] for one in told.rules]
    assert parts[:2] == [[("192.0.2.1", "address"), ("7 a", "value")], [(None, "shared")]]
    assert [how for _, how in parts[2]] == ["hash", "skipped"]
    assert [one.verdict for one in told.rules] == ["counts", "counts", "skipped"]
    assert told.rules[2].cost is None
    assert told.decision.depends_on == ("a", "b")
    nobody = explain(plan, sample_call("GET", "/export/7"), START)
    assert (nobody.rules[0].key[0].value, nobody.rules[0].key[0].counted_as) == (None, "address")
    assert "user is not given, and no address to count instead" in as_text(nobody)


def test_a_denial_is_told_with_the_answer_it_gets() -> None:
    plan = plan_of(guard(required_headers=["idempotency-key"]), limit())
    told = explain(plan, sample_call("POST", "/export/7"), START)
    assert (told.decision.outcome, told.decision.reason, told.decision.rule) == ("deny", "guard", "guard")
    assert told.answer is not None and told.answer.body is not None
    assert (told.answer.status, told.answer.body["status"]) == (400, 400)
    assert "decision_id" not in told.answer.body and "Policy-Decision" not in told.answer.headers
    assert [one.reached for one in told.rules] == [True, False]
    assert (
        told.rules[1].words == "is not asked; else it counts 1 call; user is not given, and no address to count instead"
    )
    calm = explain(plan_of(guard(methods=["GET"], mode="shadow"), limit()), sample_call("POST", "/export/7"), START)
    assert (calm.decision.outcome, calm.decision.would_deny, calm.rules[0].verdict) == (
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
    assert (lowered.decision.outcome, lowered.rules[0].mode, lowered.switches[0].decides) == ("allow", "shadow", False)
    assert lowered.rules[0].mode_words == "the mode of the client is shadow"
    off = explain(plan_of(limit(), mode="off"), call, START)
    assert (off.decision.reason, off.rules[0].reached) == ("mode_off", False)


KINDS_OF_ALL = (
    guard("small", max_body=10),
    limit("bucket", cost=2),
    limit("log", algorithm="sliding_log", key=[]),
    {"kind": "quota", "name": "monthly", "key": ["user"], "limit": 10, "period": "month"},
    {"kind": "concurrency_limit", "name": "in-flight", "key": [], "limit": 4},
    {"kind": "deadline", "name": "soon", "seconds": 2},
)


def test_every_kind_says_what_it_makes_of_the_call() -> None:
    told = explain(plan_of(*KINDS_OF_ALL), sample_call("POST", "/export/7", user="alice"), START)
    assert {one.kind for one in told.rules} == set(KINDS), "a new kind is told here, too"
    assert [(one.name, one.verdict, one.status, one.words) for one in told.rules] == [
        ("small", "runs", 413, "lets it pass so far, and counts its body while that is read: at most 10 bytes"),
        ("bucket", "counts", 429, "counts 2 units; user = alice"),
        ("log", "counts", 429, "counts 1 call; one counter for all"),
        ("monthly", "counts", 429, "counts 1 call; user = alice"),
        ("in-flight", "runs", 503, "holds one slot, of 4 in all, while the call runs; one counter for all"),
        ("soon", "runs", 504, "gives the call 2 seconds from when it is let pass"),
    ]
    assert told.decision.depends_on == ("small", "bucket", "log", "monthly", "in-flight", "soon")
    assert told.decision.words == (
        "Allowed as long as its body has at most 10 bytes (else 413), bucket is not used up (else 429), log is not "
        "used up (else 429), monthly is not used up (else 429), in-flight has a free slot (else 503) and it takes at "
        "most 2 seconds (else 504)."
    )
    assert [one.content["seconds"] for one in told.rules if one.kind == "deadline"] == [2.0]
    calm = explain(
        plan_of(*({**rule, "mode": "shadow"} for rule in KINDS_OF_ALL)), sample_call("POST", "/export/7"), START
    )
    assert calm.decision.depends_on == ()
    assert calm.decision.words == "Allowed: what counts or watches it is in shadow, and denies nothing."


def test_a_rule_whose_conditions_do_not_hold_is_absent_and_it_is_said_which() -> None:
    when = [{"method": ["POST"]}, {"header": "x-beta", "is": "present"}]
    plan = plan_of(guard(methods=["GET"], when=when), limit(when=when), {**KINDS_OF_ALL[-1], "when": when})
    told = explain(plan, sample_call("POST", "/export/7", user="alice"), START)
    for one in told.rules:
        assert (one.verdict, one.unless, one.cost) == ("absent", "", None)
        assert [(condition.words, condition.holds) for condition in one.conditions] == [
            ("the method is POST", True),
            ("the header x-beta is there", False),
        ]
        assert one.words == "does not apply: it is there only where the header x-beta is there"
    assert told.decision.words == "Allowed: no limit applies to it, and nothing is counted."
    there = explain(plan, sample_call("POST", "/export/7", user="alice", headers=[("X-Beta", "1")]), START)
    assert (there.decision.status, [one.verdict for one in there.rules]) == (405, ["denies", "counts", "runs"])
    assert [one.reached for one in there.rules] == [True, False, False]


def test_outside_of_its_rollout_a_rule_is_in_shadow_and_it_is_said_why() -> None:
    plan = plan_of(guard(max_body=1, rollout=25), limit(rollout=25, source=SOURCE), {**KINDS_OF_ALL[-1], "rollout": 25})
    sides = set()
    for number in range(20):
        user = f"user-{number}"
        told = explain(plan, sample_call("POST", "/export/7", user=user), START)
        inside = is_inside("POL-0001", user, 25)
        sides.add(inside)
        words = f"{'inside' if inside else 'outside'} of the rollout of 25 percent"
        assert {(one.mode, one.mode_words) for one in told.rules} == {("enforce" if inside else "shadow", words)}
        assert bool(told.decision.depends_on) is inside
        assert f"({'enforce' if inside else 'shadow'}, {words}" in as_text(told)
    assert sides == {True, False}


def test_what_a_call_costs_is_told_and_what_can_never_pass_is_denied() -> None:
    slots = {"kind": "concurrency_limit", "name": "in-flight", "key": [], "limit": 4}
    plan = plan_of(limit(cost=2), limit("calm", mode="shadow"), slots)
    assert [one.cost for one in explain(plan, sample_call("GET", "/export/7"), START).rules] == [2, 1, 1]
    told = explain(plan, sample_call("GET", "/export/7", user="alice", cost=3), START)
    assert (told.cost, [one.cost for one in told.rules], told.decision.outcome) == (3, [3, 3, 1], "allow")
    never = explain(plan, sample_call("GET", "/export/7", user="alice", cost=6), START)
    assert [one.verdict for one in never.rules] == ["denies", "would_deny", "runs"]
    assert (never.decision.status, never.decision.rule, never.decision.would_deny) == (429, "per-user", ("calm",))
    assert never.decision.words.startswith("Denied with 429 by the rate limit per-user: This call costs 6, more than")
    assert never.answer is not None and never.answer.body is not None
    assert (never.answer.status, never.answer.body["retry_after"]) == (429, None)
    assert "at a cost of 6" in as_text(never)


def test_a_candidate_is_told_with_a_decision_of_its_own() -> None:
    candidate = {"revision": 9, "rules": [guard(methods=["GET"]), limit("tighter", limit=1)]}
    bundle = bundle_of(entry(limit(), candidate=candidate))
    call = sample_call("POST", "/export/7", user="alice")
    told = explain(compile(bundle), call, START)
    assert (told.decision.outcome, told.decision.depends_on) == ("allow", ("per-user",))
    assert told.candidate is not None and told.candidate.answer is not None
    assert (told.candidate.revision, told.candidate.decision.status, told.candidate.answer.status) == (9, 405, 405)
    assert [(one.name, one.verdict, one.reached) for one in told.candidate.rules] == [
        ("guard", "denies", True),
        ("tighter", "counts", False),
    ]
    assert "candidate revision 9, decided beside as if alone" in as_text(told)
    passed = explain(compile(bundle), sample_call("GET", "/export/7", user="alice"), START).candidate
    assert passed is not None and passed.decision.depends_on == ("tighter",)
    # A candidate denies nobody as it is, so the mode of the client does not lower it.
    lowered = explain(compile(bundle, mode="shadow"), call, START).candidate
    assert lowered is not None and lowered.rules[0].mode == "enforce"
    assert explain(compile(bundle, mode="off"), call, START).candidate is None


def test_rules_of_one_name_are_told_apart() -> None:
    """A service's default may have given a rule of another kind the name of an own one."""
    quota = {"kind": "quota", "name": "per-user", "key": ["tenant"], "on_missing": "skip", "limit": 9, "period": "day"}
    told = explain(plan_of(limit(), quota), sample_call("GET", "/export/7", user="alice"), START)
    assert [(one.kind, one.verdict) for one in told.rules] == [("rate_limit", "counts"), ("quota", "skipped")]


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
    when = [{"query": "format", "in": ["csv"]}]
    rules = [
        guard(max_body=10, content_types=["text/*"], require_authenticated=True, rollout=50),
        guard("calm", required_headers=["x-a"], mode="shadow"),
        limit(rollout=50, when=when),
        *({**rule, "name": f"all-{rule['name']}"} for rule in KINDS_OF_ALL),
    ]
    plan = compile(bundle_of(entry(*rules, candidate={"revision": 2, "rules": rules[:3]})))
    headers = ([], [("Content-Length", "11")], [("content-length", "5"), ("Content-Type", "image/png")], [("x-a", "b")])
    for sent, user, path, cost in itertools.product(
        headers, (None, "alice", "bob", "eve"), ("/export/7", "/export/7?format=csv"), (None, 6)
    ):
        call = sample_call("POST", path, headers=sent, user=user, ip="192.0.2.1", cost=cost)
        told = explain(plan, call, START)
        store = MemoryStore(clock=lambda: START)
        claim = prepare(plan, call, START, plan.entry_for_path("POST", "/export/7"))
        decided = claim if isinstance(claim, Decision) else conclude(claim, store.take(claim), START)
        assert decided.candidate is not None and told.candidate is not None
        for own, said, told_rules in (
            (decided, told.decision, told.rules),
            (decided.candidate, told.candidate.decision, told.candidate.rules),
        ):
            assert (said.outcome, said.status, said.rule) == (own.outcome, own.status, own.rule)
            assert said.would_deny == own.would_deny
            judged = [one.name for one in told_rules if one.reached and one.verdict not in ("absent", "skipped")]
            assert sorted(own.judged) == sorted(set(judged) - {"all-soon"})


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
        ("cost", lambda: sample_call("GET", "/", cost=0)),
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
        "per-user, rate limit (enforce, from endpoint policy POL-0001 r3): is not asked; else it counts 1 call",
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
    assert by_file["decision"]["depends_on"] == ["per-user"] and by_file["rules"][0]["key"][0]["value"] == "alice"
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
