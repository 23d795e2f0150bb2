"""Overrides: for whom, from when to when, who may, and what bundles list of them."""

import json
import re
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from policies.lifecycle import audit, catalog
from policies.lifecycle.actor import Actor
from policies.lifecycle.editing import policies
from policies.lifecycle.overriding import overrides
from policies.lifecycle.overriding.override_keys import read_key
from policies.lifecycle.refusals import Forbidden, Invalid, Refusal, Stale
from policies.lifecycle.releasing import releases
from policies.models import AuditEvent, Environment, Override, Policy
from policies.publishing import bundles
from policies.publishing import overrides as publishing
from tests.policies.factories import SYSTEM, Catalogue, acting, change, grant, make_policy, person, rate_limit

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
WEEK = NOW + timedelta(days=7)
JOB = Actor(name="job:expire", door="job")
MONTHLY = {"kind": "quota", "name": "monthly", "key": ["tenant"], "limit": 10_000, "period": "month"}
GUARD = {"kind": "request_guard", "name": "small", "max_body": 10}


@pytest.fixture
def policy(catalogue: Catalogue) -> Policy:
    """One that is live in production."""
    made = make_policy()
    assert made.head is not None
    releases.release(made.head, catalogue.production, mode="enforce", by=SYSTEM, reason="go")
    return made


def put(policy: Policy, environment: Environment, effect: str = "exempt", **given: Any) -> Override:
    wanted = {
        "key": {"user": "42"},
        "until": WEEK,
        "by": SYSTEM,
        "reason": "OPS-812: their import",
        "now": NOW,
        **given,
    }
    return overrides.set_override(effect, policy=policy, environment=environment, **wanted)


def listed(catalogue: Catalogue, service: Any = None, environment: Environment | None = None) -> list[dict[str, Any]]:
    built = bundles.fetch(service or catalogue.reports, environment or catalogue.production)
    found: list[dict[str, Any]] = json.loads(built.body)["overrides"]
    return found


def test_an_override_is_in_the_bundle_until_somebody_ends_it(catalogue: Catalogue, policy: Policy) -> None:
    override = put(policy, catalogue.production, rule="per-user")
    told = {
        "id": override.pk,
        "key": {"user": "42"},
        "policy": policy.reference,
        "rule": "per-user",
        "effect": "exempt",
        "limit": None,
        "until": "2026-11-29T09:00:00Z",
    }
    assert listed(catalogue) == [told]
    assert listed(catalogue, environment=catalogue.staging) == []
    before = bundles.fetch(catalogue.reports, catalogue.production).version
    ended = overrides.end_override(override, by=SYSTEM, reason="their import is through", now=NOW + timedelta(hours=1))
    assert (ended.ended_by, ended.ended_at) == ("command:tests", NOW + timedelta(hours=1))
    assert listed(catalogue) == []
    assert bundles.fetch(catalogue.reports, catalogue.production).version > before
    set_event, end_event = AuditEvent.objects.filter(verb__startswith="override.").order_by("seq")
    assert (set_event.verb, set_event.policy, set_event.service, set_event.environment) == (
        "override.set",
        policy.reference,
        "reports",
        "production",
    )
    assert json.loads(set_event.event)["after"] == {**told, "environment": "production"}
    assert json.loads(end_event.event)["before"] == {**told, "environment": "production"}
    assert (end_event.verb, end_event.reason) == ("override.end", "their import is through")
    assert audit.verify().fault is None
    with pytest.raises(Refusal, match="ended by command:tests") as caught:
        overrides.end_override(override, by=SYSTEM, reason="twice", now=NOW + timedelta(hours=2))
    assert caught.value.code == "ended"


