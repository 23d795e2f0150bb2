"""Every page of the admin in a real browser, light, dark and narrow: nothing for axe or the CSP to complain about.

SHOTS=DIRECTORY keeps a picture of each.
"""

import os
import re
from collections import deque
from pathlib import Path
from urllib.parse import urldefrag, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.admin.fill import ADMINISTRATOR, PASSWORD

LOOKS = {
    "light": {"color_scheme": "light", "viewport": {"width": 1280, "height": 800}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1280, "height": 800}},
    "narrow": {"color_scheme": "light", "viewport": {"width": 390, "height": 800}},
}
# What no link leads to, and lists as a filter or a search leaves them.
MORE = (
    "/admin/",
    "/admin/password_change/",
    "/admin/policies/team/?state=all",
    "/admin/policies/auditevent/?q=nothing-like-this",
    "/admin/policies/policy/1/",
    "/admin/policies/policy/3/",
    "/admin/policies/policy/3/change/",
    "/admin/policies/policy/3/release/",
    "/admin/policies/policy/1/release/?environment=staging&role=candidate",
    "/admin/policies/policy/1/explain/?environment=production&method=POST&path=/reports/7/export&user=42",
    "/admin/policies/policy/4/",
    "/admin/policies/policy/4/change/",
    "/admin/policies/policy/4/explain/",
    "/admin/policies/service/1/handbook/?environment=production",
    "/admin/policies/policy/1/explain/?environment=staging&method=POST&path=/reports/7/export",
    "/admin/policies/policy/3/explain/?environment=production&method=POST&path=/orders/7/checkout%3Fformat=pdf&cost=2",
    "/admin/policies/policy/3/explain/?environment=production&method=POST&path=/orders/7/checkout&headers=content-length:99999",
)
HIGHER = """() => {
    const rail = document.querySelector(".rail .inner");
    return rail ? rail.scrollHeight - rail.clientHeight : 0;
}"""
LEFT_ALONE = ("/admin/logout/", "/admin/jsi18n/")
# In the dark colours alone differ, and on a narrow screen what has to be scrolled.
ONLY_VIOLATIONS = {"resultTypes": ["violations"]}
RULES = {
    "light": ONLY_VIOLATIONS,
    "dark": {**ONLY_VIOLATIONS, "runOnly": ["color-contrast"]},
    "narrow": {**ONLY_VIOLATIONS, "runOnly": ["scrollable-region-focusable"]},
}
MOST, FIRST = 90, 40
IN_ANY_LIGHT = pytest.mark.parametrize(
    "look", ["light", *(pytest.param(look, marks=pytest.mark.slow) for look in LOOKS if look != "light")]
)
"""Once for `make test`, in all looks for the slow run."""


def kind(address):
    return re.sub(r"\d+", "N", address)


def links(page, url):
    """Pages of the admin that this one leads to, without queries."""
    for href in page.eval_on_selector_all("a[href]", "all => all.map(a => a.href)"):
        address = urldefrag(href).url.partition("?")[0]
        if address.startswith(f"{url}/admin/") and urlsplit(address).path not in LEFT_ALONE:
            yield address


def log_in(page, url):
    page.goto(f"{url}/admin/")
    page.get_by_label("Username").fill(ADMINISTRATOR)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"{url}/admin/")


class Inspection:
    """What was found wrong on the pages that were looked at."""

    def __init__(self, page, look):
        self.page, self.look = page, look
        self.axe = Axe()
        self.faults = []
        page.on("console", self.note)
        page.on("pageerror", lambda error: self.faults.append(f"{page.url}: {error}"))

    def note(self, message):
        if message.type == "error":
            self.faults.append(f"{self.page.url}: {message.text}")

    def violations(self):
        return self.axe.run(self.page, options=RULES[self.look]).response["violations"]

    def look_at(self, name):
        # A text is there before the last style sheet is, and axe would see colours that nobody does.
        self.page.wait_for_load_state("load")
        for violation in self.violations():
            nodes = "; ".join(node["html"][:160] for node in violation["nodes"][:3])
            self.faults.append(f"{self.page.url}: {violation['id']}: {violation['help']}: {nodes}")
        wider = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if wider > 0:
            self.faults.append(f"{self.page.url}: {wider} pixels wider than the screen")
        higher = self.page.evaluate(HIGHER)
        if higher > 0 and self.look != "narrow":
            self.faults.append(f"{self.page.url}: the navigation is {higher} pixels higher than the screen")
        if os.environ.get("SHOTS"):
            directory = Path(os.environ["SHOTS"])
            directory.mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=directory / f"{name}-{self.look}.png", full_page=True)


