"""A headless Chromium for tests: found on the machine, or installed from Debian's packages where that is allowed."""

import os
import shutil
import subprocess
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome")
# Without these the browser asks its maker's servers for updates and lists at every start.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
MISSING = "no Chromium on this machine (Debian: apt-get install chromium; or CHROMIUM=/path/to/it)"


def find() -> str | None:
    """The path of the browser to test with; CHROMIUM names another than the first that is found."""
    given = os.environ.get("CHROMIUM")
    if given:
        return given
    return next((path for path in map(shutil.which, NAMES) if path), None)


def install() -> str | None:
    """Why there is no browser even now, after trying Debian's packages; None when there is one."""
    if find():
        return None
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return MISSING
    print("Installing chromium with apt-get …", flush=True)
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "--yes", "--no-install-recommends", "chromium", "fonts-dejavu-core"]):
        result = subprocess.run(["apt-get", "-qq", *command], env=env, capture_output=True, text=True, check=False)
    if result.returncode:
        return f"apt-get could not install chromium: {result.stderr.strip()[-300:]}"
    return None if find() else MISSING


if __name__ == "__main__":
    sys.exit(install())
