"""The OpenAPI document: valid, complete, and true: each example is posted, and each answer is held against it."""

import json
import re
from typing import Any

import jsonschema
import pytest
from django.urls import get_resolver
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema

from policies.api import examples
from policies.lifecycle import keys
from policies.models import (
    ChecklistTemplate,
    Endpoint,
    Environment,
    Grant,
    Hold,
    Override,
    Policy,
    Release,
    Scope,
    Service,
    Switch,
)
from policy_client.rules import KINDS
from tests.api.client import Api
from tests.api.situations import SITUATIONS
from tests.policies.factories import SYSTEM, Catalogue
from tests.policies.waiting import asked_for


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    with GENERATOR_STATS.silence():
        GENERATOR_STATS.reset()
        made: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)
        assert not GENERATOR_STATS, "drf-spectacular had something to warn of"
    return made


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(path, method, told) for path, methods in document["paths"].items() for method, told in methods.items()]


def test_the_document_is_valid_openapi_3_1(document: dict[str, Any]) -> None:
    validate_schema(document)
    assert document["openapi"].startswith("3.1")
    ids = [told["operationId"] for _, _, told in operations(document)]
    assert len(ids) == len(set(ids))
    for component in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(component)


def test_every_operation_says_what_it_does_and_how_it_fails(document: dict[str, Any]) -> None:
    for path, method, told in operations(document):
        assert told.get("description") and told.get("summary"), (path, method)
        assert {"401", "403"} <= set(told["responses"]), (path, method)
        if method in ("put", "patch", "delete"):
            assert {"412", "428"} <= set(told["responses"]), (path, method)
            names = {parameter["name"]: parameter for parameter in told["parameters"]}
            assert names["If-Match"]["required"] is True


def test_a_preview_may_be_refused(document: dict[str, Any]) -> None:
    """There is nothing to roll back of what is not live."""
    assert "409" in document["paths"]["/api/v1/releases/{id}/preview/"]["get"]["responses"]


def test_every_path_is_in_the_document(document: dict[str, Any]) -> None:
    told = {re.sub(r"\{\w+\}", "{}", path) for path in document["paths"]}
    routes = {
        re.sub(r"\(\?P<\w+>(\[[^]]*\]|[^()\[\]])*\)|<\w+>", "{}", route)
        .replace("$", "")
        .replace("^", "")
        .replace("\\Z", "")
        for route in _routes(get_resolver("policies.api.urls").url_patterns, "/api/")
    }
    assert {route for route in routes if route.startswith("/api/v1/")} == told


def _routes(patterns: Any, prefix: str) -> Any:
    for pattern in patterns:
        here = prefix + str(pattern.pattern)
        if hasattr(pattern, "url_patterns"):
            yield from _routes(pattern.url_patterns, here)
        else:
            yield here


