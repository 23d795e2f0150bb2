"""Limits over several spans of time, held against each other."""

from collections.abc import Iterable, Iterator

from policy_client.rules import Quota, RateLimit
from policy_client.rules.wording import span

_DAY = 86_400
# The shortest and the longest that a period of the calendar can be, in seconds.
_PERIODS = {"day": (_DAY, _DAY), "week": (7 * _DAY, 7 * _DAY), "month": (28 * _DAY, 31 * _DAY)}


def longer_but_tighter(rules: Iterable[tuple[int, object]]) -> Iterator[tuple[int, str]]:
    """Each rule (by its number) that allows less than another does in a shorter time, with a message.

    Such a rule makes the other pointless: surely a slip. Rules are held against each other if they count the same
    callers, and if the longer one holds for every call for which the shorter one does.
    """
    limits = [(index, rule) for index, rule in rules if isinstance(rule, RateLimit | Quota)]
    for index, longer in limits:
        for _, shorter in limits:
            if set(longer.key) != set(shorter.key) or not set(longer.when) <= set(shorter.when):
                continue
            needed = -(-shorter.limit * longer.cost // shorter.cost)
            if _lasts(longer)[0] > _lasts(shorter)[1] and longer.limit < needed:
                yield (
                    index,
                    f"Allows fewer calls in {_said(longer)} than “{shorter.name}” does in {_said(shorter)}; "
                    f"allow at least {needed:,}, or lower the other.",
                )


def _lasts(rule: RateLimit | Quota) -> tuple[int, int]:
    return (rule.window, rule.window) if isinstance(rule, RateLimit) else _PERIODS[rule.period]


def _said(rule: RateLimit | Quota) -> str:
    return span(rule.window) if isinstance(rule, RateLimit) else f"a calendar {rule.period}"
