"""Whether jobs fail: on the front page, on a page of their own, with the mail that waits."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from policies.jobs.registry import JOBS
from policies.lifecycle.mail import outbox
from policies.models import JobRun, Notice
from tests.policies.factories import Catalogue, person

JOBS_PAGE, NOTICES_PAGE = "admin:policies_jobrun_changelist", "admin:policies_notice_changelist"


def text(client: Client, name: str = "admin:index", *args: object) -> str:
    return client.get(reverse(name, args=args)).content.decode()


def all_ran(ago: timedelta = timedelta()) -> None:
    now = timezone.now() - ago
    for job in JOBS:
        JobRun.objects.create(job=job.name, node="n:1", started_at=now, finished_at=now, outcome="done")


def test_the_front_page_says_whether_jobs_ran_are_late_or_fail(admin: Client, catalogue: Catalogue) -> None:
    assert "no jobs ran" in text(admin)
    all_ran(ago=timedelta(minutes=10))
    assert "activate is late" in text(admin) and f"of {len(JOBS)} late" in text(admin)
    all_ran()
    assert f"none of {len(JOBS)}" in text(admin) and "all on time" in text(admin)
    JobRun.objects.create(job="send", node="n:1", started_at=timezone.now(), outcome="failed", detail="OSError: down")
    assert f"1 of {len(JOBS)} fails" in text(admin) and "send failed" in text(admin)


def test_runs_are_listed_with_their_errors_and_nobody_changes_them(admin: Client, catalogue: Catalogue) -> None:
    assert "manage.py run_jobs" in text(admin, JOBS_PAGE)
    all_ran()
    failed = JobRun.objects.create(job="send", node="n:1", started_at=timezone.now(), outcome="failed", detail="down")
    page = text(admin, JOBS_PAGE)
    assert "How the jobs stand" in page and "send failed" not in page and ">failed<" in page
    one = text(admin, "admin:policies_jobrun_change", failed.pk)
    assert "down" in one and 'type="submit"' not in one.split("<main")[-1]
    assert admin.get(reverse("admin:policies_jobrun_delete", args=[failed.pk])).status_code == 403


@pytest.mark.parametrize(("state", "shown"), [("all", 3), ("waiting", 1), ("given-up", 1), ("sent", 1)])
def test_notices_are_listed_unsent_first(admin: Client, catalogue: Catalogue, state: str, shown: int) -> None:
    now = timezone.now()
    for name, sent, attempts in (("waits", None, 1), ("lost", None, outbox.MOST_ATTEMPTS), ("gone", now, 1)):
        Notice.objects.create(
            about=name, address="a@example.com", subject=f"The {name} one", body="Hello", written_at=now, next_at=now,
            sent_at=sent, attempts=attempts,
        )  # fmt: skip
    page = admin.get(reverse(NOTICES_PAGE), {"state": state}).content.decode()
    found = [name for name in ("waits", "lost", "gone") if f"The {name} one" in page]
    assert len(found) == shown
    if state == "all":
        assert page.index("The lost one") < page.index("The waits one") < page.index("The gone one")
        assert "Hello" in text(admin, "admin:policies_notice_change", Notice.objects.get(about="lost").pk)


def test_the_list_says_that_mail_is_not_set_up(admin: Client, settings: object) -> None:
    assert "EMAIL_URL" not in text(admin, NOTICES_PAGE)
    settings.EMAIL_BACKEND = outbox.NOWHERE  # type: ignore[attr-defined]
    assert "EMAIL_URL" in text(admin, NOTICES_PAGE)


def test_mail_is_for_administrators_and_jobs_for_whoever_has_a_role(client: Client, catalogue: Catalogue) -> None:
    viewer: User = person("vera", "view_policy", is_staff=True)
    client.force_login(viewer)
    assert client.get(reverse(JOBS_PAGE)).status_code == 200
    assert client.get(reverse(NOTICES_PAGE)).status_code == 403
