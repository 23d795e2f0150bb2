"""No sequence of acts reaches a state that must not be: verbs, roles, environments and jobs in any order.

The clock only goes on. After each step all that stands in the tables is looked at (`tests.policies.state_of_things`).
"""

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from policies.lifecycle import audit, catalog, checklists, switches
from policies.lifecycle.actor import Actor
from policies.lifecycle.documenting import final_notes
from policies.lifecycle.refusals import Refusal
from policies.lifecycle.releasing import approvals, due, going_back, holds, promotion, releases, steps
from policies.models import (
    ChecklistItem,
    ChecklistTemplate,
    Environment,
    Hold,
    Policy,
    Release,
    Service,
    Switch,
)
from policies.publishing import bundles
from tests.policies import state_of_things as things
from tests.policies.factories import SYSTEM, Catalogue, change, grant, make_policy, rate_limit
from tests.policies.state_of_things import State
from tests.policies.what_people_do import (
    ACTS,
    HOUR,
    ITEMS,
    NOW,
    OFTEN,
    ROLES,
    approvers,
    can,
    editors,
    governors,
    numbers,
    places,
    some,
    terms,
    ways,
)

SAID_ON_THE_WAY = {"changed", "approval", "checklist", "scheduled"}
"""Refusals that say that a request waits again, or for what: that stays written although the act was refused."""


