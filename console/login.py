"""How many logins may fail: per address and per user name, counted by django-ratelimit in the console's cache.

Every attempt is counted before its password is looked at, so attempts at the same moment cannot slip through
together, and every success is counted beside it: what failed is the difference. So an office behind one address
may log in as often as it likes. Where the cache does not answer, logins are let through and the log says so.
"""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps

import structlog
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django_ratelimit.core import get_usage
from django_redis.exceptions import ConnectionInterrupted
from redis.exceptions import RedisError

from console import metrics
from policy_client.identity import canonical_address

WINDOW = 300  # seconds
FAILURES_PER_ADDRESS = 30
FAILURES_PER_NAME = 10
CACHE_DOWN = (ConnectionInterrupted, RedisError, OSError)

log = structlog.get_logger(__name__)
View = Callable[..., HttpResponse]


@dataclass(frozen=True, slots=True)
class Budget:
    """What may fail within one window on one account (an address, a user name)."""

    group: str
    account: str
    failures: int

    def begin(self, request: HttpRequest) -> int | None:
        """Count one attempt; how many seconds to wait if it must be refused."""
        attempts, left = self._count(request, "attempts", increment=True)
        successes, _ = self._count(request, "successes", increment=False)
        return left if attempts - successes > self.failures else None

    def succeeded(self, request: HttpRequest) -> None:
        """Take the attempt off the failures again."""
        self._count(request, "successes", increment=True)

    def _count(self, request: HttpRequest, what: str, *, increment: bool) -> tuple[int, int]:
        """The count of this window, and the seconds that are left of it."""
        # django-ratelimit joins the parts of a key without a separator: it gets one of fixed length.
        key = hashlib.sha256(self.account.encode("utf-8", "surrogatepass")).hexdigest()
        usage = get_usage(
            request,
            group=f"login-{self.group}-{what}",
            key=lambda group, request: key,
            rate=f"{self.failures}/{WINDOW}s",
            increment=increment,
        )
        if usage is None:  # counting is switched off (RATELIMIT_ENABLE)
            return 0, WINDOW
        return usage["count"], max(1, math.ceil(usage["time_left"]))


def limit_failures(view: View) -> View:
    """The login view, with 429 instead of an answer once too many attempts have failed."""

    @wraps(view)
    def limited(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
        if request.method != "POST":
            return view(request, *args, **kwargs)
        budgets = budgets_of(request)
        wait = begin(budgets, request)
        if wait is not None:
            return refusal(request, wait)
        response = view(request, *args, **kwargs)
        if response.status_code == 302:  # an attempt that fails shows the form again
            succeeded(budgets, request)
        else:
            metrics.LOGIN_FAILURES.inc()
            log.warning("login_failed")
        return response

    return limited


def budgets_of(request: HttpRequest) -> list[Budget]:
    """The accounts that this attempt counts on."""
    budgets = [Budget("address", canonical_address(request.META.get("REMOTE_ADDR", "")), FAILURES_PER_ADDRESS)]
    name = request.POST.get("username", "").strip().casefold()
    if name:
        budgets.append(Budget("name", name, FAILURES_PER_NAME))
    return budgets


def begin(budgets: list[Budget], request: HttpRequest) -> int | None:
    """Count an attempt on each account in turn; the seconds to wait if one of them refuses it."""
    try:
        for budget in budgets:
            wait = budget.begin(request)
            if wait is not None:
                return wait
    except CACHE_DOWN as error:
        log.error("login_not_counted", error=f"{type(error).__name__}: {error}")
    return None


def succeeded(budgets: list[Budget], request: HttpRequest) -> None:
    """Tell each account that the attempt did not fail."""
    try:
        for budget in budgets:
            budget.succeeded(request)
    except CACHE_DOWN as error:
        log.error("login_not_counted", error=f"{type(error).__name__}: {error}")


def refusal(request: HttpRequest, wait: int) -> HttpResponse:
    """429, in words."""
    metrics.LOGINS_REFUSED.inc()
    log.warning("login_refused", retry_after=wait)
    context = {"minutes": math.ceil(wait / 60)}
    response = render(request, "console/too_many_logins.html", context, status=429)
    response["Retry-After"] = str(wait)
    response["Cache-Control"] = "no-store"
    return response
