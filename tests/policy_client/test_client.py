"""The client as a service holds it: nothing of ours ever fails a call, and it says what troubles it."""

import asyncio
import gc
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from policy_client import Call, Misconfigured, Options, PolicyClient
from policy_client.claim import Claim, Usage
from policy_client.errors import StoreFailed
from policy_client.options import Mode
from policy_client.stores import Store
from policy_client.stores.memory import MemoryStore
from policy_client.testing import BundleSource, DrivenClient, ManualClock, Policies, bundle, policy

RULE = {"key": ["user"], "limit": 1, "window": 60}


@pytest.fixture
def policies() -> Iterator[Policies]:
    policies = Policies()
    policies.enforce("x", per_user=RULE)
    yield policies
    policies.client.close()


class Flaky(MemoryStore):
    """A store that is down when told."""

    down: Exception | None = None

    def take(self, claim: Claim) -> Usage:
        if self.down is not None:
            raise self.down
        return super().take(claim)

    async def atake(self, claim: Claim) -> Usage:
        return self.take(claim)


def flaky(mode: Mode = Mode.BUNDLE) -> tuple[PolicyClient, Flaky, BundleSource]:
    store, source = Flaky(), BundleSource(bundle(policy("x", per_user=RULE)))
    return DrivenClient(source, store, options=Options(mode=mode)), store, source


@pytest.mark.parametrize("sync", [True, False])
def test_a_store_that_fails_lets_calls_pass_and_says_so(sync: bool, caplog: pytest.LogCaptureFixture) -> None:
    client, store, source = flaky()
    caplog.set_level("INFO", "policy_client")

    def decide() -> Any:
        call = Call(endpoint="x", user="a")
        return client.decide(call) if sync else asyncio.run(client.adecide(call))

    client.start()
    caplog.clear()
    store.down = StoreFailed("no answer within 20 ms")
    decisions = [decide() for _ in range(5)]
    assert {(decision.outcome, decision.reason, decision.limits) for decision in decisions} == {
        ("allow", "store_failed", ())
    }
    status = client.status()
    assert status.error is not None
    assert (status.error.code, status.store_failures) == ("store_failed", 5)
    store.down = None
    assert [decide().outcome for _ in range(2)] == ["allow", "deny"]
    assert client.status().error is None
    assert len(caplog.records) == 2
    client.flush()
    assert {count["rule"]: count["allowed"] for count in source.batches[-1]["counts"]} == {None: 6, "per-user": 1}


class Unspeakable:
    def __str__(self) -> str:
        raise LookupError("there are no words")


@pytest.mark.parametrize(
    "call",
    [None, object(), Call(endpoint={}), Call(endpoint="x", user=Unspeakable()), Call(method=3, route=b"/")],  # type: ignore[arg-type]
)
def test_a_broken_call_passes(policies: Policies, call: Any) -> None:
    assert policies.client.decide(call).allowed
    assert asyncio.run(policies.client.adecide(call)).allowed


def test_any_trouble_of_ours_passes_the_call_and_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    client, store, source = flaky()
    store.down = ZeroDivisionError("a bug")
    decisions = [client.decide(Call(endpoint="x", user="a")) for _ in range(4)]
    assert {(decision.outcome, decision.reason) for decision in decisions} == {("allow", "internal_error")}
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 1
    assert client.status().internal_errors == 4
    client.flush()
    assert source.batches[-1]["error"]["code"] == "internal_error"
    store.down = None
    client.flush()
    client.flush()
    assert source.batches[-1]["error"] is None


def test_cancelling_a_call_is_not_trouble_of_ours() -> None:
    client, _, _ = flaky()

    class Slow(MemoryStore):
        async def atake(self, claim: Claim) -> Usage:
            await asyncio.Event().wait()
            raise AssertionError

    client._store = Slow()

    async def cancelled() -> None:
        task = asyncio.ensure_future(client.adecide(Call(endpoint="x", user="a")))
        await asyncio.sleep(0)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled())
    assert client.status().internal_errors == 0


def test_shadow_mode_lowers_everything() -> None:
    client, _, source = flaky(Mode.SHADOW)
    decisions = [client.decide(Call(endpoint="x", user="a")) for _ in range(3)]
    assert [(decision.outcome, decision.would_deny) for decision in decisions] == [
        ("allow", ()),
        ("allow", ("per-user",)),
        ("allow", ("per-user",)),
    ]
    client.flush()
    assert {count["rule"]: (count["allowed"], count["would_deny"]) for count in source.batches[-1]["counts"]} == {
        None: (3, 2),
        "per-user": (3, 2),
    }


