"""The handbook of a service: complete, and true to what its bundle says."""

import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from policies.lifecycle import catalog
from policies.lifecycle.documenting.handbook import handbook
from policies.lifecycle.documenting.handbook_text import markdown
from policies.lifecycle.editing import policies
from policies.lifecycle.releasing import releases
from policies.models import Environment, Policy, Service
from policies.publishing import bundles
from tests.policies.factories import SYSTEM, Catalogue, change, endpoint, make_policy, rate_limit

pytestmark = pytest.mark.django_db


def go_live(policy: Policy, environment: Environment, **terms: Any) -> None:
    head = policies.newest(Policy.objects.select_related("head").get(pk=policy.pk))
    releases.release(head, environment, **{"mode": "enforce", "by": SYSTEM, "reason": "go", **terms})


def default(scope: str, **changes: Any) -> Policy:
    service = None if scope == "organisation" else "reports"
    return make_policy(**{"name": f"floor-{scope}", "service": service, "scope": scope, "endpoints": [], **changes})


@pytest.fixture
def filled(catalogue: Catalogue) -> dict[str, Policy]:
    """Three layers: replaced, removed, inherited and mandatory rules."""
    names = ("a", "b", "c", "m")
    made = {
        "shared": default("organisation", rules=[rate_limit(name=name, mandatory=name == "m") for name in names]),
        "ours": default("service", rules=[rate_limit(name="a", limit=20), rate_limit(name="d")]),
        "own": make_policy(
            rules=[rate_limit(name="a", limit=30), {"kind": "rate_limit", "name": "b", "enabled": False}],
            reason="exports stall | the <b>database</b>\n\n# here",
        ),
    }
    for policy in made.values():
        go_live(policy, catalogue.production)
    make_policy(name="later", endpoints=[endpoint("/later")])
    catalog.create_endpoint(catalogue.reports, {"route": "/free", "methods": ["GET"]}, by=SYSTEM)
    return made


def test_it_has_every_rule_of_the_bundle_with_its_source(catalogue: Catalogue, filled: dict[str, Policy]) -> None:
    [place] = handbook(catalogue.reports, catalogue.production).places
    told = {
        chapter.policy.reference: [(rule.name, rule.origin.policy, rule.origin.revision) for rule in chapter.rules]
        for chapter in place.chapters
    }
    body = json.loads(bundles.fetch(catalogue.reports, catalogue.production).body)
    for entry in body["policies"]:
        assert told[entry["reference"]] == [
            (rule["name"], rule["source"]["policy"], rule["source"]["revision"]) for rule in entry["rules"]
        ]
    assert place.version == body["version"]
    assert [policy.name for policy in place.waiting] == ["later"]
    assert [chapter.kind for chapter in place.chapters] == [
        "default of every service",
        "default of the service",
        "policy",
    ]


def test_it_tells_what_was_replaced_and_removed(catalogue: Catalogue, filled: dict[str, Policy]) -> None:
    [place] = handbook(catalogue.reports, catalogue.production).places
    own = place.chapters[-1]
    replaced = {rule.name: [origin.policy for origin in rule.instead_of] for rule in own.rules}
    shared, ours = filled["shared"].reference, filled["ours"].reference
    assert replaced == {"a": [shared, ours], "d": [], "c": [], "m": []} or replaced["a"] == [ours, shared]
    assert [(removed.name, removed.origin.policy) for removed in own.removed] == [("b", shared)]
    assert [rule.mandatory for rule in own.rules if rule.name == "m"] == [True]


def test_the_text_has_owner_reason_source_note_and_command_of_each(
    catalogue: Catalogue, filled: dict[str, Policy]
) -> None:
    text = markdown(handbook(catalogue.reports, catalogue.production, by="alice"))
    for policy in filled.values():
        assert f"### {policy.reference} {policy.name}, r1" in text
        assert f'manage.py rollback {policy.reference} production --reason "…" --by alice' in text
    assert text.count("**Owner:** Data (`team-data`, data@example.com)") == 3
    assert text.count("**How to go back:** manage.py rollback POL-0001 production") == 3
    assert "exports stall \\| the &lt;b>database&lt;/b> # here" in text
    assert "Limit: 30 calls" in text and "`POST /reports/{report_id}/export as reports.export`" in text
    assert f"instead of that of the default of the service {filled['ours'].reference}, r1" in text
    assert "Removed here: the rate limit `b`" in text and "Not live here: POL-" in text and "GET /free" in text
    for line in text.splitlines():
        if line.startswith("| **"):
            assert line.replace("\\|", "").count("|") == 6


def test_a_candidate_and_a_wave_that_has_not_come_yet_are_told(catalogue: Catalogue) -> None:
    policy = make_policy()
    go_live(policy, catalogue.production)
    go_live(change(policy, rules=[rate_limit(limit=6)]), catalogue.production, mode="shadow", role="candidate")
    shared = default("organisation")
    go_live(shared, catalogue.production)
    go_live(change(shared, rules=[rate_limit(limit=9)]), catalogue.production, rollout=0)
    [place] = handbook(catalogue.reports, catalogue.production).places
    everyone, own = place.chapters
    assert own.candidate == 2
    assert (everyone.revision.number, everyone.command) == (1, "")
    assert "has not reached this service yet" in everyone.leads_to


def test_without_an_environment_it_tells_of_each(catalogue: Catalogue) -> None:
    go_live(make_policy(), catalogue.production)
    text = markdown(handbook(catalogue.reports))
    assert "## Production" in text and "## Staging\n\nNothing is live here." in text
    assert "Endpoints for which nothing holds:\n\n- `POST /reports/{report_id}/export`" in text


def test_the_command_writes_it(catalogue: Catalogue) -> None:
    go_live(make_policy(), catalogue.production)
    out = io.StringIO()
    call_command("handbook", "reports", environment="production", stdout=out)
    assert out.getvalue() == markdown(handbook(catalogue.reports, catalogue.production))
    with pytest.raises(CommandError, match="no service moon"):
        call_command("handbook", "moon")


def test_a_service_without_anything_has_a_short_one(catalogue: Catalogue) -> None:
    Environment.objects.exclude(slug="production").update(archived_at=catalogue.reports.created_at)
    text = markdown(handbook(Service.objects.get(slug="shop")))
    assert text.startswith("# Handbook of Shop\n") and "Nothing is live here." in text


def test_the_ticket_of_a_chapter_is_a_link(catalogue: Catalogue) -> None:
    go_live(make_policy(ticket="https://tickets.example.com/OPS-812"), catalogue.production)
    text = markdown(handbook(catalogue.reports, catalogue.production))
    assert "- **Ticket:** <https://tickets.example.com/OPS-812>" in text
