"""The bundle over HTTP: our console on uvicorn beside the least that uvicorn can serve.

Bounded load over loopback. What is told is the processor time of the server per request, which a slow client does not
hide: at this rate the client, in Python too, would be the limit.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from bench.rounds import Contender, Turn
from tests.servers import Running, free_port

ROOT = Path(__file__).resolve().parent.parent
WARM_UP = 50
SERVER = ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--no-proxy-headers", "--log-level", "warning"]

_running: list[Running] = []
_homes: list[Path] = []


def contenders(status: int) -> list[Contender]:
    """Starts both servers; `stop` ends them."""
    home = Path(tempfile.mkdtemp(prefix="console-bench-"))
    _homes.append(home)
    raw = serve("bench.raw_asgi:application", home, {**os.environ, "BENCH_BODY": "2000"}, "--lifespan", "off")
    environment = {
        **os.environ,
        "SECRET_KEY": "k" * 60,
        "ALLOWED_HOSTS": "127.0.0.1",
        "DATABASE_URL": f"sqlite:///{home / 'bench.sqlite3'}",
        "DJANGO_SETTINGS_MODULE": "console.settings",
        "DEBUG": "1",
        "REDIS_URL": "",
        "TRUSTED_PROXIES": "127.0.0.1",  # in production it speaks HTTPS alone, as its proxy says
    }
    manage(environment, "migrate", "--verbosity", "0")
    manage(environment, "seed_demo")
    key = manage(environment, "create_service_key", "reports", "production", "--name", "bench").strip()
    environment["DEBUG"] = "0"
    console = serve("console.asgi:application", home, environment, "--lifespan", "off")
    return [
        Contender("raw ASGI", "floor", turn(raw, "/", "", status)),
        Contender("the console", "ours", turn(console, "/api/v1/bundle", key, status)),
    ]


def stop() -> None:
    while _running:
        _running.pop().stop()
    while _homes:
        shutil.rmtree(_homes.pop(), ignore_errors=True)


def manage(environment: dict[str, str], *arguments: str) -> str:
    command = [sys.executable, "manage.py", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
    return done.stdout


def serve(application: str, home: Path, environment: dict[str, str], *more: str) -> tuple[int, int]:
    """Start uvicorn; its port and process id."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", application, "--host", "127.0.0.1", "--port", str(port), *SERVER, *more]
    server = Running(command, output=home / f"{application.partition('.')[0]}.log", env=environment, cwd=ROOT)
    _running.append(server)
    server.wait_until(lambda: answers(port))
    return port, server.pid


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def turn(server: tuple[int, int], path: str, key: str, status: int) -> Turn:
    """Requests over one connection that stays open; for 304 with the tag that the server told."""
    port, process = server
    headers = {"Authorization": f"Bearer {key}", "X-Forwarded-Proto": "https"} if key else {}
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers), timeout=10) as first:
        headers["If-None-Match"] = first.headers["ETag"] if status == 304 else '"other"'
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{lines}\r\n".encode()
    ask = exchange(socket.create_connection(("127.0.0.1", port), timeout=10), request, status)
    for _ in range(WARM_UP):
        ask()

    def take(count: int) -> float:
        before = processor_seconds(process)
        for _ in range(count):
            ask()
        return processor_seconds(process) - before

    return take


def exchange(connection: socket.socket, request: bytes, status: int) -> Callable[[], None]:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    expected = f"HTTP/1.1 {status} ".encode()

    def ask() -> None:
        connection.sendall(request)
        answer = connection.recv(65536)
        head, separator, body = answer.partition(b"\r\n\r\n")
        while not separator:
            answer += connection.recv(65536)
            head, separator, body = answer.partition(b"\r\n\r\n")
        if not head.startswith(expected):
            raise AssertionError(head)
        missing = length(head) - len(body)
        while missing > 0:
            missing -= len(connection.recv(65536))

    return ask


def length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return 0 if b" 304 " in head[:16] else int(value)
    return 0


def processor_seconds(process: int) -> float:
    """Of all threads of the server, those that have ended included: the clock that clock_getcpuclockid(3) names."""
    return time.clock_gettime(~process << 3 | 2)
