"""The key of an override: whose calls it is about, written as services count them."""

import ipaddress
from collections.abc import Mapping

from policies.lifecycle.refusals import Invalid
from policies.lifecycle.texts import UNSTORABLE, storable
from policy_client.rules.keyed import Keyed

MOST_PARTS = 4
LONGEST_VALUE = 200
PARTS = ("user", "tenant", "api_key", "ip")
"""Those that need no name; `header`, `cookie`, `query`, `path` and `attr` are `header:NAME` and so on."""

_COUNTED_BY = Keyed.specs()["key"]
_IPV6_COUNTED = 64
_IPV4_MAPPED = 96


def read_key(given: object) -> dict[str, str]:
    """The key in its one spelling, so that two that mean the same caller are equal.

    Header names are lower case; an address is `192.0.2.7` or a network, in which an IPv6 address is its /64, as
    services count it. Raises `Invalid` at `key` or `key.PART`.
    """
    if not isinstance(given, Mapping) or not given:
        raise Invalid({"key": ['Say which caller, such as {"user": "42"} or {"ip": "192.0.2.0/24"}.']})
    if len(given) > MOST_PARTS:
        raise Invalid({"key": [f"Must have at most {MOST_PARTS} parts."]})
    key: dict[str, str] = {}
    errors: dict[str, list[str]] = {}
    for part, value in given.items():
        try:
            name = _read_part(part)
            if name in key:
                raise ValueError("Is there twice.")
            key[name] = _read_address(value) if name == "ip" else _read_value(value)
        except ValueError as error:
            errors[f"key.{part!s:.80}"] = [str(error)]
    if errors:
        raise Invalid(errors)
    return dict(sorted(key.items()))


def _read_part(part: object) -> str:
    read, fault = _COUNTED_BY.judge([part])
    if fault:
        raise ValueError(fault)
    name = str(read[0])
    if name == "method":
        raise ValueError("Says nothing about who calls; name a user, a tenant, an API key, an address or a header.")
    return name


def _read_value(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError('Must be text, such as "42".')
    if len(value) > LONGEST_VALUE:
        raise ValueError(f"Must be at most {LONGEST_VALUE} characters long.")
    if not storable(value):
        raise ValueError(UNSTORABLE)
    return value


def _read_address(value: object) -> str:
    try:
        network = ipaddress.ip_network(_read_value(value).strip(), strict=False)
    except ValueError:
        raise ValueError("Must be an address such as 192.0.2.7, or a network such as 192.0.2.0/24.") from None
    if network.prefixlen == 0:
        raise ValueError("This is everybody; an override is for one caller. To stop or free all calls, set a switch.")
    if isinstance(network, ipaddress.IPv6Network):
        mapped = network.network_address.ipv4_mapped
        if mapped is not None and network.prefixlen >= _IPV4_MAPPED:
            return _read_address(f"{mapped}/{network.prefixlen - _IPV4_MAPPED}")
        if network.prefixlen > _IPV6_COUNTED:
            network = network.supernet(new_prefix=_IPV6_COUNTED)
    alone = network.prefixlen == network.max_prefixlen
    return str(network.network_address if alone else network)
