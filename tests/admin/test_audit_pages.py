"""The audit trail in the admin: what is shown can be taken away as a file."""

import html
import re
from typing import Any

from django.test import Client
from django.urls import reverse

from policies.lifecycle.releasing import releases
from policies.models import AuditEvent
from tests.policies.factories import SYSTEM, Catalogue, make_policy


def shown(admin: Client, **query: str) -> str:
    return str(admin.get(reverse("admin:policies_auditevent_changelist"), query).content.decode())


def exported(admin: Client, page: str) -> list[Any]:
    links = [html.unescape(link) for link in re.findall(r'href="(/api/v1/audit/export[^"]+)"', page)]
    assert [link.partition("?")[0].rpartition(".")[2] for link in links] == ["jsonl", "csv"]
    return [(link, b"".join(admin.get(link).streaming_content)) for link in links]


def test_what_the_trail_shows_is_exported(admin: Client, catalogue: Catalogue) -> None:
    policy = make_policy(reason="a very particular reason")
    for _, content in exported(admin, shown(admin)):
        assert b"particular" in content and b"team-data" in content
    filters = {"policy": policy.reference, "kind": "policy", "q": "particular", "environment": "", "door": "command"}
    page = shown(admin, **filters, actor="command:tests", **{"from": "2020-01-01", "until": "2999-12-31"})
    for link, content in exported(admin, page):
        assert "since=2020-01-01T00%3A00%3A00Z" in link and "until=3000-01-01T00%3A00%3A00Z" in link
        assert b"particular" in content and b"environment:staging" not in content


def test_the_trail_is_filtered_by_environment(admin: Client, catalogue: Catalogue) -> None:
    page = shown(admin, environment="staging")
    assert "environment:staging" in page and "environment:production" not in page


def test_an_event_leads_to_what_it_happened_to_and_names_its_policy(admin: Client, catalogue: Catalogue) -> None:
    policy = make_policy()
    assert policy.head is not None
    catalogue.production.approvals_required = 1
    catalogue.production.save()
    how = {"mode": "enforce", "break_glass": "emergency", "by": SYSTEM, "reason": "OPS-1"}
    released = releases.release(policy.head, catalogue.production, **how).release
    page = shown(admin)
    link = f'<a href="/admin/policies/release/{released.pk}/"><code class="nowrap">release:{released.pk}</code></a>'
    assert f'{link} <div class="sub nowrap">{policy.reference}, production</div>' in page
    assert f'href="/admin/policies/policy/{policy.pk}/"' in page
    assert '<span class="pill bad">release.break_glass</span>' in page, "glass is broken loudly"
    event = AuditEvent.objects.get(verb="release.break_glass")
    one = admin.get(reverse("admin:policies_auditevent_change", args=[event.seq])).content.decode()
    assert f'href="/admin/policies/release/{released.pk}/"' in one


def test_the_last_day_of_all_is_no_day_to_filter_by(admin: Client, catalogue: Catalogue) -> None:
    assert "environment:staging" in shown(admin, until="9999-12-31")
