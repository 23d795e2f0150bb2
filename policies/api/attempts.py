"""Counting wrong keys by client address, so that nobody can go on trying for long."""

from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any

import structlog
from django.http import HttpRequest
from django_ratelimit.core import get_usage

from policies.api.problems import Problem

BAD_KEYS = "20/m"

log = structlog.get_logger(__name__)


def refuse_or_count(request: HttpRequest) -> None:
    """Count one failed attempt. Raises 429 once an address has failed too often; a valid key never comes here."""
    try:
        usage = get_usage(request, group="policies.api.bad_key", key=_address, rate=BAD_KEYS, increment=True)
    # Cache backends raise whatever they like; a dead one must not turn a wrong key's 401 into a 500.
    except Exception as error:
        log.warning("bad_keys_not_counted", error=repr(error))
        return
    # A limit of 0 is django-ratelimit's word for a cache that did not answer.
    if usage is None or not usage["limit"] or not usage["should_limit"]:
        return
    wait = max(1, int(usage["time_left"]))
    raise Problem(429, f"Too many wrong keys; try again in {wait} s.", headers={"Retry-After": str(wait)})


def _address(_group: str, request: Any) -> str:
    """The address as the console's proxy middleware left it; IPv6 by /64, for one caller has all of it."""
    address = str(request.META.get("REMOTE_ADDR", ""))
    if ":" not in address:
        return address
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ip_network(f"{parsed}/64", strict=False))
