"""Counting wrong keys by client address, so that nobody can go on trying for long."""

import hashlib

import structlog
from django.http import HttpRequest
from django_ratelimit.core import get_usage
from django_redis.exceptions import ConnectionInterrupted
from redis.exceptions import RedisError

from policies.api.problems import Problem
from policy_client.identity import canonical_address

BAD_KEYS = "20/60s"
CACHE_DOWN = (ConnectionInterrupted, RedisError, OSError)

log = structlog.get_logger(__name__)


def refuse_or_count(request: HttpRequest) -> None:
    """Count one failed attempt. Raises 429 once an address has failed too often; a valid key never comes here."""
    address = canonical_address(str(request.META.get("REMOTE_ADDR", "")))
    # django-ratelimit joins the parts of a key without a separator: it gets one of fixed length.
    key = hashlib.sha256(address.encode("utf-8", "surrogatepass")).hexdigest()
    try:
        usage = get_usage(
            request, group="policies.api.bad_key", key=lambda _group, _request: key, rate=BAD_KEYS, increment=True
        )
    except CACHE_DOWN as error:
        log.error("bad_key_not_counted", error=f"{type(error).__name__}: {error}")
        return
    # A limit of 0 is django-ratelimit's word for a cache that did not answer.
    if usage is None or not usage["limit"] or not usage["should_limit"]:
        return
    wait = max(1, int(usage["time_left"]))
    raise Problem(429, f"Too many wrong keys; try again in {wait} s.", headers={"Retry-After": str(wait)})
