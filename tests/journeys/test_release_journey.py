"""The main job, end to end, on real parts: an engineer new to it limits an endpoint from her browser.

A console on PostgreSQL, a FastAPI service with two workers that count in Redis, a real Chromium; no script of ours, no
stand-in, no JSON typed by anybody.
"""

import json
import re

import pytest

from tests.journeys import houses, stage
from tests.journeys.hands import Hands
from tests.journeys.houses import run
from tests.journeys.wire import call, until
from tests.servers import free_port

POLL = 1.0
WITHIN_ONE_POLL = 10.0  # a poll of one second, and patience with a machine that runs other tests beside
HEARTBEAT = 25.0
ALICE, PROBE, NEWCOMER = "198.51.100.7", "203.0.113.9", "192.0.2.33"
MOST_PRESSES = 12


@pytest.fixture
def variables(postgres_url, second_redis_url):
    """The console's environment."""
    return houses.variables(postgres_url, REDIS_URL=second_redis_url)


@pytest.fixture
def console(process, variables):
    return houses.start_console(process, variables, "reports")


@pytest.fixture
def reports(process, console, variables, redis_url):
    """The URL of the running service: two workers, counters in Redis."""
    secret = run(variables, "manage.py", "create_service_key", "reports", "production").strip()
    port = free_port()
    command = ["python", "-m", "uvicorn", "examples.fastapi_reports.app:app", "--host", "127.0.0.1"]
    process(
        [*command, "--port", str(port), "--workers", "2", "--no-proxy-headers"],
        ready=f"http://127.0.0.1:{port}/health",
        POLICY_CONSOLE_URL=console,
        POLICY_SERVICE_KEY=secret,
        POLICY_STORE_URL=redis_url,
        POLICY_POLL_SECONDS=str(POLL),
        POLICY_STORE_TIMEOUT_MS="2000",
        POLICY_TRUSTED_PROXIES="127.0.0.0/8",
    )
    return f"http://127.0.0.1:{port}"


