"""`manage.py run_console`: what `make run` starts."""

import json
import os
import re
import signal
import subprocess
import sys
from http.cookiejar import CookieJar
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, Request, build_opener, urlopen

import pytest

from tests.conftest import ROOT, foreign


def test_the_printed_login_opens_the_admin(process, free_port, tmp_path):
    url = f"http://127.0.0.1:{free_port}"
    variables = {"DEBUG": "1", "DATABASE_URL": f"sqlite:///{tmp_path}/console.sqlite3"}
    command = ["python", "manage.py", "run_console", "--port", str(free_port)]
    running = process(command, ready=f"{url}/health", **variables)
    name, password = re.search(r"Login for this run: (\S+) / (\S+)", running.text()).groups()

    opener = build_opener(HTTPCookieProcessor(CookieJar()))
    form = opener.open(f"{url}/admin/login/?next=/admin/").read().decode()
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', form)[1]
    data = urlencode({"username": name, "password": password, "csrfmiddlewaretoken": token, "next": "/admin/"})
    with opener.open(Request(f"{url}/admin/login/", data.encode(), {"Referer": url})) as page:
        assert page.url == f"{url}/admin/"
        assert "Policy Console" in page.read().decode()
    with opener.open(f"{url}/static/admin/css/base.css") as style:
        assert style.headers["Content-Type"].startswith("text/css")
        assert style.headers["Content-Security-Policy"]
    with pytest.raises(HTTPError, match="404"):
        opener.open(f"{url}/static/no-such-file.css")
    assert running.stop() in {0, -signal.SIGTERM}


@pytest.mark.slow
def test_its_jobs_run_beside_it_and_stop_with_it(process, free_port, tmp_path):
    url = f"http://127.0.0.1:{free_port}"
    variables = {"DEBUG": "1", "DATABASE_URL": f"sqlite:///{tmp_path}/console.sqlite3"}
    command = ["python", "manage.py", "run_console", "--port", str(free_port), "--with-jobs"]
    running = process(command, ready=f"{url}/health", **variables)
    running.wait_until(lambda: json.load(urlopen(f"{url}/health/ready"))["parts"]["jobs"]["ok"])
    assert running.stop() in {0, -signal.SIGTERM}
    assert "jobs_started" in running.text()
    assert "jobs_stopped" in running.text()


def test_it_is_for_laptops_alone():
    env = {name: value for name, value in os.environ.items() if not foreign(name)} | {"SECRET_KEY": "s" * 50}
    command = [sys.executable, "manage.py", "run_console"]
    result = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "DEBUG=1" in result.stderr
