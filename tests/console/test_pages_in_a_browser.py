"""Every page that a link leads to, in a real browser: nothing that the content security policy would refuse."""

import re
from collections import deque
from urllib.parse import urldefrag, urlsplit

import pytest

MOST = 60  # pages; far more than a console without data has
LEFT_ALONE = ("/admin/logout/",)


def log_in(page, url, running):
    name, password = re.search(r"Login for this run: (\S+) / (\S+)", running.text()).groups()
    page.goto(f"{url}/admin/")
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"{url}/admin/")


def links(page, url):
    """Addresses on this console that the page leads to, without fragments, queries and downloads."""
    for href in page.eval_on_selector_all("a[href]", "all => all.map(a => a.href)"):
        address = urldefrag(href).url.partition("?")[0]
        path = urlsplit(address).path
        if address.startswith(url) and path.endswith("/") and path not in LEFT_ALONE:
            yield address


def unfold(page):
    """Open what folds on the API's page: its pictures are fetched only when they show."""
    page.locator(".opblock").first.wait_for()
    for fold in page.locator(".opblock-summary-control").all()[:3]:
        fold.click()
        page.locator(".opblock-body .try-out button").first.wait_for()


@pytest.mark.slow
def test_no_page_breaks_the_content_security_policy(process, page, free_port, tmp_path):
    url = f"http://127.0.0.1:{free_port}"
    variables = {"DEBUG": "1", "DATABASE_URL": f"sqlite:///{tmp_path}/console.sqlite3"}
    command = ["python", "manage.py", "run_console", "--port", str(free_port)]
    running = process(command, ready=f"{url}/health", **variables)
    complaints = []
    page.on("console", lambda message: message.type == "error" and complaints.append((page.url, message.text)))
    page.on("pageerror", lambda error: complaints.append((page.url, str(error))))
    log_in(page, url, running)

    seen, waiting = set(), deque([f"{url}/admin/", f"{url}/admin/password_change/", f"{url}/api/docs/"])
    while waiting and len(seen) < MOST:
        address = waiting.popleft()
        if address in seen:
            continue
        seen.add(address)
        answer = page.goto(address)
        if answer is None or "html" not in answer.headers.get("content-type", ""):
            continue
        if address.endswith("/api/docs/"):
            unfold(page)
        assert answer.status == 200, f"{address}\n{running.text()[-4000:]}"
        waiting.extend(links(page, url))
    assert complaints == []
    assert len(seen) > 30
