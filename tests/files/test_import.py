"""Files in and out of the console: a round trip changes nothing, an edit changes what it says, and all or nothing."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from policies.lifecycle.editing import policies
from policies.lifecycle.refusals import Invalid, Refusal, Stale
from policies.models import AuditEvent, Endpoint, Policy, Revision
from policy_client import match
from tests.files.hands import counts, entries, entry, exported, file, imported, outcomes, previewed
from tests.policies.factories import SYSTEM, Catalogue, acting, change, draft, endpoint, make_policy, person, rate_limit
from tests.policies.test_rule_kinds import EVERY_KIND


def refused(body: bytes | str, **how: Any) -> Refusal:
    """The refusal, which is the same for a preview; nothing was written."""
    before = counts()
    with pytest.raises(Refusal) as caught:
        imported(body, **how)
    assert counts() == before
    with pytest.raises(Refusal) as foreseen:
        previewed(body)
    assert (foreseen.value.code, foreseen.value.errors) == (caught.value.code, caught.value.errors)
    return caught.value


def faults(body: bytes | str) -> dict[str, list[str]]:
    refusal = refused(body)
    assert isinstance(refusal, Invalid)
    return refusal.errors


def test_a_round_trip_changes_nothing(catalogue: Catalogue) -> None:
    make_policy(rules=EVERY_KIND)
    make_policy(name="service-default", scope="service", endpoints=[])
    make_policy(name="everywhere", scope="organisation", service=None, endpoints=[])
    change(make_policy(name="other", endpoints=[endpoint("/a")]), rollback_note="no\n\nreally: yes #1")
    before, text = counts(), exported()
    assert outcomes(previewed(text)) == outcomes(imported(text)) == ["unchanged"] * 4
    assert counts() == before and exported() == text
    assert [one["name"] for one in entries(text)] == ["everywhere", "service-default", "other", "report-export"]
    assert [one.get("service") for one in entries(text)] == [None, "reports", "reports", "reports"]


def test_a_file_says_the_newest_revision_and_its_reference(catalogue: Catalogue) -> None:
    policy = change(make_policy(), rollback_note="twice")
    [told] = entries(exported())
    assert (told["reference"], told["revision"], told["rollback_note"]) == (policy.reference, 2, "twice")
    kept = policies.newest(policy).document()
    del kept["rules"][0]["burst"]  # 10, as the limit
    assert {name: told[name] for name in kept} == kept and set(told) == {*kept, "reference", "revision"}
    assert set(entries(exported(portable=True))[0]) == set(kept)


def test_an_edit_becomes_a_revision_through_the_door_import(catalogue: Catalogue) -> None:
    policy = make_policy()
    text = exported().replace("limit: 10\n", "limit: 20\n")
    done = imported(text)
    assert outcomes(done) == ["changed"]
    assert [(line.sign, line.text.strip()) for line in done.changes[0].lines if line.sign != " "] == [
        ("-", "Limit: 10 calls"),
        ("+", "Limit: 20 calls"),
        ("-", "Burst: 10 calls"),
        ("+", "Burst: 20 calls"),
    ]
    revision = policy.revisions.latest("number")
    assert (revision.number, revision.reason) == (2, "as the repository says")
    assert revision.document()["rules"][0]["limit"] == 20
    event = AuditEvent.objects.latest("seq")
    assert (event.verb, event.door, event.reason) == ("policy.change", "import", "as the repository says")
    assert outcomes(imported(text)) == ["unchanged"]  # although the file still says revision 1
    assert policy.revisions.count() == 2


def test_a_burst_that_repeats_the_limit_goes_along_with_it(catalogue: Catalogue) -> None:
    policy = make_policy(rules=[rate_limit(), rate_limit(name="bursts", burst=3), rate_limit(name="even", burst=None)])
    fixed = make_policy(name="fixed", endpoints=[endpoint("/a")], rules=[rate_limit(algorithm="fixed_window")])
    text = exported()
    assert text.count("burst:") == 1 and "    burst: 3\n" in text
    assert outcomes(imported(text)) == ["unchanged"] * 2
    imported(text.replace("limit: 10\n", "limit: 20\n"))
    rules = policies.newest(Policy.objects.get(pk=policy.pk)).document()["rules"]
    assert [(rule["limit"], rule["burst"]) for rule in rules] == [(20, 20), (20, 3), (20, 20)]
    [rule] = policies.newest(Policy.objects.get(pk=fixed.pk)).document()["rules"]
    assert (rule["limit"], rule["burst"]) == (20, None)


def test_a_new_policy_gets_a_reference_and_is_found_by_its_name_from_then_on(catalogue: Catalogue) -> None:
    body = file(entry("new", "/new"))
    before = counts()
    assert outcomes(previewed(body)) == ["created"] and counts() == before
    done = imported(body)
    assert outcomes(done) == ["created"] and done.policies[0] is not None
    assert outcomes(imported(body)) == ["unchanged"]
    assert outcomes(imported(file(entry("new", "/new", rollback_note="other")))) == ["changed"]


def test_a_preview_uses_up_no_number(catalogue: Catalogue) -> None:
    first = make_policy()
    previewed(file(entry("new", "/new")))
    assert make_policy(name="next", endpoints=[endpoint("/next")]).pk == first.pk + 1


def test_what_a_file_no_longer_names_is_told_and_left_alone(catalogue: Catalogue) -> None:
    policy = make_policy()
    make_policy(name="of-shop", service="shop")
    done = imported(file(entry("new", "/new")))
    assert [(left.policy, left.service, left.name) for left in done.left_out] == [
        (policy.reference, "reports", "report-export")
    ]
    policy.refresh_from_db()
    assert policy.archived_at is None and policy.head is not None and policy.endpoints.count() == 1


def test_a_file_may_swap_endpoints_and_names(catalogue: Catalogue) -> None:
    one = make_policy(name="one", endpoints=[endpoint("/one", "view.one"), endpoint("/both", "", ("GET",))])
    two = make_policy(name="two", endpoints=[endpoint("/two", "view.two"), endpoint("/both", "", ("POST",))])
    told = entries(exported())
    told[0]["endpoints"], told[1]["endpoints"] = told[1]["endpoints"], told[0]["endpoints"]
    told[0]["name"], told[1]["name"] = "two", "one"
    rows = set(Endpoint.objects.values_list("pk", flat=True))
    assert outcomes(imported(file(*told))) == ["changed", "changed"]
    one.refresh_from_db()
    two.refresh_from_db()
    assert (one.name, two.name) == ("two", "one")
    assert {(row.name, row.route, *row.methods) for row in one.endpoints.all()} == {
        ("view.two", "/two", "POST"),
        ("", "/both", "POST"),
    }
    assert {row.name for row in two.endpoints.all()} == {"view.one", ""}
    assert set(Endpoint.objects.values_list("pk", flat=True)) == rows


def test_a_new_policy_may_take_what_another_gives_up(catalogue: Catalogue) -> None:
    make_policy(name="old", endpoints=[endpoint("/a"), endpoint("/b")])
    [old] = entries(exported())
    old["name"], old["endpoints"] = "older", [endpoint("/b")]
    assert outcomes(imported(file(entry("old", "/a"), old))) == ["created", "changed"]


def test_all_or_nothing(catalogue: Catalogue) -> None:
    errors = faults(file(entry("good", "/good"), entry("bad", "/bad", rules=[rate_limit(limit=0)]), entry("x", "y")))
    assert list(errors) == ["policies.1.rules.0.limit", "policies.2.endpoints.0.route"]


def test_a_fault_says_its_line(catalogue: Catalogue) -> None:
    make_policy()
    lines = exported().splitlines()
    line = next(number for number, text in enumerate(lines, 1) if text.strip() == "limit: 10")
    lines[line - 1] = lines[line - 1].replace("10", "1_000")
    [(path, [message])] = faults("\n".join(lines)).items()
    assert path == "policies.0.rules.0.limit" and message.startswith(f"Line {line}: Must be a whole number")


def test_a_missing_field_says_where_it_would_stand(catalogue: Catalogue) -> None:
    told = entry("new", "/new")
    del told["baseline"]["slow_part"]
    [(path, [message])] = faults(file(told)).items()
    assert path == "policies.0.baseline.slow_part" and "This field is required" in message
    line = int(message.split(":")[0].removeprefix("Line "))
    assert file(told).decode().splitlines()[line - 1].strip() == "baseline:"


@pytest.mark.portable
@pytest.mark.parametrize(
    ("changes", "path", "words"),
    [
        ({"rollback_note": 12}, "rollback_note", "Put it in quotes"),
        ({"owner": 1234}, "owner", "Put it in quotes"),
        ({"owner": "nobody"}, "owner", "create it first"),
        ({"service": "nowhere"}, "service", "create it first"),
        ({"zebra": 1}, "zebra", "Unknown field"),
        ({"reason": "why"}, "reason", "given with the import"),
        ({"reference": "POL-9999"}, "reference", "There is no policy POL-9999 here"),
        ({"reference": "POL-00000001"}, "reference", "There is no policy"),
        ({"reference": 7}, "reference", "Must be a reference"),
        ({"reference": "POL-x"}, "reference", "leave it out for a new policy"),
        ({"revision": 1}, "revision", "There is no such policy yet"),
        ({"revision": "one"}, "revision", "Must be the number"),
        ({"revision": True}, "revision", "Must be the number"),
        ({"scope": "world"}, "scope", "Must be one of"),
        ({"expected_result": {**draft()["expected_result"], "relative": "yes"}}, "expected_result.relative", "true or"),
    ],
)
def test_every_fault_of_an_entry_is_told_at_its_field(
    catalogue: Catalogue, changes: dict[str, Any], path: str, words: str
) -> None:
    errors = faults(file(entry("new", "/new", **changes)))
    assert list(errors) == [f"policies.0.{path}"] and words in errors[f"policies.0.{path}"][0]


@pytest.mark.portable
@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        ("- a\n", "policies", "must have `policies:`"),
        ("just text\n", "policies", "must have `policies:`"),
        ("policies:\n", "policies", "Must be a list"),
        ("policies: {a: 1}\n", "policies", "Must be a list"),
        ("policies:\n- report-export\n", "policies.0", "Must be a policy"),
        ("format: 2\npolicies: []\n", "format", "reads format 1"),
        ("policies: []\nextra: 1\n", "extra", "Unknown field"),
    ],
)
def test_a_file_of_another_shape(catalogue: Catalogue, text: str, path: str, words: str) -> None:
    assert words in faults(text)[path][0]


def test_of_very_many_faults_the_first_are_told(catalogue: Catalogue) -> None:
    refusal = refused("policies:\n" + "- x\n" * 1000)
    assert len(refusal.errors) == 201 and refusal.errors[""] == ["And 800 more; mend these first."]
    assert "1,000 places" in refusal.detail
    assert "Has 10,001 policies" in faults("policies:\n" + "- x\n" * 10_001)["policies"][0]


def test_a_file_that_is_no_yaml(catalogue: Catalogue) -> None:
    refusal = refused("policies:\n- name: a: b\n")
    assert (refusal.code, refusal.status) == ("yaml", 400) and refusal.detail.startswith("Line 2: ")


def test_what_has_no_room(catalogue: Catalogue) -> None:
    taken = make_policy(name="taken", endpoints=[endpoint("/taken/{id}", "view.taken")])
    make_policy(name="standard", scope="service", endpoints=[])
    errors = faults(
        file(
            entry("one", "/taken/{other}"),
            entry("two", "/two", endpoints=[endpoint("/two", "view.taken")]),
            entry("three", "/three"),
            entry("three", "/four"),
            entry("five", "/three"),
            entry("six", "/six", scope="service", endpoints=[]),
        )
    )
    assert {path: message.partition(": ")[2] for path, [message] in errors.items()} == {
        "policies.0.endpoints.0.route": f"Belongs to {taken}; an endpoint is in at most one policy.",
        "policies.1.endpoints.0.name": f"Is the name of POST /taken/{{id}} in {taken}.",
        "policies.3.name": "policies.2 of this service has this name.",
        "policies.4.endpoints.0.route": "Is named by policies.2.endpoints.0, too; "
        "an endpoint is in at most one policy.",
        "policies.5.scope": f"{Policy.objects.get(name='standard').reference} is the default of reports already.",
    }


def test_a_policy_stands_in_a_file_once(catalogue: Catalogue) -> None:
    make_policy()
    [told] = entries(exported())
    without = {name: value for name, value in told.items() if name not in ("reference", "revision")}
    assert "policies.0 of this service has this name" in faults(file(told, without))["policies.1.name"][0]
    errors = faults(file(told, {**told, "name": "another"}))
    assert "as is policies.0; keep one of them" in errors["policies.1"][0]


def test_a_policy_stays_with_its_service_and_scope(catalogue: Catalogue) -> None:
    make_policy()
    [told] = entries(exported())
    errors = faults(file({**told, "service": "shop"}))
    assert "stays with its service" in errors["policies.0.service"][0]
    errors = faults(file({**told, "scope": "service", "endpoints": []}))
    assert "cannot be changed" in errors["policies.0.scope"][0]


def test_an_archived_policy_is_not_brought_back(catalogue: Catalogue) -> None:
    text = exported() if make_policy() else ""
    policies.archive_policy(Policy.objects.get(), by=SYSTEM, reason="gone")
    assert "was archived" in faults(text)["policies.0.reference"][0]


def test_what_somebody_saved_since_is_a_conflict_with_its_difference(catalogue: Catalogue) -> None:
    policy = make_policy()
    text = exported().replace("limit: 10\n", "limit: 20\n")
    change(policy, rollback_note="by hand")
    refusal = refused(text)
    assert isinstance(refusal, Stale)
    [(path, [message])] = refusal.errors.items()
    assert path == "policies.0.revision" and "is at revision 2 by now" in message
    assert "+ rollback note: by hand" in message and "write `revision: 2`" in message
    assert text.splitlines()[int(message.split(":")[0][5:]) - 1] == "  revision: 1"
    without = text.replace("  revision: 1\n", "")
    assert outcomes(imported(without)) == ["changed"]  # who leaves the number out says: the file is right


def test_a_repository_goes_on_from_its_own_imports_and_from_nobody_elses(catalogue: Catalogue) -> None:
    make_policy()
    robot = acting(person("robot", "add_policy", "change_policy", "view_policy"))
    text = exported()
    for limit in (20, 30, 40):
        assert outcomes(imported(text.replace("limit: 10\n", f"limit: {limit}\n"), by=robot)) == ["changed"]
    edited = text.replace("limit: 10\n", "limit: 50\n")
    with pytest.raises(Stale):
        imported(edited)  # another account knows nothing of revisions 2 to 4
    assert outcomes(previewed(edited, by=robot)) == ["changed"]
    change(Policy.objects.get(), rollback_note="by hand")
    with pytest.raises(Stale):
        imported(edited, by=robot)


def test_a_revision_that_never_was(catalogue: Catalogue) -> None:
    make_policy()
    errors = faults(exported().replace("revision: 1\n", "revision: 7\n").replace("limit: 10\n", "limit: 11\n"))
    assert "has no revision 7: its newest is 1" in errors["policies.0.revision"][0]


def test_an_import_needs_a_reason(catalogue: Catalogue) -> None:
    with pytest.raises(Invalid) as caught:
        imported(file(entry("new", "/new")), reason=" ")
    assert list(caught.value.errors) == ["reason"] and not Policy.objects.exists()


@pytest.mark.parametrize("number", [50, pytest.param(1000, marks=pytest.mark.slow)])
def test_a_thousand_policies_are_compared_in_as_few_queries_as_fifty(
    catalogue: Catalogue, django_assert_max_num_queries: Any, number: int
) -> None:
    make_many(number)
    with django_assert_max_num_queries(20):
        text = exported()
    with django_assert_max_num_queries(30):
        assert outcomes(imported(text)) == ["unchanged"] * number
    one = text.replace("limit: 10\n", "limit: 11\n", 1)
    with django_assert_max_num_queries(60):
        assert outcomes(imported(one)).count("changed") == 1


def test_each_change_costs_a_few_queries_however_many_there_are(
    catalogue: Catalogue, django_assert_max_num_queries: Any
) -> None:
    make_many(20)
    with django_assert_max_num_queries(20 * 22 + 30):
        assert outcomes(imported(exported().replace("limit: 10\n", "limit: 11\n"))) == ["changed"] * 20
    with django_assert_max_num_queries(20 * 24 + 30):
        imported(file(*(entry(f"new-{n}", f"/new/{n}") for n in range(20))))


def make_many(number: int) -> None:
    """Policies as one revision each leaves them, written at once."""
    first = make_policy(name="p-0", endpoints=[endpoint("/p/0")])
    head = policies.newest(first)
    columns = {
        field.attname: getattr(head, field.attname)
        for field in Revision._meta.concrete_fields
        if field.attname not in ("id", "policy_id", "content", "digest")
    }
    service, document = first.service, head.document()
    rows = Policy.objects.bulk_create(
        Policy(service=service, scope="endpoint", name=f"p-{n}") for n in range(1, number)
    )
    revisions, endpoints = [], []
    for n, row in enumerate(rows, 1):
        told = {**document, "name": row.name, "endpoints": [endpoint(f"/p/{n}")]}
        text = json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        revisions.append(Revision(policy=row, content=text, digest=f"{n:064d}", **columns))
        route = f"/p/{n}"
        endpoints.append(
            Endpoint(service=service, policy=row, methods=["POST"], route=route, canonical_route=match.canonical(route))
        )
    for revision in Revision.objects.bulk_create(revisions):
        revision.policy.head = revision
    Policy.objects.bulk_update(rows, ["head"])
    Endpoint.objects.bulk_create(endpoints)


WORDS = some.text(some.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=40).filter(
    str.strip
)
TEXTS = some.one_of(
    WORDS,
    some.lists(WORDS, min_size=2, max_size=3).map("\n".join),
    some.sampled_from(
        ["no", "1_000", "2026-11-22", "0x1F", "1e5", "~", "- a", "a: b", "# x", "x \ny", "x\r\ny", "007"]
    ),
)
NAMES = some.from_regex(r"[a-z][a-z0-9-]{0,20}", fullmatch=True)
CONDITIONS = some.one_of(
    some.builds(lambda name, text: {"header": name, "in": [text.strip()]}, some.sampled_from(["x-a", "on"]), WORDS),
    some.just({"authenticated": True}),
    some.builds(lambda text: {"attr": "plan", "not_in": [text]}, some.sampled_from(["no", "12", "1.0", "é", "a b"])),
    some.just({"method": ["GET", "POST"]}),
)
RULES = some.one_of(
    some.builds(
        lambda limit, window, cost, key, when: rate_limit(limit=limit, window=window, cost=1, key=key, when=when),
        some.integers(1, 10**9),
        some.integers(1, 2_678_400),
        some.just(1),
        some.sampled_from([[], ["ip"], ["user", "header:no"], ["attr:on"]]),
        some.lists(CONDITIONS, max_size=2),
    ),
    some.builds(
        lambda limit: {"kind": "quota", "name": "q", "key": ["user"], "limit": limit, "period": "day"},
        some.integers(1, 10**9),
    ),
    some.builds(
        lambda slots: {"kind": "concurrency_limit", "name": "c", "limit": 4, "slot_ttl": slots}, some.integers(5, 60)
    ),
    some.builds(
        lambda size, auth: {
            "kind": "request_guard",
            "name": "g",
            "max_body": size,
            "content_types": ["text/csv"],
            "require_authenticated": auth,
        },
        some.none() | some.integers(1, 10**6),
        some.booleans(),
    ),
    some.builds(lambda seconds: {"kind": "deadline", "name": "d", "seconds": seconds}, some.floats(0.01, 3600)),
)


@some.composite
def drafts(ask: Any) -> dict[str, Any]:
    base = draft()
    rules = {rule["name"]: rule for rule in ask(some.lists(RULES, min_size=1, max_size=3))}
    return {
        **base,
        "name": ask(NAMES),
        "rules": list(rules.values()),
        "rollback_note": ask(TEXTS),
        "baseline": {field: ask(TEXTS) for field in base["baseline"]},
        "expected_result": {
            **base["expected_result"],
            "text": ask(TEXTS),
            "threshold": ask(some.integers(0, 10**12) | some.floats(0, 10**12)),
            "relative": ask(some.booleans()),
        },
        "labels": ask(some.lists(some.sampled_from(["no", "1e5", "month-end", "012", "a"]), max_size=4)),
        "ticket": ask(some.sampled_from(["", "https://tickets.example.com/OPS-812?a=b#c", "http://jira/ä"])),
        "review_days": ask(some.sampled_from([0, 90, 180])),
    }


@pytest.mark.parametrize("examples", [8, pytest.param(100, marks=pytest.mark.slow)])
def test_whatever_can_be_saved_goes_round_and_comes_back_the_same(catalogue: Catalogue, examples: int) -> None:
    policy = make_policy()
    legal = 0

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(drafts())
    def tried(content: dict[str, Any]) -> None:
        nonlocal legal
        try:
            change(policy, **content)
        except Refusal:
            return  # no legal content, for what a file has nothing to do with
        legal += 1
        before, text = counts(), exported()
        digest = Revision.objects.latest("pk").digest
        assert outcomes(imported(text)) == outcomes(imported(exported(portable=True))) == ["unchanged"]
        assert counts() == before
        change(policy, rollback_note="in between", reason="so that the import has something to do")
        imported(text.replace("revision: ", "# revision: "))
        assert Revision.objects.latest("pk").digest == digest

    tried()
    assert legal >= examples // 4