class Life(RuleBasedStateMachine):
    """Two environments, a policy and the default that it inherits from, six people and the jobs."""

    accounts: ClassVar[dict[str, User]] = {}

    def __init__(self) -> None:
        super().__init__()
        self.savepoint = transaction.savepoint()
        bundles.forget_built()
        self.now = NOW
        self.state = State.read()
        self.bodies = things.check_bundles(self.state, self.state, {})

    def teardown(self) -> None:
        assert audit.verify().fault is None
        transaction.savepoint_rollback(self.savepoint)

    @rule(data=st.data())
    def anything(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(OFTEN), label="act")
        getattr(self, name)(**data.draw(ACTS[name], label=name))

    # --- how anything is done, and what is looked at afterwards

    def actor(self, name: str, door: str = "rest") -> Actor:
        return Actor(name=name, door=door, user=self.accounts[name])

    def do(self, act: Callable[[], object], *, attended: bool = True, goes_back: bool = False) -> str:
        """Do it and look at everything; answers the code of the refusal, or nothing."""
        before, code = self.state, ""
        try:
            act()
        except Refusal as refusal:
            code = refusal.code
        after = State.read()
        if code and code not in SAID_ON_THE_WAY:
            assert after == before, f"{code}, and yet something changed"
        if code:
            assert after.live() == before.live()
        things.check_history(before, after)
        things.check_one_live(after)
        things.check_going_live(before, after, attended=attended)
        things.check_frozen(before, after, may=goes_back)
        if not attended:
            things.check_left_alone(before, after)
        things.check_told(before, after)
        self.bodies = things.check_bundles(before, after, self.bodies)
        self.state = after
        return code

    def person_does(self, name: str, role: str, where: str, act: Callable[[], object], **how: Any) -> str:
        """Whoever has the role there is never forbidden to; whoever has not always is."""
        code = self.do(act, **how)
        may = bool(ROLES[name][where] & {role, "admin"})
        assert (code != "forbidden") == may, f"{name} as {role} in {where}: {code or 'done'}"
        return code

    def release(self, number: int, which: str, *states: str) -> Release | None:
        """One of the releases; the newest of those in one of the states, or any at all."""
        found = Release.objects.filter(requested_by__in=ROLES).order_by("-pk") if not states else Release.objects.all()
        if which == "latest" and states:
            found = found.filter(state__in=states)
        return pick(number, found.select_related("policy__service", "environment", "revision").order_by("-pk"))

    # --- asking

    @can(who=editors, which=st.integers(0, 1), limit=st.integers(1, 9))
    def save(self, who: str, which: int, limit: int) -> None:
        policy = Policy.objects.order_by("pk")[which]
        name = policy.head.document()["rules"][0]["name"] if policy.head else ""
        rules = [rate_limit(name=name, limit=limit)]
        self.person_does(who, "editor", _any_place(who), lambda: change(policy, by=self.actor(who), rules=rules))

    @can(6, who=editors, where=places, which=st.sampled_from([0, 0, 0, 1]), wanted=terms, how=ways)
    def ask(self, who: str, where: str, which: int, wanted: dict[str, Any], how: dict[str, Any]) -> None:
        policy = Policy.objects.order_by("pk")[which]
        written = list(policy.revisions.order_by("-number")[: how["back"] + 1])
        at = {name: self.now + hours * HOUR for name in ("starts_at", "expires_at") if (hours := wanted.get(name))}
        given: dict[str, Any] = {**wanted, "starts_at": None, "expires_at": None, **at, "break_glass": how["glass"]}
        given["checklist"] = ChecklistTemplate.objects.get(slug="asked") if how["checklist"] else None

        def act(acknowledge: Iterable[int] = ()) -> object:
            return releases.release(
                written[-1],
                Environment.objects.get(slug=where),
                **given,
                acknowledge=acknowledge,
                by=self.actor(who, how["door"]),
                reason="as agreed",
                now=self.now,
            )

        attended = how["door"] != "import"
        code = self.person_does(who, "editor", where, act, attended=attended)
        if code == "base" and how["knows"]:
            self.person_does(who, "editor", where, lambda: act(self.named(act)), attended=attended)

    @staticmethod
    def named(act: Callable[[], object]) -> list[int]:
        """What a refusal says that has to be acknowledged."""
        try:
            act()
        except Refusal as refusal:
            said = refusal.errors.get("acknowledge", ["Must be []."])[0]
            return [int(one) for one in said.removeprefix("Must be [").removesuffix("].").split(",") if one.strip()]
        raise AssertionError("it was refused a moment ago")

    @can(6, who=approvers, number=numbers, which=some)
    def approve(self, who: str, number: int, which: str) -> None:
        asked = self.release(number, which, "requested")
        if asked is not None:
            where = asked.environment.slug
            act = lambda: approvals.approve(asked, by=self.actor(who), now=self.now)  # noqa: E731
            code = self.person_does(who, "approver", where, act)
            if code == "changed":
                self.person_does(who, "approver", where, act)

    @can(who=approvers, number=numbers, which=some)
    def reject(self, who: str, number: int, which: str) -> None:
        asked = self.release(number, which, "requested", "approved", "scheduled")
        if asked is not None:
            act = lambda: approvals.reject(asked, by=self.actor(who), comment="no", now=self.now)  # noqa: E731
            self.person_does(who, "approver", asked.environment.slug, act)

    @can(who=editors, number=numbers, which=some)
    def cancel(self, who: str, number: int, which: str) -> None:
        asked = self.release(number, which, "requested", "approved", "scheduled")
        if asked is not None:
            act = lambda: releases.cancel(asked, by=self.actor(who), reason="no", now=self.now)  # noqa: E731
            self.person_does(who, "editor", asked.environment.slug, act)

    @can(who=editors, number=numbers, which=some)
    def activate(self, who: str, number: int, which: str) -> None:
        asked = self.release(number, which, "requested", "approved", "scheduled")
        if asked is not None:
            act = lambda: releases.activate(asked, by=self.actor(who), now=self.now)  # noqa: E731
            self.person_does(who, "editor", asked.environment.slug, act)

    @can(who=editors, number=numbers)
    def tick(self, who: str, number: int) -> None:
        item = pick(number, ChecklistItem.objects.filter(done_at=None).select_related("release__environment"))
        if item is not None:
            act = lambda: checklists.tick(item, by=self.actor(who), evidence="seen", now=self.now)  # noqa: E731
            self.person_does(who, "editor", item.release.environment.slug, act)

    @can(who=approvers, number=numbers)
    def review(self, who: str, number: int) -> None:
        broken = self.release(number, "latest", "live", "superseded", "rolled_back")
        if broken is not None:
            act = lambda: approvals.review_break_glass(broken, by=self.actor(who), comment="seen", now=self.now)  # noqa: E731
            self.person_does(who, "approver", broken.environment.slug, act)

    @can(who=editors, number=numbers)
    def note(self, who: str, number: int) -> None:
        over = self.release(number, "latest", "superseded", "rolled_back", "live")
        if over is not None:
            act = lambda: final_notes.confirm(over, "It held.", by=self.actor(who), now=self.now)  # noqa: E731
            self.person_does(who, "editor", over.environment.slug, act)

    # --- going on and going back

    @can(3, who=editors, number=numbers, which=some, to=st.one_of(st.none(), numbers))
    def roll_back(self, who: str, number: int, which: str, to: int | None) -> None:
        live = self.release(number, which, "live")
        if live is None:
            return
        promised = going_back.fallback(live, self.now)
        target = None if to is None else self.release(to, "any", "live")
        act = lambda: going_back.roll_back(live, to=target, by=self.actor(who), reason="bad", now=self.now)  # noqa: E731
        code = self.person_does(who, "editor", live.environment.slug, act, goes_back=True)
        if target is None and code != "forbidden":
            assert (not code) == promised.possible, (code, promised)
            if not code:
                new = Release.objects.latest("pk")
                wanted = promised.target.restored if promised.target and promised.target.revision else None
                assert new.restores == wanted

    @can(who=editors, where=places, number=numbers)
    def roll_back_bundle(self, who: str, where: str, number: int) -> None:
        versions = sorted({row["bundle_version"] for row in self.state.releases.values()}) or [0]
        environment, service = Environment.objects.get(slug=where), Service.objects.get(slug="reports")
        version = versions[number % len(versions)]
        act = lambda: going_back.roll_back_bundle(  # noqa: E731
            service, environment, version, by=self.actor(who), reason="night", now=self.now
        )
        self.person_does(who, "editor", where, act, goes_back=True)

    @can(who=editors, number=numbers, verb=st.sampled_from(["advance", "step_back", "halt", "resume"]))
    def step(self, who: str, number: int, verb: str) -> None:
        staged = pick(number, Release.objects.filter(state="live").exclude(steps=[]).select_related("environment"))
        if staged is not None:
            act = lambda: getattr(steps, verb)(staged, by=self.actor(who), reason="why", now=self.now)  # noqa: E731
            self.person_does(who, "editor", staged.environment.slug, act)

    @can(who=editors, number=numbers)
    def promote(self, who: str, number: int) -> None:
        live = pick(number, Release.objects.filter(environment__slug="staging", role="enforced").order_by("-pk"))
        if live is not None:
            act = lambda: promotion.promote(live, by=self.actor(who), reason="on", now=self.now)  # noqa: E731
            self.person_does(who, "editor", "production", act)

    @can(who=editors, number=numbers)
    def enforce(self, who: str, number: int) -> None:
        tried = pick(number, Release.objects.filter(role="candidate").order_by("-pk"))
        if tried is not None:
            act = lambda: promotion.enforce_candidate(tried, by=self.actor(who), reason="on", now=self.now)  # noqa: E731
            self.person_does(who, "editor", tried.environment.slug, act)

    @can(who=editors, number=numbers)
    def lift(self, who: str, number: int) -> None:
        hold = pick(number, Hold.objects.select_related("policy__service", "environment").order_by("-pk"))
        if hold is not None:
            act = lambda: holds.lift(hold, by=self.actor(who), reason="mended", now=self.now)  # noqa: E731
            self.person_does(who, "editor", hold.environment.slug, act)

    # --- what stands around it

    @can(
        who=governors,
        where=places,
        frozen=st.sampled_from([False, False, True]),
        required=st.sampled_from([1, 1, 0, 2]),
    )
    def govern(self, who: str, where: str, frozen: bool, required: int) -> None:
        environment = Environment.objects.get(slug=where)
        wanted = {"frozen": frozen, "approvals_required": required}
        self.person_does(
            who, "admin", where, lambda: catalog.change(environment, wanted, by=self.actor(who), reason="x")
        )

    @can(who=editors, where=places)
    def switch(self, who: str, where: str) -> None:
        opened = Switch.objects.filter(cleared_at=None, environment__slug=where).first()
        policy, environment = Policy.objects.order_by("pk")[0], Environment.objects.get(slug=where)
        why: dict[str, Any] = {"by": self.actor(who), "reason": "incident"}
        code = self.person_does(
            who,
            "editor",
            where,
            lambda: (
                switches.clear_switch(opened, **why)
                if opened
                else switches.set_switch("bypass", policy=policy, environment=environment, **why)
            ),
        )
        assert code in ("", "forbidden"), "a freeze refuses no switch"

    @can(hours=st.sampled_from([1, 2, 24]))
    def time_goes_on(self, hours: int) -> None:
        self.now += hours * HOUR

    @can(2)
    def jobs_run(self) -> None:
        for job in (due.activate, due.expire, due.advance):
            code = self.do(lambda job=job: job(self.now), attended=False)  # type: ignore[misc]
            assert not code


