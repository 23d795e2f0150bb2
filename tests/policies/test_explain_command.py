"""`manage.py explain`: what is live in an environment, told of one request."""

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from policies.lifecycle import catalog, switches
from policies.lifecycle.editing import policies
from policies.lifecycle.releasing import releases
from policies.models import Publication
from tests.policies.factories import SYSTEM, Catalogue, endpoint, make_policy, rate_limit

pytestmark = pytest.mark.django_db


def explained(*arguments: str) -> dict[str, Any]:
    out = StringIO()
    call_command("explain", "reports", "production", *arguments, "--format", "json", stdout=out)
    told: dict[str, Any] = json.loads(out.getvalue())
    return told


def test_what_is_live_there_is_told_and_nothing_else(catalogue: Catalogue) -> None:
    before = explained("POST", "/reports/7/export")
    assert (before["matched"]["how"], before["decision"]["reason"]) == ("none", "no_policy")
    policy = make_policy()
    releases.release(policies.newest(policy), catalogue.production, mode="enforce", by=SYSTEM, reason="go")
    publications = list(Publication.objects.values())
    told = explained("POST", "/reports/7/export?format=csv", "--user", "42", "-H", "X-Client: cron")
    assert told["policy"]["reference"] == policy.reference and told["matched"]["endpoint"] == "reports.export"
    [limit] = told["rules"]
    assert limit["source"] == {"scope": "endpoint", "policy": policy.reference, "revision": 1}
    assert limit["key"] == [{"part": "user", "value": "42", "counted_as": "value"}]
    assert told["decision"]["depends_on"] == ["per-user"]
    assert list(Publication.objects.values()) == publications
    out = StringIO()
    call_command("explain", "reports", "staging", "POST", "/reports/7/export", stdout=out)
    assert "Allowed: no policy holds for it" in out.getvalue()


def test_a_switch_and_a_declared_endpoint_are_known(catalogue: Catalogue) -> None:
    default = make_policy(name="default", scope="service", endpoints=[], rules=[rate_limit(key=["ip"])])
    releases.release(policies.newest(default), catalogue.production, mode="shadow", by=SYSTEM, reason="go")
    declared = endpoint("/all/{year}", "list", methods=("GET",))
    catalog.create_endpoint(catalogue.reports, declared, by=SYSTEM)
    known = explained("GET", "/all/2026", "--ip", "192.0.2.7")
    assert (known["matched"]["how"], known["matched"]["route"]) == ("path", "/all/{year}")
    assert known["rules"][0]["mode"] == "shadow" and known["decision"]["depends_on"] == []
    assert explained("GET", "/else")["matched"]["how"] == "default"
    switches.set_switch("block", service=catalogue.reports, by=SYSTEM, reason="the database is being moved")
    blocked = explained("GET", "/all/2026")
    assert (blocked["decision"]["reason"], blocked["answer"]["status"]) == ("switch_block", 503)


def test_attributes_are_said_by_name(catalogue: Catalogue) -> None:
    policy = make_policy(rules=[rate_limit(when=[{"attr": "plan", "in": ["free"]}])])
    releases.release(policies.newest(policy), catalogue.production, mode="enforce", by=SYSTEM, reason="go")
    asked = ("POST", "/reports/7/export", "--attribute")
    assert [explained(*asked, f"plan={plan}")["rules"][0]["verdict"] for plan in ("free", "pro")] == [
        "counts",
        "absent",
    ]


def test_what_is_not_there_or_no_request_is_said(catalogue: Catalogue) -> None:
    with pytest.raises(CommandError, match="no service shoes"):
        call_command("explain", "shoes", "production", "GET", "/")
    with pytest.raises(CommandError, match="cost: Must be a whole number from 1"):
        call_command("explain", "reports", "production", "GET", "/", "--cost", "0")
    with pytest.raises(CommandError, match="path: Must begin with /"):
        call_command("explain", "reports", "production", "GET", "reports")
