"""Drive the example services with the calls of an access log, again and again, at a bounded pace."""

import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

LOG = Path(__file__).resolve().parent.parent / "traffic.log"
CALLS_PER_SECOND = 12
DRIVERS = 3
_LINE = re.compile(r'^(?P<ip>\S+) \S+ (?P<user>\S+) \[[^\]]+\] "(?P<method>[A-Z]+) (?P<path>\S+) HTTP/1\.1"')


@dataclass(frozen=True, slots=True)
class LoggedCall:
    ip: str
    user: str
    method: str
    path: str


def read_log(path: Path = LOG) -> list[LoggedCall]:
    """The calls of the log, in order; lines that are none are left out."""
    found = (_LINE.match(line) for line in path.read_text().splitlines())
    return [LoggedCall(m["ip"], m["user"], m["method"], m["path"]) for m in found if m]


class Driver:
    """Sends the log's calls in a loop from a few threads. Counts by service: allowed, denied, failed."""

    def __init__(self, ports: dict[str, int]) -> None:
        self.ports = ports
        self.counts: Counter[tuple[str, str]] = Counter()
        self._calls = self._endless(read_log())
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._drive, daemon=True) for _ in range(DRIVERS)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=5)

    def taken(self) -> Counter[tuple[str, str]]:
        """What was counted since the last look."""
        with self._lock:
            counts, self.counts = self.counts, Counter()
        return counts

    @staticmethod
    def _endless(calls: list[LoggedCall]) -> Iterator[LoggedCall]:
        while True:
            yield from calls

    def _drive(self) -> None:
        pause = DRIVERS / CALLS_PER_SECOND
        while not self._stop.wait(pause):
            with self._lock:
                call = next(self._calls)
            service = "shop" if call.path.startswith("/shop") else "reports"
            outcome = self._send(call, self.ports[service])
            with self._lock:
                self.counts[service, outcome] += 1

    def _send(self, call: LoggedCall, port: int) -> str:
        connection = HTTPConnection("127.0.0.1", port, timeout=10)
        headers = {"X-Forwarded-For": call.ip}
        if call.user != "-":
            headers["X-User"] = call.user
        try:
            connection.request(call.method, call.path, headers=headers)
            answer = connection.getresponse()
            answer.read()
        except (OSError, HTTPException):
            return "failed"
        finally:
            connection.close()
        if answer.status in (401, 405, 413, 415, 429, 503):
            return "denied"
        return "failed" if answer.status >= 500 else "allowed"


def line(counts: Counter[tuple[str, str]], services: tuple[str, ...], at: float | None = None) -> str:
    """One line of the demo's output."""
    clock = time.strftime("%H:%M:%S", time.localtime(at))
    told = [
        f"{service}: {counts[service, 'allowed']:2} allowed, {counts[service, 'denied']:2} denied"
        + (f", {counts[service, 'failed']} failed" if counts[service, "failed"] else "")
        for service in services
    ]
    return f"{clock}  {'   '.join(told)}"