def opened(browser, look):
    """A context of the browser with this look, a page in it, and the inspection of that page."""
    context = browser.new_context(**LOOKS[look])
    page = context.new_page()
    return context, page, Inspection(page, look)


@pytest.mark.parametrize(
    ("look", "most"),
    [("light", FIRST), *(pytest.param(look, MOST, marks=pytest.mark.slow) for look in LOOKS)],
)
def test_every_page_is_sound(browser, console, look, most):
    context, page, inspection = opened(browser, look)
    page.goto(f"{console}/admin/login/")
    inspection.look_at("login")
    log_in(page, console)

    # Of pages that differ in a number alone, the first of those that links lead to is looked at.
    seen, waiting = set(), deque(f"{console}{path}" for path in MORE)
    kinds = set()
    while waiting and len(seen) < most:
        address = waiting.popleft()
        if address in seen or (kind(address) in kinds and address.removeprefix(console) not in MORE):
            continue
        seen.add(address)
        kinds.add(kind(address))
        answer = page.goto(address)
        assert answer.status == 200, f"{address}: {answer.status}"
        inspection.look_at(re.sub(r"\W+", "-", address.removeprefix(console)).strip("-"))
        waiting.extend(links(page, console))
    context.close()
    assert not inspection.faults, "\n".join(inspection.faults)
    assert len(seen) > min(most, 31) - 1


@IN_ANY_LIGHT
def test_the_page_of_a_release_is_sound_in_every_state(browser, console, look):
    context, page, inspection = opened(browser, look)
    log_in(page, console)
    page.goto(f"{console}/admin/policies/release/?q=LIFE-")
    addresses = sorted(address for address in links(page, console) if kind(address).endswith("/release/N/"))
    states = set()
    for address in addresses:
        page.goto(address)
        states.add(page.locator(".subtitle .pill").inner_text())
        inspection.look_at(re.sub(r"\W+", "-", address.removeprefix(console)).strip("-"))
    context.close()
    assert not inspection.faults, "\n".join(inspection.faults)
    assert states >= {"requested", "scheduled", "live", "superseded", "rejected"}, states


@pytest.mark.parametrize("look", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_forms_that_are_refused_are_sound_and_lead_to_the_field(browser, console, look):
    context, page, inspection = opened(browser, look)
    log_in(page, console)
    own = [f"policies/{model}" for model in ("team", "service", "endpoint", "switch", "override")]
    for model in (*own, "auth/user"):
        page.goto(f"{console}/admin/{model}/add/")
        page.locator("button[name=_save]").click()
        page.get_by_text("Nothing was saved yet").wait_for()
        inspection.look_at(f"{model.replace('/', '-')}-refused")
        for link in page.locator(".errornote a").all():
            target = link.get_attribute("href")
            assert page.locator(target).count() == 1, f"{page.url}: {target}"
    context.close()
    assert not inspection.faults, "\n".join(inspection.faults)


def test_the_secret_of_a_key_has_a_page_of_its_own(browser, console):
    context, page, inspection = opened(browser, "light")
    log_in(page, console)
    page.goto(f"{console}/admin/policies/servicekey/add/")
    page.get_by_label("Service").select_option(label="Reports")
    page.get_by_label("Environment").select_option(label="Production")
    page.get_by_role("button", name="Save").click()
    secret = page.get_by_label("The secret")
    secret.wait_for()
    inspection.look_at("servicekey-issued")
    assert secret.inner_text().startswith("pck_")
    page.get_by_role("link", name="I have copied it").click()
    page.get_by_role("heading", name="Service keys").wait_for()
    assert "pck_" in page.content() and secret.count() == 0
    context.close()
    assert not inspection.faults, "\n".join(inspection.faults)
