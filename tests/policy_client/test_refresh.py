"""What the client makes of what the console sends: the newest good bundle stays in force, whatever comes."""

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from policy_client import Call, Options, PolicyClient
from policy_client.refresh import backoff
from policy_client.snapshot import Snapshot
from policy_client.source import Fetched, HttpSource, tag_of
from policy_client.stores.memory import MemoryStore
from policy_client.testing import bundle, policy
from policy_client.worker import HEARTBEAT_SECONDS, Worker
from tests.policy_client.peer import Peer, Reply, serving


def limited(limit: int = 1, **facts: object) -> bytes:
    return bundle(policy("x", per_all={"key": [], "limit": limit, "window": 3600}), **facts)  # type: ignore[arg-type]


def changed(body: bytes, **facts: object) -> bytes:
    return json.dumps({**json.loads(body), **facts}).encode()


@pytest.fixture
def client(peer: Peer) -> Iterator[PolicyClient]:
    """A client that has version 5 in force and fetches only when it is told to."""
    peer.body = limited(version=5)
    client = PolicyClient(HttpSource(peer.url, "pck_key"), MemoryStore())
    client.refresh()
    yield client
    client.close()


def test_a_bundle_is_enforced(client: PolicyClient) -> None:
    assert client.status().active_version == 5
    outcomes = [client.decide(Call(endpoint="x")).outcome for _ in range(2)]
    assert outcomes == ["allow", "deny"]


def test_a_newer_bundle_replaces_it_and_keeps_what_was_used(client: PolicyClient, peer: Peer) -> None:
    client.decide(Call(endpoint="x"))
    peer.body = limited(2, version=6)
    assert client.refresh().active_version == 6
    assert [client.decide(Call(endpoint="x")).outcome for _ in range(2)] == ["allow", "deny"]


def test_an_unchanged_bundle_costs_no_body(client: PolicyClient, peer: Peer) -> None:
    client.refresh()
    assert peer.fetches()[-1].headers["if-none-match"] == tag_of(peer.body)
    assert client.status().error is None