def test_its_end_and_its_limit_may_change_while_it_is_open(catalogue: Catalogue, policy: Policy) -> None:
    override = put(policy, catalogue.production, "limit", limit=50)
    later = WEEK + timedelta(days=1)
    told: dict[str, Any] = {"by": SYSTEM, "reason": "it takes longer", "now": NOW}
    changed = overrides.change_override(override, until=later, limit=60, **told)
    [entry] = listed(catalogue)
    assert (entry["id"], entry["limit"], entry["until"]) == (override.pk, 60, later.strftime("%Y-%m-%dT%H:%M:%SZ"))
    event = AuditEvent.objects.get(verb="override.change")
    document = json.loads(event.event)
    assert (document["before"]["limit"], document["after"]["limit"], event.reason) == (50, 60, "it takes longer")
    version = bundles.fetch(catalogue.reports, catalogue.production).version
    overrides.change_override(changed, until=later, limit=60, **told)
    assert bundles.fetch(catalogue.reports, catalogue.production).version == version


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        ({"until": NOW - timedelta(hours=1)}, "until"),
        ({"until": NOW + timedelta(days=91)}, "until"),
        ({"until": None}, "until"),
        ({"limit": 0}, "limit"),
        ({"limit": None}, "limit"),
    ],
)
def test_a_change_is_held_to_what_a_new_one_is(
    catalogue: Catalogue, policy: Policy, wanted: dict[str, Any], field: str
) -> None:
    override = put(policy, catalogue.production, "limit", limit=50)
    with pytest.raises(Invalid) as caught:
        overrides.change_override(
            override, **{"until": WEEK, "limit": 50, **wanted}, by=SYSTEM, reason="other", now=NOW
        )
    assert list(caught.value.errors) == [field]
    assert Override.objects.get() == override and not AuditEvent.objects.filter(verb="override.change").exists()


def test_of_two_who_change_it_at_once_the_second_is_told(catalogue: Catalogue, policy: Policy) -> None:
    override = put(policy, catalogue.production)
    told: dict[str, Any] = {"limit": None, "base": overrides.document(override), "by": SYSTEM, "now": NOW}
    later = WEEK + timedelta(days=1)
    overrides.change_override(override, until=later, **told, reason="longer")
    with pytest.raises(Stale):
        overrides.change_override(override, until=NOW + timedelta(hours=1), **told, reason="shorter")
    assert Override.objects.get().until == later


def test_what_is_over_is_not_changed(catalogue: Catalogue, policy: Policy) -> None:
    """Neither what somebody ended nor what ended by itself comes back."""
    override = put(policy, catalogue.production)
    with pytest.raises(Refusal, match="was ended by its own end already"):
        overrides.change_override(override, until=WEEK, limit=None, by=SYSTEM, reason="on", now=WEEK)
    overrides.end_override(override, by=SYSTEM, reason="done", now=NOW)
    with pytest.raises(Refusal) as caught:
        overrides.change_override(override, until=WEEK, limit=None, by=SYSTEM, reason="on", now=NOW)
    assert caught.value.code == "ended"


def test_the_bytes_of_a_version_do_not_change_when_an_override_ends_by_itself(
    catalogue: Catalogue, policy: Policy
) -> None:
    put(policy, catalogue.production, until=NOW + timedelta(minutes=1))
    first = bundles.fetch(catalogue.reports, catalogue.production)
    bundles.forget_built()
    assert bundles.fetch(catalogue.reports, catalogue.production) == first
    assert overrides.close_expired(NOW + timedelta(seconds=59), by=JOB) == 0
    assert overrides.close_expired(NOW + timedelta(minutes=1), by=JOB) == 1
    assert overrides.close_expired(NOW + timedelta(minutes=2), by=JOB) == 0
    assert listed(catalogue) == []
    assert Override.objects.get().ended_by == "its own end"
    event = AuditEvent.objects.latest("seq")
    assert (event.verb, event.actor, event.door) == ("override.end", "job:expire", "job")


def test_what_is_not_live_is_not_listed(catalogue: Catalogue, policy: Policy) -> None:
    put(policy, catalogue.staging)
    assert listed(catalogue, environment=catalogue.staging) == []
    assert policy.head is not None
    releases.release(policy.head, catalogue.staging, mode="shadow", by=SYSTEM, reason="try", now=NOW)
    assert [row["policy"] for row in listed(catalogue, environment=catalogue.staging)] == [policy.reference]


def test_those_of_a_default_are_listed_where_rules_come_from_it(catalogue: Catalogue, policy: Policy) -> None:
    default = make_policy(
        name="floor", scope="service", endpoints=[], rules=[rate_limit(name="floor", key=["ip"], limit=500)]
    )
    assert default.head is not None
    releases.release(default.head, catalogue.production, mode="enforce", by=SYSTEM, reason="go")
    put(default, catalogue.production, key={"ip": "192.0.2.0/24"})
    put(policy, catalogue.production, rule="floor")
    assert [row["policy"] for row in listed(catalogue)] == [default.reference, policy.reference]


