import gzip
import json
import subprocess
import sys
from collections import Counter
from datetime import datetime
from fractions import Fraction
from pathlib import Path

import pytest

from policy_client.__main__ import main
from policy_client.bundle import Endpoint
from policy_client.replay import open_log, replay
from policy_client.replay.files import MAX_LINE, LogUnreadable
from tests.policy_client.counting import bundle_of, entry, guard, limit

MINUTE, HOUR, DAY = 60, 3600, 86400
EVERYTHING = [{"methods": [], "route": "/{rest*}"}]
HERE = Path(__file__).resolve().parents[3]


def per_address(name="per-address", **fields):
    return limit(name, key=["ip"], **fields)


def line(second, ip="192.0.2.1", request="GET /a HTTP/1.1", status=200):
    return f'{ip} - - [17/May/2015:10:{second // 60:02}:{second % 60:02} +0000] "{request}" {status} 1\n'


def rules_of(report):
    return {rule["rule"]: rule for rule in report.as_json()["rules"]}


def everything(*rules, **fields):
    return bundle_of(entry(*rules, endpoints=EVERYTHING), **fields)


def test_a_report_has_exactly_the_documented_fields():
    bundle = everything(per_address(limit=2, mode="shadow"))
    log = [line(0), line(1), line(2), line(3, ip="192.0.2.2"), "garbage\n", "\n"]
    report = replay(bundle, log, top=1)
    assert report.as_json() == {
        "lines": 5,
        "malformed": 1,
        "late": 0,
        "from": "2015-05-17T10:00:00Z",
        "to": "2015-05-17T10:00:03Z",
        "rules": [
            {
                "policy": "POL-0001",
                "rule": "per-address",
                "mode": "shadow",
                "calls": 4,
                "denied": 1,
                "callers": 2,
                "callers_denied": 1,
                "top": [{"caller": "192.0.2.1", "calls": 3, "denied": 1}],
            }
        ],
        "not_replayed": [],
    }


def test_an_empty_log_has_no_times():
    report = replay(everything(per_address()), [])
    assert (report.as_json()["from"], report.as_json()["to"]) == (None, None)
    assert rules_of(report)["per-address"]["calls"] == 0
    assert "no calls" in report.as_table()


def test_lines_are_put_in_order_and_late_ones_counted():
    bundle = everything(per_address(limit=1, window=100, algorithm="fixed_window"))
    # 10:00:00 is a multiple of 100 seconds plus 0; the windows begin at 0, 100, 200, ...
    start = int(datetime.fromisoformat("2015-05-17T10:00:00+00:00").timestamp())
    assert start % 100 == 0
    report = replay(bundle, [line(150), line(50), line(40), line(300), line(20)])
    # 40 passes, 50 is denied, 150 passes, 20 counts at 180 and is denied, 300 passes.
    assert (report.late, rules_of(report)["per-address"]["denied"]) == (1, 2)


def test_only_lines_of_an_endpoint_are_calls_whatever_their_status():
    report = replay(
        bundle_of(entry(per_address(), endpoints=[{"methods": ["GET"], "route": "/a/{x}"}])),
        [
            line(0, request="GET /a/1?x=2 HTTP/1.1", status=404),
            line(0, request="HEAD /a/%20 HTTP/1.1", status=500),
            line(0, request="POST /a/1 HTTP/1.1"),
            line(0, request="GET /b HTTP/1.1"),
        ],
    )
    assert report.lines == 4
    assert rules_of(report)["per-address"]["calls"] == 2


def test_callers_are_addresses_and_networks():
    log = [line(0, ip=ip) for ip in ("2001:db8::1", "2001:db8::2", "::ffff:192.0.2.1", "192.0.2.1")]
    rule = rules_of(replay(everything(per_address(limit=1)), log))["per-address"]
    assert rule["top"] == [
        {"caller": "192.0.2.1", "calls": 2, "denied": 1},
        {"caller": "2001:db8::/64", "calls": 2, "denied": 1},
    ]


def test_keys_that_a_log_knows_are_used_and_others_fall_back():
    rules = [
        limit("by-path", key=["path:x"], limit=1),
        limit("by-query", key=["query:q"], limit=1, on_missing="skip", mode="shadow"),
        limit("by-method", key=["method"], limit=1, mode="shadow"),
        limit("by-user", key=["user"], limit=1, mode="shadow"),
    ]
    report = replay(
        bundle_of(entry(*rules, endpoints=[{"methods": [], "route": "/a/{x}/{rest*}"}])),
        [
            line(0, request="GET /a/1/z?q=1 HTTP/1.1"),
            line(1, request="GET /a/1/y?q=2 HTTP/1.1"),
            line(2, request="GET /a/2/ HTTP/1.1", ip="192.0.2.2"),
            line(3, request="POST /a/3/?q=2 HTTP/1.1"),
        ],
    )
    found = {name: (rule["calls"], rule["denied"]) for name, rule in rules_of(report).items()}
    # The second call is denied by its path, so it charges none of the shadow limits.
    assert found == {"by-path": (4, 1), "by-query": (3, 0), "by-method": (4, 2), "by-user": (4, 2)}


