"""What stands in the tables at one moment, and what may lie between two such moments: the rules of the life of a change
in other words than the verbs', for a test that does verbs at random."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from policies.models import (
    Approval,
    AuditEvent,
    ChecklistItem,
    Environment,
    Gate,
    Hold,
    Policy,
    Publication,
    Release,
    Revision,
    Service,
    Switch,
)
from policies.publishing import bundles

Row = dict[str, Any]
Rows = dict[int, Row]

ASKED = {"requested", "approved", "scheduled"}
ENDED = {"superseded", "rolled_back", "expired", "rejected", "cancelled"}
UNDONE = {"rolled_back", "expired"}
TERMS = {
    *("policy_id", "environment_id", "revision_id", "mode", "role", "on_change", "steps", "starts_at", "expires_at"),
    *("checklist", "terms", "acknowledged", "evidence", "reason", "requested_by", "requested_at", "break_glass"),
    *("restores_id", "rolled_back_from_id"),
}
AFTERWARDS = {
    *("glass_reviewed_by", "glass_reviewed_at", "glass_review", "final_note", "final_note_by", "final_note_at"),
}
WHILE_LIVE = AFTERWARDS | {"state", "ended_at", "rollout", "step", "stepped_at", "halted"}
LEADS_TO = {
    "requested": {"approved", "scheduled", "live", "rejected", "cancelled"},
    "approved": {"requested", "scheduled", "live", "rejected", "cancelled"},
    # One run of the job can let two schedules of one place begin, one after the other.
    "scheduled": {"requested", "approved", "live", "superseded", "rejected", "cancelled"},
    "live": {"superseded", "rolled_back", "expired"},
}


def rows(model: Any, key: str = "id") -> Rows:
    return {row[key]: row for row in model.objects.order_by(key).values()}


@dataclass(frozen=True, slots=True)
class State:
    """Every row that the life of a change concerns, as it is."""

    releases: Rows
    approvals: Rows
    gates: Rows
    holds: Rows
    items: Rows
    events: Rows
    switches: Rows
    environments: Rows
    revisions: dict[int, tuple[int, int, str]]
    versions: dict[str, int]

    @classmethod
    def read(cls) -> "State":
        return cls(
            releases=rows(Release),
            approvals=rows(Approval),
            gates=rows(Gate),
            holds=rows(Hold),
            items=rows(ChecklistItem),
            events=rows(AuditEvent, "seq"),
            switches=rows(Switch),
            environments=rows(Environment),
            revisions={row[0]: row[1:] for row in Revision.objects.values_list("pk", "policy_id", "number", "author")},
            versions=dict(Publication.objects.values_list("audience", "version")),
        )

    def live(self, role: str = "enforced") -> dict[tuple[int, int], Row]:
        return {place(row): row for row in self.releases.values() if (row["state"], row["role"]) == ("live", role)}

    def on_hold(self) -> set[tuple[int, int]]:
        return {place(hold) for hold in self.holds.values() if hold["lifted_at"] is None}


def place(row: Row) -> tuple[int, int]:
    return row["policy_id"], row["environment_id"]


def differences(before: Rows, after: Rows) -> Iterator[tuple[Row | None, Row]]:
    """What is new, and what has changed; nothing is ever gone."""
    assert before.keys() <= after.keys(), "a row is gone"
    for key, row in after.items():
        if before.get(key) != row:
            yield before.get(key), row


def changed(old: Row, new: Row) -> set[str]:
    return {name for name, value in new.items() if old[name] != value}


def check_history(before: State, after: State) -> None:
    """It only grows: rows stay, what was asked for stays as it was asked for, and what has ended stays ended."""
    assert not [old for old, _ in differences(before.events, after.events) if old]
    assert not [old for old, _ in differences(before.gates, after.gates) if old]
    assert before.revisions.items() <= after.revisions.items()
    for old, new in differences(before.approvals, after.approvals):
        if old is not None:
            assert old["voided_at"] is None
            assert changed(old, new) <= {"voided_at", "void_reason"}
    for old, new in differences(before.holds, after.holds):
        if old is not None:
            assert old["lifted_at"] is None
            assert changed(old, new) == {"lifted_at", "lifted_by", "lift_reason"}
    for old, new in differences(before.releases, after.releases):
        if old is None:
            continue
        assert not changed(old, new) & TERMS
        if old["state"] in ENDED:
            assert changed(old, new) <= AFTERWARDS
        elif old["state"] == "live":
            assert changed(old, new) <= WHILE_LIVE
        assert new["state"] == old["state"] or new["state"] in LEADS_TO[old["state"]]
    for name, version in before.versions.items():
        assert after.versions[name] >= version


def check_one_live(after: State) -> None:
    live = [(place(row), row["role"]) for row in after.releases.values() if row["state"] == "live"]
    assert len(live) == len(set(live))
    enforced = {there for there, row in after.live().items() if row["revision_id"]}
    tried = {there for there, row in after.live("candidate").items() if row["revision_id"]}
    assert tried <= enforced, "a candidate stands beside nothing"


def check_going_live(before: State, after: State, *, attended: bool) -> None:
    """Whatever went live since passed its gates, or is a way back."""
    for row in after.releases.values():
        old = before.releases.get(row["id"])
        if row["state"] != "live" or (old is not None and old["state"] == "live"):
            continue
        if row["rolled_back_from_id"] is not None:
            _check_way_back(before, after, row, attended=attended)
        else:
            _check_gates(before, after, row, attended=attended)


def _check_way_back(before: State, after: State, row: Row, *, attended: bool) -> None:
    gone = after.releases[row["rolled_back_from_id"]]
    assert before.releases[gone["id"]]["state"] == "live"
    assert gone["state"] == ("rolled_back" if attended else "expired")
    assert place(gone) == place(row)
    if row["revision_id"] is None:
        assert row["restores_id"] is None
        return
    origin = after.releases[row["restores_id"]]
    assert (place(origin), origin["role"]) == (place(row), row["role"])
    assert origin["released_at"] is not None
    assert [origin[name] for name in ("revision_id", "mode", "rollout", "expires_at")] == [
        row[name] for name in ("revision_id", "mode", "rollout", "expires_at")
    ]
    was = after.releases[gone["restores_id"] or gone["id"]]
    assert 0 < origin["bundle_version"] < was["bundle_version"], "only backwards"
    assert row["expires_at"] is None or row["expires_at"] > row["released_at"], "what is over came back"
    _check_not_undone(after, row, gone)


def _check_not_undone(after: State, row: Row, gone: Row) -> None:
    """What was rolled back never comes back; of itself not even where another release said the same."""
    origin = after.releases[row["restores_id"]]
    rolled_back = [
        other
        for other in after.releases.values()
        if (place(other), other["role"], other["state"]) == (place(row), row["role"], "rolled_back")
        and other["id"] != gone["id"]
    ]
    assert origin["state"] not in UNDONE
    assert origin["id"] not in {other["restores_id"] for other in rolled_back}, "what was rolled back came back"
    if gone["state"] == "expired":
        same = [other for other in rolled_back if says(other) == says(origin)]
        assert all(other["bundle_version"] < origin["bundle_version"] for other in same), "it came back by itself"


def says(row: Row) -> tuple[Any, ...]:
    return row["revision_id"], row["mode"]


def _check_gates(before: State, after: State, row: Row, *, attended: bool) -> None:
    environment = after.environments[row["environment_id"]]
    assert not environment["frozen"]
    assert row["starts_at"] is None or row["starts_at"] <= row["released_at"]
    assert row["expires_at"] is None or row["expires_at"] > row["released_at"]
    assert attended or place(row) not in before.on_hold(), "nobody looked, and it was on hold"
    for item in after.items.values():
        if item["release_id"] == row["id"] and item["required"] and item["stage"] == "before":
            assert item["done_at"] is not None
    if row["break_glass"]:
        return
    wrote = _authors(after, row)
    said = {
        approval["person"]
        for approval in after.approvals.values()
        if (approval["release_id"], approval["verdict"]) == (row["id"], "approve")
        and approval["voided_at"] is None
        and approval["terms"] == row["terms"]
    }
    others = said - wrote - {row["requested_by"]}
    assert said == others, "somebody approved what is their own"
    assert len(others) >= environment["approvals_required"]


def _authors(after: State, row: Row) -> set[str]:
    """Who wrote what a release puts live there: the revision, and those since the one that it took the place of."""
    policy, number, author = after.revisions[row["revision_id"]]
    enforced = after.live().get(place(row)) if row["role"] == "candidate" else after.releases.get(row["replaces_id"])
    there = after.revisions[enforced["revision_id"]][1] if enforced and enforced["revision_id"] else 0
    return {author} | {who for other, n, who in after.revisions.values() if other == policy and there < n < number}


def check_told(before: State, after: State) -> None:
    """Whatever changed about a release stands in the trail, in the release's own event or in that of the one that took
    its place."""
    told: set[str] = set()
    for _, event in differences(before.events, after.events):
        told.add(event["object"])
        document = json.loads(event["event"])
        if document["before"] and event["object"].startswith("release:"):
            told.add(f"release:{document['before'].get('id')}")
    for old, new in differences(before.releases, after.releases):
        if old is None or changed(old, new) - {"basis"}:
            assert f"release:{new['id']}" in told, f"nothing tells of {new['id']}"
    for _, approval in differences(before.approvals, after.approvals):
        assert f"release:{approval['release_id']}" in told
    for _, hold in differences(before.holds, after.holds):
        about = {
            f"hold:{hold['id']}",
            *(f"release:{pk}" for pk, row in after.releases.items() if place(row) == place(hold)),
        }
        assert told & about


def check_bundles(before: State, after: State, bodies: dict[int, tuple[int, bytes]]) -> dict[int, tuple[int, bytes]]:
    """What services fetch is what the live rows say, under a version that only grows and never says two things."""
    found = {}
    references = {policy.pk: policy.reference for policy in Policy.objects.all()}
    for environment in Environment.objects.all():
        bundle = bundles.fetch(Service.objects.get(slug="reports"), environment)
        version, body = bodies.get(environment.pk, (0, b""))
        assert bundle.version >= version
        assert bundle.version > version or bundle.body == body
        entries = {entry["reference"]: entry for entry in json.loads(bundle.body)["policies"]}
        live = {there: row for there, row in after.live().items() if there[1] == environment.pk and row["revision_id"]}
        assert set(entries) == {references[policy] for policy, _ in live}
        for (policy, _), row in live.items():
            entry, tried = entries[references[policy]], after.live("candidate").get((policy, environment.pk))
            assert entry["revision"] == after.revisions[row["revision_id"]][1]
            own = [rule for rule in entry["rules"] if rule["source"]["policy"] == references[policy]]
            assert own
            assert {(rule["mode"], rule["rollout"]) for rule in own} == {(row["mode"], row["rollout"])}
            beside = after.revisions[tried["revision_id"]][1] if tried and tried["revision_id"] else None
            assert (entry["candidate"] or {"revision": None})["revision"] == beside
        found[environment.pk] = (bundle.version, bundle.body)
    return found


def check_frozen(before: State, after: State, *, may: bool) -> None:
    """In a freeze nothing goes live, and nothing that is live changes, but by rolling back."""
    for old, new in differences(before.releases, after.releases):
        environment = before.environments[new["environment_id"]]
        if environment["frozen"] and not may and (old is None or "live" in (old["state"], new["state"])):
            assert old is not None and changed(old, new) <= AFTERWARDS


def check_left_alone(before: State, after: State) -> None:
    """What is on hold is as it was."""
    for old, new in differences(before.releases, after.releases):
        if place(new) in before.on_hold() and new["state"] not in ASKED:
            assert old is not None and old["state"] in ASKED and new["state"] not in ("live",)
