"""Files over REST: the same verbs behind another door."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import AsyncClient

from policies.files.reading import MAX_SIZE
from policies.models import Policy
from tests.api.client import Api
from tests.api.conftest import api_of  # noqa: F401 - a fixture
from tests.files.hands import counts, entries, entry, exported, file
from tests.files.test_asking import put_live
from tests.policies.factories import Catalogue, make_policy

IMPORT = "/policies/import/"


@pytest.fixture
def alice(catalogue: Catalogue, api_of: Callable[..., Api]) -> Api:  # noqa: F811
    return api_of("alice", "add_policy", "add_release")


def send(api: Api, body: str | bytes, query: str = "?reason=because", kind: str = "application/yaml") -> Any:
    raw = body.encode() if isinstance(body, str) else body
    return api.request("POST", IMPORT + query, raw=raw, Content_Type=kind)


def test_an_export_is_the_file_that_the_command_writes(catalogue: Catalogue, alice: Api) -> None:
    policy = make_policy()
    make_policy(name="other", service="shop")
    answer = alice.get("/policies/export.yaml")
    assert (
        answer.headers["Content-Type"] == "application/yaml" and "attachment" in answer.headers["Content-Disposition"]
    )
    assert answer.getvalue().decode() == exported()
    told = entries(alice.get("/policies/export.yaml?service=shop").getvalue().decode())
    assert [one["name"] for one in told] == ["other"]
    [told] = entries(alice.get(f"/policies/export.yaml?policy={policy.reference}&portable=true").getvalue().decode())
    assert told["name"] == "report-export" and "reference" not in told
    put_live(policy, catalogue.production)
    [told] = entries(alice.get("/policies/export.yaml?environment=production").getvalue().decode())
    assert told["reference"] == policy.reference


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("service=nowhere", "service"),
        ("service=%00", "service"),
        ("policy=POL-9999", "policy"),
        ("environment=nowhere", "environment"),
        ("environment=%00", "environment"),
        ("portable=maybe", "portable"),
    ],
)
def test_an_export_of_what_is_not_there(alice: Api, query: str, field: str) -> None:
    answer = alice.get(f"/policies/export.yaml?{query}")
    assert answer.status_code == 400 and list(answer.json()["errors"]) == [field]


def test_a_dry_run_answers_the_difference_and_writes_nothing(alice: Api) -> None:
    policy = make_policy()
    text = exported().replace("limit: 10\n", "limit: 20\n")
    before = counts()
    told = send(alice, text, "?dry_run=true").json()
    assert counts() == before and told["dry_run"] is True and told["releases"] == told["left_out"] == []
    [one] = told["policies"]
    assert (one["policy"], one["outcome"], one["revision"]) == (policy.reference, "changed", 2)
    assert {"sign": "+", "text": "    Limit: 20 calls"} in one["lines"]


def test_an_import_saves_and_asks_for_releases(alice: Api) -> None:
    policy = make_policy()
    answer = send(alice, file(entry("new", "/new")), "?reason=commit+3f2a&release=staging&mode=enforce")
    told = answer.json()
    new = Policy.objects.get(name="new")
    assert answer.status_code == 200 and told["dry_run"] is False
    assert [(one["policy"], one["outcome"], one["revision"]) for one in told["policies"]] == [
        (new.reference, "created", 1)
    ]
    assert [left["policy"] for left in told["left_out"]] == [policy.reference]
    [asked] = told["releases"]
    assert (asked["policy"], asked["name"], asked["answer"], asked["code"]) == (
        new.reference,
        "reports/new",
        "live",
        "",
    )
    assert alice.get(f"/releases/{asked['release']}/").json()["reason"] == "commit 3f2a"
    [foreseen] = send(alice, file(entry("next", "/next")), "?dry_run=true&release=staging").json()["releases"]
    assert (foreseen["policy"], foreseen["answer"], foreseen["release"]) == (None, "would_ask", None)


def test_a_fault_is_a_problem_with_its_line(alice: Api) -> None:
    make_policy()
    before = counts()
    answer = send(alice, exported().replace("limit: 10\n", "limit: 0\n"))
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")
    [message] = answer.json()["errors"]["policies.0.rules.0.limit"]
    assert message.startswith("Line ") and "block switch" in message
    answer = send(alice, "policies: [")
    assert (answer.status_code, answer.json()["code"]) == (400, "yaml") and "Line 1" in answer.json()["detail"]
    assert counts() == before


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("", "reason"),
        ("?reason=+", "reason"),
        ("?dry_run=yes", "dry_run"),
        ("?reason=x&release=nowhere", "release"),
        ("?reason=x&release=staging&mode=off", "mode"),
        ("?reason=x&mode=enforce", "mode"),
        ("?reason=x&dry-run=true", "dry-run"),
        ("?reason=x&dry_run=true&dry_run=false", "dry_run"),
    ],
)
def test_a_query_that_says_nothing(alice: Api, query: str, field: str) -> None:
    answer = send(alice, file(entry("new", "/new")), query)
    assert answer.status_code == 400 and list(answer.json()["errors"]) == [field]
    assert not Policy.objects.exists()


def test_a_body_of_another_kind(alice: Api) -> None:
    assert send(alice, b"policies: []", kind="application/json").status_code == 415
    assert send(alice, b"policies: []", kind="text/yaml; charset=utf-8").status_code == 200
    assert send(alice, b"").json()["code"] == "yaml"
    assert send(alice, b"#" * (MAX_SIZE + 1)).status_code == 413


def test_a_person_without_a_role_gets_nothing(catalogue: Catalogue, api_of: Callable[..., Api]) -> None:  # noqa: F811
    charlie = api_of("charlie")
    assert charlie.get("/policies/export.yaml").status_code == 403
    assert send(charlie, file(entry("new", "/new"))).status_code == 403
    viewer = api_of("vera", "view_policy")
    assert send(viewer, file(entry("new", "/new"))).status_code == 403
    assert send(viewer, file(entry("new", "/new")), "?dry_run=true").status_code == 200
    assert not Policy.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_server_of_asgi_sends_it_piece_by_piece(catalogue: Catalogue, api_of: Callable[..., Api]) -> None:  # noqa: F811
    make_policy()
    headers = api_of("vera", "view_policy").headers

    async def fetched() -> bytes:
        answer = await AsyncClient().get("/api/v1/policies/export.yaml", headers=headers)
        pieces = [piece async for piece in answer]
        assert answer.status_code == 200 and len(pieces) == 3
        return b"".join(pieces)

    assert asyncio.run(fetched()).decode() == exported()


def test_every_answer_is_json_that_anybody_reads(alice: Api) -> None:
    answer = send(alice, 'policies: []\n"é🙂": 1\n')
    assert list(json.loads(answer.content)["errors"]) == ["é🙂"]