REFUSALS = {
    "garbage": (b"\x00\xff", "json"),
    "empty": (b"", "json"),
    "a list": (b"[]", "json"),
    "deep": (b'{"schema": 1, "policies": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "json"),
    "older": (limited(version=4), "version"),
    "older generation": (limited(version=900, generation=0), "generation"),
    "unknown schema": (changed(limited(version=6), schema=2), "schema"),
    "another service": (limited(version=6, service="other"), "service"),
    "another environment": (limited(version=6, environment="other"), "environment"),
    "no version": (changed(limited(), version=None), "version"),
    "limit 0": (limited(0, version=6), "policy"),
}


@pytest.mark.parametrize("kind", REFUSALS)
def test_what_is_refused_leaves_the_old_bundle_and_says_why(client: PolicyClient, peer: Peer, kind: str) -> None:
    good = peer.body
    peer.body, code = REFUSALS[kind]
    status = client.refresh()
    assert status.active_version == 5
    assert status.error is not None
    assert status.error.code == code
    assert status.error.message
    assert client.decide(Call(endpoint="x")).bundle_version == 5
    peer.body = good
    assert client.refresh().error is None


def test_the_heartbeat_says_why_until_it_is_mended(client: PolicyClient, peer: Peer) -> None:
    client.start()
    good = peer.body
    peer.body = limited(0, version=6)
    client.refresh()
    client.flush()
    error = peer.batches()[-1]["error"]
    assert error["code"] == "policy"
    assert list(error["errors"]) == ["policies.0.rules.0.limit"]
    peer.body = good
    client.refresh()
    client.flush()
    assert peer.batches()[-1]["error"] is None
    assert peer.batches()[-1]["active_version"] == 5


def test_a_bundle_with_thousands_of_faults_still_lets_the_heartbeat_through(client: PolicyClient, peer: Peer) -> None:
    document = json.loads(limited(0, version=6))
    [entry] = document["policies"]
    document["policies"] = [{**entry, "reference": f"POL-{number}"} for number in range(2000)]
    peer.body = json.dumps(document).encode()
    client.start()
    status = client.refresh()
    client.flush()
    assert status.error is not None
    assert status.error.errors is not None
    assert len(status.error.errors) >= 2000
    assert len(peer.asked[-1].body) < 10_000
    assert peer.batches()[-1]["error"]["code"] == "policy"


OVERRIDE = {"id": 5, "key": {"user": "42"}, "policy": None, "effect": "exempt", "until": "2030-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    "facts",
    [{"invented": {"a": [1]}}, {"published_at": "2030-01-01T00:00:00+02:00"}, {"overrides": [OVERRIDE]}],
    ids=["unknown field", "another offset", "overrides"],
)
def test_valid_variants_are_accepted(client: PolicyClient, peer: Peer, facts: dict[str, object]) -> None:
    document = {**json.loads(limited(version=6)), **facts}
    peer.body = json.dumps(dict(reversed(document.items())), indent=2).encode()
    assert client.refresh().active_version == 6
    assert client.status().error is None


def test_a_higher_generation_wins_over_a_lower_version(client: PolicyClient, peer: Peer) -> None:
    peer.body = limited(version=1, generation=2)
    status = client.refresh()
    assert (status.active_generation, status.active_version) == (2, 1)


def test_a_console_that_is_down_changes_nothing(client: PolicyClient, peer: Peer) -> None:
    peer.answer = lambda asked: Reply(500)
    status = client.refresh()
    assert status.error is not None
    assert status.error.code == "http_500"
    assert [client.decide(Call(endpoint="x")).outcome for _ in range(2)] == ["allow", "deny"]


def test_one_log_line_per_change_of_state(client: PolicyClient, peer: Peer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "policy_client")
    peer.answer = lambda asked: Reply(500)
    for _ in range(5):
        client.refresh()
    peer.answer = lambda asked: Reply(401)
    for _ in range(5):
        client.refresh()
    peer.answer = None
    for _ in range(5):
        client.refresh()
    codes = [record.getMessage().split("(")[-1].split(")")[0] for record in caplog.records[:2]]
    assert codes == ["http_500", "http_401"]
    assert len(caplog.records) == 3
    assert "again" in caplog.records[2].getMessage()


def test_the_snapshot_carries_a_restart_over_an_outage(peer: Peer, tmp_path: Path) -> None:
    peer.body = limited(version=5)
    options = Options(snapshot=tmp_path / "policies")
    first = PolicyClient(HttpSource(peer.url, "pck_key"), MemoryStore(), options=options)
    first.refresh()
    first.close()
    peer.answer = lambda asked: Reply(503)
    second = PolicyClient(HttpSource(peer.url, "pck_key"), MemoryStore(), options=options)
    assert second.ready()
    assert [second.decide(Call(endpoint="x")).outcome for _ in range(2)] == ["allow", "deny"]
    assert second.status().from_snapshot
    second.close()


def test_a_snapshot_is_not_older_news_for_the_same_service(peer: Peer, tmp_path: Path) -> None:
    kept = limited(version=9)
    Snapshot(tmp_path / "policies").save(Fetched(kept, tag_of(kept), {"etag": tag_of(kept)}))
    peer.body = limited(version=5)
    client = PolicyClient(HttpSource(peer.url, "k"), MemoryStore(), options=Options(snapshot=tmp_path / "policies"))
    client.start()
    status = client.refresh()
    client.close()
    assert status.active_version == 9
    assert status.error is not None
    assert status.error.code == "version"


def test_a_snapshot_of_another_service_gives_way(peer: Peer, tmp_path: Path) -> None:
    kept = limited(version=9, service="other")
    Snapshot(tmp_path / "policies").save(Fetched(kept, tag_of(kept), {"etag": tag_of(kept)}))
    peer.body = limited(version=5)
    client = PolicyClient(HttpSource(peer.url, "k"), MemoryStore(), options=Options(snapshot=tmp_path / "policies"))
    client.start()
    status = client.refresh()
    client.close()
    assert (status.service, status.active_version, status.error) == ("service", 5, None)


@pytest.mark.parametrize("kept", [b"", b"nonsense", b'{"etag":"x"}\n{}'])
def test_a_damaged_snapshot_is_as_good_as_none(peer: Peer, tmp_path: Path, kept: bytes) -> None:
    (tmp_path / "policies").write_bytes(kept)
    peer.answer = lambda asked: Reply(503)
    client = PolicyClient(HttpSource(peer.url, "k"), MemoryStore(), options=Options(snapshot=tmp_path / "policies"))
    assert not client.ready()
    assert client.decide(Call(endpoint="x")).reason == "no_bundle"
    client.close()


def test_a_bundle_that_turns_out_to_be_poison_is_refused_whole(peer: Peer, tmp_path: Path) -> None:
    kept = b'{"schema": 7}'
    Snapshot(tmp_path / "policies").save(Fetched(kept, tag_of(kept), {"etag": tag_of(kept)}))
    peer.answer = lambda asked: Reply(503)
    client = PolicyClient(HttpSource(peer.url, "k"), MemoryStore(), options=Options(snapshot=tmp_path / "policies"))
    assert not client.ready()
    client.close()


def test_a_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "bundle.json"
    path.write_bytes(limited(version=1))
    client = PolicyClient.from_env({"POLICY_CONSOLE_URL": path.as_uri()})
    assert client.refresh().active_version == 1
    path.write_bytes(limited(version=2))
    assert client.refresh().active_version == 2
    client.close()


def test_back_off_doubles_up_to_a_minute() -> None:
    assert [backoff(failures, 15.0) for failures in (1, 2, 3, 4, 7, 50)] == [1, 2, 4, 8, 60, 60]
    assert backoff(1, 0.1) == 0.1
    assert backoff(50, 3600.0) == 3600.0


def test_failures_are_asked_again_later_and_later(peer: Peer) -> None:
    peer.answer = lambda asked: Reply(500, headers={"Retry-After": "0"})
    client = PolicyClient(HttpSource(peer.url, "k"), MemoryStore())
    assert client._refresher is not None
    delays = [client._refresher.poll() for _ in range(4)]
    peer.answer = lambda asked: Reply(429, headers={"Retry-After": "44"})
    delays.append(client._refresher.poll())
    peer.answer = None
    peer.body = limited()
    delays.append(client._refresher.poll())
    client.close()
    assert delays == [1, 2, 4, 8, 44, 15]


def test_a_tick_does_what_is_due_and_says_when_to_come_again() -> None:
    done: list[str] = []

    def poll() -> float:
        done.append("poll")
        return 15.0

    class Even(random.Random):
        def uniform(self, a: float, b: float) -> float:
            return b

    worker = Worker(poll=poll, beat=lambda: done.append("beat"), clock=lambda: 0.0, rng=Even())
    assert worker.tick(100.0) == HEARTBEAT_SECONDS
    assert done == ["poll", "beat"]
    assert worker.tick(107.0) == 1.0
    assert worker.tick(108.0) == 7.0
    assert worker.tick(115.0) == 1.0
    assert done == ["poll", "beat", "beat", "poll"]


def test_polls_of_many_instances_spread() -> None:
    due = set()
    for seed in range(50):
        worker = Worker(poll=lambda: 15.0, beat=lambda: None, clock=lambda: 0.0, rng=random.Random(seed))
        worker.tick(0.0)
        due.add(worker._next_poll)
    assert len(due) == 50
    assert all(12 <= at <= 15 for at in due if at is not None)


def test_the_thread_polls_by_itself(peer: Peer) -> None:
    peer.body = limited(version=1)
    client = PolicyClient(HttpSource(peer.url, "k"), MemoryStore(), options=Options(poll_seconds=0.05))
    assert client.decide(Call(endpoint="x")).reason in ("no_bundle", "within_limits")
    peer.wait_for(lambda: len(peer.fetches()) >= 3 and len(peer.batches()) >= 1)
    client.close()
    assert client.status().active_version == 1


def test_a_console_that_comes_back_is_found(peer: Peer) -> None:
    client = PolicyClient(HttpSource("http://127.0.0.1:9", "k", timeout=1), MemoryStore())
    assert client.refresh().error is not None
    with serving(Peer(body=limited())) as late:
        moved = PolicyClient(HttpSource(late.url, "k"), MemoryStore())
        assert moved.refresh().error is None
        moved.close()
    client.close()
