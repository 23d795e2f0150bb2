"""Random rules of every kind, adversarial arrivals, costs and slots that come and go, against a naive oracle: it keeps
every call that was let pass, in whole microseconds, and counts them anew each time."""

import calendar
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction

import redis as redis_package
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policy_client.claim import Slots
from policy_client.decision import conclude
from policy_client.stores.memory import MemoryStore
from policy_client.stores.redis import RedisStore
from tests.policy_client.counting import START, Clock, claim_of, limit, plan_beside, quota, slots, unused_service

SECOND = 10**6
ALGORITHMS = ["token_bucket", "fixed_window", "sliding_log"]
MODES = st.sampled_from(["enforce", "enforce", "enforce", "shadow"])
KEYS = st.sampled_from([["user"], ["user"], []])

RATES = st.builds(
    lambda **fields: {"kind": "rate_limit", **fields},
    limit=st.integers(1, 6),
    window=st.integers(1, 4),
    algorithm=st.sampled_from(ALGORITHMS),
    burst=st.integers(1, 8),
    cost=st.integers(1, 3),
    mode=MODES,
    key=KEYS,
)
QUOTAS = st.builds(
    lambda **fields: {"kind": "quota", **fields},
    limit=st.integers(1, 8),
    period=st.sampled_from(["day", "week", "month"]),
    cost=st.integers(1, 2),
    mode=MODES,
    key=KEYS,
)
SLOTS = st.builds(
    lambda **fields: {"kind": "concurrency_limit", **fields},
    limit=st.integers(1, 3),
    slot_ttl=st.integers(1, 4),
    mode=MODES,
    key=KEYS,
)
RULES = st.lists(st.one_of(RATES, RATES, QUOTAS, SLOTS), min_size=1, max_size=4)
# To the next full second or day, or just before or after it; nothing at all; a whole window; anything.
GAPS = st.one_of(
    st.just(0),
    st.sampled_from(["second", "day"]).flatmap(lambda edge: st.tuples(st.just(edge), st.sampled_from([-1, 0, 1]))),
    st.sampled_from([1, 250_000, SECOND, 2 * SECOND, 4 * SECOND]),
    st.integers(0, 5 * SECOND),
)
COSTS = st.one_of(st.none(), st.none(), st.integers(1, 7))
DEEDS = st.sampled_from(["call", "call", "call", "call", "call", "renew", "release", "release again"])
ARRIVALS = st.lists(
    st.tuples(GAPS, DEEDS, st.sampled_from("ab"), COSTS, st.integers(0, 30)),
    min_size=8,
    max_size=60,
)
STARTS = st.sampled_from(
    [
        int(START) * SECOND,
        int(datetime(2024, 2, 28, 23, 59, 58, tzinfo=UTC).timestamp()) * SECOND,
        int(datetime(2026, 12, 31, 23, 59, 58, tzinfo=UTC).timestamp()) * SECOND,
        int(datetime(2024, 12, 29, 23, 59, 59, tzinfo=UTC).timestamp()) * SECOND,  # a Sunday
    ]
)


def complete(rules):
    whole = []
    for number, rule in enumerate(rules):
        name = f"rule-{number}"
        if rule["kind"] == "quota":
            whole.append(quota(name, **rule) | {"cost": min(rule["cost"], rule["limit"])})
        elif rule["kind"] == "concurrency_limit":
            whole.append(slots(name, **rule))
        else:
            burst = rule["burst"] if rule["algorithm"] == "token_bucket" else rule["limit"]
            whole.append(limit(name, **rule) | {"burst": burst, "cost": min(rule["cost"], burst)})
    return whole


def period_of(period, now):
    """The dates on which the period of a moment begins and ends."""
    today = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=now)).date()
    if period == "day":
        return today, today + timedelta(days=1)
    if period == "week":
        monday = today - timedelta(days=today.weekday())
        return monday, monday + timedelta(days=7)
    first = today.replace(day=1)
    return first, first + timedelta(days=calendar.monthrange(first.year, first.month)[1])


