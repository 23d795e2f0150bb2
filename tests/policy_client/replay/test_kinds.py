"""Replays of every kind of rule, against calculations that share nothing with the product."""

import hashlib
import random
from collections import Counter, deque
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from policy_client.replay import open_log, replay
from tests.policy_client.counting import bundle_of, entry, guard, limit
from tests.policy_client.replay.test_replay import (
    DAY,
    HOUR,
    MINUTE,
    arrivals,
    denials,
    everything,
    line,
    per_address,
    rules_of,
)

TRAFFIC = Path(__file__).resolve().parents[3] / "examples" / "traffic.log"


def quota(name="quota", **fields):
    return {"kind": "quota", "name": name, "key": ["ip"], "limit": 10, "period": "day", **fields}


@pytest.fixture(scope="module")
def winter_log(tmp_path_factory):
    """Calls of six addresses from December 2027 to March 2028, most of them close to where a day, a week, a month, a
    year or the leap day begins."""
    dice = random.Random(7)
    edges = [
        datetime.fromisoformat(f"{day}T00:00:00+00:00")
        for day in ("2027-12-27", "2028-01-01", "2028-01-03", "2028-02-01", "2028-02-28", "2028-02-29", "2028-03-01")
    ]
    moments = [edge + timedelta(seconds=dice.randint(-40, 40)) for edge in edges for _ in range(150)]
    moments += [edges[0] + timedelta(seconds=dice.randint(0, 65 * DAY)) for _ in range(300)] + edges
    # Written in the clock of a place that is not UTC, whose days begin at other moments.
    lines = [
        f"198.51.100.{dice.randint(1, 6)} - - [{at + timedelta(hours=5.5):%d/%b/%Y:%H:%M:%S} +0530] "
        f'"{dice.choice(("GET", "POST"))} /a?n={dice.randint(0, 2)} HTTP/1.1" 200 1'
        for at in sorted(moments)
    ]
    path = tmp_path_factory.mktemp("log") / "winter.log"
    path.write_text("\n".join(lines))
    return path


PERIODS = {
    "day": lambda at: at.date(),
    "week": lambda at: at.isocalendar()[:2],
    "month": lambda at: (at.year, at.month),
}


def calendar_quota(calls, most, period, cost=1):
    """Denials by address: so many units per day, ISO week or month as Python's calendar has them."""
    used, denied = Counter(), Counter()
    for seconds, address in calls:
        key = address, PERIODS[period](datetime.fromtimestamp(seconds, UTC))
        if used[key] + cost <= most:
            used[key] += cost
        else:
            denied[address] += 1
    return denied


def sliding_log(calls, most, window, cost=1):
    """Denials by address: never more than so many units in the span that ends with a call."""
    passed, denied = {}, Counter()
    for seconds, address in calls:
        log = passed.setdefault(address, deque())
        while log and log[0] <= seconds - window:
            log.popleft()
        if len(log) * cost + cost <= most:
            log.append(seconds)
        else:
            denied[address] += 1
    return denied


def replayed(path, *rules):
    with open_log(str(path)) as log:
        return replay(everything(*rules), log, top=10_000)


@pytest.mark.parametrize("cost", [1, 3])
@pytest.mark.parametrize(("period", "most"), [("day", 9), ("week", 25), ("month", 40)])
def test_quotas_are_those_of_the_calendar_over_every_edge(winter_log, period, most, cost):
    expected = calendar_quota(arrivals(winter_log), most, period, cost)
    report = replayed(winter_log, quota(limit=most, period=period, cost=cost))
    assert len(expected) == 6
    assert denials(report, "quota") == dict(expected)


@pytest.mark.parametrize("cost", [1, 3])
@pytest.mark.parametrize(("window", "most"), [(10, 3), (MINUTE, 7), (DAY, 20)])
def test_sliding_logs_never_pass_more_in_any_span(winter_log, window, most, cost):
    expected = sliding_log(arrivals(winter_log), most, window, cost)
    report = replayed(winter_log, per_address(algorithm="sliding_log", limit=most, window=window, cost=cost))
    assert len(expected) == 6
    assert denials(report, "per-address") == dict(expected)


def test_the_traffic_of_the_examples_is_denied_as_calculated():
    calls = arrivals(TRAFFIC)
    by_day = calendar_quota(calls, 20, "day")
    by_span = sliding_log(calls, 6, MINUTE)
    assert sum(by_day.values()) and sum(by_span.values())
    assert denials(replayed(TRAFFIC, quota(limit=20)), "quota") == dict(by_day)
    rule = per_address(algorithm="sliding_log", limit=6, window=MINUTE)
    assert denials(replayed(TRAFFIC, rule), "per-address") == dict(by_span)


@pytest.mark.parametrize(("period", "most"), [("day", 30), ("week", 60), ("month", 90)])
def test_quotas_over_a_real_log_are_exactly_those_of_an_independent_calculation(real_access_log, period, most):
    expected = calendar_quota(arrivals(real_access_log), most, period)
    report = replayed(real_access_log, quota(limit=most, period=period))
    assert sum(expected.values()) > 0
    assert denials(report, "quota") == dict(expected)


