"""The client of one service process: holds the plan in force, decides calls, reports what was decided.

On the path of a call there is the decision, the store, and one addition to a counter. Everything else happens in one
background thread, which is started by the first call of a process and again in each child after a fork.
"""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Self
from weakref import WeakSet

from policy_client.call import Call, Identify
from policy_client.claim import Claim, Slots, Usage
from policy_client.decision import Decision, allow, conclude, prepare, store_failed
from policy_client.errors import StoreFailed
from policy_client.identity import TrustedProxies
from policy_client.keeper import Keeper
from policy_client.options import Mode, Options
from policy_client.plan import Entry
from policy_client.refresh import Refresher
from policy_client.rules.keyed import MAX_LIMIT, is_cost
from policy_client.running import Running
from policy_client.snapshot import Snapshot
from policy_client.source import Source, open_source
from policy_client.status import Health, Status
from policy_client.stores import Store, open_store
from policy_client.stores.lots import in_lots
from policy_client.telemetry import Counters, Reporter, by_rule, rfc3339
from policy_client.version import __version__
from policy_client.worker import Worker

RUNS = ("within_limits", "override_exempt", "store_failed")
"""Reasons for which a call is let pass while rules that judge it as it runs still hold."""

logger = logging.getLogger("policy_client")


class PolicyClient:
    """Decides calls by the bundle of `source`, with counters in `store`.

    `source` None is mode off: every call is allowed. `identify(request) -> Identity` tells adapters who calls.
    `clock` gives seconds since the epoch. Nothing here raises to the caller because of trouble of our own.
    """

    def __init__(
        self,
        source: Source | None,
        store: Store,
        *,
        options: Options = Options(),  # noqa: B008 - frozen
        identify: Identify | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.options = options
        self.identify = identify
        self.framework = "python"
        self.proxies = TrustedProxies(options.trusted_proxies)
        self._off = source is None or options.mode is Mode.OFF
        self._store = in_lots(store, None if clock is time.time else clock)
        self._clock = clock
        # Spans are measured by a clock that is never set, or by the one that a test moves.
        self._monotonic = time.monotonic if clock is time.time else clock
        self._health = Health(lambda: store.degraded)
        self.keeper = Keeper(store, lost=self._health.slots_lost)
        self._counters = Counters()
        self._starting = threading.Lock()
        self._talking = threading.Lock()
        self._started = False
        self._refresher: Refresher | None = None
        self._worker: Worker | None = None
        self._source = None if self._off else source
        if self._source is not None:
            self._refresher = Refresher(
                self._source,
                snapshot=Snapshot(options.snapshot) if options.snapshot else None,
                poll_seconds=options.poll_seconds,
                clock=clock,
                mode="shadow" if options.mode is Mode.SHADOW else "enforce",
            )
            self._reporter = Reporter(self._source)
            self._worker = Worker(poll=self._poll, beat=self._beat, clock=time.monotonic)
            _clients.add(self)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, *, identify: Identify | None = None) -> Self:
        """A client for the `POLICY_…` variables; raises Misconfigured. Without POLICY_CONSOLE_URL it is off."""
        return cls.from_options(Options.from_env(environ), identify=identify)

    @classmethod
    def from_options(cls, options: Options, *, identify: Identify | None = None, source: Source | None = None) -> Self:
        """A client for options that passed the gate, with the source and store that they name."""
        if source is None and options.console_url:
            source = open_source(options.console_url, options.service_key)
        if source is None:
            logger.warning("no POLICY_CONSOLE_URL: policies are off, every call is allowed")
        elif options.mode is Mode.OFF:
            logger.warning("POLICY_MODE is off: every call is allowed")
        store = open_store(options.store_url, timeout_ms=options.store_timeout_ms)
        return cls(source, store, options=options, identify=identify)

    def decide(self, call: Call, entry: Entry | None = None) -> Decision:
        """Decide one call and count it. `entry` saves the look-up for whoever has asked `entry_for`. Never raises.

        Where the policy limits how many calls run at once, call `finish()` on the decision when this one is over.
        """
        try:
            now = self._clock()
            claim = self._prepare(call, entry, now)
            if isinstance(claim, Decision):
                return self._done(claim, call, now, entry)
            try:
                usage = self._store.take(claim)
            except StoreFailed as failed:
                return self._done(self._without_store(claim, failed), call, now, claim.entry)
            return self._counted(claim, usage, call, now)
        except Exception as error:
            return self.stumbled(error)

    async def adecide(self, call: Call, entry: Entry | None = None) -> Decision:
        """`decide` for coroutines."""
        try:
            now = self._clock()
            claim = self._prepare(call, entry, now)
            if isinstance(claim, Decision):
                return self._done(claim, call, now, entry)
            try:
                usage = await (self._ataken(claim) if claim.holder else self._store.atake(claim))
            except StoreFailed as failed:
                return self._done(self._without_store(claim, failed), call, now, claim.entry)
            return self._counted(claim, usage, call, now)
        except Exception as error:
            return self.stumbled(error)

    def entry_for(self, endpoint: str | None, method: str = "", route: str | None = None) -> Entry | None:
        """What holds for an endpoint at this moment, so that an adapter knows what to gather; None without a bundle."""
        if not self._started:
            self.start()
        held = self._refresher.held if self._refresher is not None else None
        return None if held is None else held.plan.entry_for(endpoint, method, route)

    def template_for_path(self, method: str, path: str) -> tuple[Entry, str] | None:
        """What holds for a path where no framework names the route, and the template of a policy that matches it; None
        also where none does."""
        if not self._started:
            self.start()
        held = self._refresher.held if self._refresher is not None else None
        return None if held is None else held.plan.template_for_path(method, path)

    def ready(self) -> bool:
        """Whether calls are decided by a bundle (true in mode off, where there is nothing to wait for)."""
        if not self._started:
            self.start()
        return self._refresher is None or self._refresher.held is not None

    def start(self) -> None:
        """Read the snapshot and start the background thread of this process; does nothing the second time."""
        with self._starting:
            if self._started:
                return
            if self._refresher is not None and self._worker is not None:
                self._refresher.load()
                self._worker.start()
            self._started = True

    def refresh(self) -> Status:
        """Fetch once, now, in the caller's thread; says what came of it."""
        self._poll()
        return self.status()

    def flush(self) -> None:
        """Hand over what was counted so far, now, in the caller's thread."""
        if self._started:
            self._beat()

    def close(self, timeout: float = 5.0) -> None:
        """Stop the thread, hand over what was counted, let go of connections. A later call starts anew."""
        with self._starting:
            started, self._started = self._started, False
            # A thread that still waits for the network keeps the connection; it ends by itself, with the process.
            if self._worker is not None and self._worker.stop(timeout) and self._source is not None:
                if started:
                    self._beat()
                self._source.close()
        self.keeper.close()
        self._store.close()

    def status(self) -> Status:
        """What the client runs on and what troubles it, for health pages and people."""
        held = self._refresher.held if self._refresher is not None else None
        success = self._refresher.last_success if self._refresher is not None else None
        bundle = held.bundle if held is not None else None
        if held is not None:
            self._health.look_at(held.plan)
        return Status(
            mode=self._mode(),
            instance=self.instance,
            place=self._source.place if self._source is not None else None,
            service=bundle.service if bundle else None,
            environment=bundle.environment if bundle else None,
            active_generation=bundle.generation if bundle else None,
            active_version=bundle.version if bundle else None,
            from_snapshot=held is not None and not held.fresh,
            last_success=None if success is None else rfc3339(success),
            error=(self._refresher.trouble if self._refresher is not None else None) or self._health.trouble(),
            store_failures=self._health.store_failures,
            internal_errors=self._health.stumbles,
            unknown_endpoints=self._health.unknown,
            uncounted=self._counters.lost,
        )

    @property
    def instance(self) -> str:
        """The name of this process, as the console lists it."""
        return f"{self.options.instance_name()}:{os.getpid()}"

    def runs_in(self, framework: str) -> None:
        """An adapter's word about the framework around, for the heartbeat."""
        self.framework = framework

    def identity_failed(self, error: Exception) -> None:
        """An adapter's report that `identify` or the framework raised; the call goes on without an identity."""
        self._health.identity_failed(error)

    def record(self, decision: Decision, now: float) -> None:
        """Count a call that is over; `now` is when it was decided."""
        self._counters.record(decision, now)

    def release(self, slots: Slots) -> None:
        """Give back slots that the keeper has dropped, now; where the store does not answer, when it does again."""
        try:
            self._store.release(slots)
        except StoreFailed as failed:
            self._health.store_failed(failed)
            self.keeper.give_back(slots, soon=False)

    async def arelease(self, slots: Slots) -> None:
        """`release` for coroutines. Whoever cancels it gives them back in another way."""
        try:
            await self._store.arelease(slots)
        except StoreFailed as failed:
            self._health.store_failed(failed)
            self.keeper.give_back(slots, soon=False)

    def cost_of(self, cost: Callable[[Call], int], call: Call) -> int | None:
        """What the service says that a call costs; None, and the trouble is told, where that is no cost."""
        try:
            return self._checked_cost(cost(call))
        except Exception as error:
            self._health.cost_failed(error)
            return None

    def _checked_cost(self, said: int) -> int | None:
        if is_cost(said):
            return said
        self._health.cost_failed(ValueError(f"it is {said!r:.40}, not a whole number from 1 to {MAX_LIMIT:,}"))
        return None

    def stumbled(self, error: Exception) -> Decision:
        """What a call gets that could not be decided for trouble of ours: it passes, and the trouble is told."""
        self._health.stumbled(error)
        return allow("internal_error")

    def _prepare(self, call: Call, entry: Entry | None, now: float) -> Claim | Decision:
        if not self._started:
            self.start()
        refresher = self._refresher
        if refresher is None:
            return allow("mode_off")
        held = refresher.held
        if held is None:
            return allow("no_bundle")
        if call.cost is not None:
            call.cost = self._checked_cost(call.cost)
        return prepare(held.plan, call, now, entry)

    def _counted(self, claim: Claim, usage: Usage, call: Call, now: float) -> Decision:
        if self._health.store_trouble is not None:
            self._health.store_answered()
        decision = conclude(claim, usage, now)
        entry = claim.entry
        if claim.slots or not entry.plain:
            return self._started_running(decision, claim, usage, call, now)
        if usage[0] and claim.judged is entry.judged and not claim.would_deny:
            self._counters.passed(entry, now)
        else:
            self._counters.record(decision, now)
        return decision

    def _started_running(self, decision: Decision, claim: Claim, usage: Usage, call: Call, now: float) -> Decision:
        """The decision, with what goes on while the call runs."""
        held = claim.slots_held(usage)
        slots = Slots(claim.holder, held) if held else None
        if not decision.allowed:
            if slots is not None:
                self.keeper.give_back(slots)  # the candidate's: what is denied runs for nobody
            slots = None
        elif slots is not None or claim.entry.late:
            return self._with_running(decision, claim.entry, call, slots, now)
        self._counters.record(decision, now)
        return decision

    def _with_running(self, decision: Decision, entry: Entry, call: Call, slots: Slots | None, now: float) -> Decision:
        running = Running(self, decision, entry, call, slots, now, self._monotonic)
        if not running.counts_late:
            self._counters.record(decision, now)
        return decision._replace(running=running)

    def _done(self, decision: Decision, call: Call, now: float, entry: Entry | None = None) -> Decision:
        """A decision for which the store was not asked, or did not answer."""
        if entry is None and decision.allowed:
            entry = self.entry_for(call.endpoint, call.method, call.route)
        if entry is not None and entry.late and decision.reason in RUNS:
            decision = self._with_running(decision, entry, call, None, now)
        else:
            self._counters.record(decision, now)
        if decision.reason == "unknown_endpoint" and call.endpoint is not None:
            self._health.unknown_name(call.endpoint)
        return decision

    async def _ataken(self, claim: Claim) -> Usage:
        """What the store says to a claim for slots. Those that it gives to a caller who was cancelled meanwhile are
        nobody's, and given back."""
        taking = asyncio.ensure_future(self._store.atake(claim))
        try:
            return await asyncio.shield(taking)
        except asyncio.CancelledError:
            taking.add_done_callback(lambda taken: self._left_behind(claim, taken))
            raise

    def _left_behind(self, claim: Claim, taken: "asyncio.Future[Usage]") -> None:
        unknown = taken.cancelled() or taken.exception() is not None
        held = claim.every_slot if unknown else claim.slots_held(taken.result())
        if held:
            self.keeper.give_back(Slots(claim.holder, held))

    def _without_store(self, claim: Claim, failed: StoreFailed) -> Decision:
        self._health.store_failed(failed)
        if claim.holder:
            # The store may have taken them, and was but late to say so.
            self.keeper.give_back(Slots(claim.holder, claim.every_slot), soon=False)
        return store_failed(claim, self._clock())

    def _mode(self) -> str:
        return "off" if self._off else (self.options.mode.value or "enforce")

    def _poll(self) -> float:
        if self._refresher is None:
            return self.options.poll_seconds
        with self._talking:
            return self._refresher.poll()

    def _beat(self) -> None:
        """One heartbeat, with what was counted since the last one."""
        if self._source is None:
            return
        status = self.status()
        head = {
            "instance": status.instance,
            "client_version": __version__,
            "framework": self.framework,
            "active_version": status.active_version,
            "last_success": status.last_success,
            "error": None if status.error is None else status.error.to_wire(),
        }
        with self._talking:
            outcome = self._reporter.beat(head, lambda: by_rule(self._counters.drain()))
        self._health.reported(outcome)
        self._health.forget_mended()

    def after_fork(self) -> None:
        """In a child: the plan stays, thread, connections and counts are the parent's. Called by the interpreter."""
        self._starting = threading.Lock()
        self._talking = threading.Lock()
        self._started = False
        self._counters = Counters()
        self.keeper.after_fork()
        if self._source is not None and self._worker is not None:
            self._source.close()
            self._reporter = Reporter(self._source)
            self._worker.after_fork()


_clients: WeakSet[PolicyClient] = WeakSet()


def _after_fork() -> None:
    for client in list(_clients):
        client.after_fork()


os.register_at_fork(after_in_child=_after_fork)
