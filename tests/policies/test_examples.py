"""Examples in a policy: run at every save, and part of what a revision says."""

import json
from typing import Any

import pytest
from django.db import connection

from policies import ledger
from policies.lifecycle.editing import content, difference, policies
from policies.lifecycle.refusals import Invalid
from policies.lifecycle.releasing import releases
from policies.models import Policy, Revision
from policies.publishing import bundles
from policy_client.bundle import parse_policy
from policy_client.examples import parse_examples, run_examples
from policy_client.jsontext import canonical_json
from tests.policies.factories import SYSTEM, Catalogue, change, draft, endpoint, make_policy, rate_limit

pytestmark = pytest.mark.django_db


def example(repeat: int = 11, outcome: str = "deny", **expect: Any) -> dict[str, Any]:
    return {
        "request": {"method": "POST", "path": "/reports/1/export", "headers": {}, "user": "42"},
        "repeat": repeat,
        "expect": {"outcome": outcome, **expect},
    }


def faults(**changes: Any) -> dict[str, list[str]]:
    with pytest.raises(Invalid) as caught:
        content.read(draft(**changes))
    return caught.value.errors


def test_examples_that_hold_are_saved_and_go_into_the_bundle(catalogue: Catalogue) -> None:
    policy = make_policy(examples=[example(10, "allow"), example(rule="per-user", status=429)])
    revision = policies.newest(policy)
    assert revision.document()["examples"] == [example(10, "allow"), example(rule="per-user", status=429)]
    releases.release(revision, catalogue.production, mode="shadow", rollout=0, by=SYSTEM, reason="go")
    [entry] = json.loads(bundles.fetch(catalogue.reports, catalogue.production).body)["policies"]
    assert entry["examples"] == revision.document()["examples"]
    assert run_examples(parse_policy(entry), parse_examples(entry["examples"])) == []


def test_a_failing_example_refuses_the_save_and_says_which(catalogue: Catalogue) -> None:
    wrong = [example(), example(10, "allow"), example(10, rule="per-user")]
    with pytest.raises(Invalid) as caught:
        make_policy(examples=wrong)
    assert caught.value.errors == {
        "examples.2": [
            "Expected deny by per-user at call 10, but the call was allowed: per-user lets 0 more pass."
        ]
    }  # fmt: skip
    assert not Policy.objects.exists()


def test_a_changed_rule_that_breaks_an_example_refuses_the_save(catalogue: Catalogue) -> None:
    policy = make_policy(examples=[example(rule="per-user")])
    with pytest.raises(Invalid) as caught:
        change(policy, rules=[rate_limit(limit=20)])
    assert list(caught.value.errors) == ["examples.0"]
    assert policies.newest(Policy.objects.get()).number == 1


def test_shadow_or_inherited_rules_make_no_difference_to_an_example(catalogue: Catalogue) -> None:
    floor = make_policy(name="floor", scope="service", endpoints=[], rules=[rate_limit(name="all", key=[], limit=1)])
    releases.release(policies.newest(floor), catalogue.production, mode="enforce", by=SYSTEM, reason="go")
    kept = make_policy(examples=[example(10, "allow")])
    assert policies.newest(kept).number == 1


def test_a_path_of_no_endpoint_of_the_policy_is_told_at_its_field(catalogue: Catalogue) -> None:
    elsewhere = example()
    elsewhere["request"] = {"method": "GET", "path": "/orders/7"}
    told = faults(endpoints=[endpoint("/reports/{id}"), endpoint("/x", methods=())], examples=[elsewhere])
    assert told == {
        "examples.0.request.path": [
            "No endpoint of this policy has GET /orders/7; there is: POST /reports/{id}, /x."
        ]
    }  # fmt: skip


def test_examples_are_run_beside_faults_elsewhere_but_not_on_rules_that_are_wrong(catalogue: Catalogue) -> None:
    assert set(faults(rollback_note="", examples=[example(3)])) == {"rollback_note", "examples.0"}
    assert set(faults(rules=[rate_limit(limit=0)], examples=[example(3)])) == {"rules.0.limit"}


@pytest.mark.parametrize("given", [None, {}, "all", [7], [{}]])
def test_what_are_no_examples_is_refused(catalogue: Catalogue, given: Any) -> None:
    assert {path.partition(".")[0] for path in faults(examples=given)} == {"examples"}


def test_a_change_of_examples_alone_is_a_revision_with_a_difference(catalogue: Catalogue) -> None:
    policy = make_policy()
    policy = change(policy, examples=[example(rule="per-user")])
    revision = policies.newest(policy)
    assert revision.number == 2
    assert [(line.sign, line.text) for line in difference.changed_only(difference.to_parent(revision), around=0)] == [
        ("+", "example: After 10 calls like it, POST /reports/1/export by user 42 is denied by per-user.")
    ]
    assert policies.newest(change(policy, examples=[example(rule="per-user")])).number == 2
    assert policies.newest(change(policy, examples=[])).number == 3


def without_new_fields(revision: Revision) -> str:
    """The content as a console wrote it that knew neither examples nor cost and conditions of rules."""
    document = revision.document()
    del document["examples"]
    document["rules"] = [
        {field: value for field, value in rule.items() if field not in ("cost", "when")} for rule in document["rules"]
    ]
    return canonical_json(document)


def test_a_revision_from_before_there_were_examples_is_released_as_it_is(catalogue: Catalogue) -> None:
    policy = make_policy()
    ledger.lift(connection)
    old = without_new_fields(policies.newest(policy))
    Revision.objects.update(content=old, digest="d" * 64)
    ledger.guard(connection)
    revision = Revision.objects.select_related("policy__service").get()
    releases.release(revision, catalogue.production, mode="enforce", by=SYSTEM, reason="go")
    [entry] = json.loads(bundles.fetch(catalogue.reports, catalogue.production).body)["policies"]
    assert entry["examples"] == []
    policy = Policy.objects.select_related("head", "service").get()
    _, saved = policies.save_policy(policy, policies.merged(policy, {}), base=1, by=SYSTEM, reason="nothing differs")
    assert not saved
    changed = policies.newest(change(policy, examples=[example()]))
    assert [line.sign for line in difference.changed_only(difference.to_parent(changed), around=0)] == ["+"]
    assert Revision.objects.get(number=1).content == old


def test_the_work_that_examples_may_ask_for_is_bounded(catalogue: Catalogue) -> None:
    rules = [rate_limit(limit=10_000, window=60), *(rate_limit(name=f"r{n}", limit=10**6) for n in range(20))]
    make_policy(rules=rules, examples=[example(10_000, "allow"), example(10_000, "allow")])
    assert faults(rules=rules, examples=[example(10_000, "allow")] * 3)["examples"][0].startswith("Together they make")
