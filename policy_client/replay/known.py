"""What an access log says of a call: when, from which address, which method, path and query. No more."""

from __future__ import annotations

from policy_client.rules import Keyed, Rule
from policy_client.rules.wording import part_in_words

_NAMED = ("path", "query")
_SIMPLE = ("ip", "method")


def beyond(rule: Rule) -> str:
    """Why the calls of a log cannot be judged by a rule; empty if they can.

    A key that asks for more than the log has is no reason where the rule counts by address instead.
    """
    if rule.beyond_logs:
        return rule.beyond_logs
    for condition in rule.when:
        if not (condition.subject in _NAMED or condition.subject == "method"):
            return f"a log does not say whether {condition.sentence()}"
    if isinstance(rule, Keyed) and rule.on_missing != "ip":
        for part in rule.key:
            if not (part in _SIMPLE or part.partition(":")[0] in _NAMED):
                return f"a log does not say the {part_in_words(part)}, and it does not count by address instead"
    return ""
