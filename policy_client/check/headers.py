"""Cache headers and rate-limit headers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime

from policy_client.check.structured import Item, Unreadable, parse_list
from policy_client.check.values import Answer, Check, Finding, Looked

# RFC 9110, section 15.1: what caches may keep by their own guess where nothing is said.
_GUESSED = frozenset({200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501})
_SECONDS = ("max-age", "s-maxage", "stale-while-revalidate", "stale-if-error")


def cache_headers(looked: Looked) -> Finding:
    """Whether the answer says what caches may do with it, and says nothing that contradicts itself."""
    answer = looked.subject
    said = answer.headers.get("cache-control")
    fault = next(_cache_faults(answer, said), None)
    if fault is not None:
        return Finding(Check.CACHE_HEADERS, False, fault)
    if said is None:
        told = "there is no Cache-Control"
        told += f", but Expires {answer.headers['expires']}" if "expires" in answer.headers else ", so it is not kept"
    else:
        told = f"Cache-Control is {said}"
    more = [
        f"{name} {answer.headers[name.lower()]}" for name in ("Vary", "ETag", "Age") if name.lower() in answer.headers
    ]
    return Finding(
        Check.CACHE_HEADERS, True, f"It answers {answer.status}; {told}{''.join(f', {one}' for one in more)}."
    )


def _cache_faults(answer: Answer, said: str | None) -> Iterator[str]:
    """What is wrong with them, the worst first."""
    if answer.status >= 500:
        yield f"It answers {answer.status}, so its headers say nothing about the usual answer."
    if said is None and "expires" not in answer.headers and answer.status in _GUESSED:
        yield f"It answers {answer.status} without Cache-Control, so every cache decides by its own guess."
    given = answer.cache_control
    for name in _SECONDS:
        if name in given and not (given[name].isascii() and given[name].isdecimal()):
            yield f"Cache-Control has {name}={given[name]}, which is no number of seconds."
    against = sorted({"private", "no-store"} & given.keys())
    if "public" in given and against:
        yield f"Cache-Control says public and {' and '.join(against)}: caches differ in what they make of that."
    if "set-cookie" in answer.headers and _shared(answer):
        yield "It sets a cookie and lets shared caches keep it: one caller's cookie would be handed to others."


def _shared(answer: Answer) -> bool:
    """Whether a shared cache is told that it may keep the answer and use it unasked."""
    given = answer.cache_control
    if answer.kept_private or any(_holds_for_cookies(given.get(name)) for name in ("no-cache", "private")):
        return False
    ages = [given[name] for name in ("s-maxage", "max-age") if name in given]
    return "public" in given or (any(age.strip("0") for age in ages) if ages else _expires_later(answer))


def _holds_for_cookies(fields: str | None) -> bool:
    """Of a directive that may name fields: whether it names the cookie, or none and so holds for all of the answer."""
    return fields is not None and (not fields or "set-cookie" in {name.strip().lower() for name in fields.split(",")})


def _expires_later(answer: Answer) -> bool:
    """Whether Expires, which counts where Cache-Control tells no age, is after the answer's own Date."""
    try:
        expires, date = (parsedate_to_datetime(answer.headers[name]) for name in ("expires", "date"))
        return expires > date
    except (KeyError, TypeError, ValueError, IndexError):
        return False


def rate_limit_headers(looked: Looked) -> Finding:
    """Whether callers can know what is left to them, and when to come back."""
    refused = [answer for answer in looked.answers if answer.status == 429]
    for answer in refused:
        wait = answer.headers.get("retry-after")
        if wait is None or not _is_wait(wait):
            told = "without Retry-After" if wait is None else f"with Retry-After {wait}, which is no time"
            return Finding(Check.RATE_LIMIT_HEADERS, False, f"It answered 429 {told}.")
    answer = looked.subject
    fields = {
        name: answer.headers[name.lower()]
        for name in ("RateLimit-Policy", "RateLimit")
        if name.lower() in answer.headers
    }
    if not fields:
        old = " (only X-RateLimit headers, which every service has its own meaning for)"
        told = old if any(name.startswith("x-ratelimit") for name in answer.headers) else ""
        return Finding(Check.RATE_LIMIT_HEADERS, False, f"It has neither RateLimit nor RateLimit-Policy{told}.")
    read: dict[str, list[Item]] = {}
    for name, text in fields.items():
        try:
            read[name] = parse_list(text)
            _look_at(name, read[name])
        except Unreadable as fault:
            return Finding(Check.RATE_LIMIT_HEADERS, False, f"{name} cannot be read: {fault}.")
    unknown = {item.value for item in read.get("RateLimit", [])} - {
        item.value for item in read.get("RateLimit-Policy", [])
    }
    if unknown and "RateLimit-Policy" in read:
        named = ", ".join(sorted(map(str, unknown)))
        return Finding(Check.RATE_LIMIT_HEADERS, False, f"RateLimit tells of {named}, and RateLimit-Policy does not.")
    also = f"; {len(refused)} answered 429 with Retry-After" if refused else ""
    told = "; ".join(f"{name} is {text}" for name, text in fields.items())
    return Finding(Check.RATE_LIMIT_HEADERS, True, f"{told}{also}.")


_PARAMETERS: dict[str, tuple[tuple[str, int, bool], ...]] = {
    "RateLimit-Policy": (("q", 0, True), ("w", 1, False)),
    "RateLimit": (("r", 0, True), ("t", 0, False)),
}
"""Name, least value, whether it must be there: of the IETF draft "RateLimit header fields for HTTP"."""


def _look_at(name: str, items: list[Item]) -> None:
    if not items:
        raise Unreadable("it is empty")
    for item in items:
        if not isinstance(item.value, str):
            raise Unreadable(f"{item.value} is no name of a policy")
        for parameter, least, required in _PARAMETERS[name]:
            value = item.parameters.get(parameter)
            if value is None and not required:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise Unreadable(f"{item.value} has no {parameter} that is a whole number of at least {least}")


def _is_wait(text: str) -> bool:
    """Seconds, or a date (RFC 9110, section 10.2.3)."""
    return (text.isascii() and text.isdecimal()) or _parses(parsedate_to_datetime, text)


def _parses(parse: Callable[[str], object], text: str) -> bool:
    try:
        parse(text)
    except (TypeError, ValueError, IndexError):
        return False
    return True
