"""What was decided, as the console hears of it: every call counted once, whatever happens on the way."""

import json
import threading
import timeit
from typing import Any

import pytest

from policy_client import Call
from policy_client.decision import Decision, allow
from policy_client.source import Delivered, Undelivered
from policy_client.telemetry import MAX_COUNTS, Counters, Reporter, by_rule, rfc3339
from policy_client.testing import Policies

HEARTBEAT = {"batch_id", "instance", "client_version", "framework", "active_version", "last_success", "error", "counts"}
COUNT = {"policy", "rule", "minute", "allowed", "denied", "would_deny"}
MINUTE = 60 * 29_000_000


class Console:
    """Takes batches, or not."""

    place = "test"

    def __init__(self) -> None:
        self.answer: Delivered | Undelivered = Delivered()
        self.batches: list[dict[str, Any]] = []

    def report(self, batch: bytes) -> Delivered | Undelivered:
        self.batches.append(json.loads(batch))
        return self.answer

    def fetch(self, tag: str | None) -> Any:
        raise AssertionError

    def close(self) -> None:
        pass


def decision(**facts: Any) -> Decision:
    made = {"policy": "POL-0001", "judged": ("a", "b")} | facts
    return allow("within_limits")._replace(**made)


def test_a_heartbeat_has_exactly_the_fields_of_the_contract() -> None:
    policies = Policies()
    policies.enforce("x", a={"key": [], "limit": 1, "window": 60})
    for _ in range(3):
        policies.client.decide(Call(endpoint="x"))
    policies.client.flush()
    [batch] = policies.client._source.batches  # type: ignore[union-attr]
    assert set(batch) == HEARTBEAT
    assert batch["active_version"] == 1
    assert batch["last_success"] == "2026-01-01T00:00:00Z"
    assert batch["error"] is None
    assert batch["framework"] == "python"
    assert [set(count) for count in batch["counts"]] == [COUNT, COUNT]
    whole = {"policy": "POL-0001", "rule": None, "minute": "2026-01-01T00:00:00Z"}
    assert batch["counts"][0] == {**whole, "allowed": 1, "denied": 2, "would_deny": 0}
    assert batch["counts"][1] == {**whole, "rule": "a", "allowed": 1, "denied": 2, "would_deny": 0}


def test_before_the_first_bundle_a_heartbeat_says_so(tmp_path: Any) -> None:
    policies = Policies()
    policies.client._started = True
    policies.client.flush()
    [batch] = policies.client._source.batches  # type: ignore[union-attr]
    assert (batch["active_version"], batch["last_success"]) == (None, None)


def test_lines_are_per_policy_rule_and_minute() -> None:
    counters = Counters()
    for facts, now in [
        ({}, MINUTE),
        ({"would_deny": ("b",)}, MINUTE + 59),
        ({"outcome": "deny", "violated": ("a",)}, MINUTE + 59),
        ({}, MINUTE + 60),
        ({"policy": "POL-0002", "judged": ()}, MINUTE),
    ]:
        counters.record(decision(**facts), now)
    counters.record(allow("no_bundle"), MINUTE)
    lines = {
        (count.policy, count.rule, count.minute * 60 - MINUTE): (count.allowed, count.denied, count.would_deny)
        for count in by_rule(counters.drain())
    }
    assert lines == {
        ("POL-0001", None, 0): (2, 1, 1),
        ("POL-0001", "a", 0): (2, 1, 0),
        ("POL-0001", "b", 0): (2, 0, 1),
        ("POL-0001", None, 60): (1, 0, 0),
        ("POL-0001", "a", 60): (1, 0, 0),
        ("POL-0001", "b", 60): (1, 0, 0),
        ("POL-0002", None, 0): (1, 0, 0),
    }
    assert counters.drain() == {}


def test_nothing_is_lost_under_threads() -> None:
    counters = Counters()
    drained: list[int] = []
    stop = threading.Event()

    def count() -> None:
        for number in range(20_000):
            counters.record(decision(policy=f"POL-{number % 3}"), MINUTE)

    def drain() -> None:
        while not stop.is_set():
            drained.append(sum(counters.drain().values()))

    threads = [threading.Thread(target=count) for _ in range(8)]
    drainer = threading.Thread(target=drain)
    for thread in [drainer, *threads]:
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    drainer.join()
    assert sum(drained) + sum(counters.drain().values()) == 160_000


def test_counting_costs_about_nothing() -> None:
    counters, made = Counters(), decision()
    per_call = min(timeit.repeat(lambda: counters.record(made, MINUTE), number=5_000, repeat=5)) / 5_000
    assert per_call < 10e-6  # a microsecond, with room for a busy machine


def test_what_has_no_room_is_counted_as_lost() -> None:
    counters = Counters(max_keys=2)
    for number in range(5):
        counters.record(decision(policy=f"POL-{number}"), MINUTE)
    assert (len(counters.drain()), counters.lost) == (2, 3)


def test_an_unsent_batch_is_sent_again_with_the_same_id() -> None:
    console, counters = Console(), Counters()
    reporter = Reporter(console)
    counters.record(decision(), MINUTE)
    console.answer = Undelivered("unreachable", "nobody there")
    for _ in range(3):
        assert reporter.beat({"n": 1}, lambda: by_rule(counters.drain())) == console.answer
        counters.record(decision(), MINUTE)
    assert len({batch["batch_id"] for batch in console.batches}) == 1
    assert console.batches[0] == console.batches[2]
    assert reporter.pending == 1
    console.answer = Delivered()
    reporter.beat({"n": 2}, lambda: by_rule(counters.drain()))
    again, fresh = console.batches[3:]
    assert again == console.batches[0]
    assert fresh["batch_id"] != again["batch_id"]
    assert [batch["counts"][0]["allowed"] for batch in (again, fresh)] == [1, 3]
    assert reporter.pending == 0


def test_a_batch_that_the_console_finds_wrong_is_not_sent_for_ever() -> None:
    console = Console()
    reporter = Reporter(console)
    console.answer = Undelivered("http_400", "not understood", final=True)
    assert reporter.beat({}, list) == console.answer
    assert reporter.pending == 0


def test_an_idle_service_sends_its_heartbeat_all_the_same() -> None:
    console = Console()
    reporter = Reporter(console)
    for _ in range(2):
        reporter.beat({"instance": "i"}, list)
    assert [batch["counts"] for batch in console.batches] == [[], []]
    assert len({batch["batch_id"] for batch in console.batches}) == 2


def test_many_counts_go_in_several_batches() -> None:
    console, counters = Console(), Counters()
    for number in range(MAX_COUNTS):
        counters.record(decision(policy=f"POL-{number}", judged=("a",)), MINUTE)
    Reporter(console).beat({}, lambda: by_rule(counters.drain()))
    assert [len(batch["counts"]) for batch in console.batches] == [MAX_COUNTS, MAX_COUNTS]
    assert len({batch["batch_id"] for batch in console.batches}) == 2


@pytest.mark.parametrize(("at", "text"), [(0, "1970-01-01T00:00:00Z"), (1_769_000_000.9, "2026-01-21T12:53:20Z")])
def test_times_are_rfc_3339(at: float, text: str) -> None:
    assert rfc3339(at) == text
