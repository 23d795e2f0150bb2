"""Plays the vectors: the same steps for the oracle, for a client on any store, and for a service in any framework."""

import itertools
import json
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from policy_client.answer import headers
from policy_client.call import Call
from policy_client.client import PolicyClient
from policy_client.decision import Decision
from policy_client.options import Mode, Options
from policy_client.stores import Store
from policy_client.testing import BundleSource, DrivenClient, ManualClock
from tests.conformance.oracle import Oracle
from tests.conformance.vectors import Case, differences

Found = Mapping[str, Any]

_number = itertools.count(1)


class Player(Protocol):
    """What can play a case."""

    def use(self, bundle: dict[str, Any]) -> None:
        """Put a bundle into force."""

    def call(self, now: int, call: dict[str, Any], hold: str | None) -> Found:
        """Decide a call at `now` (µs). One without `hold`, or that is denied, is over at once."""

    def finish(self, now: int, hold: str) -> None:
        """The call that was held under this name is over."""


def play(case: Case, player: Player) -> list[str]:
    """What came out otherwise than expected, step by step."""
    wrong = []
    for position, step in enumerate(case.steps):
        if "bundle" in step:
            player.use(case.bundle(step["bundle"]))
        elif "finish" in step:
            player.finish(case.moment(step), step["finish"])
        else:
            for turn in range(step.get("repeat", 1)):
                found = player.call(case.moment(step), case.call(step), step.get("hold"))
                where = f"step {position}, {step}, call {turn + 1}"
                wrong += [f"{where}: {line}" for line in differences(step["expect"], found)]
    return wrong


class OraclePlayer:
    """The oracle."""

    def __init__(self, mode: str) -> None:
        self._oracle = Oracle(mode)

    def use(self, bundle: dict[str, Any]) -> None:
        self._oracle.bundle = bundle

    def call(self, now: int, call: dict[str, Any], hold: str | None) -> Found:
        found = self._oracle.call(now, call, hold)
        if hold is None or found["outcome"] == "deny":
            self._oracle.finish(hold)
        return found

    def finish(self, now: int, hold: str) -> None:
        self._oracle.finish(hold)


class ClientPlayer:
    """A client on a store. `decide` and `finish` are what differs between the sync and the async way."""

    def __init__(
        self,
        client: "Driven",
        decide: Callable[[Call], Decision],
        finish: Callable[[Decision], None],
    ) -> None:
        self._client = client
        self._decide = decide
        self._finish = finish
        self._held: dict[str, Decision] = {}

    def use(self, bundle: dict[str, Any]) -> None:
        self._client.use(bundle)

    def call(self, now: int, call: dict[str, Any], hold: str | None) -> Found:
        self._client.clock.now = now / 1_000_000
        decision = self._decide(Call(**call))
        if hold is None or not decision.allowed:
            self._finish(decision)
        else:
            self._held[hold] = decision
        return facts(decision)

    def finish(self, now: int, hold: str) -> None:
        self._client.clock.now = now / 1_000_000
        self._finish(self._held[hold])

    def close(self) -> None:
        """Let nothing be renewed that a case has left running."""
        for decision in self._held.values():
            self._finish(decision)


class Driven:
    """A client whose bundles and time a test sets, under a name that no other uses, so that they may share a store."""

    def __init__(self, store: Store, clock: ManualClock, mode: str, kind: type[PolicyClient] = DrivenClient) -> None:
        self.clock = clock
        self._service = f"conformance-{next(_number)}"
        self._version = 0
        self._source = BundleSource(self._body({}))
        options = Options(mode=Mode.BUNDLE if mode == "enforce" else Mode(mode))
        self.client = kind(self._source, store, options=options, clock=clock)

    def use(self, bundle: dict[str, Any]) -> None:
        self._version += 1
        self._source.put(self._body(bundle))
        status = self.client.refresh()
        if status.error is not None:
            raise AssertionError(f"{status.error}: {status.error.errors}")

    def _body(self, bundle: Mapping[str, Any]) -> bytes:
        head = {"schema": 1, "environment": "test", "generation": 1, "service": self._service}
        return json.dumps({**head, **bundle, "version": self._version}).encode()


def facts(decision: Decision) -> dict[str, Any]:
    """A decision as the vectors tell it."""
    told = dict(headers(decision)) | dict(decision.headers)
    if decision.retry_after is not None:
        told["Retry-After"] = str(decision.retry_after)
    candidate = getattr(decision, "candidate", None)
    return {
        "outcome": decision.outcome,
        "reason": decision.reason,
        "policy": decision.policy,
        "rule": decision.rule,
        "status": None if decision.allowed else decision.status,
        "retry_after": decision.retry_after,
        "violated": list(decision.violated),
        "would_deny": list(decision.would_deny),
        "headers": told,
        "remaining": {state.rule: state.remaining for state in decision.limits},
        "candidate": None if candidate is None else facts(candidate),
    }
