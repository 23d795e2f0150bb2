"""The main journey over REST: a policy is written, released, fetched by its service, reported on, and rolled back."""

import hashlib
import json

from policies.lifecycle import audit
from policies.models import Instance, RuleCount
from tests.api.client import Api
from tests.policies.factories import Catalogue, draft, rate_limit


def test_a_policy_is_written_released_fetched_reported_and_rolled_back(
    catalogue: Catalogue, alice: Api, service: Api
) -> None:
    made = alice.post("/policies/", {**draft(), "reason": "exports stall the database"})
    assert made.status_code == 201, made.content
    reference = made.json()["reference"]
    assert (made.headers["ETag"], made.json()["revision"]) == ('"1"', 1)
    assert made.headers["Location"].endswith(f"/api/v1/policies/{reference}/")
    limit = made.json()["rules"][0]
    assert (limit["algorithm"], limit["burst"], limit["on_missing"]) == ("token_bucket", 10, "ip")
    assert "may make 10 calls per" in made.json()["sentences"]["per-user"]

    empty = service.get("/bundle")
    assert empty.status_code == 200 and empty.json()["policies"] == []

    changes = {"reason": "20 are enough", "rules": [rate_limit(limit=20)]}
    changed = alice.patch(f"/policies/{reference}/", changes, If_Match='"1"')
    assert (changed.status_code, changed.headers["ETag"]) == (200, '"2"')

    wanted = {"policy": reference, "revision": 2, "environment": "production", "mode": "enforce", "reason": "go"}
    released = alice.post("/releases/", wanted)
    assert released.status_code == 201, released.content
    assert released.json()["state"] == "live"
    assert released.json()["rollback_command"].startswith(f"manage.py rollback {reference} production")
    assert released.json()["fallback"]["possible"] is True
    assert alice.get(f"/policies/{reference}/", If_None_Match='"2"').status_code == 304
    assert alice.post("/releases/", wanted).status_code == 200

    full = service.get("/bundle")
    assert full.headers["ETag"] == f'"sha256:{hashlib.sha256(full.content).hexdigest()}"'
    assert full.json()["policies"][0]["rules"][0]["limit"] == 20
    assert int(full.headers["Bundle-Version"]) == full.json()["version"] > empty.json()["version"]
    same = service.get("/bundle", If_None_Match=full.headers["ETag"])
    assert (same.status_code, same.content) == (304, b"")
    for answer in (full, same):
        assert answer.headers["Cache-Control"] == "private, no-cache"
        assert answer.headers["Bundle-Generation"] == "1"
        assert {"Bundle-Version", "Bundle-Instances", "Date", "ETag"} <= set(answer.headers)

    minute = full.json()["published_at"][:16] + ":00Z"
    report = {
        "batch_id": "1",
        "instance": "reports-1",
        "client_version": "0.1.0",
        "framework": "fastapi",
        "active_version": full.json()["version"],
        "last_success": full.json()["published_at"],
        "error": None,
        "counts": [
            {"policy": reference, "rule": None, "minute": minute, "allowed": 20, "denied": 1, "would_deny": 0},
            {"policy": reference, "rule": "per-user", "minute": minute, "allowed": 20, "denied": 1, "would_deny": 0},
        ],
    }
    assert service.post("/telemetry", report).status_code == 202
    assert service.post("/telemetry", report).json() == {"counted": False}
    assert Instance.objects.get().name == "reports-1"
    assert sorted(RuleCount.objects.values_list("rule", "allowed", "denied")) == [("", 20, 1), ("per-user", 20, 1)]
    assert service.get("/bundle").headers["Bundle-Instances"] == "1"

    gone = alice.post(f"/releases/{released.json()['id']}/rollback/", {"reason": "customers see denials"})
    assert (gone.status_code, gone.json()["revision"]) == (201, None)
    assert service.get("/bundle").json()["policies"] == []

    assert audit.verify().fault is None
    lines = b"".join(alice.get("/audit/export.jsonl").streaming_content).decode().splitlines()
    told = [json.loads(json.loads(line)["event"]) for line in lines]
    mine = [(event["verb"], event["actor"], event["door"]) for event in told if event["actor"] == "alice"]
    assert mine[-4:] == [
        ("policy.create", "alice", "rest"),
        ("policy.change", "alice", "rest"),
        ("release.live", "alice", "rest"),
        ("release.rollback", "alice", "rest"),
    ]
