"""Releases that an import asks for: as by hand, through the same gates, and never past a hold."""

from typing import Any

import pytest

from policies.lifecycle import catalog, importing
from policies.lifecycle.editing import policies
from policies.lifecycle.importing import Asked
from policies.lifecycle.releasing import going_back, holds, releases
from policies.models import AuditEvent, Environment, Policy, Release
from tests.files.hands import WHY, entries, entry, exported, file, imported, previewed
from tests.policies.factories import SYSTEM, Catalogue, acting, change, endpoint, grant, make_policy, person


def asked(body: bytes | str, environment: Environment, mode: str | None = None, **how: Any) -> list[Asked]:
    by = how.get("by", SYSTEM)
    foreseen = importing.foresee_releases(previewed(body, by=by), environment, mode=mode)
    done = importing.ask_for_releases(imported(body, by=by), environment, mode=mode, by=by, reason=WHY)
    for before, after in zip(foreseen, done, strict=True):
        assert (before.title, before.revision) == (after.title, after.revision)
        assert before.answer in ("would_ask", after.answer)
    return done


def put_live(policy: Policy, environment: Environment, **how: Any) -> Release:
    newest = policies.newest(policy)
    return releases.release(newest, environment, by=SYSTEM, reason="go", **{"mode": "enforce", **how}).release


def edited(old: str = "limit: 10\n", new: str = "limit: 20\n") -> str:
    return exported().replace(old, new)


def test_what_is_live_already_is_left_alone(catalogue: Catalogue) -> None:
    live = put_live(make_policy(), catalogue.production)
    before = AuditEvent.objects.count()
    [item] = asked(exported(), catalogue.production, mode="shadow")
    assert item.answer == "already" and item.release is None and "mode enforce" in item.detail
    live.refresh_from_db()
    assert live.state == "live" and AuditEvent.objects.count() == before


def test_a_new_revision_goes_live_on_the_terms_of_what_is_live(catalogue: Catalogue) -> None:
    put_live(make_policy(), catalogue.production, rollout=25)
    [item] = asked(edited(), catalogue.production)
    assert item.answer == "live" and item.release is not None and item.revision == 2
    assert (item.release.mode, item.release.rollout, item.release.reason) == ("enforce", 25, WHY)
    event = AuditEvent.objects.latest("seq")
    assert (event.verb, event.door) == ("release.live", "import")
    before = AuditEvent.objects.count()
    assert [item.answer for item in asked(edited(), catalogue.production)] == ["already"]
    assert AuditEvent.objects.count() == before


def test_a_rollout_in_steps_begins_anew(catalogue: Catalogue) -> None:
    steps = ({"rollout": 5, "hold": 3600}, {"rollout": 100})
    put_live(make_policy(), catalogue.production, steps=steps)
    [item] = asked(edited(), catalogue.production)
    assert item.release is not None and item.release.rollout == 5 and len(item.release.steps) == 2


def test_what_was_never_live_goes_into_shadow_unless_told_otherwise(catalogue: Catalogue) -> None:
    [item] = asked(file(entry("new", "/new")), catalogue.production)
    assert item.release is not None and item.release.how == "shadow"
    [item] = asked(file(entry("next", "/next")), catalogue.production, mode="enforce")
    assert item.release is not None and item.release.how == "enforce"


def test_an_environment_with_approvals_gets_a_request_once(catalogue: Catalogue) -> None:
    catalog.change(catalogue.production, {"approvals_required": 1}, by=SYSTEM)
    catalogue.production.refresh_from_db()
    body = file(entry("new", "/new"))
    [item] = asked(body, catalogue.production)
    assert item.answer == "requested" and item.release is not None and item.release.released_at is None
    [again] = asked(body, catalogue.production)
    assert again.answer == "already" and again.release == item.release and Release.objects.count() == 1


