"""Logged-in answers against anonymous ones, and response times."""

from __future__ import annotations

import math
from collections.abc import Sequence

from policy_client.check.values import Answer, Check, Finding, Looked


def anonymous_answers(looked: Looked) -> Finding:
    """Whether what is meant for one caller stays with that caller, whatever caches stand between."""
    if looked.logged_in is None or looked.after is None:
        return Finding(Check.ANONYMOUS_ANSWERS, None, "Give --header 'Authorization: …' or 'Cookie: …' to compare.")
    fault = _leak(looked.before, looked.logged_in, looked.after)
    if fault:
        return Finding(Check.ANONYMOUS_ANSWERS, False, fault)
    if _same(looked.before, looked.logged_in):
        return Finding(Check.ANONYMOUS_ANSWERS, True, "Everybody gets the same answer, logged in or not.")
    if looked.before.status == looked.logged_in.status and looked.before.body == looked.logged_in.body:
        told = f"Everybody is answered {looked.logged_in.status} without a body, so there is nothing to compare."
        return Finding(Check.ANONYMOUS_ANSWERS, None, told)
    return _guarded(looked.before, looked.logged_in, looked.login)


def _leak(before: Answer, logged_in: Answer, after: Answer) -> str:
    cookie = logged_in.headers.get("set-cookie")
    if cookie is not None and cookie == after.headers.get("set-cookie") != before.headers.get("set-cookie"):
        return "After the logged-in call an anonymous one got its cookie: something keeps it and gives it to others."
    if logged_in.status >= 300:
        return f"The logged-in call is answered {logged_in.status}, so there is nothing to compare."
    if _same(after, logged_in) and not _same(before, logged_in):
        return (
            "After the logged-in call an anonymous one got the same answer: something keeps it and gives it to others."
        )
    if _same(before, logged_in) and logged_in.cache_control.get("private") == "":
        return "It says that it is private, and anonymous callers get the same answer, byte for byte."
    return ""


def _guarded(before: Answer, logged_in: Answer, login: Sequence[str]) -> Finding:
    """The answers differ: shared caches must know that they do."""
    told = f"Logged in it answers {logged_in.status}, else {before.status}"
    if before.status == logged_in.status:
        told += " with another body"
    said = logged_in.headers.get("cache-control", "nothing")
    if logged_in.kept_private:
        return Finding(Check.ANONYMOUS_ANSWERS, True, f"{told}; Cache-Control is {said}.")
    named = {"*", *login} & logged_in.vary
    told_apart = "*" in named or set(login) <= named
    if told_apart and not {"public", "s-maxage"} & logged_in.cache_control.keys():
        return Finding(Check.ANONYMOUS_ANSWERS, True, f"{told}; Vary is {logged_in.headers['vary']}.")
    names = ", ".join(name.title() for name in login)
    return Finding(
        Check.ANONYMOUS_ANSWERS,
        False,
        f"{told}, but a shared cache may give one to the other: Cache-Control says {said}, and must say private or "
        f"no-store{'' if told_apart else f' (or Vary name {names})'}.",
    )


def _same(one: Answer, other: Answer) -> bool:
    """Whether two callers got the same thing; that both were refused or sent on, or got nothing, says nothing."""
    return one.status == other.status < 300 and one.body == other.body != b""


def response_time(looked: Looked, expected: float | None) -> Finding:
    """Median and 95th percentile (nearest rank) of what came through, in ms, against what is expected."""
    broken = [answer.status for answer in looked.samples if answer.status >= 400 and answer.status != 429]
    if broken:
        told = f"{len(broken)} of {len(looked.samples)} calls were answered with an error, such as {broken[0]}."
        return Finding(Check.RESPONSE_TIME, False, told)
    times = sorted(answer.seconds * 1000 for answer in looked.samples if answer.status < 400)
    if not times:
        return Finding(Check.RESPONSE_TIME, False, f"No call came through to be timed{_because(looked)}.")
    median, p95 = percentile(times, 50), percentile(times, 95)
    told = f"Median {_ms(median)}, p95 {_ms(p95)} over {len(times)} calls{_sent_on(looked)}{_because(looked)}"
    if expected is None:
        return Finding(Check.RESPONSE_TIME, True, f"{told}.")
    return Finding(Check.RESPONSE_TIME, p95 <= expected, f"{told}; at most {_ms(expected)} was expected of p95.")


def _sent_on(looked: Looked) -> str:
    """That it was no answer of the address itself that was timed, but the way to another."""
    sent = [answer.status for answer in looked.samples if 300 <= answer.status < 400]
    return f", {len(sent)} of them answered {sent[0]}" if sent else ""


def percentile(times: Sequence[float], share: int) -> float:
    """The nearest-rank percentile of sorted numbers."""
    return times[max(0, math.ceil(len(times) * share / 100) - 1)]


def _because(looked: Looked) -> str:
    if looked.trouble:
        return f" ({looked.trouble})"
    limited = looked.samples and looked.samples[-1].status == 429
    return " (then it answered 429)" if limited else ""


def _ms(number: float) -> str:
    return f"{number:.0f} ms" if number >= 10 else f"{number:.1f} ms"