@pytest.mark.parametrize(("most", "window"), [(5, MINUTE), (20, HOUR), (50, DAY)])
def test_sliding_logs_over_a_real_log_are_exactly_those_of_an_independent_calculation(real_access_log, most, window):
    expected = sliding_log(arrivals(real_access_log), most, window)
    report = replayed(real_access_log, per_address(algorithm="sliding_log", limit=most, window=window))
    assert sum(expected.values()) > 0
    assert denials(report, "per-address") == dict(expected)


@pytest.mark.parametrize("algorithm", ["token_bucket", "fixed_window"])
def test_what_a_call_costs_is_counted(algorithm):
    log = [line(0)] * 5
    rule = per_address(limit=7, window=HOUR, algorithm=algorithm, cost=3)
    assert rules_of(replay(everything(rule), log))["per-address"]["denied"] == 3


def test_conditions_on_method_query_and_path_hold():
    rules = [
        quota("posts", when=[{"method": ["POST"]}], mode="shadow"),
        quota("csv", when=[{"query": "format", "in": ["csv"]}], mode="shadow"),
        quota("plain", when=[{"query": "format", "is": "absent"}], mode="shadow"),
        quota("big", when=[{"path": "id", "prefix": ["9"]}, {"method": ["GET"]}], mode="shadow"),
    ]
    requests = ["GET /a/91?format=csv", "GET /a/1?format=", "POST /a/9?x=%66", "HEAD /a/9?format=a&format=csv"]
    report = replay(
        bundle_of(entry(*rules, endpoints=[{"methods": [], "route": "/a/{id}"}])),
        [line(second, request=f"{request} HTTP/1.1") for second, request in enumerate(requests)],
    )
    assert {name: rule["calls"] for name, rule in rules_of(report).items()} == {
        "posts": 1,
        "csv": 2,
        "plain": 1,
        "big": 2,
    }


def test_a_rollout_divides_the_callers_of_a_log_by_their_address(winter_log):
    """Who is outside is told what the rule would have denied, but is denied and charged nothing by the set."""
    inside = {
        address: int(hashlib.sha256(f"POL-0001\0{address}".encode()).hexdigest()[:8], 16) % 100 < 50
        for _, address in arrivals(winter_log)
    }
    assert set(inside.values()) == {True, False}
    daily, passed = Counter(), Counter()
    denied, denied_too = Counter(), Counter()
    for seconds, address in arrivals(winter_log):
        day = address, seconds // DAY
        over = daily[day] >= 5
        too = passed[day] >= 8
        denied[address] += over
        denied_too[address] += too
        if too or (over and inside[address]):
            continue
        passed[day] += 1
        daily[day] += not over
    report = replayed(winter_log, quota("half", limit=5, rollout=50), quota("all", limit=8))
    assert denials(report, "half") == {address: count for address, count in denied.items() if count}
    assert denials(report, "all") == {address: count for address, count in denied_too.items() if count}
    assert "enforce 50 %" in report.as_table() and rules_of(report)["half"]["mode"] == "enforce"


LEFT_OUT = [
    (guard("small", max_body=1), "a log has neither headers nor bodies"),
    ({"kind": "deadline", "name": "soon", "seconds": 2}, "a log does not say how long a call ran"),
    ({"kind": "concurrency_limit", "name": "slots", "limit": 1}, "a log does not say how long a call ran"),
    (quota("beta", when=[{"header": "x-beta", "is": "absent"}]), "whether the header x-beta is not there"),
    (quota("cookie", when=[{"cookie": "c", "in": ["a"]}]), "whether the cookie c is “a”"),
    (quota("plan", when=[{"method": ["GET"]}, {"attr": "plan", "not_in": ["a"]}]), "the attribute plan is not “a”"),
    (quota("guests", when=[{"authenticated": False}]), "whether the caller is not logged in"),
    (limit("skips", on_missing="skip"), "does not say the user, and it does not count by address instead"),
    (limit("shares", key=["ip", "header:x"], on_missing="shared"), "does not say the value of the header x"),
]


@pytest.mark.parametrize(("rule", "because"), LEFT_OUT, ids=[rule["name"] for rule, _ in LEFT_OUT])
def test_what_a_log_says_too_little_for_is_told_and_not_counted(rule, because):
    report = replay(everything({**rule, "mode": "enforce"}, quota(limit=1)), [line(0), line(1)])
    assert [(one["rule"], one["calls"], one["denied"]) for one in report.as_json()["rules"]] == [("quota", 2, 1)]
    [left_out] = report.as_json()["not_replayed"]
    assert (left_out["policy"], left_out["rule"], left_out["kind"]) == ("POL-0001", rule["name"], rule["kind"])
    assert because in left_out["reason"]
    assert "Not replayed:" in report.as_table() and because in report.as_table()


def test_a_bundle_of_which_nothing_can_be_replayed_says_so():
    table = replay(everything(LEFT_OUT[1][0]), [line(0)]).as_table()
    assert "POL-0001  soon  deadline  a log does not say how long a call ran" in table
    assert "has no rules" in replay(bundle_of(), [line(0)]).as_table()


def test_rules_of_one_name_are_counted_apart():
    """A default of the service may have given a rule of another kind the name of an own one."""
    report = replay(everything(per_address("same", limit=5), quota("same", limit=2)), [line(0)] * 4)
    assert [(rule.calls, rule.denied) for rule in report.rules] == [(4, 0), (4, 2)]
