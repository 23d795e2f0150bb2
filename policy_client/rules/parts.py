"""The parts of a call that keys and conditions name."""

from __future__ import annotations

FIELD_NAME = r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}"
METHOD = r"[A-Z][A-Z-]{0,19}"

SIMPLE_PARTS = ("ip", "user", "tenant", "api_key", "method")
NAMED_PARTS = {
    "header": FIELD_NAME,
    "cookie": FIELD_NAME,
    "query": r"[^\s\x00-\x20\x7f]{1,64}",
    "path": r"[A-Za-z_][A-Za-z0-9_]{0,63}",
    "attr": r"[A-Za-z0-9_.-]{1,64}",
}
"""How each may be named: `header:NAME` in a key, `{"header": NAME, …}` in a condition."""