@pytest.fixture
def alice(console, page):
    """Alice's hands, on the home page."""
    hands = Hands(page)
    page.goto(f"{console}/admin/")
    page.get_by_label("Username").fill(stage.NAME)
    page.get_by_label("Password").fill(stage.PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(f"{console}/admin/")
    hands.heard = 0
    return hands


def export(reports, caller=ALICE):
    return call(f"{reports}/reports/7/export", caller=caller, method="POST")


def answered(reports, status, caller, what):
    """The first answer with this status, within one poll."""
    answers = []

    def arrived():
        answers.append(export(reports, caller))
        return answers[-1].status == status

    until(arrived, within=WITHIN_ONE_POLL, what=what)
    return answers[-1]


@pytest.mark.slow
def test_a_policy_is_written_released_enforced_and_rolled_back(console, reports, alice, variables):
    write_and_release(alice)
    assert alice.presses <= MOST_PRESSES, f"{alice.presses} presses"
    seen_by_all(alice, reports, lambda: limited(reports))
    ten_pass_and_the_eleventh_is_denied(reports)
    roll_back(alice)
    answered(reports, 200, ALICE, "calls pass after the rollback")
    seen_by_all(alice, reports, lambda: not limited(reports))
    assert [export(reports).status for _ in range(15)] == [200] * 15
    switches_act_beside_the_policy(alice, reports)
    one_caller_is_unblocked(alice, reports)
    the_trail_names_every_act(variables)


def write_and_release(alice):
    """From the home page to a policy that is enforced, by mouse and keyboard alone."""
    page = alice.page
    alice.click(page.get_by_role("link", name="New policy"))
    assert page.get_by_label("Name", exact=True).first.evaluate("here => here === document.activeElement")
    page.keyboard.type("report-export")
    alice.click(page.get_by_label("POST"))
    alice.write("/reports/{report_id}/export", into="Route")
    alice.write("reports.export", into="Name in the code")
    alice.write("10", into="Limit")
    alice.write("POST /reports/{report_id}/export", into="Route")
    alice.write("One report id; 20 to 400 an hour.", into="Expected input")
    alice.write("The aggregate over the lines of a report.", into="Slow part")
    alice.write("The spinner on the report page.", into="Noticed at")
    alice.write("800", into="Value")
    alice.write("Exports stay under a second for everybody else.", into="In words")
    alice.write("Roll back; exports queue for two minutes at most.", into="How to go back")
    alice.write("Exports stall the database, OPS-812.", into="Why this change?")
    alice.click(page.get_by_role("button", name="Save revision 1"))
    assert "saved as revision 1" in page.locator(".messagelist").inner_text()

    alice.click(page.get_by_role("link", name="Release r1 …"))
    alice.click(page.get_by_label("Enforce"))
    alice.write("Before the campaign, OPS-812.", into="Why this release?")
    alice.click(page.get_by_role("button", name="Release r1"))
    told = page.locator(".messagelist").inner_text()
    assert "POL-0001 r1 is enforced in production" in told
    assert 'manage.py rollback POL-0001 production --reason "…" --by alice' in told


def limited(reports):
    """Whether the workers that answered enforce the limit, as a caller beside Alice sees it."""
    return all("RateLimit-Policy" in export(reports, PROBE).headers for _ in range(4))


def seen_by_all(alice, reports, arrived):
    """It arrives within one poll; then the policy's page says that both workers run the newest bundle."""
    until(arrived, within=WITHIN_ONE_POLL, what="the change arrives within one poll")

    def both_on_the_newest():
        export(reports, PROBE)  # a worker begins to report with its first call
        alice.page.reload()
        return "2 of 2 instances on bundle" in alice.page.locator("section.place").inner_text()

    until(both_on_the_newest, within=HEARTBEAT, what="both workers report the newest bundle")


def ten_pass_and_the_eleventh_is_denied(reports):
    answers = [export(reports) for _ in range(11)]
    assert [answer.status for answer in answers] == [200] * 10 + [429]
    assert [int(re.search(r";r=(\d+)", answer.headers["RateLimit"])[1]) for answer in answers] == [*range(9, -1, -1), 0]
    denied = answers[-1]
    wait = int(denied.headers["Retry-After"])
    assert 1 <= wait <= 360
    assert denied.headers["RateLimit-Policy"] == '"per-user";q=10;w=3600'
    assert denied.headers["RateLimit"] == f'"per-user";r=0;t={wait}'
    assert denied.headers["Content-Type"] == "application/problem+json"
    assert denied.headers["Cache-Control"] == "no-store"
    body = denied.json()
    assert body["type"] == "https://iana.org/assignments/http-problem-types#quota-exceeded"
    assert (body["status"], body["policy"], body["rule"]) == (429, "POL-0001", "per-user")
    assert body["violated-policies"] == ["per-user"]
    assert body["retry_after"] == wait
    assert body["decision_id"] == denied.headers["Policy-Decision"]


def roll_back(alice):
    """A reason, and one press."""
    before = alice.presses
    alice.write("The nightly job is locked out.", into="Why roll back?")
    alice.click(alice.page.get_by_role("button", name="Roll back"))
    assert alice.presses == before + 1
    assert "Rolled back in production" in alice.page.locator(".messagelist").inner_text()
    assert "not live" in alice.page.locator("section.place").inner_text()


def switches_act_beside_the_policy(alice, reports):
    """Released again, Alice's caller has used up its calls; a bypass lets it through, a block stops everybody."""
    page = alice.page
    alice.click(page.get_by_role("link", name="Release r1 …"))
    alice.click(page.get_by_label("Enforce"))
    alice.write("The job has a key of its own now.", into="Why this release?")
    alice.click(page.get_by_role("button", name="Release r1"))
    answered(reports, 429, ALICE, "what was used stays used")

    alice.write("Month end: let them all through.", into="Why?")
    alice.click(page.get_by_role("button", name="Let every call through"))
    answered(reports, 200, ALICE, "the bypass lets calls through")
    alice.write("Month end is over.", into="Why clear it?")
    alice.click(page.get_by_role("button", name="Clear the bypass switch"))
    answered(reports, 429, ALICE, "the limit holds again")

    alice.write("The database is down.", into="Why?")
    alice.click(page.get_by_role("button", name="Block every call"))
    blocked = answered(reports, 503, PROBE, "the block stops every call").json()
    assert (blocked["status"], blocked["type"]) == (503, "about:blank")
    alice.write("The database is back.", into="Why clear it?")
    alice.click(page.get_by_role("button", name="Clear the block switch"))
    answered(reports, 200, NEWCOMER, "calls pass again")


def one_caller_is_unblocked(alice, reports):
    """Her caller's calls are used up, and so are another one's; an override forgets what hers has used."""
    page = alice.page
    for caller in (ALICE, NEWCOMER):
        answered(reports, 429, caller, "calls are used up")
    alice.click(page.get_by_role("link", name="Unblock or exempt one caller …"))
    alice.click(page.get_by_label("reset: forget what this caller used"))
    alice.write("ip", into="Part of the call")
    alice.write(ALICE, into="has the value")
    alice.write("Her script is mended.", into="Why?")
    alice.click(page.get_by_role("button", name="Set the override"))
    assert f"The caller ip {ALICE} starts anew" in page.locator(".messagelist").inner_text()
    answered(reports, 200, ALICE, "her caller is unblocked")
    assert export(reports, NEWCOMER).status == 429


def the_trail_names_every_act(variables):
    assert run(variables, "manage.py", "verify_audit").startswith("Whole: ")
    trail = run(variables, "-m", "tests.journeys.trail")
    events = [json.loads(line) for line in trail.splitlines()]
    acts = [(event["verb"], event["reason"]) for event in events if event["actor"] == stage.NAME]
    assert acts == [
        ("policy.create", "Exports stall the database, OPS-812."),
        ("release.live", "Before the campaign, OPS-812."),
        ("release.rollback", "The nightly job is locked out."),
        ("hold.lift", "The job has a key of its own now."),
        ("release.live", "The job has a key of its own now."),
        ("switch.set", "Month end: let them all through."),
        ("switch.clear", "Month end is over."),
        ("switch.set", "The database is down."),
        ("switch.clear", "The database is back."),
        ("override.set", "Her script is mended."),
    ]
    assert all(event["door"] == "admin" and event["request_id"] for event in events if event["actor"] == stage.NAME)
