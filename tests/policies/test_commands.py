"""The commands: what they print, and how they refuse."""

from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from policies.lifecycle import keys
from policies.models import AuditEvent, Policy, Release, Switch
from tests.policies.factories import Catalogue, change, make_policy, person, rate_limit

pytestmark = pytest.mark.django_db


def run(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out, stderr=StringIO())
    return out.getvalue()


def test_release_and_rollback_tell_what_they_did_and_the_way_back(catalogue: Catalogue) -> None:
    policy = make_policy()
    person("alice", "add_release", "change_release")
    told = run("release", policy.reference, "production", "--mode", "enforce", "--reason", "go", "--by", "alice")
    assert "r1 is live in production, mode enforce" in told
    assert f'manage.py rollback {policy.reference} production --reason "…" --by alice' in told
    assert "already" in run("release", policy.reference, "production", "--mode", "enforce", "--reason", "go")
    change(policy, rules=[rate_limit(limit=20)])
    assert "mode shadow" in run("release", policy.reference, "production", "--reason", "try")
    assert "back at r1" in run("rollback", policy.reference, "production", "--reason", "back")
    assert "no longer live" in run("rollback", policy.reference, "production", "--reason", "back")
    assert AuditEvent.objects.filter(actor="alice", door="command", verb="release.live").count() == 1
    assert AuditEvent.objects.filter(actor__startswith="command:", verb="release.rollback").count() == 2


def test_a_release_that_takes_others_along_says_by_which_options_it_goes_on(catalogue: Catalogue) -> None:
    policy = make_policy()
    ask = ("release", policy.reference, "production", "--reason", "go")
    run(*ask)
    change(policy, rules=[rate_limit(limit=20)])
    change(policy, rules=[rate_limit(limit=30)])
    with pytest.raises(CommandError, match="--acknowledge 2$") as refused:
        run(*ask)
    assert str(refused.value).startswith("base: ")
    assert "is live" in run(*ask, "--acknowledge", "2")


def test_a_release_that_waits_says_what_for(catalogue: Catalogue) -> None:
    policy = make_policy()
    catalogue.production.approvals_required = 1
    catalogue.production.save()
    ask = ("release", policy.reference, "production", "--mode", "enforce", "--steps", "5:1h,100", "--reason", "go")
    assert "is asked for in production: release 1 waits for 1 approval." in run(*ask).replace(
        f"release {Release.objects.get().pk} ", "release 1 "
    )
    assert Release.objects.get().steps == [{"rollout": 5, "hold": 3600}, {"rollout": 100, "hold": 0}]
    assert "already; nothing changed" in run(*ask)
    broken = run(*ask[:-4], "--reason", "the exports are down", "--break-glass", "emergency")
    assert "is live in production, mode enforce" in broken


def test_a_whole_bundle_goes_back_by_command(catalogue: Catalogue) -> None:
    policy = make_policy()
    run("release", policy.reference, "production", "--reason", "go")
    version = str(Release.objects.get().bundle_version)
    change(policy, rules=[rate_limit(limit=20)])
    run("release", policy.reference, "production", "--reason", "go")
    back = ("rollback_bundle", "reports", "production", version, "--reason", "night")
    assert f"{policy} is back at r1, mode shadow in production." in run(*back)
    with pytest.raises(CommandError, match="nothing_to_do"):
        run(*back)


def test_a_release_for_some_callers_and_with_counters_anew_by_command(catalogue: Catalogue) -> None:
    policy = make_policy()
    live = ("release", policy.reference, "production", "--mode", "enforce", "--reason", "go")
    assert "mode enforce for 10 % of callers." in run(*live, "--rollout", "10")
    assert "already" in run(*live, "--rollout", "10")
    told = run(*live, "--rollout", "20", "--on-change", "reset")
    assert "mode enforce for 20 % of callers." in told and "Its counters start anew." in told
    assert "back at r1, mode enforce for 10 % of callers" in run(
        "rollback", policy.reference, "production", "--reason", "x"
    )


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("release", "POL", "production", "--reason", "x", "--rollout", "101"), "rollout: Must be .* 0 to 100"),
        (("release", "POL-9999", "production", "--reason", "x"), "no policy POL-9999"),
        (("release", "nonsense", "production", "--reason", "x"), "no policy nonsense"),
        (("release", "POL", "mars", "--reason", "x"), "no environment mars. There are: production, staging"),
        (("release", "POL", "production", "--reason", " "), "invalid"),
        (("release", "POL", "production", "--reason", "x", "--revision", "7"), "no revision 7"),
        (("release", "POL", "production", "--reason", "x", "--by", "nobody"), "no account “nobody”"),
        (("release", "POL", "production", "--reason", "x", "--by", "charlie"), "forbidden"),
        (("rollback", "POL", "production", "--reason", "x"), "not_live"),
        (("switch", "clear", "--effect", "block", "--reason", "x"), "no open block switch"),
        (("switch", "set", "--effect", "block", "--until", "soon", "--reason", "x"), "2026-12-31T18:00:00Z"),
        (("create_service_key", "mars", "production"), "no service mars"),
        (("create_api_token", "nobody"), "no account"),
    ],
)
def test_a_command_refuses_in_plain_words_and_changes_nothing(
    catalogue: Catalogue, arguments: tuple[str, ...], told: str
) -> None:
    policy = make_policy()
    person("charlie")
    events = AuditEvent.objects.count()
    with pytest.raises(CommandError, match=told):
        run(*(policy.reference if word == "POL" else word for word in arguments))
    assert AuditEvent.objects.count() == events


def test_switches_by_command(catalogue: Catalogue) -> None:
    policy = make_policy()
    target = ("--effect", "block", "--policy", policy.reference, "--environment", "production")
    assert "is on" in run("switch", "set", *target, "--retry-after", "120", "--reason", "incident")
    assert Switch.objects.get().retry_after == 120
    assert "is off" in run("switch", "clear", *target, "--reason", "over")


def test_a_service_key_is_the_one_line_on_stdout_and_only_its_hash_is_kept(catalogue: Catalogue) -> None:
    secret = run("create_service_key", "reports", "production")
    assert secret.startswith("pck_") and secret.endswith("\n") and secret.count("\n") == 1
    key = keys.find_service_key(secret.strip())
    assert key is not None and key.scopes == ["bundle:read", "telemetry:write"]
    assert secret.strip() not in repr(vars(key)) + "".join(AuditEvent.objects.values_list("event", flat=True))


def test_an_api_token_works_as_long_as_its_account(catalogue: Catalogue) -> None:
    alice = person("alice")
    secret = run("create_api_token", "alice").strip()
    assert secret.startswith("pct_") and keys.find_api_token(secret) is not None
    alice.is_active = False
    alice.save()
    assert keys.find_api_token(secret) is None


@pytest.mark.parametrize("secret", ["", "pck_", "pck_ü", "\ud800", "x" * 10_000, "\x00"])
def test_a_wrong_key_is_nobody_and_no_error(catalogue: Catalogue, secret: str) -> None:
    assert keys.find_service_key(secret) is None
    assert keys.find_api_token(secret) is None


def test_the_demo_data_can_be_seeded_again(db: Any) -> None:
    assert "in place" in run("seed_demo")
    before = (Policy.objects.count(), Release.objects.count(), AuditEvent.objects.count())
    assert before[0] >= 3
    assert all(policy.head and policy.head.document()["examples"] for policy in Policy.objects.all())
    run("seed_demo")
    assert (Policy.objects.count(), Release.objects.count(), AuditEvent.objects.count()) == before
    assert "Whole" in run("verify_audit")