KEYS = [
    ({"user": "42"}, {"user": "42"}),
    ({"tenant": "acme", "api_key": "k1"}, {"api_key": "k1", "tenant": "acme"}),
    ({"HEADER:X-Client": "Cron"}, {"header:x-client": "Cron"}),
    ({"header:X-Client": "Cron"}, {"header:x-client": "Cron"}),
    ({"cookie:Session": "a b"}, {"cookie:Session": "a b"}),
    ({"query:q": "é"}, {"query:q": "é"}),
    ({"path:report_id": "7", "attr:plan": "free"}, {"attr:plan": "free", "path:report_id": "7"}),
    ({"ip": "192.0.2.7"}, {"ip": "192.0.2.7"}),
    ({"ip": " 192.0.2.7/32 "}, {"ip": "192.0.2.7"}),
    ({"ip": "192.0.2.7/24"}, {"ip": "192.0.2.0/24"}),
    ({"ip": "2001:DB8::1"}, {"ip": "2001:db8::/64"}),
    ({"ip": "2001:db8::/120"}, {"ip": "2001:db8::/64"}),
    ({"ip": "2001:db8::/48"}, {"ip": "2001:db8::/48"}),
    ({"ip": "::ffff:192.0.2.7"}, {"ip": "192.0.2.7"}),
    ({"ip": "::ffff:192.0.2.0/120"}, {"ip": "192.0.2.0/24"}),
    ({"ip": "0.0.0.0/0"}, None),
    ({"ip": "::ffff:0:0/96"}, None),
    ({"ip": "localhost"}, None),
    ({"ip": "192.0.2.7:80"}, None),
    ({"user": 42}, None),
    ({"user": " "}, None),
    ({"user": "x" * 200}, {"user": "x" * 200}),
    ({"user": "x" * 201}, None),
    ({"user": "a\0"}, None),
    ({"user": "\ud800"}, None),
    ({"method": "POST"}, None),
    ({"header:Authorization": "Bearer secret"}, None),
    ({"header:cookie": "session=secret"}, None),
    ({"colour": "red"}, None),
    ({"header:": "x"}, None),
    ({"header:A": "x", "header:a": "x"}, None),
    ({}, None),
    (["user"], None),
    ("user", None),
    ({f"attr:{n}": "x" for n in range(5)}, None),
]


@pytest.mark.portable
@pytest.mark.parametrize(("given", "wanted"), KEYS, ids=lambda value: str(value)[:60].encode("ascii", "replace"))
def test_a_key_has_one_spelling_or_is_refused(given: Any, wanted: dict[str, str] | None) -> None:
    if wanted is not None:
        assert list(read_key(given).items()) == list(wanted.items())
        return
    with pytest.raises(Invalid) as caught:
        read_key(given)
    assert all(field.partition(".")[0] == "key" for field in caught.value.errors)


FAULTS: list[tuple[dict[str, Any], str, str]] = [
    ({"effect": "free"}, "effect", "Must be one of: exempt, block, limit, reset"),
    ({"until": None}, "until", "Say when it ends"),
    ({"until": NOW}, "until", "future"),
    ({"until": NOW + timedelta(days=90, seconds=1)}, "until", "within 90 days"),
    ({"until": datetime(2026, 12, 1)}, "until", "offset"),
    ({"limit": 5}, "limit", "Only the effect “limit”"),
    ({"effect": "limit", "rule": "per-user"}, "limit", "Must be between 1"),
    ({"effect": "limit", "limit": 0, "rule": "dear"}, "limit", "block the caller"),
    ({"effect": "limit", "limit": 10**9 + 1, "rule": "per-user"}, "limit", "Must be between 1"),
    ({"effect": "limit", "limit": 5}, "rule", "name one of dear, monthly and per-user"),
    ({"effect": "limit", "limit": 2, "rule": "dear"}, "limit", "“dear” cannot have it.*at most 2"),
    ({"rule": "nothing"}, "rule", "There is no rule “nothing”; those that count: dear, monthly and per-user"),
    ({"rule": "small"}, "rule", "“small” counts no calls"),
    ({"effect": "block", "rule": "per-user"}, "rule", "leave the rule empty"),
    ({"key": {"user": ""}}, "key.user", "Must be text"),
    (
        {"effect": "reset", "key": {"tenant": "a"}, "until": NOW + timedelta(days=8)},
        "until",
        "Must be 2026-12-01T00:00:00Z or later",
    ),
    (
        {"effect": "reset", "rule": "per-user", "until": NOW + timedelta(minutes=59)},
        "until",
        "the old count would come",
    ),
]


@pytest.mark.portable
@pytest.mark.parametrize(("given", "field", "message"), FAULTS)
def test_a_fault_is_named_by_field(catalogue: Catalogue, given: dict[str, Any], field: str, message: str) -> None:
    policy = make_policy(rules=[rate_limit(), MONTHLY, GUARD, rate_limit(name="dear", cost=3, limit=9)])
    with pytest.raises(Invalid) as caught:
        put(policy, catalogue.production, **given)
    assert list(caught.value.errors) == [field]
    [told] = caught.value.errors[field]
    assert re.search(message, told), told
    assert not Override.objects.exists()


