"""From an address to a ticked item: the command asks a real service and reports to a real console."""

from typing import Any

import pytest

from policies.lifecycle import keys
from policies.models import ChecklistItem, CheckReport
from policy_client.__main__ import main
from tests.policies.factories import SYSTEM, make_catalogue, make_policy
from tests.policies.waiting import asked_for, make_template


@pytest.mark.django_db(transaction=True)
def test_what_the_command_finds_ticks_what_waits_for_it(
    live_server: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    catalogue = make_catalogue()
    items = [{"text": "Measure.", "check": "response-time"}, {"text": "Limits.", "check": "rate-limit-headers"}]
    release = asked_for(make_policy(), catalogue.production, make_template(items=items))
    _, secret = keys.issue_service_key(catalogue.reports, catalogue.production, scopes=["checks:write"], by=SYSTEM)
    monkeypatch.setenv("POLICY_CONSOLE_URL", live_server.url)
    monkeypatch.setenv("POLICY_SERVICE_KEY", secret)
    command = ["check", f"{live_server.url}/health", "--samples", "1", "--report", "--release", str(release.pk)]
    assert main(command) == 1  # nobody limits it, so there are no such headers
    assert f"it ticked item 1 of release {release.pk}." in capsys.readouterr().err
    measured, limits = ChecklistItem.objects.filter(release=release)
    assert measured.report == CheckReport.objects.get() and "Median" in measured.evidence
    assert limits.done_at is None
    command[-1] = str(release.pk + 1)
    assert main(command) == 2
    assert "There is no such release in the place of this key." in capsys.readouterr().err
