"""A PostgreSQL of one's own that is stopped without being asked, and started again on what it left."""

import signal
from pathlib import Path

from tests import servers


class Crashing:
    """Its commits are on disk when they are confirmed, as they are on any server that is not made for tests."""

    def __init__(self, home: Path) -> None:
        self.home, self.port = home, servers.free_port()
        self.url = f"postgres://console@127.0.0.1:{self.port}/postgres"
        make = [servers.postgres_program("initdb"), "--pgdata", str(home / "data"), "--username", "console"]
        made = servers.Running(
            servers.as_ordinary_user(
                [*make, "--auth", "trust", "--no-sync", "--encoding", "UTF8", "--locale", "C.UTF-8"]
            ),
            output=home / "initdb.log",
        )
        assert made.process.wait() == 0, made.text()
        self.start()

    def start(self) -> None:
        options = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off"}
        command = [servers.postgres_program("postgres"), "-D", str(self.home / "data"), "-p", str(self.port)]
        command += [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        self.server = servers.Running(servers.as_ordinary_user(command), output=self.home / "log")
        self.server.wait_until(lambda: servers.postgres_answers(self.url))

    def crash(self) -> None:
        """“Immediate” shutdown: every process of it ends at once, and the next start has to recover."""
        self.server.stop(signal.SIGQUIT)
        self.start()

    def stop(self) -> None:
        self.server.stop(signal.SIGINT)
