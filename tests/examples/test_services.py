"""The examples as real processes: alone, and against a console."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from policy_client.testing import bundle, policy
from tests.policy_client.peer import Peer, serving

Start = Callable[..., Any]
SERVICES: dict[str, dict[str, Any]] = {
    "reports": {
        "command": ["python", "-m", "examples.fastapi_reports"],
        "heavy": ("POST", "/reports/7/export"),
        "cheap": "/reports/7",
        "name": "reports.export",
    },
    "shop": {
        "command": ["python", "-m", "examples.django_shop"],
        "heavy": ("GET", "/shop/search?q=lamp"),
        "cheap": "/shop/products/7",
        "name": "shop.search",
    },
    "shop-wsgi": {
        "command": ["python", "-m", "examples.django_shop", "--wsgi"],
        "heavy": ("GET", "/shop/search?q=lamp"),
        "cheap": "/shop/products/7",
        "name": "shop.search",
    },
    "weather": {
        "command": ["python", "-m", "examples.flask_weather"],
        "heavy": ("GET", "/weather/records?year=12"),
        "cheap": "/weather/stations/7",
        "name": "weather.records",
    },
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("data")
    names = ("reports", "shop", "weather")
    return {f"{name.upper()}_DATABASE": str(folder / f"{name}.sqlite3") for name in names}


@pytest.fixture
def peer() -> Iterator[Peer]:
    with serving(Peer()) as running:
        yield running


@pytest.fixture(params=SERVICES)
def service(request: pytest.FixtureRequest) -> dict[str, Any]:
    return SERVICES[request.param]


def ask(port: int, method: str, path: str, user: str = "alice") -> tuple[int, dict[str, str], Any]:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method, headers={"X-User": user})
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
            return answer.status, {name.lower(): value for name, value in answer.headers.items()}, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, {name.lower(): value for name, value in error.headers.items()}, json.load(error)


def start(process: Start, service: dict[str, Any], port: int, *extra: str, **variables: str) -> Any:
    command = [*service["command"], "--port", str(port), *extra]
    return process(command, ready=f"http://127.0.0.1:{port}/health", **variables)


def test_alone_a_service_works_and_enforces_nothing(
    service: dict[str, Any], process: Start, free_port: int, data: dict[str, str]
) -> None:
    start(process, service, free_port, **data)
    for _ in range(3):
        status, headers, found = ask(free_port, *service["heavy"])
        assert (status, "policy-decision" in headers) == (200, False)
        assert found
    assert ask(free_port, "GET", service["cheap"])[0] == 200


def test_a_service_enforces_what_its_console_says(
    service: dict[str, Any], process: Start, free_port: int, peer: Peer, data: dict[str, str]
) -> None:
    rule = {"key": ["user"], "limit": 2, "window": 3600}
    peer.body = bundle(policy(service["name"], per_user=rule), version=3)
    variables = {"POLICY_CONSOLE_URL": peer.url, "POLICY_SERVICE_KEY": "pck_key", "POLICY_POLL_SECONDS": "0.2", **data}
    start(process, service, free_port, **variables)
    ask(free_port, "GET", service["cheap"])
    peer.wait_for(lambda: len(peer.fetches()) >= 2)
    answers = [ask(free_port, *service["heavy"], user) for user in ("alice", "bob", "alice", "alice")]
    assert [status for status, _, _ in answers] == [200, 200, 200, 429]
    assert answers[0][1]["ratelimit"] == '"per-user";r=1;t=1800'
    _, headers, problem = answers[3]
    assert headers["content-type"] == "application/problem+json"
    assert (problem["policy"], problem["rule"]) == ("POL-0001", "per-user")
    assert ask(free_port, "GET", service["cheap"])[0] == 200
    before = len(peer.fetches())
    peer.body = bundle(switches=[{"id": 1, "effect": "block", "status": 503}], version=4)
    peer.wait_for(lambda: len(peer.fetches()) >= before + 2)
    assert ask(free_port, *service["heavy"])[0] == 503


def test_two_workers_share_one_counter_in_redis(
    process: Start, free_port: int, peer: Peer, redis_url: str, data: dict[str, str]
) -> None:
    service = SERVICES["reports"]
    peer.body = bundle(policy(service["name"], per_user={"key": ["user"], "limit": 10, "window": 3600}))
    running = start(
        process,
        service,
        free_port,
        "--workers",
        "2",
        POLICY_CONSOLE_URL=peer.url,
        POLICY_SERVICE_KEY="pck_key",
        POLICY_STORE_URL=redis_url,
        POLICY_STORE_TIMEOUT_MS="2000",
        **data,
    )
    peer.wait_for(lambda: len({batch["instance"] for batch in peer.batches()}) == 2)
    statuses = [ask(free_port, *service["heavy"])[0] for _ in range(14)]
    assert statuses == [200] * 10 + [429] * 4
    running.stop()
    counted = [count for batch in peer.batches() for count in batch["counts"] if count["rule"] is None]
    assert (sum(count["allowed"] for count in counted), sum(count["denied"] for count in counted)) == (10, 4)


def test_the_data_is_what_it_says(process: Start, free_port: int, data: dict[str, str], tmp_path: Path) -> None:
    again = {"REPORTS_DATABASE": str(tmp_path / "reports.sqlite3")}
    start(process, SERVICES["reports"], free_port, **again)
    _, _, one = ask(free_port, "POST", "/reports/100/export")
    assert one["sales"] == 2500
    assert len(one["regions"]) == 12
    assert ask(free_port, "POST", "/reports/101/export")[0] == 404
    assert ask(free_port, "GET", "/reports/0")[0] == 404
