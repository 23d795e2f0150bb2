"""The same job on the embedded default: a console on SQLite, a Django service that counts in its own memory, REST."""

import json

import pytest

from tests.journeys import houses, stage
from tests.journeys.wire import call, until
from tests.policies import factories
from tests.servers import free_port

POLL = 1.0
WITHIN_ONE_POLL = 10.0  # a poll of one second, and patience with a machine that runs other tests beside
ALICE, PROBE = "alice", "probe"


@pytest.fixture
def variables(tmp_path):
    """The console's environment: no Redis, no PostgreSQL."""
    return houses.variables(f"sqlite:///{tmp_path}/console.sqlite3")


@pytest.fixture
def console(process, variables):
    return houses.start_console(process, variables, "shop")


@pytest.fixture
def rest(console, variables):
    """`rest(method, path, body)` as Alice, with a token of hers; the parsed answer, which must have this status."""
    token = houses.run(variables, "manage.py", "create_api_token", stage.NAME).strip()

    def ask(method, path, body=None, *, status=200, **headers):
        url = f"{console}/api/v1/{path}"
        answer = call(url, method=method, body=body, Authorization=f"Bearer {token}", **headers)
        assert answer.status == status, answer.body
        return answer.json()

    return ask


@pytest.fixture(params=[pytest.param("wsgi", marks=pytest.mark.slow), "asgi"])
def shop(request, process, console, variables):
    """The URL of the running service, in one process."""
    secret = houses.run(variables, "manage.py", "create_service_key", "shop", "production").strip()
    port = free_port()
    command = ["python", "-m", "examples.django_shop", "--port", str(port)]
    process(
        [*command, "--wsgi"] if request.param == "wsgi" else command,
        ready=f"http://127.0.0.1:{port}/health",
        POLICY_CONSOLE_URL=console,
        POLICY_SERVICE_KEY=secret,
        POLICY_POLL_SECONDS=str(POLL),
    )
    return f"http://127.0.0.1:{port}"


def search(shop, user=ALICE):
    return call(f"{shop}/shop/search?q=lamp", X_User=user)


def answered(shop, status, user, what):
    """The first answer with this status, within one poll."""
    answers = []

    def arrived():
        answers.append(search(shop, user))
        return answers[-1].status == status

    until(arrived, within=WITHIN_ONE_POLL, what=what)
    return answers[-1]


def limited(shop):
    return "RateLimit-Policy" in search(shop, PROBE).headers


def test_a_policy_is_written_released_enforced_and_rolled_back(rest, shop, variables):
    assert search(shop).status == 200
    draft = factories.draft(
        name="search",
        service="shop",
        endpoints=[factories.endpoint("/shop/search", "shop.search", ("GET",))],
    )
    policy = rest("POST", "policies/", {**draft, "reason": "searches stall the shop"}, status=201)
    reference = policy["reference"]
    release = {"policy": reference, "environment": "production"}

    rest("POST", "releases/", {**release, "mode": "shadow", "reason": "watch first"}, status=201)
    live = rest("POST", "releases/", {**release, "mode": "enforce", "reason": "campaign"}, status=201)
    assert live["rollback_command"].startswith(f"manage.py rollback {reference} production")
    until(lambda: limited(shop), within=WITHIN_ONE_POLL, what="the limit arrives within one poll")
    ten_pass_and_the_eleventh_is_denied(shop, reference)

    back = rest("POST", f"releases/{live['id']}/rollback/", {"reason": "locked out the job"}, status=201)
    assert back["mode"] == "shadow"
    answered(shop, 200, ALICE, "calls pass after the rollback to shadow")
    assert not limited(shop)

    rest("POST", "releases/", {**release, "mode": "enforce", "reason": "the job has a key"}, status=201)
    answered(shop, 429, ALICE, "what was used stays used, from enforce to shadow and back")
    switches_act_beside_the_policy(rest, shop, reference)
    the_trail_names_every_act(rest, variables)


def ten_pass_and_the_eleventh_is_denied(shop, reference):
    answers = [search(shop) for _ in range(11)]
    assert [answer.status for answer in answers] == [200] * 10 + [429]
    denied = answers[-1]
    wait = int(denied.headers["Retry-After"])
    assert 1 <= wait <= 360
    assert denied.headers["RateLimit-Policy"] == '"per-user";q=10;w=3600'
    assert denied.headers["RateLimit"] == f'"per-user";r=0;t={wait}'
    assert denied.headers["Content-Type"] == "application/problem+json"
    body = denied.json()
    assert (body["status"], body["policy"], body["rule"]) == (429, reference, "per-user")
    assert body["decision_id"] == denied.headers["Policy-Decision"]


def switches_act_beside_the_policy(rest, shop, reference):
    bypass = {"effect": "bypass", "policy": reference, "environment": "production", "reason": "month end"}
    switch = rest("POST", "switches/", bypass, status=201)
    answered(shop, 200, ALICE, "the bypass lets calls through")
    rest("POST", f"switches/{switch['id']}/clear/", {"reason": "month end is over"})
    answered(shop, 429, ALICE, "the limit holds again")

    block = {"effect": "block", "service": "shop", "retry_after": 120, "detail": "Closed.", "reason": "database down"}
    switch = rest("POST", "switches/", block, status=201)
    blocked = answered(shop, 503, PROBE, "the block stops every call")
    assert blocked.headers["Retry-After"] == "120"
    assert blocked.json()["detail"] == "Closed."
    rest("POST", f"switches/{switch['id']}/clear/", {"reason": "database is back"})
    answered(shop, 200, "somebody new", "calls pass again")


def the_trail_names_every_act(rest, variables):
    assert houses.run(variables, "manage.py", "verify_audit").startswith("Whole: ")
    trail = houses.run(variables, "-m", "tests.journeys.trail")
    events = [json.loads(line) for line in trail.splitlines()]
    mine = [event for event in events if event["actor"] == stage.NAME]
    assert [(event["verb"], event["reason"]) for event in mine] == [
        ("policy.create", "searches stall the shop"),
        ("release.live", "watch first"),
        ("release.live", "campaign"),
        ("release.rollback", "locked out the job"),
        ("hold.lift", "the job has a key"),
        ("release.live", "the job has a key"),
        ("switch.set", "month end"),
        ("switch.clear", "month end is over"),
        ("switch.set", "database down"),
        ("switch.clear", "database is back"),
    ]
    assert {event["door"] for event in mine} == {"rest"}
