"""`manage.py run_jobs [--once] [--interval SECONDS]`"""

import os
import select
import signal
import sys
from argparse import ArgumentParser
from types import FrameType
from typing import Any

import structlog
from django.core.management.base import BaseCommand, CommandError
from django.db import close_old_connections

from policies.jobs.registry import JOBS
from policies.jobs.runs import Outcome, Ran, run

log = structlog.get_logger(__name__)


class Stop:
    """SIGTERM and Ctrl-C: the job at work gets to its end. A second one ends it at once, which is safe, too."""

    def __init__(self) -> None:
        self.asked = False
        self._bell, self._rope = os.pipe()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Stop":
        self._before = {number: signal.signal(number, self._ask) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *raised: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._bell)
        os.close(self._rope)

    def wait(self, seconds: float) -> None:
        """Until then, or until it is asked."""
        select.select([self._bell], [], [], seconds)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        signal.signal(number, signal.SIG_DFL)
        os.write(self._rope, b".")


class Command(BaseCommand):
    help = (
        "Do what is due by the clock: schedules, steps, ends, reminders, e-mail, retention. "
        "May run on every node at once, and be killed at any point."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--once", action="store_true", help="run each job once and end; status 1 if one failed")
        parser.add_argument(
            "--interval", type=float, default=15, metavar="SECONDS", help="how often to look what is due; default 15"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if not 0.1 <= options["interval"] <= 3600:
            raise CommandError("--interval must be between 0.1 and 3600 seconds.")
        with Stop() as stop:
            if options["once"]:
                self._once(stop)
            else:
                self._again_and_again(stop, options["interval"])

    def _once(self, stop: Stop) -> None:
        ran = self._round(stop, only_if_due=False)
        for one in ran:
            self.stdout.write(f"{one.job}: {_told(one)}")
        if any(one.outcome == Outcome.FAILED for one in ran):
            sys.exit(1)

    def _again_and_again(self, stop: Stop, interval: float) -> None:
        log.info("jobs_started", interval=interval, jobs=[job.name for job in JOBS])
        while not stop.asked:
            self._round(stop, only_if_due=True)
            close_old_connections()  # a broken one would be used again for ever
            if not stop.asked:
                stop.wait(interval)
        log.info("jobs_stopped")

    def _round(self, stop: Stop, *, only_if_due: bool) -> list[Ran]:
        ran = []
        for job in JOBS:
            if stop.asked:
                break
            ran.append(run(job, only_if_due=only_if_due))
        return ran


def _told(ran: Ran) -> str:
    if ran.outcome == Outcome.ELSEWHERE:
        return "another process is at it"
    if ran.outcome == Outcome.FAILED:
        return "failed; see the log"
    return f"acted on {ran.acted}" if ran.acted else "nothing was due"
