"""Every job: its name, how often it is due, and the verb that it calls."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from policies.lifecycle import retention, switches
from policies.lifecycle.actor import Actor
from policies.lifecycle.mail import outbox, reminders
from policies.lifecycle.overriding import overrides
from policies.lifecycle.releasing import due

OFTEN = timedelta(seconds=10)
HOURLY = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Job:
    """`work` acts on what is due at a moment, and says on how much.

    Each unit of its work is a transaction that looks again under its locks: it may be killed at any point, run again,
    and run on two nodes at once.
    """

    name: str
    every: timedelta
    does: str
    work: Callable[[datetime], int]


def _close_switches(now: datetime) -> int:
    return switches.close_expired(now, by=Actor(name="job:switches", door="job"))


def _close_overrides(now: datetime) -> int:
    return overrides.close_expired(now, by=Actor(name="job:overrides", door="job"))


JOBS: tuple[Job, ...] = (
    Job("activate", OFTEN, "lets scheduled releases go live", due.activate),
    Job("expire", OFTEN, "ends releases whose time is over", due.expire),
    Job("advance", OFTEN, "takes the next step of staged releases", due.advance),
    Job("switches", OFTEN, "closes switches whose time is over", _close_switches),
    Job("overrides", OFTEN, "closes overrides whose time is over", _close_overrides),
    Job("reminders", HOURLY, "reminds people of what waits for them", reminders.remind),
    Job("send", OFTEN, "sends e-mail", outbox.send),
    Job("retention", HOURLY, "deletes figures and lines that are old", retention.forget),
)
"""In the order in which they run: mail about what was just done goes out in the same round."""