def test_guards_and_switches_are_left_out():
    bundle = everything(
        guard(require_authenticated=True), per_address(limit=1), switches=[{"id": 1, "effect": "block", "policy": None}]
    )
    report = replay(bundle, [line(0), line(1)])
    assert list(rules_of(report)) == ["per-address"]
    assert rules_of(report)["per-address"]["denied"] == 1


def test_the_service_policy_holds_for_endpoints_that_are_named_to_it():
    rest = entry(per_address(limit=1), reference="POL-0007", scope="service", endpoints=[])
    log = [line(0, request=f"GET {path} HTTP/1.1") for path in ("/b/1", "/b/2", "/c", "/unknown")]
    endpoints = [Endpoint(route="/b/{x}", methods=("GET",)), Endpoint(route="/c")]
    rule = rules_of(replay(bundle_of(rest), log, endpoints=endpoints))["per-address"]
    assert (rule["calls"], rule["denied"]) == (3, 1)


def test_memory_that_is_too_small_is_reported():
    bundle = everything(per_address(limit=1, window=DAY))
    log = [line(second % 60, ip=f"192.0.2.{second % 200}") for second in range(1000)]
    report = replay(bundle, log, max_counters=50)
    assert report.forgotten > 0
    assert "forgotten" in report.warning
    assert report.warning in report.as_table()
    assert replay(bundle, log).warning == ""
    assert rules_of(replay(bundle, log))["per-address"]["denied"] == 800


# The real log, against calculations that share nothing with the product


def arrivals(path):
    """(seconds, address) in the order of time, ties in file order, of all lines whose method is not OPTIONS."""
    found = []
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        address, _, _, day, zone, method = text.split(" ")[:6]
        moment = datetime.strptime(f"{day[1:]} {zone[:-1]}", "%d/%b/%Y:%H:%M:%S %z")
        if method != '"OPTIONS':
            found.append((int(moment.timestamp()), address))
    return sorted(found, key=lambda one: one[0])


