"""`manage.py run_console`: a console on this machine for one person, ready to log in."""

import contextlib
import os
import signal
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from types import FrameType
from typing import Any

import uvicorn
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from console import administrator


class Command(BaseCommand):
    help = "Migrate, make a login for this run, and serve the console with uvicorn (needs DEBUG=1)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=8000)
        parser.add_argument("--with-jobs", action="store_true", help="start run_jobs beside it, and stop it with it")

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.DEBUG:
            raise CommandError(
                "This command makes an administrator and prints the password: it wants DEBUG=1. "
                "In production: manage.py migrate, manage.py createsuperuser, uvicorn console.asgi:application"
            )
        call_command("migrate", verbosity=0, interactive=False)
        login = administrator.renew()
        host, port = options["host"], options["port"]
        self.stdout.write(f"Policy Console: http://{host}:{port}/admin/", self.style.SUCCESS)
        self.stdout.write(f"Login for this run: {login.name} / {login.password}")
        self.stdout.flush()
        with jobs(host, port) if options["with_jobs"] else contextlib.nullcontext():
            serve(host, port)


@contextlib.contextmanager
def jobs(host: str, port: int) -> Iterator[None]:
    """`manage.py run_jobs` in a process of its own, which ends when the block does."""
    signal.signal(signal.SIGTERM, _end)  # else the server would end this process before the other one was told
    links = {"CONSOLE_URL": os.environ.get("CONSOLE_URL") or f"http://{host}:{port}"}
    running = subprocess.Popen([sys.executable, sys.argv[0], "run_jobs"], env={**os.environ, **links})  # noqa: S603
    try:
        yield
    finally:
        running.terminate()
        try:
            running.wait(timeout=8)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


def _end(number: int, frame: FrameType | None) -> None:
    sys.exit(0)


def serve(host: str, port: int) -> None:
    """Serve until interrupted."""
    uvicorn.run(
        "console.asgi:application",
        host=host,
        port=port,
        loop="uvloop",
        http="httptools",
        lifespan="off",
        log_config=None,  # Django's LOGGING has it already
        access_log=False,  # each request has a line of ours
        proxy_headers=False,  # who is believed is decided by TRUSTED_PROXIES alone
        server_header=False,
        timeout_graceful_shutdown=5,
    )
