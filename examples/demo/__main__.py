"""Start everything, drive it, stop it at Ctrl-C."""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType

from examples.demo.traffic import Driver, line

ROOT = Path(__file__).resolve().parent.parent.parent
SERVICES = ("reports", "shop")
READY_WITHIN = 120


def main() -> int:
    port = int(os.environ.get("PORT", "8000"))
    ports = {"reports": port + 1, "shop": port + 2}
    address = f"http://127.0.0.1:{port}"
    environment = {"CONSOLE_URL": address, **os.environ, "DEBUG": "1", "PYTHONUNBUFFERED": "1"}
    (ROOT / "var").mkdir(exist_ok=True)
    signal.signal(signal.SIGTERM, _interrupt)
    running: list[subprocess.Popen[bytes]] = []
    driver: Driver | None = None
    try:
        print("Setting up the demo in var/ …", flush=True)
        _manage(["migrate", "--verbosity", "0"], environment)
        _manage(["seed_demo"], environment)
        running.append(_start("console", ["manage.py", "run_console", "--port", str(port)], environment, told=True))
        _wait(f"{address}/health", running)
        running.append(_start("jobs", ["manage.py", "run_jobs"], environment))
        for name, module in (("reports", "examples.fastapi_reports"), ("shop", "examples.django_shop")):
            command = ["-m", module, "--port", str(ports[name])]
            running.append(_start(name, command, _client(environment, name, port)))
        for name in SERVICES:
            _wait(f"http://127.0.0.1:{ports[name]}/health", running)
        print(f"FastAPI service: http://127.0.0.1:{ports['reports']}/reports/1")
        print(f"Django service:  http://127.0.0.1:{ports['shop']}/shop/search?q=lamp")
        print("Logs are in var/demo-*.log; Ctrl-C stops all.\n", flush=True)
        driver = Driver(ports)
        driver.start()
        while all(process.poll() is None for process in running):
            time.sleep(1)
            print(line(driver.taken(), SERVICES), flush=True)
        print("One of the processes ended; see var/demo-*.log.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopping.", flush=True)
        return 0
    except subprocess.CalledProcessError as failed:
        print(f"{' '.join(map(str, failed.cmd))} failed; see var/demo-setup.log.", file=sys.stderr)
        return 1
    except TimeoutError as late:
        print(f"{late}; see var/demo-*.log.", file=sys.stderr)
        return 1
    finally:
        if driver is not None:
            driver.stop()
        _stop(running)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _manage(arguments: list[str], environment: dict[str, str]) -> str:
    """Run a command of the console; what it prints. Its log goes where the demo's logs are."""
    command = [sys.executable, "manage.py", *arguments]
    with (ROOT / "var" / "demo-setup.log").open("ab") as log:
        done = subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, stderr=log)
    return done.stdout.decode()


def _client(environment: dict[str, str], service: str, port: int) -> dict[str, str]:
    """What a service needs to enforce: where the console is, and a key, issued for this run and good for a month."""
    end = (datetime.now(UTC) + timedelta(days=30)).isoformat()
    secret = _manage(
        ["create_service_key", service, "production", "--name", "demo", "--expires", end], environment
    ).strip()
    return {
        **environment,
        "POLICY_CONSOLE_URL": f"http://127.0.0.1:{port}",
        "POLICY_SERVICE_KEY": secret,
        "POLICY_POLL_SECONDS": "2",
        "POLICY_TRUSTED_PROXIES": "127.0.0.0/8",
    }


def _start(
    name: str, arguments: list[str], environment: dict[str, str], *, told: bool = False
) -> subprocess.Popen[bytes]:
    """A Python process that logs to a file; with `told`, what it says on stdout is for the person to read."""
    with (ROOT / "var" / f"demo-{name}.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, *arguments], cwd=ROOT, env=environment, stdout=None if told else log, stderr=log
        )


def _wait(url: str, running: list[subprocess.Popen[bytes]]) -> None:
    """Until it answers at all: an answer of 404 is one, too."""
    end = time.monotonic() + READY_WITHIN
    while time.monotonic() < end:
        if any(process.poll() is not None for process in running):
            raise TimeoutError(f"{url} cannot be reached: its process ended")
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=2):
                return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.2)
    raise TimeoutError(f"{url} did not answer within {READY_WITHIN} s")


def _stop(running: list[subprocess.Popen[bytes]]) -> None:
    """Ask each process by its id, then insist."""
    for process in running:
        if process.poll() is None:
            process.terminate()
    for process in running:
        try:
            process.wait(timeout=8)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


if __name__ == "__main__":
    sys.exit(main())
