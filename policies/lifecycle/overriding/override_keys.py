"""The key of an override: whose calls it is about, written as services count them."""

import ipaddress
from collections.abc import Mapping

from policies.lifecycle.refusals import Invalid
from policies.lifecycle.texts import UNSTORABLE, storable
from policy_client import overrides as wire
from policy_client.errors import Errors

MOST_PARTS = 4
LONGEST_VALUE = 200
UNFIT = {
    "method": "Says nothing about who calls; name a user, a tenant, an API key, an address or a header.",
    **dict.fromkeys(
        ("header:authorization", "header:proxy-authorization", "header:cookie"),
        "Would keep a credential in the audit trail and in bundles; name whose it is, such as the user.",
    ),
}


def read_key(given: object) -> dict[str, str]:
    """The key in its one spelling, so that two that mean the same caller are equal.

    Header names are lower case; an address is `192.0.2.7` or a network, in which an IPv6 address is its /64, as
    services count it. Raises `Invalid` at `key` or `key.PART`.
    """
    if not isinstance(given, Mapping) or not given:
        raise Invalid({"key": ['Say which caller, such as {"user": "42"} or {"ip": "192.0.2.0/24"}.']})
    if len(given) > MOST_PARTS:
        raise Invalid({"key": [f"Must have at most {MOST_PARTS} parts."]})
    errors: Errors = {}
    key = wire.read_key(given, "key", errors)
    for part, value in key.items():
        if fault := _fault(part, value):
            errors[f"key.{part}"] = [fault]
    if errors:
        raise Invalid(errors)
    return dict(sorted(key.items()))


def _fault(part: str, value: str) -> str | None:
    """Why services would take it and people had better not say it."""
    if part in UNFIT:
        return UNFIT[part]
    if not value.strip():
        return 'Must be text, such as "42".'
    if len(value) > LONGEST_VALUE:
        return f"Must be at most {LONGEST_VALUE} characters long."
    if not storable(value):
        return UNSTORABLE
    if part == "ip" and ipaddress.ip_network(value).prefixlen == 0:
        return "This is everybody; an override is for one caller. To stop or free all calls, set a switch."
    return None
