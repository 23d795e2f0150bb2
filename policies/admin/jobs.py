"""What the console does by itself: how its jobs stand, their runs, and the mail that waits."""

from typing import Any

from django.contrib import admin
from django.db.models import Case, Q, Value, When
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.timesince import timesince

from policies.admin import cells
from policies.admin.filters import StateFilter
from policies.jobs import standing
from policies.lifecycle.mail import outbox
from policies.models import JobRun, Notice, RunOutcome

TONES = {
    RunOutcome.DONE: "ok",
    RunOutcome.RUNNING: "info",
    RunOutcome.FAILED: "bad",
    RunOutcome.KILLED: "warn",
}
NO_MAIL = "Mail is not set up (EMAIL_URL), so none of these is sent. What was no news for three days never will be."


class ReadOnly(admin.ModelAdmin):
    """Rows that the console writes by itself; people look."""

    list_per_page = 50
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    actions = None

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(JobRun)
class JobRunAdmin(ReadOnly):
    list_display = ("job", "outcome_shown", "acted", "started", "took", "node", "detail_short")
    list_filter = ("job", "outcome")
    search_fields = ("job", "node", "detail")
    search_help_text = "Job, node or error"
    ordering = ("-started_at", "-pk")
    fields = ("job", "outcome_shown", "acted", "started", "took", "node", "detail")

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        standings = standing.standings(timezone.now())
        own = {
            "title": "Jobs",
            "standings": [(one, cells.moment(one.last.started_at if one.last else None)) for one in standings],
            "empty": "No job ran yet. “manage.py run_jobs” runs them, beside the console or on a node of its own.",
        }
        return super().changelist_view(request, {**own, **(extra_context or {})})

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        row = self.get_object(request, object_id) if object_id else None
        own = {"title": f"Run of {row.job}", "subtitle": f"on {row.node}"} if row else {}
        return super().changeform_view(request, object_id, form_url, {**own, **(extra_context or {})})

    @admin.display(description="outcome", ordering="outcome")
    def outcome_shown(self, row: JobRun) -> SafeString:
        return cells.pill(TONES[RunOutcome(row.outcome)], row.outcome)

    @admin.display(description="started", ordering="started_at")
    def started(self, row: JobRun) -> SafeString | str:
        return cells.moment(row.started_at)

    @admin.display(description="took")
    def took(self, row: JobRun) -> str:
        if row.finished_at is None:
            return cells.NOTHING
        seconds = (row.finished_at - row.started_at).total_seconds()
        return f"{seconds:.2f} s" if seconds < 60 else timesince(row.started_at, row.finished_at, depth=1)

    @admin.display(description="error")
    def detail_short(self, row: JobRun) -> str:
        return row.detail[:120] or cells.NOTHING


class SentFilter(StateFilter):
    """What waits, what was given up, what went out."""

    states = ((StateFilter.ALL, "All"), ("waiting", "Waiting"), ("given-up", "Given up"), ("sent", "Sent"))

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> tuple[tuple[str, str], ...]:
        return self.states

    def condition(self, state: str) -> Q:
        if state == "sent":
            return Q(sent_at__isnull=False)
        now = timezone.now()
        return outbox.waiting(now) if state == "waiting" else outbox.given_up(now)


@admin.register(Notice)
class NoticeAdmin(ReadOnly):
    list_display = ("subject", "address", "state", "attempts", "written", "next_try", "error")
    list_filter = (SentFilter,)
    search_fields = ("subject", "address", "about", "error")
    search_help_text = "Subject, address or error"
    fields = ("subject", "address", "state", "attempts", "written", "next_try", "sent", "error", "body")

    def get_ordering(self, request: HttpRequest) -> list[Any]:
        """What was not sent first, then the newest."""
        return [Case(When(sent_at=None, then=Value(0)), default=Value(1)), "-pk"]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        own = {
            "title": "Notices",
            "no_mail": "" if outbox.can_send() else NO_MAIL,
            "empty": "Nobody was told anything yet. Owners are told of requests and releases, approvers of requests.",
        }
        return super().changelist_view(request, {**own, **(extra_context or {})})

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        row = self.get_object(request, object_id) if object_id else None
        own = {"title": row.subject, "subtitle": f"Notice to {row.address}"} if row else {}
        return super().changeform_view(request, object_id, form_url, {**own, **(extra_context or {})})

    @admin.display(description="state")
    def state(self, row: Notice) -> SafeString:
        if row.sent_at is not None:
            return cells.pill("ok", "sent")
        if row.attempts >= outbox.MOST_ATTEMPTS or row.written_at <= timezone.now() - outbox.NEWS_FOR:
            return cells.pill("bad", "given up")
        return cells.pill("warn" if row.attempts else "info", "waiting")

    @admin.display(description="written", ordering="written_at")
    def written(self, row: Notice) -> SafeString | str:
        return cells.moment(row.written_at)

    @admin.display(description="tried next")
    def next_try(self, row: Notice) -> SafeString | str:
        return cells.moment(row.next_at) if row.sent_at is None else cells.NOTHING

    @admin.display(description="sent", ordering="sent_at")
    def sent(self, row: Notice) -> SafeString | str:
        return cells.moment(row.sent_at)
