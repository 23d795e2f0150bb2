"""The page to try REST, in a real browser, signed in as a person."""

import re


def test_a_person_tries_an_example_on_the_page(process, page, free_port, tmp_path):
    url = f"http://127.0.0.1:{free_port}"
    variables = {"DEBUG": "1", "DATABASE_URL": f"sqlite:///{tmp_path}/console.sqlite3"}
    running = process(
        ["python", "manage.py", "run_console", "--port", str(free_port)], ready=f"{url}/health", **variables
    )
    complaints = []
    page.on("console", lambda message: message.type in ("error", "warning") and complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    name, password = re.search(r"Login for this run: (\S+) / (\S+)", running.text()).groups()
    page.goto(f"{url}/admin/")
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"{url}/admin/")

    page.goto(f"{url}/api/docs/")
    page.locator("#operations-policies-policy_create").wait_for()
    operation = page.locator("#operations-catalogue-team_create")
    operation.locator(".opblock-summary-control").click()
    operation.get_by_role("button", name="Try it out").click()
    operation.get_by_role("button", name="Execute").click()
    status = operation.locator(".live-responses-table .response-col_status").last
    status.wait_for()
    assert status.inner_text().strip().startswith("201"), operation.inner_text()
    assert "team-data" in operation.locator(".live-responses-table").inner_text()
    assert complaints == []
