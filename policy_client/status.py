"""What a client says about itself, and the states that it remembers in order to say it."""

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from policy_client.plan import Plan
from policy_client.source import Delivered, Undelivered

MAX_NAMES = 100
MAX_ERRORS = 20
MAX_TEXT = 300

logger = logging.getLogger("policy_client")


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong, with a code for machines. Goes into `status()` and the heartbeat as it is."""

    code: str
    message: str
    errors: dict[str, list[str]] | None = None

    def to_wire(self) -> dict[str, Any]:
        """Bounded, so that a bundle with thousands of faults does not keep the heartbeat from getting through."""
        wire: dict[str, Any] = {"code": self.code, "message": self.message[:MAX_TEXT]}
        if self.errors:
            told = list(self.errors.items())[:MAX_ERRORS]
            wire["errors"] = {path: [message[:MAX_TEXT] for message in found[:1]] for path, found in told}
        return wire


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """`mode` is enforce, shadow or off; `error` what is wrong now, None if nothing; times are RFC 3339 UTC."""

    mode: str
    instance: str
    place: str | None
    service: str | None
    environment: str | None
    active_generation: int | None
    active_version: int | None
    from_snapshot: bool
    last_success: str | None
    error: Trouble | None
    store_failures: int
    internal_errors: int
    unknown_endpoints: tuple[str, ...]
    uncounted: int

    def to_wire(self) -> dict[str, Any]:
        return asdict(self)


class Health:
    """Troubles other than those of the bundle. One log line where a state changes, however many calls see it.

    Its numbers are for people and are not worth a lock: two threads that stumble at once may count as one.
    """

    def __init__(self, degraded: Callable[[], str | None]) -> None:
        self._degraded = degraded
        self.store_trouble: str | None = None
        self._stumble: str | None = None
        self._identity: str | None = None
        self._report: str | None = None
        self._lost: str | None = None
        self._cost: str | None = None
        self._unavailable: dict[str, list[str]] = {}
        self._unknown: dict[str, None] = {}
        self._seen = (0, 0)
        self.store_failures = 0
        self.stumbles = 0
        self.identity_failures = 0

    @property
    def unknown(self) -> tuple[str, ...]:
        """Names that code uses and no policy has."""
        return tuple(self._unknown)

    def trouble(self) -> Trouble | None:  # noqa: PLR0911 - one for each kind, worst first
        """The worst of what is wrong."""
        if self.store_trouble is not None:
            return Trouble("store_failed", self.store_trouble)
        if self._stumble is not None:
            return Trouble("internal_error", self._stumble)
        if self._identity is not None:
            return Trouble("identity_failed", self._identity)
        if self._cost is not None:
            return Trouble("cost_failed", self._cost)
        degraded = self._degraded()
        if degraded is not None:
            return Trouble("degraded", degraded)
        if self._lost:
            return Trouble("slots_lost", self._lost)
        if self._unavailable:
            parts = "; ".join(f"{part}: {', '.join(names)}" for part, names in sorted(self._unavailable.items()))
            return Trouble("identity_unavailable", f"Rules count by what no call has had so far ({parts}).")
        if self._unknown:
            return Trouble("unknown_endpoint", f"No policy has an endpoint named {', '.join(self._unknown)}.")
        return None

    def store_failed(self, error: Exception) -> None:
        self.store_failures += 1
        if self.store_trouble is None:
            logger.warning("the store of the counters fails, calls pass uncounted: %s", error)
        self.store_trouble = str(error)

    def store_answered(self) -> None:
        if self.store_trouble is not None:
            self.store_trouble = None
            logger.info("the store of the counters answers again")

    def stumbled(self, error: Exception) -> None:
        self.stumbles += 1
        message = f"{type(error).__name__}: {error}"
        if self._stumble is None:
            logger.error("a call could not be decided and passes: %s", message, exc_info=error)
        self._stumble = message

    def identity_failed(self, error: Exception) -> None:
        self.identity_failures += 1
        message = f"Callers cannot be identified: {type(error).__name__}: {error}"
        if self._identity is None:
            logger.error("%s; calls go on without an identity", message, exc_info=error)
        self._identity = message

    def cost_failed(self, error: Exception) -> None:
        message = f"The cost of a call is not known: {type(error).__name__}: {error}"
        if self._cost is None:
            logger.error("%s; what the rules say counts", message, exc_info=error)
        self._cost = message

    def slots_lost(self, limits: str) -> None:
        if self._lost is None:
            logger.warning("a slot of %s lapsed while its call was running, and others have them all", limits)
        self._lost = f"A slot of {limits} lapsed while its call was running, and others have them all."

    def unknown_name(self, endpoint: str) -> None:
        if endpoint not in self._unknown and len(self._unknown) < MAX_NAMES:
            self._unknown[endpoint] = None
            logger.warning("no policy has an endpoint named %r; its calls are allowed", endpoint)

    def look_at(self, plan: Plan) -> None:
        """What the plan in force says: a name that a policy has by now is no trouble any more, but an identity by which
        rules count and that never comes is."""
        unavailable = plan.unavailable()
        if unavailable.keys() - self._unavailable.keys():
            logger.warning("rules count by identities that no call has had so far: %s", ", ".join(sorted(unavailable)))
        self._unavailable = unavailable
        for name in self.unknown:
            if plan.entry_for(name).reason != "unknown_endpoint":
                self._unknown.pop(name, None)

    def forget_mended(self) -> None:
        """Called after each heartbeat: what did not happen again since the one before is over."""
        seen, self._seen = self._seen, (self.stumbles, self.identity_failures)
        self._lost = self._cost = None
        if seen[0] == self.stumbles:
            self._stumble = None
        if seen[1] == self.identity_failures:
            self._identity = None

    def reported(self, outcome: Delivered | Undelivered) -> None:
        code = outcome.code if isinstance(outcome, Undelivered) else None
        if code != self._report and isinstance(outcome, Undelivered):
            logger.warning("the console does not take the heartbeat (%s): %s", code, outcome.message)
        elif code != self._report:
            logger.info("the console takes the heartbeat again")
        self._report = code