def test_a_policy_that_counts_nothing_has_nothing_to_exempt_from(catalogue: Catalogue) -> None:
    policy = make_policy(rules=[GUARD])
    for effect in ("exempt", "reset"):
        with pytest.raises(Invalid, match="effect"):
            put(policy, catalogue.production, effect)
    assert put(policy, catalogue.production, "block").effect == "block"


@pytest.mark.portable
@pytest.mark.parametrize(
    ("rules", "rule", "seconds"),
    [
        ([rate_limit()], None, 3600),
        ([rate_limit(), {**MONTHLY, "key": ["user"]}], None, 8 * 86_400 + 15 * 3600),
        ([rate_limit(), MONTHLY], None, 3600),
        ([rate_limit(), MONTHLY], "per-user", 3600),
        ([rate_limit(limit=10, burst=25)], None, 9000),
        ([rate_limit(algorithm="sliding_log", window=60)], None, 60),
        ([rate_limit(algorithm="fixed_window", window=7200)], None, 3 * 3600),
        ([rate_limit(algorithm="fixed_window", window=3600)], None, 3600),
        ([{"kind": "quota", "name": "daily", "key": ["user"], "limit": 5, "period": "day"}], None, 15 * 3600),
        ([{"kind": "concurrency_limit", "name": "slots", "key": ["user"], "limit": 5, "slot_ttl": 90}], None, 90),
    ],
)
def test_a_reset_lasts_until_the_old_count_is_forgotten(
    catalogue: Catalogue, rules: list[dict[str, Any]], rule: str | None, seconds: int
) -> None:
    policy = make_policy(rules=rules)
    override = put(policy, catalogue.production, "reset", rule=rule, until=None)
    assert override.until == NOW + timedelta(seconds=seconds)
    overrides.end_override(override, by=SYSTEM, reason="again", now=NOW)
    assert put(policy, catalogue.production, "reset", rule=rule, until=override.until).until == override.until


def test_a_reset_waits_for_what_is_live_and_for_what_is_newest(catalogue: Catalogue, policy: Policy) -> None:
    policy = change(policy, rules=[rate_limit(window=60)])
    assert put(policy, catalogue.production, "reset", until=None).until == NOW + timedelta(hours=1)
    assert put(policy, catalogue.staging, "reset", until=None).until == NOW + timedelta(minutes=1)


def test_a_bucket_that_drains_for_longer_than_an_override_lasts_is_not_reset(catalogue: Catalogue) -> None:
    policy = make_policy(rules=[rate_limit(limit=1, burst=10_000, window=3600)])
    with pytest.raises(Invalid) as caught:
        put(policy, catalogue.production, "reset", until=None)
    assert "counters that start anew" in caught.value.errors["until"][0]


def test_the_same_one_is_refused_while_it_is_open(catalogue: Catalogue, policy: Policy) -> None:
    first = put(policy, catalogue.production, key={"ip": "192.0.2.7", "user": "42"})
    with pytest.raises(Refusal) as caught:
        put(policy, catalogue.production, key={"user": "42", "ip": "192.0.2.7/32"})
    assert caught.value.code == "override_open" and f"override {first.pk}" in caught.value.detail
    put(policy, catalogue.production, rule="per-user", key={"ip": "192.0.2.7", "user": "42"})
    put(policy, catalogue.production, "block", key={"ip": "192.0.2.7", "user": "42"})
    put(policy, catalogue.staging, key={"ip": "192.0.2.7", "user": "42"})
    later = WEEK + timedelta(seconds=1)  # nobody has closed the first one, and it is over
    put(policy, catalogue.production, key={"ip": "192.0.2.7", "user": "42"}, now=later, until=later + timedelta(days=1))


