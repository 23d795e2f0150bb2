"""Releases in the states that their page has something to say about; each has `LIFE` in its reason."""

from datetime import timedelta
from typing import Any

from django.utils import timezone

from policies.lifecycle import catalog, checklists
from policies.lifecycle.actor import Actor
from policies.lifecycle.documenting import final_notes
from policies.lifecycle.releasing import approvals, going_back, promotion, releases, steps
from policies.models import ChecklistTemplate, Environment, Policy, Release
from tests.policies import factories

REASON = "LIFE-7: partners retry in a loop since the last sale."
STEPS = [{"rollout": 5, "hold": 3600}, {"rollout": 25, "hold": 86400}, {"rollout": 100, "hold": 0}]
ITEMS = [
    {"text": "The dashboard of the service is open, and somebody looks at it.", "required": True},
    {"text": "Partners were told.", "required": False},
    {"text": "Answers to logged-in callers are not cached.", "check": "anonymous-answers"},
    {"text": "Errors are no more than before.", "stage": "after"},
]


def fill_releases(stock: factories.Catalogue, by: Actor) -> None:
    """In staging, where another person has to approve, and in production, which comes after it."""
    bob = factories.acting(factories.person("bob", "approve_release", is_staff=True), "admin")
    factories.grant(bob.user, "editor", stock.shop, stock.staging)
    template = {"slug": "launch", "name": "Launch", "items": checklists.read_items(ITEMS)}
    launch = catalog.create(ChecklistTemplate, template, by=by)
    catalog.change(stock.staging, {"approvals_required": 1, "promotes_to": stock.production}, by=by)
    stock.staging.refresh_from_db()
    _asked_for(stock.staging, launch, by, bob)
    _broken_glass(stock.staging, by, bob)
    _in_steps(stock.production, by)
    _candidates(stock.production, by)
    _over(stock, by)


def _policy(name: str, by: Actor) -> Policy:
    return factories.make_policy(
        by, name=name, service="shop", owner="team-shop", endpoints=[factories.endpoint(f"/{name}/{{number}}")]
    )


def _newer(policy: Policy, by: Actor, limit: int) -> Policy:
    return factories.change(policy, by, rules=[factories.rate_limit(limit=limit)], reason="Partners asked for more.")


def _ask(policy: Policy, where: Environment, by: Actor, **how: Any) -> Release:
    policy = Policy.objects.select_related("head", "service").get(pk=policy.pk)
    assert policy.head is not None
    how = {"mode": "enforce", "reason": REASON, "by": by, **how}
    return releases.release(policy.head, where, **how).release


def _asked_for(where: Environment, launch: ChecklistTemplate, by: Actor, bob: Actor) -> None:
    """With every term there is; one more has an approval that is void, a third was rejected."""
    now = timezone.now()
    policy = _policy("asked-for", by)
    times = {"starts_at": now + timedelta(days=2), "expires_at": now + timedelta(days=30)}
    asked = _ask(policy, where, by, steps=STEPS, checklist=launch, on_change="reset", **times)
    checklists.tick(asked.items.order_by("number")[0], by=bob, evidence="https://graphs.example.com/d/shop")
    approvals.approve(asked, by=bob, comment="The graphs of last week say the same.")
    refused = _ask(policy, where, by, mode="shadow", expires_at=now + timedelta(days=1))
    approvals.reject(refused, by=bob, comment="Not before the sale.")
    approvals.approve(_ask(policy, where, by, rollout=10), by=bob, comment="A tenth is safe.")


def _broken_glass(where: Environment, by: Actor, bob: Actor) -> None:
    urgent = _policy("urgent", by)
    reviewed = _ask(urgent, where, by, break_glass="no_production_traffic")
    approvals.review_break_glass(reviewed, by=bob, comment="Rightly: nobody was there yet.")
    final_notes.confirm(reviewed, final_notes.draft(reviewed) + "\nNobody complained.", by=by)
    _ask(_newer(urgent, by, 5), where, by, break_glass="emergency", mode="shadow")


def _in_steps(where: Environment, by: Actor) -> None:
    policy = _policy("in-steps", by)
    _ask(policy, where, by, reason="OPS-1")
    then = timezone.now() - timedelta(hours=2)
    staged = _ask(_newer(policy, by, 40), where, by, steps=STEPS, now=then)
    steps.advance(staged, by=by, reason="Nobody noticed.")
    steps.halt(staged, by=by, reason="Errors rise.")


def _candidates(where: Environment, by: Actor) -> None:
    policy = _policy("tried", by)
    _ask(policy, where, by, reason="OPS-2")
    for limit in (40, 30):
        tried = _ask(_newer(policy, by, limit), where, by, mode="shadow", role="candidate")
        if limit == 40:
            promotion.enforce_candidate(tried, by=by, reason="LIFE-8: nobody would notice.")


def _over(stock: factories.Catalogue, by: Actor) -> None:
    """Rolled back, with a hold, while something was scheduled there."""
    policy = _policy("rolled-back", by)
    for limit in (20, 30):
        live = _ask(_newer(policy, by, limit), stock.production, by, reason="OPS-3")
    _ask(policy, stock.production, by, mode="shadow", starts_at=timezone.now() + timedelta(days=1))
    going_back.roll_back(live, by=by, reason="LIFE-9: the nightly job is locked out.")
