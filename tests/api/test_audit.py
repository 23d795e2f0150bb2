"""The audit trail over REST."""

import hashlib
import json

from asgiref.sync import async_to_sync
from django.test import AsyncClient

from policies.lifecycle import audit
from policies.models import AuditEvent
from tests.api.client import Api
from tests.policies.factories import Catalogue, make_policy


def test_an_export_can_be_verified_by_anybody(catalogue: Catalogue, alice: Api) -> None:
    make_policy()
    answer = alice.get("/audit/export.jsonl")
    assert answer.status_code == 200 and answer.headers["Content-Type"] == "application/jsonl"
    lines = b"".join(answer.streaming_content).decode().splitlines()
    prev = "0" * 64
    for number, line in enumerate(lines, start=1):
        link = json.loads(line)
        assert list(link) == ["event", "hash", "prev", "seq"] and link["seq"] == number and link["prev"] == prev
        assert link["hash"] == hashlib.sha256((prev + link["event"]).encode()).hexdigest()
        event = json.loads(link["event"])
        assert set(event) == {
            "seq", "at", "actor", "door", "verb", "object", "reason", "before", "after", "request_id",
        }  # fmt: skip
        prev = link["hash"]
    assert answer.headers["Audit-Head"] == f"{len(lines)}:{prev}"
    assert audit.verify(expected_head=answer.headers["Audit-Head"]).fault is None


def test_an_export_goes_on_where_the_last_one_ended(catalogue: Catalogue, alice: Api) -> None:
    total = AuditEvent.objects.count()
    rest = b"".join(alice.get(f"/audit/export.jsonl?after={total - 2}").streaming_content).splitlines()
    assert [json.loads(line)["seq"] for line in rest] == [total - 1, total]
    assert b"".join(alice.get(f"/audit/export.jsonl?after={10**17}").streaming_content) == b""
    for after in ("x", "-1", "9" * 40):
        assert list(alice.get(f"/audit/export.jsonl?after={after}").json()["errors"]) == ["after"]


def test_an_export_is_streamed_page_by_page_under_asgi_too(catalogue: Catalogue, alice: Api, monkeypatch) -> None:
    monkeypatch.setattr("policies.api.audit_export._AT_ONCE", 3)
    expected = b"".join(alice.get("/audit/export.jsonl").streaming_content)

    async def fetch() -> list[bytes]:
        answer = await AsyncClient().get("/api/v1/audit/export.jsonl", headers=alice.headers)
        assert answer.status_code == 200
        return [chunk async for chunk in answer.streaming_content]

    chunks = async_to_sync(fetch)()
    assert len(chunks) == -(-AuditEvent.objects.count() // 3)
    assert b"".join(chunks) == expected


def test_every_answer_names_the_head(catalogue: Catalogue, alice: Api) -> None:
    newest = AuditEvent.objects.order_by("-seq").first()
    head = f"{newest.seq}:{newest.hash}"
    told = alice.get("/audit/head/")
    assert told.json() == {"seq": newest.seq, "hash": newest.hash, "head": head}
    for answer in (told, alice.get("/audit/"), alice.get(f"/audit/{newest.seq}/"), alice.get("/audit/export.jsonl")):
        assert answer.headers["Audit-Head"] == head


def test_events_are_told_filtered_and_paged(catalogue: Catalogue, alice: Api) -> None:
    policy = make_policy()
    alice.patch(f"/policies/{policy.reference}/", {"reason": "OPS-812", "rollback_note": "Ask Alice."}, If_Match='"1"')
    event = alice.get(f"/audit/?policy={policy.reference}").json()["results"][0]
    assert (event["actor"], event["door"], event["verb"], event["reason"]) == (
        "alice",
        "rest",
        "policy.change",
        "OPS-812",
    )
    assert event["before"]["revision"] == 1 and event["after"]["content"]["rollback_note"] == "Ask Alice."
    assert (event["service"], event["object"]) == ("reports", f"policy:{policy.reference}")
    assert hashlib.sha256((event["prev"] + event["event"]).encode()).hexdigest() == event["hash"]
    assert len(event["request_id"]) >= 8
    at, total = event["at"], AuditEvent.objects.count()
    for query, count in [
        ("actor=alice&verb=policy.change", 1),
        ("verb=policy", 2),
        ("door=rest", 1),
        (f"object=policy:{policy.reference}", 2),
        ("search=OPS-812", 1),
        ("service=shop", 1),
        ("environment=staging", 1),
        (f"since={at}", 1),
        (f"since={at.replace('Z', '+00:00')}", 1),
        (f"until={at}", total - 1),
        ("page_size=2", total),
    ]:
        assert alice.get(f"/audit/?{query}").json()["count"] == count, query
    for query in ("since=yesterday", "until=0001-01-01T00:00:00%2B14:00"):
        assert list(alice.get(f"/audit/?{query}").json()["errors"]) == [query.partition("=")[0]]


def test_nothing_is_written_through_rest(catalogue: Catalogue, alice: Api) -> None:
    for path in ("/audit/", "/audit/1/", "/audit/head/", "/audit/export.jsonl"):
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            assert alice.request(method, path, {}).status_code == 405
    assert alice.get("/audit/999999/").status_code == 404


def test_the_trail_keeps_the_request_id(catalogue: Catalogue, alice: Api) -> None:
    alice.patch("/teams/team-data/", {"name": "Numbers"}, If_Match="*", X_Request_ID="trace-0123456789")
    assert json.loads(AuditEvent.objects.order_by("-seq").first().event)["request_id"] == "trace-0123456789"
