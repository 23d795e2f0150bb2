"""For the tests of services: policies in force without a console, a clock that only moves when told, no network.

pytest_plugins = ["policy_client.testing"]

def test_the_eleventh_export_is_denied(policies, api):
    policies.enforce("reports.export", per_user={"key": ["user"], "limit": 10, "window": 3600})
    …
    policies.clock.advance(3600)
"""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from policy_client.call import Identify
from policy_client.client import PolicyClient
from policy_client.default import install, installed
from policy_client.options import Options
from policy_client.source import Delivered, Fetched, Outcome, Unchanged, tag_of
from policy_client.stores import Store
from policy_client.stores.memory import MemoryStore

START = datetime(2026, 1, 1, tzinfo=UTC).timestamp()


class ManualClock:
    """A clock for `clock=`: gives seconds since the epoch, and stands still until it is advanced."""

    def __init__(self, now: float = START) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> float:
        """Let `seconds` pass; returns the new time."""
        self.now += seconds
        return self.now


def bundle(
    *policies: Mapping[str, Any],
    service: str = "service",
    environment: str = "test",
    generation: int = 1,
    version: int = 1,
    switches: Sequence[Mapping[str, Any]] = (),
    overrides: Sequence[Mapping[str, Any]] = (),
    **rules: Mapping[str, Any],
) -> bytes:
    """The bytes of a bundle as a console serves them.

    `policies` come from `policy()`. `bundle(per_user={…})` is short for one policy whose rules those are, of scope
    service, so that it holds for every endpoint.
    """
    entries = [*policies]
    if rules:
        entries.append(_policy("", "", (), f"POL-{len(entries) + 1:04}", rules))
    document = {
        "schema": 1,
        "service": service,
        "environment": environment,
        "generation": generation,
        "version": version,
        "published_at": "2026-01-01T00:00:00Z",
        "policies": entries,
        "overrides": list(overrides),
        "switches": list(switches),
    }
    return json.dumps(document).encode()


def policy(
    endpoint: str = "",
    *,
    route: str = "",
    methods: Sequence[str] = (),
    reference: str = "POL-0001",
    **rules: Mapping[str, Any],
) -> dict[str, Any]:
    """One policy of a bundle, for an endpoint by the name of its decorator or by its route.

    Rules are keywords: `per_user={"key": ["user"], "limit": 10, "window": 60}` is a rate limit named per-user. Give
    `"kind"` for another kind, and `"mode": "shadow"` for a rule that only counts. Without endpoint and route they hold
    for every endpoint that no other policy names.
    """
    return _policy(endpoint, route, methods, reference, rules)


def _policy(
    endpoint: str, route: str, methods: Sequence[str], reference: str, rules: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    scope = "endpoint" if endpoint or route else "service"
    place = {"name": endpoint, "methods": list(methods), "route": route or f"/-/{endpoint}"}
    return {
        "reference": reference,
        "name": endpoint or route or "defaults",
        "revision": 1,
        "owner": "tests",
        "scope": scope,
        "endpoints": [place] if scope == "endpoint" else [],
        "rules": [
            {"kind": "rate_limit", "name": name.replace("_", "-"), "mode": "enforce", **rule}
            for name, rule in rules.items()
        ],
    }


class BundleSource:
    """A source in memory. `put` is the next bundle; `batches` are the heartbeats that came in."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.batches: list[dict[str, Any]] = []

    @property
    def place(self) -> str:
        return "memory"

    def put(self, body: bytes) -> None:
        self._body = body

    def fetch(self, tag: str | None) -> Outcome:
        found = tag_of(self._body)
        return Unchanged() if found == tag else Fetched(self._body, found, {"etag": found})

    def report(self, batch: bytes) -> Delivered:
        self.batches.append(json.loads(batch))
        return Delivered()

    def close(self) -> None:
        pass


class DrivenClient(PolicyClient):
    """A client without a background thread: it fetches when it starts, and when `refresh` is called."""

    def start(self) -> None:
        with self._starting:
            if not self._started:
                self._started = True
                self.refresh()

    def close(self, timeout: float = 5.0) -> None:
        self._started = False
        self.keeper.close()
        self._store.close()


class Policies:
    """What the fixture gives: policies in force, and the clock by which they count."""

    def __init__(self, *, store: Store | None = None, identify: Identify | None = None) -> None:
        self.clock = ManualClock()
        self._source = BundleSource(bundle(version=0))
        self._version = 0
        self._entries: dict[str, dict[str, Any]] = {}
        self.client = DrivenClient(
            self._source,
            store or MemoryStore(clock=self.clock),
            options=Options(),
            identify=identify,
            clock=self.clock,
        )

    def enforce(
        self, endpoint: str = "", *, route: str = "", methods: Sequence[str] = (), **rules: Mapping[str, Any]
    ) -> None:
        """Put rules in force for an endpoint, by its decorator's name or its route, in place of those it had.

        Without either they hold for every endpoint that has no policy of its own.
        """
        place = endpoint or " ".join((*methods, route))
        known = self._entries.get(place)
        reference = known["reference"] if known else f"POL-{len(self._entries) + 1:04}"
        self._entries[place] = _policy(endpoint, route, methods, reference, rules)
        self._publish()

    def clear(self) -> None:
        """Take all policies out of force. Counters stay."""
        self._entries.clear()
        self._publish()

    def _publish(self) -> None:
        self._version += 1
        self._source.put(bundle(*self._entries.values(), version=self._version))
        status = self.client.refresh()
        if status.error is not None and status.error.errors:
            raise AssertionError(f"these policies are refused: {status.error.errors}")


@contextlib.contextmanager
def in_force(policies: Policies | None = None) -> Iterator[Policies]:
    """Make the client of `policies` the one of the process, for as long as the block runs."""
    policies = policies or Policies()
    before = installed()
    install(policies.client)
    try:
        yield policies
    finally:
        install(before)
        policies.client.close()


try:
    import pytest
except ImportError:  # the rest is of use without it
    pass
else:

    @pytest.fixture(name="policies")
    def policies_fixture() -> Iterator[Policies]:
        """Policies for one test: `policies.enforce(…)`, `policies.clock.advance(…)`, `policies.client`."""
        with in_force() as policies:
            yield policies
