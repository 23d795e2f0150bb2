"""The results as tables of Markdown, and the file that keeps them."""

import os
import platform
import re
import statistics
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from bench.rounds import Contender, Pace, Spread
from bench.rows import Comparison

FILE = Path(__file__).parent / "RESULTS.md"

PEERS = ("limits", "throttled-py", "django-ratelimit", "slowapi", "django", "fastapi", "redis", "uvicorn")

HEAD = """# What we cost, beside our peers

Made by `make bench`, which measures everybody in one run, in turns: each contender has a short turn in each of
{rounds} rounds. A ratio is taken within a round; what stands here is the median over the rounds, with the quartiles in
brackets: that is the noise. Ratios can be trusted, microseconds cannot: they are this machine's. **Below 1 is cheaper
than the best peer.**

- {date}, {machine}
- load average at the start {load:.1f} on {cores} cores; the run took {seconds:.0f} s
- {versions}

`limits`, `throttled-py` and `django-ratelimit` charge rule A when rule B denies; our three rules are charged all or
none. Ours are token buckets where nothing else is said, the peers' are fixed windows, which are their cheapest.
`client.decide` is what a service calls, with the counting of what was decided; "the decision alone" is without.
Of what is in memory the processor's time is told, of what waits for Redis the clock's.
"""


def table(comparison: Comparison) -> str:
    """One row's contenders, ours last."""
    peer, floor = comparison.peer, comparison.floor
    unit = comparison.row.unit if comparison.row.per_second else "µs"
    target = f"\nWanted: {comparison.row.target}.\n" if comparison.row.target else ""
    lines = [
        f"\n## {comparison.title}\n{target}",
        f"| | {unit} | × {peer.name if peer else 'best peer'} | × {floor.name if floor else 'floor'} | |",
        "| --- | ---: | ---: | ---: | --- |",
    ]
    for one, to_peer, to_floor in comparison.lines():
        name = f"**{one.name}**" if one.role.startswith("ours") else one.name
        lines.append(
            f"| {name} | {figure(one, per_second=comparison.row.per_second)} | {to_peer} | {to_floor} | {one.note} |"
        )
    return "\n".join(lines)


def figure(one: Contender, *, per_second: bool) -> str:
    middle = statistics.median(one.times)
    return f"{1 / middle:,.0f}" if per_second else f"{middle * 1e6:.2f}"


def write(compared: list[Comparison], *, load: float, seconds: float, pace: Pace) -> None:
    head = HEAD.format(
        rounds=pace.rounds,
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        machine=f"Python {platform.python_version()}, {platform.system()} {platform.machine()}",
        load=load,
        cores=os.cpu_count(),
        seconds=seconds,
        versions=", ".join(f"{name} {version(name)}" for name in PEERS),
    )
    FILE.write_text(head + summary(compared) + "\n".join(table(one) for one in compared) + "\n", encoding="utf-8")


def summary(compared: list[Comparison]) -> str:
    """What the tables come to: the ratio of what a service calls to the best peer, and where that is not enough."""
    lines = ["\n| work | best peer | ours ÷ best peer | wanted | |", "| --- | --- | ---: | --- | --- |"]
    for one in compared:
        ours = called(one)
        if ours is None or one.peer is None:
            continue
        spread = Spread.of([mine / theirs for mine, theirs in zip(ours.times, one.peer.times, strict=True)])
        wanted = re.search(r"≤ ([\d.]+)", one.row.target)
        missed = "missed" if wanted is not None and spread.middle > float(wanted[1]) else ""
        loses = "**we lose**" if spread.middle > 1 else missed
        lines.append(f"| {one.title} | {one.peer.name} | {spread.middle:.2f} | {one.row.target} | {loses} |")
    return "\n".join(lines) + "\n"


def called(comparison: Comparison) -> Contender | None:
    """Of ours, what a service calls."""
    ours = [one for one in comparison.measured if one.role.startswith("ours")]
    return next((one for one in ours if one.name in {"client.decide", "client.adecide"}), ours[0] if ours else None)
