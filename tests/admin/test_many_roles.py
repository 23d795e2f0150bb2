"""A person with roles in very many services: the page names the services once, and their slugs are typed."""

import pytest

from policies.models import Grant, Service
from tests.admin.browsing import fill
from tests.policies.factories import grant, person

SERVICES, ROLES = 120, 40


@pytest.fixture
def dora(catalogue):
    user = person("dora")
    Service.objects.bulk_create(
        Service(slug=f"service-{number}", name=f"Service {number}", team=catalogue.data) for number in range(SERVICES)
    )
    for service in Service.objects.filter(slug__startswith="service-").order_by("pk")[:ROLES]:
        grant(user, "editor", service)
    return user


def held(user):
    return set(Grant.objects.filter(user=user).values_list("role", "service__slug", "environment__slug"))


def test_the_page_names_the_services_once_and_keeps_every_role(admin, dora):
    url = f"/admin/auth/user/{dora.pk}/change/"
    page = admin.get(url)
    text = page.content.decode()
    assert text.count("Service 77<") == 1 and len(text) < 60_000
    before = held(dora)
    row = f"roles-{ROLES}-"
    typed = {f"{row}role": "viewer", f"{row}service": "service-99", "reason": "as agreed"}
    assert admin.post(url, {**fill(page, "roles-rows"), **typed}).status_code == 302
    assert held(dora) == before | {("viewer", "service-99", None)}


def test_a_service_that_is_not_there_is_told(admin, dora):
    url = f"/admin/auth/user/{dora.pk}/change/"
    before = held(dora)
    typed = {"roles-0-service": "servise-0", "reason": "as agreed"}
    page = admin.post(url, {**fill(admin.get(url), "roles-rows"), **typed})
    assert page.status_code == 200 and "There is no service “servise-0”" in page.content.decode()
    assert fill(page, "roles-rows")["roles-0-service"] == ["servise-0"]
    assert held(dora) == before


def test_few_services_are_chosen_from_a_list(admin, alice):
    assert "<datalist" not in admin.get(f"/admin/auth/user/{alice.pk}/change/").content.decode()
