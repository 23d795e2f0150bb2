"""A file is a door like any other: it lets nobody do what they may not do by hand, and shows nobody more."""

import pytest

from policies.lifecycle.refusals import Forbidden, Invalid
from policies.models import Policy
from tests.files.hands import counts, entries, entry, exported, file, imported, outcomes, previewed
from tests.policies.factories import Catalogue, acting, grant, make_policy, person


def test_an_editor_of_one_service_imports_that_one_and_no_other(catalogue: Catalogue) -> None:
    carol = person("carol")
    grant(carol, "editor", service=catalogue.reports)
    grant(carol, "viewer", service=catalogue.shop)
    mine, other = entry("new", "/new"), entry("other", "/other", service="shop")
    before = counts()
    with pytest.raises(Forbidden, match="add_policy.*shop"):
        imported(file(mine, other), by=acting(carol))
    assert counts() == before
    assert outcomes(imported(file(mine), by=acting(carol))) == ["created"]


def test_a_change_needs_an_editor_too(catalogue: Catalogue) -> None:
    make_policy()
    viewer = acting(person("vera", "view_policy"))
    text = exported().replace("limit: 10\n", "limit: 20\n")
    with pytest.raises(Forbidden, match="change_policy.*reports"):
        imported(text, by=viewer)
    assert outcomes(previewed(text, by=viewer)) == ["changed"]  # to look at the difference, seeing is enough


def test_a_default_of_every_service_needs_an_editor_of_all(catalogue: Catalogue) -> None:
    carol = person("carol")
    grant(carol, "editor", service=catalogue.reports)
    body = file(entry("everywhere", "/", scope="organisation", service=None, endpoints=[]))
    with pytest.raises(Forbidden, match="all services"):
        imported(body, by=acting(carol))
    assert outcomes(imported(body, by=acting(person("dan", "add_policy")))) == ["created"]


def test_what_one_may_not_know_of_is_not_there(catalogue: Catalogue) -> None:
    make_policy(name="secret", service="shop")
    text = exported()
    carol = person("carol")
    grant(carol, "editor", service=catalogue.reports)
    by = acting(carol)
    with pytest.raises(Invalid) as caught:
        previewed(text, by=by)
    assert list(caught.value.errors) == ["policies.0.reference"]
    assert "There is no policy" in caught.value.errors["policies.0.reference"][0]
    with pytest.raises(Invalid) as caught:
        imported(exported(portable=True), by=by)
    assert "There is no service “shop”" in caught.value.errors["policies.0.service"][0]
    assert entries(exported(by=by)) == []
    for choice in ({"service": "shop"}, {"references": [Policy.objects.get().reference]}):
        with pytest.raises(Invalid, match="service|policy"):
            exported(by=by, **choice)


def test_who_has_no_role_sees_nothing(catalogue: Catalogue) -> None:
    with pytest.raises(Forbidden):
        exported(by=acting(person("charlie")))