def moment(day: date):
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * SECOND


class Oracle:
    """One rule. `calls`: (moment, who, cost) of each that it was charged with; `held`: slots by holder and who."""

    def __init__(self, rule):
        self.rule = rule
        self.enforced = rule["mode"] == "enforce"
        self.slots = rule["kind"] == "concurrency_limit"
        self.calls = []
        self.held = {}

    def who(self, user):
        return user if self.rule["key"] else None

    def cost(self, own):
        return 1 if self.slots else (own or self.rule["cost"])

    def free(self, user, now):
        rule, who = self.rule, self.who(user)
        mine = [(at, cost) for at, of, cost in self.calls if of == who]
        if self.slots:
            return rule["limit"] - sum(1 for (_, of), until in self.held.items() if of == who and until > now)
        if rule["kind"] == "quota":
            begins, ends = map(moment, period_of(rule["period"], now))
            return rule["limit"] - sum(cost for at, cost in mine if begins <= at < ends)
        window = rule["window"] * SECOND
        if rule["algorithm"] == "fixed_window":
            return rule["limit"] - sum(cost for at, cost in mine if at // window == now // window)
        if rule["algorithm"] == "sliding_log":
            return rule["limit"] - sum(cost for at, cost in mine if at > now - window)
        level, last = Fraction(0), mine[0][0] if mine else now
        for at, cost in mine:
            level = max(Fraction(0), level - Fraction((at - last) * rule["limit"], window)) + cost
            last = at
        level = max(Fraction(0), level - Fraction((now - last) * rule["limit"], window))
        return rule["burst"] - level

    def charge(self, user, now, own, holder):
        if self.slots:
            self.held[holder, self.who(user)] = now + self.rule["slot_ttl"] * SECOND
        else:
            self.calls.append((now, self.who(user), self.cost(own)))

    def bound_in_any_window(self):
        """Never above what is stated for the algorithm, wherever a window begins."""
        rule = self.rule
        if self.slots:
            return
        if rule["kind"] == "quota":
            spans = [tuple(map(moment, period_of(rule["period"], at))) for at, _, _ in self.calls]
            bound = rule["limit"]
        else:
            spans = [(at, at + rule["window"] * SECOND) for at, _, _ in self.calls]
            bound = {
                "token_bucket": rule["limit"] + rule["burst"],
                "fixed_window": 2 * rule["limit"],
                "sliding_log": rule["limit"],
            }[rule["algorithm"]]
        for begins, ends in spans:
            for who in {of for _, of, _ in self.calls}:
                assert sum(cost for at, of, cost in self.calls if of == who and begins <= at < ends) <= bound


class Side:
    """The enforced rules, or the candidate's: decided apart from each other."""

    def __init__(self, rules):
        self.oracles = [Oracle(rule) for rule in rules]

    def decide(self, user, now, own, holder):
        """The names of limits that deny, those in shadow that would, and which of them hold a slot now."""
        passes = [oracle.free(user, now) >= oracle.cost(own) for oracle in self.oracles]
        both = list(zip(self.oracles, passes, strict=True))
        allowed = all(ok for oracle, ok in both if oracle.enforced)
        if allowed:
            for oracle, ok in both:
                if ok:
                    oracle.charge(user, now, own, holder)
        denied = tuple(oracle.rule["name"] for oracle, ok in both if not ok and oracle.enforced)
        would = tuple(oracle.rule["name"] for oracle, ok in both if not ok and not oracle.enforced)
        return denied, would, [oracle for oracle, ok in both if allowed and ok and oracle.slots]

    def agrees(self, decision, user, now, told):
        denied, would, _ = told
        assert (decision.allowed, decision.violated, decision.would_deny) == (not denied, denied, would)
        left = [max(0, int(oracle.free(user, now))) for oracle in self.oracles if oracle.enforced]
        assert [state.remaining for state in decision.limits] == left


class Held:
    """Slots of one call, with the oracles that gave them."""

    def __init__(self, slots_, oracles, user):
        self.slots = slots_
        self.oracles = oracles
        self.user = user

    def renew(self, now):
        every = True
        for oracle in self.oracles:
            mine = (self.slots.holder, oracle.who(self.user))
            if oracle.held.get(mine, 0) > now or oracle.free(self.user, now) > 0:
                oracle.held[mine] = now + oracle.rule["slot_ttl"] * SECOND
            else:
                every = False
        return every

    def release(self):
        for oracle in self.oracles:
            oracle.held.pop((self.slots.holder, oracle.who(self.user)), None)


class Run:
    """One random history, on one or more stores, which must say the very same."""

    def __init__(self, stores, clock, rules, candidate):
        self.stores = stores
        self.clock = clock
        rules, candidate = complete(rules), complete(candidate)
        self.plan = plan_beside(*rules, candidate=candidate, service=unused_service())
        self.own, self.beside = Side(rules), Side(candidate)
        self.held = []
        self.gone = []

    def play(self, now, arrivals):
        for gap, deed, user, own, pick in arrivals:
            now = after(now, gap)
            self.clock.now = now / SECOND
            if deed == "call":
                self.call(now, user, own)
            elif deed == "release again" and self.gone:
                held = self.gone[pick % len(self.gone)]
                self.everywhere(lambda store, held=held: store.release(held.slots))
            elif deed == "renew" and self.held:
                held = self.held[pick % len(self.held)]
                assert self.everywhere(lambda store, held=held: store.renew(held.slots)) == held.renew(now)
            elif deed == "release" and self.held:
                held = self.held.pop(pick % len(self.held))
                self.gone.append(held)
                held.release()
                self.everywhere(lambda store, held=held: store.release(held.slots))
        for side in (self.own, self.beside):
            for oracle in side.oracles:
                oracle.bound_in_any_window()

    def call(self, now, user, own):
        claim = claim_of(self.plan, user=user, cost=own)
        told = self.own.decide(user, now, own, claim.holder)
        told_beside = self.beside.decide(user, now, own, claim.holder)
        usage = self.everywhere(lambda store: plain(store.take(claim)))
        decision = conclude(claim, usage, START)
        self.own.agrees(decision, user, now, told)
        self.beside.agrees(decision.candidate, user, now, told_beside)
        takes = claim.slots_held(usage)
        oracles = [*told[2], *told_beside[2]]
        assert len(takes) == len(oracles)
        if takes:
            self.held.append(Held(Slots(claim.holder, takes), oracles, user))

    def everywhere(self, ask):
        first, *others = [ask(store) for store in self.stores]
        assert all(other == first for other in others)
        return first


def plain(usage):
    every, now, spent, beside = usage
    return every, now, [tuple(one) for one in spent], beside and plain(beside)


def after(now, gap):
    if isinstance(gap, int):
        return now + gap
    edge, more = gap
    length = SECOND if edge == "second" else 86_400 * SECOND
    return max(now, (now // length + 1) * length + more)


@settings(max_examples=250, deadline=None)
@given(RULES, RULES, STARTS, ARRIVALS)
def test_memory_agrees_with_the_oracle_and_keeps_each_bound(rules, candidate, start, arrivals):
    clock = Clock()
    Run([MemoryStore(clock=clock)], clock, rules, candidate).play(start, arrivals)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(RULES, RULES, STARTS, ARRIVALS)
def test_redis_and_memory_say_the_very_same_as_the_oracle_and_leave_no_key_without_an_end(
    redis_url, rules, candidate, start, arrivals
):
    clock = Clock()
    shared = RedisStore(redis_url, timeout_ms=30_000, clock=clock)
    try:
        Run([MemoryStore(clock=clock), shared], clock, rules, candidate).play(start, arrivals)
    finally:
        shared.close()
    with redis_package.Redis.from_url(redis_url) as server:
        assert all(server.pttl(key) != -1 for key in server.scan_iter())
        server.flushdb()