def test_rules_are_told_apart_by_kind(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    union = schemas["Rule"]
    assert union["discriminator"]["propertyName"] == "kind"
    assert set(union["discriminator"]["mapping"]) == set(KINDS)
    for kind, reference in union["discriminator"]["mapping"].items():
        told = schemas[reference.rsplit("/", 1)[1]]
        assert set(KINDS[kind].specs()) < set(told["properties"])
        required = {name for name, spec in KINDS[kind].specs().items() if spec.required}
        assert set(told["required"]) == required | {"kind"}
    limit = schemas["RateLimitRule"]["properties"]["limit"]
    assert (limit["minimum"], limit["maximum"]) == (1, 10**9) and "calls" in limit["description"]


CONDITIONS = [
    ({"header": "x-beta", "is": "present"}, True),
    ({"attr": "plan", "not_in": ["a", "b"]}, True),
    ({"method": ["POST"]}, True),
    ({"authenticated": False}, True),
    ({}, False),
    ({"is": "present"}, False),
    ({"header": "a", "query": "b"}, False),
    ({"header": "a", "is": "there"}, False),
    ({"header": "a", "in": []}, False),
    ({"header": "a", "matches": "x"}, False),
    ({"method": "POST"}, False),
]


@pytest.mark.parametrize(("condition", "good"), CONDITIONS, ids=str)
def test_conditions_are_told_as_they_are_read(document: dict[str, Any], condition: dict[str, Any], good: bool) -> None:
    for kind in KINDS.values():
        told = document["components"]["schemas"][f"{kind.__name__}Rule"]["properties"]["when"]
        assert jsonschema.Draft202012Validator(told).is_valid([condition]) is good
        assert "as if this rule were not there" in told["description"]


def test_every_request_body_has_an_example(document: dict[str, Any]) -> None:
    asked = {told["operationId"].replace("_", ".", 1) for _, _, told in operations(document) if "requestBody" in told}
    assert asked == set(examples.operations())
    for path, method, told in operations(document):
        if "requestBody" in told:
            [(kind, content)] = told["requestBody"]["content"].items()
            assert content["examples"], (path, method)
            assert kind == ("application/yaml" if path == "/api/v1/policies/import/" else "application/json")


def resolved(document: dict[str, Any], schema: dict[str, Any]) -> jsonschema.Draft202012Validator:
    whole = {**schema, "components": document["components"]}
    return jsonschema.Draft202012Validator(whole)


def address(path: str, name: str = "") -> str:
    """The path with its parameters filled: each names the newest row there is."""
    if name in SITUATIONS:
        return path.replace("{id}", found := str(SITUATIONS[name]())).replace("{slug}", found)
    newest = {
        "{reference}": lambda: Policy.objects.order_by("pk").first().reference,
        "releases/{id}/checklist/{item}": lambda: f"releases/{_waiting().pk}/checklist/1",
        "releases/{id}": lambda: f"releases/{_live().pk}",
        "holds/{id}": lambda: f"holds/{Hold.objects.latest('pk').pk}",
        "switches/{id}": lambda: f"switches/{Switch.objects.filter(cleared_at=None).latest('pk').pk}",
        "overrides/{id}": lambda: f"overrides/{Override.objects.latest('pk').pk}",
        "grants/{id}": lambda: f"grants/{Grant.objects.latest('pk').pk}",
        "endpoints/{id}": lambda: f"endpoints/{Endpoint.objects.filter(policy=None).latest('pk').pk}",
        "checklists/{slug}": lambda: f"checklists/{ChecklistTemplate.objects.latest('pk').slug}",
        "teams/{slug}": lambda: "teams/team-data",
        "services/{slug}": lambda: "services/reports",
        "environments/{slug}": lambda: "environments/production",
        "/import/": lambda: "/import/?reason=because",
        "{number}": lambda: "1",
        "{seq}": lambda: "1",
    }
    for part, value in newest.items():
        if part in path:
            path = path.replace(part, value())
    return path


def _live() -> Release:
    return Release.objects.filter(state="live").exclude(revision=None).latest("pk")


def _waiting() -> Release:
    """A release that waits for its checklist."""
    return asked_for(Policy.objects.order_by("pk")[0], Environment.objects.get(slug="production"))


def referring(example: dict[str, Any]) -> dict[str, Any]:
    """The example with the reference of a policy that is there: on PostgreSQL numbers are not given twice."""
    first = Policy.objects.order_by("pk").first()
    return json.loads(json.dumps(example).replace("POL-0001", first.reference if first else "POL-0001"))


def test_every_example_is_accepted_and_answered_as_the_document_says(
    db: None, document: dict[str, Any], alice: Api
) -> None:
    told = {operation["operationId"]: (path, method, operation) for path, method, operation in operations(document)}
    service: Api | None = None
    for name in examples.operations():
        path, method, operation = told[name.replace(".", "_", 1)]
        for title, example in examples.of(name).items():
            body = referring(example)
            [(kind, content)] = operation["requestBody"]["content"].items()
            body_schema = content["schema"]
            resolved(document, body_schema).validate(body)
            by_key = name.startswith(("telemetry", "check."))
            if by_key and service is None:
                place = (Service.objects.get(), Environment.objects.get(slug="production"))
                service = Api(keys.issue_service_key(*place, scopes=Scope.values, by=SYSTEM)[1])
            api = service if service is not None and by_key else alice
            there = address(path, name)
            headers = {"Content_Type": kind, **matching(alice, method, there)}
            raw = body.encode() if isinstance(body, str) else None
            answer = api.request(method.upper(), there, body, raw=raw, **headers)
            assert 200 <= answer.status_code < 300, (name, title, answer.content)
            responses = operation["responses"]
            wanted = responses[str(answer.status_code)]
            resolved(document, wanted["content"]["application/json"]["schema"]).validate(answer.json())


def matching(api: Api, method: str, path: str) -> dict[str, str]:
    return {"If_Match": api.get(path).headers["ETag"]} if method in ("put", "patch") else {}


def test_every_read_is_answered_as_the_document_says(
    catalogue: Catalogue, document: dict[str, Any], alice: Api, service: Api
) -> None:
    first, *_ = examples.of("policy.create").values()
    reference = alice.post("/policies/", first).json()["reference"]
    alice.post("/releases/", {"policy": reference, "environment": "production", "reason": "go"})
    back = alice.post("/releases/", {"policy": reference, "environment": "staging", "reason": "go"}).json()["id"]
    alice.post(f"/releases/{back}/rollback/", {"reason": "bad"})
    alice.post("/releases/", {"policy": reference, "environment": "production", "mode": "enforce", "reason": "go"})
    alice.post("/switches/", {"effect": "bypass", "service": "shop", "reason": "stop"})
    made = alice.post("/overrides/", {**examples.of("override.create")["Unblock a caller"], "policy": reference})
    assert made.status_code == 201
    alice.post("/endpoints/", {"service": "shop", "route": "/carts"})
    for path, method, told in operations(document):
        if method != "get":
            continue
        api = service if path.endswith("/bundle") else alice
        answer = api.get(address(path))
        assert answer.status_code == 200, path
        kind, content = next(iter(told["responses"]["200"]["content"].items()))
        assert answer.headers["Content-Type"].partition(";")[0] == kind.partition(";")[0]
        if "json" in kind and not answer.streaming and not path.endswith("/bundle"):
            resolved(document, content["schema"]).validate(answer.json())


def test_the_document_is_served_to_anybody(client: Any, db: None) -> None:
    answer = client.get("/api/schema/")
    assert answer.status_code == 200 and answer.json()["info"]["title"] == "Policy Console"
