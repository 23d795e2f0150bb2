"""Allowance that a process takes from the store in lots: the field, what is refused, and how it is said."""

from __future__ import annotations

from typing import Any

from policy_client.errors import Errors, path_join
from policy_client.fields import integer
from policy_client.rules.keyed import MAX_LIMIT


def batch_field() -> Any:
    return integer(
        0,
        MAX_LIMIT,
        label="Batch",
        unit="calls",
        help="How many calls each process takes from a shared store at once, to spend them without asking it again: "
        "for counters that are asked very often. What it has not spent when the window or period ends, or when it "
        "dies, is lost to the others. 0: every call asks the store.",
        default=0,
    )


def check_batch(values: dict[str, Any], other: str, path: str, errors: Errors) -> None:
    """`other` is what the rule is that has no lots, "" if it has."""
    batch, limit, cost = values["batch"], values["limit"], values["cost"]
    if not batch:
        return
    refused = ""
    if other:
        refused = f"Only fixed windows and quotas are taken in lots; leave this 0 for a {other}."
    elif batch > limit:
        refused = f"Must be at most {limit:,}, the limit."
    elif batch < cost:
        refused = f"Must be 0 or at least {cost:,}, the cost of a call."
    if refused:
        errors[path_join(path, "batch")] = [refused]


def lots(batch: int) -> str:
    """What lots come to, as a sentence with a space before it; nothing without."""
    if not batch:
        return ""
    return (
        f" Each process takes them in lots of {batch:,}; what it has not spent when the count starts anew, or when it "
        f"dies, is lost to the others: up to {batch:,} fewer pass for each process, and never more."
    )