def pick(number: int, found: Any) -> Any:
    """One of the rows, the newest first for small numbers."""
    rows = list(found)
    return rows[number % len(rows)] if rows else None


def _any_place(who: str) -> str:
    """Where somebody has most: editing needs the role in one environment, whichever."""
    return max(ROLES[who], key=lambda where: bool(ROLES[who][where] & {"editor", "admin"}))


@pytest.fixture
def machine(catalogue: Catalogue) -> type[Life]:
    """The stage: everybody has their grants, revision 1 is live, and production asks for one approval from now on."""
    for name, roles in ROLES.items():
        Life.accounts[name] = User.objects.create_user(name, password="a long pass phrase")
        for where, held in roles.items():
            for role in held:
                grant(Life.accounts[name], role, environment=Environment.objects.get(slug=where))
    Environment.objects.filter(slug="staging").update(promotes_to=catalogue.production)
    values = {"slug": "asked", "name": "What we ask", "items": ITEMS}
    catalog.create(ChecklistTemplate, values, by=SYSTEM)
    both = Actor(name="both", door="rest", user=Life.accounts["both"])
    policy = make_policy(by=both)
    make_policy(by=both, name="floor", scope="service", endpoints=[], rules=[rate_limit(name="all")])
    for environment in Environment.objects.all():
        revision = policy.revisions.get()
        releases.release(revision, environment, mode="enforce", by=both, reason="to begin with", now=NOW)
    Environment.objects.filter(slug="production").update(approvals_required=1)
    return Life


HOW: dict[str, Any] = {
    "deadline": None,
    "database": None,
    "suppress_health_check": list(HealthCheck),
}


def test_no_sequence_reaches_what_must_not_be(machine: type[Life]) -> None:
    run_state_machine_as_test(
        machine, settings=settings(max_examples=5, stateful_step_count=20, derandomize=True, **HOW)
    )


@pytest.mark.slow
def test_no_long_sequence_reaches_what_must_not_be(machine: type[Life]) -> None:
    run_state_machine_as_test(machine, settings=settings(max_examples=100, stateful_step_count=40, **HOW))