def test_mode_off_asks_nobody(caplog: pytest.LogCaptureFixture) -> None:
    client, _, source = flaky(Mode.OFF)
    decisions = {client.decide(Call(endpoint="x", user="a")).reason for _ in range(3)}
    client.flush()
    assert decisions == {"mode_off"}
    assert source.batches == []
    assert client.ready()
    assert client.status().mode == "off"


def test_without_a_console_policies_are_off_with_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    client = PolicyClient.from_env({})
    assert [client.decide(Call(endpoint="x")).reason for _ in range(3)] == ["mode_off"] * 3
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "POLICY_CONSOLE_URL" in caplog.text
    client.close()


def test_wrong_settings_are_refused_at_once() -> None:
    with pytest.raises(Misconfigured, match="POLICY_MODE"):
        PolicyClient.from_env({"POLICY_MODE": "maybe"})


def test_before_the_first_bundle_calls_pass(tmp_path: Path) -> None:
    path = tmp_path / "bundle.json"
    client = PolicyClient.from_env({"POLICY_CONSOLE_URL": path.as_uri(), "POLICY_POLL_SECONDS": "3600"})
    assert client.decide(Call(endpoint="x")).reason == "no_bundle"
    assert not client.ready()
    assert client.status().active_version is None
    path.write_bytes(bundle(policy("x", per_user=RULE), version=7))
    client.refresh()
    assert client.ready()
    assert client.status().active_version == 7
    client.close()


def test_a_client_that_was_closed_starts_anew(policies: Policies) -> None:
    policies.client.close()
    assert [policies.client.decide(Call(endpoint="x", user="a")).outcome for _ in range(2)] == ["allow", "deny"]


def test_the_thread_starts_with_the_first_call_and_not_before(tmp_path: Path) -> None:
    path = tmp_path / "bundle.json"
    path.write_bytes(bundle())
    before = threading.active_count()
    client = PolicyClient.from_env({"POLICY_CONSOLE_URL": path.as_uri()})
    assert threading.active_count() == before
    starters = [threading.Thread(target=client.decide, args=(Call(endpoint="x"),)) for _ in range(8)]
    for thread in starters:
        thread.start()
    for thread in starters:
        thread.join()
    assert [thread.name for thread in threading.enumerate()].count("policy-client") == 1
    client.close()
    assert threading.active_count() == before


def test_swaps_happen_between_calls_and_never_within_one() -> None:
    source = BundleSource(bundle(version=1))
    client = DrivenClient(source, MemoryStore())
    wrong: list[Any] = []
    stop = threading.Event()

    def call() -> None:
        while not stop.is_set():
            decision = client.decide(Call(endpoint="x"))
            # Odd versions have the endpoint, even ones have not.
            if (decision.reason == "within_limits") != (decision.bundle_version % 2 == 1):  # type: ignore[operator]
                wrong.append(decision)

    client.start()
    source.put(bundle(policy("x", per_all={"key": [], "limit": 10**9, "window": 1}), version=3))
    client.refresh()
    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for version in range(4, 200):
        policies = [policy("x", per_all={"key": [], "limit": 10**9, "window": 1})] if version % 2 else []
        source.put(bundle(*policies, version=version))
        client.refresh()
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_status_is_plain_data(policies: Policies) -> None:
    wire = policies.client.status().to_wire()
    assert (wire["mode"], wire["service"], wire["environment"], wire["active_version"]) == (
        "enforce",
        "service",
        "test",
        1,
    )
    assert wire["instance"].rpartition(":")[2].isdecimal()


def test_a_store_that_is_degraded_is_reported() -> None:
    class Lesser(MemoryStore):
        degraded = "counts in process memory"

    client = DrivenClient(BundleSource(bundle()), Lesser())
    client.start()
    error = client.status().error
    assert error is not None
    assert (error.code, error.message) == ("degraded", "counts in process memory")


def test_the_clock_is_the_one_that_was_given() -> None:
    clock = ManualClock(0.0)
    client = DrivenClient(BundleSource(bundle(policy("x", per_user=RULE))), MemoryStore(clock=clock), clock=clock)
    call = Call(endpoint="x", user="a")
    assert [client.decide(call).outcome for _ in range(2)] == ["allow", "deny"]
    clock.advance(60)
    assert client.decide(call).outcome == "allow"
    assert client.status().last_success == "1970-01-01T00:00:00Z"


def test_a_client_that_nobody_holds_is_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "bundle.json"
    path.write_bytes(bundle())
    from policy_client.client import _clients  # noqa: PLC0415

    before = len(_clients)
    for _ in range(5):
        PolicyClient.from_env({"POLICY_CONSOLE_URL": path.as_uri()})
    gc.collect()
    assert len(_clients) <= before


def test_stores_are_what_the_protocol_says() -> None:
    store: Store = MemoryStore()
    assert store.degraded is None
