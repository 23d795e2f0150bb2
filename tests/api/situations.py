"""The release that an example of a verb is posted to: one that the verb can act on."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.utils import timezone

from policies.lifecycle.editing import policies
from policies.lifecycle.releasing import going_back, holds, releases, steps
from policies.models import Environment, Policy, Release
from tests.policies.factories import SYSTEM, change, endpoint, make_policy, rate_limit

STEPS = [{"rollout": 5, "hold": 60}, {"rollout": 25, "hold": 60}, {"rollout": 100, "hold": 0}]


def _new_policy() -> Policy:
    number = Policy.objects.count()
    return make_policy(name=f"situation-{number}", endpoints=[endpoint(f"/situations/{number}")])


def _place(approvals: int = 0) -> Environment:
    """An environment of its own, whose next one is another."""
    count = Environment.objects.count()
    following = Environment.objects.create(slug=f"next-{count}", name="Next")
    return Environment.objects.create(
        slug=f"here-{count}", name="Here", approvals_required=approvals, promotes_to=following
    )


def _released(approvals: int = 0, policy: Policy | None = None, **how: Any) -> Release:
    revision = policies.newest(policy or _new_policy())
    wanted = {"mode": "enforce", "reason": "go", "by": SYSTEM, **how}
    place = wanted.pop("place", None) or _place(approvals)
    return releases.release(revision, place, **wanted).release


def _staged(taken: int = 0) -> Release:
    """In its steps, the hold time of the one that holds over."""
    long_ago = timezone.now() - timedelta(days=1)
    release = _released(steps=STEPS, now=long_ago)
    for number in range(taken):
        release = steps.advance(release, by=SYSTEM, now=long_ago + timedelta(hours=number + 1))
    return release


def _halted() -> Release:
    return steps.halt(_staged(), by=SYSTEM, reason="wait")


def _candidate() -> Release:
    policy = _new_policy()
    live = _released(policy=policy)
    newer = change(policy, rules=[rate_limit(limit=99)])
    return _released(policy=newer, place=live.environment, mode="shadow", role="candidate")


def _held() -> int:
    back = going_back.roll_back(_released(), by=SYSTEM, reason="bad")
    hold = holds.open_hold(back.policy, back.environment)
    assert hold is not None
    return hold.pk


def _bundle() -> str:
    """A service with something to go back from since version 9, when something else was live."""
    policy, place = _new_policy(), Environment.objects.get(slug="production")
    first = _released(policy=policy, place=place)
    Release.objects.filter(pk=first.pk).update(bundle_version=9)
    _released(policy=change(policy, rules=[rate_limit(limit=99)]), place=place)
    return "reports"


SITUATIONS: dict[str, Callable[[], int | str]] = {
    "release.approve": lambda: _released(approvals=1).pk,
    "release.reject": lambda: _released(approvals=1).pk,
    "release.review": lambda: _released(approvals=1, break_glass="emergency").pk,
    "release.activate": lambda: _released().pk,
    "release.cancel": lambda: _released(approvals=1).pk,
    "release.advance": lambda: _staged().pk,
    "release.step_back": lambda: _staged(taken=1).pk,
    "release.halt": lambda: _staged().pk,
    "release.resume": lambda: _halted().pk,
    "release.promote": lambda: _released().pk,
    "release.enforce": lambda: _candidate().pk,
    "release.note": lambda: _released().pk,
    "service.rollback": _bundle,
    "hold.lift": _held,
}
