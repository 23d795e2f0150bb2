"""Consoles as real processes."""

import os
import subprocess
import sys

from tests.conftest import ROOT, foreign
from tests.servers import free_port

SECRET_KEY = "the secret of a journey signs nothing outside of it; it is long enough"


def variables(database_url, **more):
    """A console's environment."""
    return {"DEBUG": "1", "SECRET_KEY": SECRET_KEY, "DATABASE_URL": database_url, **more}


def run(console_variables, *words):
    """A Python command on the console's machine; what it wrote on stdout."""
    env = {name: value for name, value in os.environ.items() if not foreign(name)}
    env |= {"DJANGO_SETTINGS_MODULE": "console.settings", **console_variables}
    result = subprocess.run([sys.executable, *words], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def start_console(process, console_variables, service, stage="tests.journeys.stage"):
    """The URL of a running console on whose stage are a team, this service of it and an environment."""
    run(console_variables, "-m", stage, service)
    port = free_port()
    command = ["python", "-m", "uvicorn", "console.asgi:application", "--host", "127.0.0.1", "--port", str(port)]
    url = f"http://127.0.0.1:{port}"
    process([*command, "--lifespan", "off", "--no-proxy-headers"], ready=f"{url}/health/ready", **console_variables)
    return url