def test_of_revisions_that_say_the_same_the_one_that_waits_is_told(catalogue: Catalogue) -> None:
    catalog.change(catalogue.production, {"approvals_required": 1}, by=SYSTEM)
    catalogue.production.refresh_from_db()
    first = file(entry("new", "/new"))
    [waiting] = asked(first, catalogue.production)
    imported(file(entry("new", "/new", rollback_note="another one")))
    [back] = asked(first, catalogue.production)
    assert (back.answer, back.release, back.revision) == ("already", waiting.release, 3)
    assert back.detail.startswith("r1 is requested in production") and "says the same as r3" in back.detail


def test_a_place_under_a_hold_is_left_alone_until_a_person_lifts_it(catalogue: Catalogue) -> None:
    policy = make_policy()
    put_live(policy, catalogue.production)
    going_back.roll_back(put_live(change(policy, rollback_note="worse"), catalogue.production), by=SYSTEM, reason="bad")
    [item] = asked(edited(), catalogue.production)
    assert item.answer == "held" and "until a person lifts the hold" in item.detail
    assert not Release.objects.filter(revision__number=3).exists()
    [other] = asked(exported(), catalogue.staging)
    assert other.answer == "live"  # the hold is on one place alone
    hold = holds.open_hold(policy, catalogue.production)
    assert hold is not None
    holds.lift(hold, by=SYSTEM, reason="it was the job")
    [item] = asked(exported(), catalogue.production)
    assert item.code != "held" and item.answer in ("live", "refused")


def test_one_refusal_is_told_and_the_others_go_on(catalogue: Catalogue) -> None:
    one = make_policy(name="one", endpoints=[endpoint("/one")])
    make_policy(name="two", endpoints=[endpoint("/two")])
    put_live(one, catalogue.production)
    bob = acting(person("bob", "add_policy", "add_release"))
    change(one, by=bob, rollback_note="nobody released this")
    change(one, rollback_note="nor did they see this")
    first, second = asked(exported(), catalogue.production)
    assert (first.answer, first.code) == ("refused", "base") and "r2" in first.detail
    assert second.answer == "live"


def test_a_frozen_environment_refuses_all_of_them(catalogue: Catalogue) -> None:
    catalog.change(catalogue.production, {"frozen": True}, by=SYSTEM)
    catalogue.production.refresh_from_db()
    [item] = asked(file(entry("new", "/new")), catalogue.production)
    assert (item.answer, item.code) == ("refused", "frozen") and Policy.objects.count() == 1


def test_an_endpoint_moves_from_one_policy_to_the_other(catalogue: Catalogue) -> None:
    put_live(make_policy(name="a", endpoints=[endpoint("/a")]), catalogue.production)
    put_live(make_policy(name="b", endpoints=[endpoint("/b"), endpoint("/moves")]), catalogue.production)
    one, two = entries(exported())
    one["endpoints"], two["endpoints"] = [endpoint("/a"), endpoint("/moves")], [endpoint("/b")]
    assert [item.answer for item in asked(file(one, two), catalogue.production)] == ["live", "live"]


def test_what_swaps_is_saved_and_its_release_refused_by_name(catalogue: Catalogue) -> None:
    one = make_policy(name="one", endpoints=[endpoint("/one")])
    two = make_policy(name="two", endpoints=[endpoint("/two")])
    put_live(one, catalogue.production)
    put_live(two, catalogue.production)
    told = entries(exported())
    told[0]["endpoints"], told[1]["endpoints"] = told[1]["endpoints"], told[0]["endpoints"]
    first, second = asked(file(*told), catalogue.production)
    assert (first.code, second.code) == ("endpoint_taken", "endpoint_taken")
    assert two.reference in first.detail and one.reference in second.detail


@pytest.mark.parametrize(("role", "answer"), [("editor", "live"), ("viewer", "forbidden")])
def test_only_who_may_release_there_by_hand_may_do_it_by_file(catalogue: Catalogue, role: str, answer: str) -> None:
    carol = person("carol")
    grant(carol, "editor", service=catalogue.reports, environment=catalogue.staging)
    grant(carol, role, service=catalogue.reports, environment=catalogue.production)
    [item] = asked(file(entry("new", "/new")), catalogue.production, by=acting(carol))
    assert answer in (item.answer, item.code)