def test_a_thousand_are_enough(catalogue: Catalogue, policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    row = put(policy, catalogue.production)
    monkeypatch.setattr(overrides, "MOST_OPEN", 2)
    put(policy, catalogue.production, key={"user": "43"})
    with pytest.raises(Refusal, match="has 2 open overrides in production. End some") as caught:
        put(policy, catalogue.production, key={"user": "44"})
    assert caught.value.code == "too_many_overrides"
    overrides.end_override(row, by=SYSTEM, reason="make room", now=NOW)
    put(policy, catalogue.production, key={"user": "44"})
    monkeypatch.setattr(publishing, "ROOM", 300)
    with pytest.raises(Refusal, match="fill the room"):
        put(policy, catalogue.staging, key={"user": "x" * 200})
    assert overrides.open_overrides(policy, catalogue.staging, NOW) == []


def test_a_frozen_environment_refuses_both_verbs_and_lets_time_pass(catalogue: Catalogue, policy: Policy) -> None:
    override = put(policy, catalogue.production)
    Environment.objects.filter(pk=catalogue.production.pk).update(frozen=True)
    for act in (
        lambda: put(policy, catalogue.production, key={"user": "43"}),
        lambda: overrides.end_override(override, by=SYSTEM, reason="no", now=NOW),
    ):
        with pytest.raises(Refusal) as caught:
            act()
        assert caught.value.code == "frozen"
    assert overrides.close_expired(WEEK, by=JOB) == 1


def test_what_was_archived_gets_no_override_and_what_has_one_is_not_archived(
    catalogue: Catalogue, policy: Policy
) -> None:
    draft = make_policy(name="draft", endpoints=[{"name": "", "methods": [], "route": "/draft"}])
    now = datetime.now(UTC)
    open_one = put(draft, catalogue.production, until=now + timedelta(days=1), now=now)
    with pytest.raises(Refusal, match="open override") as caught:
        policies.archive_policy(draft, by=SYSTEM, reason="not needed")
    assert caught.value.code == "overridden"
    overrides.end_override(open_one, by=SYSTEM, reason="not needed", now=now)
    policies.archive_policy(draft, by=SYSTEM, reason="not needed")
    catalog.archive(catalogue.staging, by=SYSTEM)
    for archived, place in ((draft, catalogue.production), (policy, catalogue.staging)):
        with pytest.raises(Refusal) as caught:
            put(archived, place)
        assert caught.value.code == "archived"


def test_an_editor_suffices_where_no_approval_is_asked_for(catalogue: Catalogue, policy: Policy) -> None:
    bob, dora, charlie = person("bob"), person("dora"), person("charlie")
    grant(bob, "editor", catalogue.reports, catalogue.production)
    grant(dora, "approver", catalogue.reports, catalogue.production)
    grant(charlie, "approver", catalogue.shop)
    editor, approver, outsider = acting(bob), acting(dora), acting(charlie)
    row = put(policy, catalogue.production, by=editor)
    put(policy, catalogue.production, key={"user": "43"}, by=approver)
    overrides.end_override(row, by=editor, reason="done", now=NOW)
    Environment.objects.filter(pk=catalogue.production.pk).update(approvals_required=1)
    guarded = Environment.objects.get(pk=catalogue.production.pk)
    for environment in (guarded, catalogue.production):  # the row that was read before says 0 still
        for by in (editor, outsider):
            with pytest.raises(Forbidden):
                put(policy, environment, by=by)
    row = put(policy, guarded, by=approver)
    with pytest.raises(Forbidden):
        overrides.end_override(row, by=editor, reason="no", now=NOW)
    overrides.end_override(row, by=approver, reason="done", now=NOW)


def test_a_reason_is_asked_for(catalogue: Catalogue, policy: Policy) -> None:
    with pytest.raises(Invalid, match="reason"):
        put(policy, catalogue.production, reason=" ")


def test_by_command_it_is_set_and_ended(catalogue: Catalogue, policy: Policy) -> None:
    place = ("--policy", policy.reference, "--environment", "production")
    told = run("override", "set", "--effect", "reset", *place, "--key", "user=a=b", "--reason", "mended")
    override = Override.objects.get()
    assert f"Override {override.pk} is open until" in told and "reset of user a=b" in told
    assert (override.key, override.until - override.set_at) == ({"user": "a=b"}, timedelta(hours=1))
    assert f"override end {override.pk}" in told
    assert "is ended: reset of user a=b" in run("override", "end", str(override.pk), "--reason", "done")
    for arguments, refused in (
        (("set", "--effect", "reset", "--reason", "x"), "give --policy, --environment, --key"),
        (("set", "--effect", "exempt", *place, "--key", "user=1", "--reason", "x"), "until: Say when it ends"),
        (("set", "--effect", "reset", *place, "--key", "user", "--reason", "x"), "write it like --key user=42"),
        (("end", "--reason", "x"), "no such override"),
        (("end", str(override.pk), "--reason", "x"), "ended: This override was ended by command:"),
    ):
        with pytest.raises(CommandError, match=refused):
            run("override", *arguments)


def run(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out, stderr=StringIO())
    return out.getvalue()