def fixed_window(calls, limit, window):
    used, denied = Counter(), Counter()
    for time, address in calls:
        if used[address, time // window] < limit:
            used[address, time // window] += 1
        else:
            denied[address] += 1
    return denied


def token_bucket(calls, limit, window):
    tokens, seen, denied = {}, {}, Counter()
    for time, address in calls:
        level = tokens.get(address, Fraction(limit)) + Fraction((time - seen.get(address, time)) * limit, window)
        level = min(level, Fraction(limit))
        seen[address] = time
        if level >= 1:
            level -= 1
        else:
            denied[address] += 1
        tokens[address] = level
    return denied


def denials(report, rule):
    return {caller["caller"]: caller["denied"] for caller in rules_of(report)[rule]["top"] if caller["denied"]}


@pytest.mark.parametrize("algorithm", [fixed_window, token_bucket])
@pytest.mark.parametrize(("calls", "window"), [(5, MINUTE), (20, HOUR), (50, DAY)])
def test_denials_of_the_real_log_are_exactly_those_of_an_independent_calculation(
    real_access_log, algorithm, calls, window
):
    expected = algorithm(arrivals(real_access_log), calls, window)
    rule = per_address(limit=calls, window=window, algorithm=algorithm.__name__)
    with open_log(str(real_access_log)) as log:
        report = replay(everything(rule), log, top=10_000)
    assert sum(expected.values()) > 0
    assert denials(report, "per-address") == dict(expected)
    assert rules_of(report)["per-address"]["denied"] == sum(expected.values())
    assert (report.lines, report.malformed, report.late) == (10_000, 0, 0)
    with open_log(str(real_access_log)) as log:
        shadow = replay(everything(rule | {"mode": "shadow"}), log, top=10_000)
    assert denials(shadow, "per-address") == dict(expected)


def test_three_limits_together_charge_the_real_access_log_all_or_nothing(real_access_log):
    limits = {"minute": (5, MINUTE), "hour": (20, HOUR), "day": (50, DAY)}
    used, expected = Counter(), {name: Counter() for name in limits}
    for time, address in arrivals(real_access_log):
        keys = {name: (name, address, time // window) for name, (_, window) in limits.items()}
        over = [name for name, (calls, _) in limits.items() if used[keys[name]] >= calls]
        for name in over:
            expected[name][address] += 1
        if not over:
            used.update(keys.values())
    rules = [
        per_address(name, limit=calls, window=window, algorithm="fixed_window")
        for name, (calls, window) in limits.items()
    ]
    with open_log(str(real_access_log)) as log:
        report = replay(everything(*rules), log, top=10_000)
    for name in limits:
        assert denials(report, name) == dict(expected[name])


# Files and the command


@pytest.fixture
def files(tmp_path):
    bundle = {
        "schema": 1,
        "service": "reports",
        "environment": "test",
        "generation": 1,
        "version": 1,
        "policies": [entry(per_address(limit=2), endpoints=EVERYTHING)],
    }
    (tmp_path / "bundle.json").write_text(json.dumps(bundle))
    (tmp_path / "access.log").write_text("".join(line(second) for second in range(5)) + "broken\n")
    (tmp_path / "access.log.gz").write_bytes(gzip.compress((tmp_path / "access.log").read_bytes()))
    return tmp_path


def run(*arguments, **options):
    command = [sys.executable, "-m", "policy_client", "replay", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=HERE, **options)


@pytest.mark.parametrize("name", ["access.log", "access.log.gz"])
def test_the_command_writes_json_alone_to_stdout(files, name):
    done = run(files / name, "--bundle", files / "bundle.json", "--format", "json")
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert (report["lines"], report["malformed"], report["rules"][0]["denied"]) == (6, 1, 3)


def test_the_command_shows_a_table_and_a_bar_where_asked(files):
    done = run(files / "access.log", "--bundle", files / "bundle.json", "--progress")
    assert done.returncode == 0
    assert "POL-0001  per-address  enforce      5       3  60.0 %        1               1" in done.stdout
    assert "192.0.2.1      5       3" in done.stdout
    assert "100 %  6 lines" in done.stderr


def test_the_command_reads_standard_input(files):
    with (files / "access.log").open() as log:
        done = run("-", "--bundle", files / "bundle.json", "--format", "json", "--progress", stdin=log)
    assert json.loads(done.stdout)["lines"] == 6
    assert "6 lines" in done.stderr


@pytest.mark.parametrize(
    ("log", "bundle", "message"),
    [
        ("nothing.log", "bundle.json", "cannot be opened"),
        (".", "bundle.json", "cannot be opened"),
        ("access.log", "nothing.json", "cannot be read"),
        ("access.log", "access.log", "is not a bundle"),
        ("cut.gz", "bundle.json", "cannot be read any further"),
    ],
)
def test_what_cannot_be_read_is_said_and_nothing_else_is_written(files, capsys, log, bundle, message):
    (files / "cut.gz").write_bytes((files / "access.log.gz").read_bytes()[:-9])
    assert main(["replay", str(files / log), "--bundle", str(files / bundle)]) == 1
    told = capsys.readouterr()
    assert message in told.err
    assert told.out == ""


def test_endless_lines_are_malformed_and_not_kept(tmp_path):
    path = tmp_path / "access.log"
    path.write_bytes(line(0).encode() + b"x" * (3 * MAX_LINE + 5) + b"\n" + line(1).encode() + b"y" * MAX_LINE)
    with open_log(str(path)) as log:
        assert max(len(one) for one in log) <= MAX_LINE
    with open_log(str(path)) as log:
        report = replay(everything(per_address()), log)
    assert (report.lines, report.malformed) == (4, 2)


def test_a_log_that_is_not_text_is_all_malformed(tmp_path):
    path = tmp_path / "access.log"
    path.write_bytes(bytes(range(256)) * 100)
    with open_log(str(path)) as log:
        report = replay(everything(per_address()), log)
    assert report.lines == report.malformed > 0


def test_a_broken_log_says_so(tmp_path):
    path = tmp_path / "access.log.gz"
    path.write_bytes(b"\x1f\x8bnonsense")
    with open_log(str(path)) as log, pytest.raises(LogUnreadable):
        replay(everything(per_address()), log)


MANY = """
import resource
from policy_client.replay import replay
from tests.policy_client.replay.test_replay import everything, per_address

def lines():
    for number in range(400_000):
        # All in one minute, and all by different callers: nothing may be given out before the end.
        ip = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        yield f'{ip} - - [17/May/2015:10:00:{number % 60:02} +0000] "GET /a HTTP/1.1" 200 1\\n'

before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
report = replay(everything(per_address(limit=1)), lines(), top=1)
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(report.rules[0].calls, report.rules[0].callers, grown // 1024)
"""


@pytest.mark.slow
def test_memory_is_bounded_whatever_the_log():
    done = subprocess.run([sys.executable, "-c", MANY], capture_output=True, text=True, check=True, cwd=HERE)
    calls, callers, megabytes = map(int, done.stdout.split())
    assert (calls, callers) == (400_000, 400_000)
    assert megabytes < 350
