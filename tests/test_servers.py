"""The servers and the browser that other tests stand on."""

import os
import subprocess
import sys
import urllib.request

import psycopg
import pytest
import redis

from tests import servers
from tests.conftest import ROOT


def test_a_postgres_database_is_new_and_empty(postgres_url):
    with psycopg.connect(postgres_url) as connection:
        tables = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
    assert tables == (0,)


def test_a_redis_database_is_empty_and_ours(redis_url, second_redis_url):
    first, second = redis.Redis.from_url(redis_url), redis.Redis.from_url(second_redis_url)
    first.set("key", "value")
    assert second.dbsize() == 0
    with pytest.raises(servers.NotStarted, match="left alone"), servers.redis_database(*redis_url.rsplit("/", 1)):
        pass
    assert first.get("key") == b"value"


def test_a_process_is_stopped_by_its_id(process, free_port, tmp_path):
    (tmp_path / "index.html").write_text("hello")
    url = f"http://127.0.0.1:{free_port}/"
    command = ["python", "-m", "http.server", str(free_port), "--bind", "127.0.0.1", "--directory", str(tmp_path)]
    running = process(command, ready=url)
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == b"hello"
    running.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(running.pid, 0)


def test_a_process_that_ends_too_soon_says_why(process):
    with pytest.raises(servers.NotStarted, match="the reason"):
        process(["python", "-c", "raise SystemExit('the reason')"], ready="http://127.0.0.1:9/")


def test_the_browser_opens_a_page(page):
    page.set_content("<h1>Policies</h1>")
    assert page.get_by_role("heading").inner_text() == "Policies"


def test_servers_lend_their_addresses_to_a_command():
    given = {"TEST_POSTGRES_URL": "postgres://a@127.0.0.1:1/b", "TEST_REDIS_URL": "redis://127.0.0.1:2/3"}
    show = [sys.executable, "-c", "import os; print(os.environ['TEST_POSTGRES_URL'], os.environ['TEST_REDIS_URL'])"]
    result = subprocess.run(
        [sys.executable, "-m", "tests.servers", *show],
        env={**os.environ, **given},
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert result.stdout.split() == ["postgres://a@127.0.0.1:1/b", "redis://127.0.0.1:2"]
