"""Keeping the bundle current: fetch, verify, compile, swap, keep on disk.

A refusal is never half done: until a new plan is complete, the old one answers. The swap is one assignment, so the
calls that run meanwhile see the old plan or the new one and never a mixture.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from policy_client.bundle import Bundle, parse_bundle
from policy_client.errors import BundleRefused
from policy_client.plan import Mode, Plan, compile
from policy_client.snapshot import Snapshot
from policy_client.source import Fetched, FetchFailed, Source, Unchanged
from policy_client.status import Trouble

FIRST_DELAY = 1.0
LONGEST_DELAY = 60.0

logger = logging.getLogger("policy_client")


@dataclass(frozen=True, slots=True)
class Held:
    """The plan that decides, and where it came from."""

    plan: Plan
    bundle: Bundle
    tag: str
    fresh: bool  # from the source; False: from the snapshot


class Refresher:
    """Holds the plan in force. One thread at a time loads or polls; whoever reads `held` takes no lock."""

    held: Held | None = None
    trouble: Trouble | None = None
    last_success: float | None = None
    instances: int | None = None

    def __init__(
        self,
        source: Source,
        *,
        snapshot: Snapshot | None,
        poll_seconds: float,
        clock: Callable[[], float],
        mode: Mode = "enforce",
    ) -> None:
        self._source = source
        self._snapshot = snapshot
        self._poll_seconds = poll_seconds
        self._clock = clock
        self._mode = mode
        self._failures = 0
        self._snapshot_trouble: str | None = None

    def load(self) -> None:
        """Begin with what the last process left on disk, unless there is something already."""
        if self.held is not None or self._snapshot is None:
            return
        kept = self._snapshot.load()
        trouble = None if kept is None else self._try_swap(kept, fresh=False)
        if trouble is not None:
            logger.warning("policy snapshot refused (%s): %s", trouble.code, trouble.message)

    def poll(self) -> float:
        """Ask the source once; returns the seconds until it should be asked again, before jitter."""
        held = self.held
        # A snapshot may be that of another service. Asking with its tag is right all the same: it is the hash of bytes.
        outcome = self._source.fetch(held.tag if held is not None else None)
        if isinstance(outcome, FetchFailed):
            return self._failed(outcome)
        self._failures = 0
        if outcome.instances is not None:
            self.instances = outcome.instances
        if isinstance(outcome, Unchanged):
            self._unchanged()
        else:
            self._fetched(outcome)
        return self._poll_seconds

    def _failed(self, outcome: FetchFailed) -> float:
        self._failures += 1
        self._tell(Trouble(outcome.code, outcome.message))
        delay = backoff(self._failures, self._poll_seconds)
        return delay if outcome.retry_after is None else max(delay, min(outcome.retry_after, LONGEST_DELAY))

    def _unchanged(self) -> None:
        held = self.held
        if held is not None and not held.fresh:
            self.held = Held(held.plan, held.bundle, held.tag, fresh=True)
        self.last_success = self._clock()
        self._tell(None)

    def _fetched(self, fetched: Fetched) -> None:
        trouble = self._try_swap(fetched, fresh=True)
        self._tell(trouble)
        if trouble is not None:
            return
        self.last_success = self._clock()
        if self._snapshot is not None:
            self._kept(self._snapshot.save(fetched))

    def _try_swap(self, fetched: Fetched, *, fresh: bool) -> Trouble | None:
        try:
            self._swap(fetched, fresh=fresh)
        except BundleRefused as refused:
            return Trouble(refused.code, refused.message, refused.errors or None)
        except Exception as error:
            # Poison data that gets past the parser must end neither the polling nor the plan in force.
            logger.exception("a bundle could not be made ready")
            return Trouble("internal", f"The bundle could not be made ready: {type(error).__name__}: {error}")
        return None

    def _swap(self, fetched: Fetched, *, fresh: bool) -> None:
        held = self.held
        pinned = held.bundle if held is not None and held.fresh else None
        bundle = parse_bundle(
            fetched.body,
            service=pinned.service if pinned else None,
            environment=pinned.environment if pinned else None,
        )
        if held is not None:
            refuse_older(bundle, held.bundle)
        self.held = Held(compile(bundle, mode=self._mode), bundle, fetched.tag, fresh)
        logger.info(
            "policies of %s in %s: version %s.%s is in force%s",
            bundle.service,
            bundle.environment,
            bundle.generation,
            bundle.version,
            "" if fresh else " (from the snapshot)",
        )

    def _tell(self, trouble: Trouble | None) -> None:
        """Remember the state; one log line where it changed."""
        before, self.trouble = self.trouble, trouble
        if (before and before.code) == (trouble and trouble.code):
            return
        held = self.held
        kept = f"version {held.bundle.generation}.{held.bundle.version} stays" if held else "there is none yet"
        if trouble is not None:
            logger.warning("policies cannot be refreshed (%s): %s; %s", trouble.code, trouble.message, kept)
        else:
            logger.info("policies can be refreshed again; %s", kept.replace("stays", "is current"))

    def _kept(self, trouble: str | None) -> None:
        if trouble is not None and trouble != self._snapshot_trouble:
            logger.warning("%s", trouble)
        self._snapshot_trouble = trouble


def refuse_older(new: Bundle, old: Bundle) -> None:
    """Raise BundleRefused where `new` would go back. Bundles of different services have no order."""
    if (new.service, new.environment) != (old.service, old.environment):
        return
    if new.generation < old.generation:
        raise BundleRefused(
            "generation", f"Generation {new.generation} is older than {old.generation}, which is in force."
        )
    if (new.generation, new.version) < (old.generation, old.version):
        raise BundleRefused(
            "version",
            f"Version {new.generation}.{new.version} is older than {old.generation}.{old.version}, which is in force.",
        )


def backoff(failures: int, poll_seconds: float) -> float:
    """Seconds to wait after so many failures in a row: 1, 2, 4, … up to a minute (or the polling interval)."""
    longest = max(LONGEST_DELAY, poll_seconds)
    return min(longest, min(FIRST_DELAY, poll_seconds) * 2.0 ** min(failures - 1, 30))
