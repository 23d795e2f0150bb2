"""What services report."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from policies.models import Instance, RuleCount, TelemetryBatch
from tests.api.client import Api
from tests.policies.factories import Catalogue


def minute(ago: int = 0) -> str:
    at = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=ago)
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def count(**changes: Any) -> dict[str, Any]:
    whole = {"policy": "POL-0001", "rule": "per-user", "minute": minute(), "allowed": 2, "denied": 1, "would_deny": 0}
    return {**whole, **changes}


def report(**changes: Any) -> dict[str, Any]:
    whole = {
        "batch_id": "b1",
        "instance": "reports-1",
        "client_version": "0.1.0",
        "framework": "django",
        "active_version": None,
        "last_success": None,
        "error": None,
        "counts": [count()],
    }
    return {**whole, **changes}


def test_a_heartbeat_without_counts_makes_an_instance(service: Api) -> None:
    error = {"code": "schema", "message": "Unknown schema 9.", "errors": {"schema": ["Must be 1."]}}
    assert service.post("/telemetry", report(counts=[], error=error)).status_code == 202
    instance = Instance.objects.get()
    assert (instance.name, instance.active_version, instance.error) == ("reports-1", None, error)


def test_the_same_batch_counts_once(service: Api) -> None:
    first, second = service.post("/telemetry", report()), service.post("/telemetry", report())
    assert (first.status_code, first.json(), second.status_code, second.json()) == (
        202,
        {"counted": True},
        202,
        {"counted": False},
    )
    assert RuleCount.objects.get().allowed == 2
    assert service.post("/telemetry", report(instance="reports-2")).json() == {"counted": True}
    assert RuleCount.objects.get().allowed == 4


def test_the_call_as_a_whole_has_no_rule(service: Api) -> None:
    assert service.post("/telemetry", report(counts=[count(rule=None)])).status_code == 202
    assert RuleCount.objects.get().rule == ""


def test_what_a_candidate_decided_is_counted_apart(service: Api) -> None:
    lines = [count(), count(role="enforced"), count(role="candidate", denied=9)]
    assert service.post("/telemetry", report(counts=lines)).status_code == 202
    assert sorted(RuleCount.objects.values_list("role", "allowed", "denied")) == [
        ("candidate", 2, 9),
        ("enforced", 4, 2),
    ]


def test_fields_of_newer_clients_are_ignored(service: Api) -> None:
    newer = report(latency={"p95": 12}, counts=[count(cached=7)])
    assert service.post("/telemetry", newer).status_code == 202


def test_counts_belong_to_the_service_of_the_key(catalogue: Catalogue, service: Api) -> None:
    service.post("/telemetry", report(service="shop", environment="staging"))
    row = RuleCount.objects.get()
    assert (row.service, row.environment) == (catalogue.reports, catalogue.production)


FAULTS = [
    ({"batch_id": None}, "batch_id"),
    ({"batch_id": ""}, "batch_id"),
    ({"batch_id": 7}, "batch_id"),
    ({"batch_id": "x" * 65}, "batch_id"),
    ({"instance": "x" * 201}, "instance"),
    ({"instance": ["a"]}, "instance"),
    ({"client_version": "x" * 41}, "client_version"),
    ({"framework": None}, "framework"),
    ({"active_version": "42"}, "active_version"),
    ({"active_version": -1}, "active_version"),
    ({"active_version": 10**30}, "active_version"),
    ({"active_version": True}, "active_version"),
    ({"active_version": 1.0}, "active_version"),
    ({"last_success": "yesterday"}, "last_success"),
    ({"last_success": "2026-11-22T10:00:00"}, "last_success"),
    ({"last_success": "0001-01-01T00:00:00+14:00"}, "last_success"),
    ({"last_success": "2026-02-30T00:00:00Z"}, "last_success"),
    ({"last_success": 1763800000}, "last_success"),
    ({"error": "boom"}, "error"),
    ({"counts": {}}, "counts"),
    ({"counts": None}, "counts"),
    ({"counts": [count()] * 5001}, "counts"),
    ({"counts": [7]}, "counts.0"),
    ({"counts": [count(), count(policy="POL-" + "1" * 13)]}, "counts.1.policy"),
    ({"counts": [count(policy="")]}, "counts.0.policy"),
    ({"counts": [count(rule=7)]}, "counts.0.rule"),
    ({"counts": [count(rule="x" * 64)]}, "counts.0.rule"),
    ({"counts": [count(allowed="2")]}, "counts.0.allowed"),
    ({"counts": [count(denied=-1)]}, "counts.0.denied"),
    ({"counts": [count(would_deny=True)]}, "counts.0.would_deny"),
    ({"counts": [count(allowed=10**15)]}, "counts.0.allowed"),
    ({"counts": [count(minute="2026-11-22T10:00Z")]}, "counts.0.minute"),
    ({"counts": [count(minute="2026-11-22T10:00:30Z")]}, "counts.0.minute"),
    ({"counts": [count(minute="1999-01-01T00:00:00Z")]}, "counts.0.minute"),
    ({"counts": [count(minute="2999-01-01T00:00:00Z")]}, "counts.0.minute"),
    ({"counts": [count(minute=None)]}, "counts.0.minute"),
    ({"counts": [count(), count(role="shadow")]}, "counts.1.role"),
    ({"counts": [count(role=None)]}, "counts.0.role"),
    ({"counts": [count(role=["enforced"])]}, "counts.0.role"),
]


@pytest.mark.portable
@pytest.mark.parametrize(("changes", "path"), FAULTS, ids=lambda value: str(value)[:50])
def test_a_report_with_a_fault_is_refused_by_field_and_changes_nothing(
    service: Api, changes: dict[str, Any], path: str
) -> None:
    answer = service.post("/telemetry", report(**changes))
    assert (answer.status_code, list(answer.json()["errors"])) == (400, [path]), answer.content
    assert not Instance.objects.exists() and not TelemetryBatch.objects.exists() and not RuleCount.objects.exists()


def test_a_long_error_is_kept_in_short(service: Api) -> None:
    error = {"code": "policy", "message": "m" * 3000, "errors": {f"rules.{n}": ["x" * 100] for n in range(100)}}
    assert service.post("/telemetry", report(error=error)).status_code == 202
    assert Instance.objects.get().error == {"code": "policy", "message": "m" * 2000}


def test_all_faults_are_told_at_once(service: Api) -> None:
    answer = service.post("/telemetry", {"counts": [count(allowed=-1)], "framework": 3})
    assert sorted(answer.json()["errors"]) == ["batch_id", "counts.0.allowed", "framework", "instance"]


def test_a_large_report_is_taken_and_a_larger_one_is_not(service: Api) -> None:
    counts = [count(rule=f"r{number}", minute=minute(ago)) for number in range(100) for ago in range(10)]
    assert service.post("/telemetry", report(counts=counts)).status_code == 202
    assert RuleCount.objects.count() == 1000
    huge = service.request("POST", "/telemetry", raw=b'{"x": "' + b"a" * 2_200_000 + b'"}')
    assert (huge.status_code, huge.json()["code"]) == (413, "too_large")
