"""A decision as HTTP: the headers of an allowed answer, and the whole answer of a denied call.

The one place that every adapter uses. RateLimit-Policy and RateLimit are structured fields of the IETF draft
"RateLimit header fields for HTTP"; bodies are problem documents (RFC 9457).
"""

from __future__ import annotations

import json
from typing import NamedTuple

from policy_client.decision import Decision
from policy_client.limit import SECOND, Algorithm

Headers = list[tuple[str, str]]

SLOTS = Algorithm.SLOTS

QUOTA_EXCEEDED = "https://iana.org/assignments/http-problem-types#quota-exceeded"

# Not http.HTTPStatus, whose phrases depend on the version of Python.
TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    410: "Gone",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    429: "Too Many Requests",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}


class Answer(NamedTuple):
    """What a denied call is answered."""

    status: int
    headers: Headers
    body: bytes


def headers(decision: Decision) -> Headers:
    """The headers that a decision adds to the answer of a call, allowed or denied. Enforced limits alone are told."""
    if decision.reason == "mode_off":
        return []
    result = [("Policy-Decision", f"{decision.process}-{decision.serial}")]
    # What `decision.limits` says, without a value for each: this is on the path of every request.
    now = decision.now
    quotas = states = ""
    for limit, (ok, used, at) in zip(decision.asked, decision.spent):  # noqa: B905 - it costs
        if limit.enforced:
            remaining, wait, reset = limit.standing(used, at, now)
            if ok or not limit.possible:
                wait = reset
            state = f'"{limit.name}";r={remaining}'
            # Of slots nobody knows when the next one comes free.
            if limit.algorithm is not SLOTS:
                state = f"{state};t={-(-wait // SECOND)}"
            quota = limit.quota if limit.window else limit.policy(now)
            quotas = f"{quotas}, {quota}" if quotas else quota
            states = f"{states}, {state}" if states else state
    if quotas:
        result += (("RateLimit-Policy", quotas), ("RateLimit", states))
    return result


def answer(decision: Decision, *, method: str = "GET") -> Answer:
    """The whole answer of a denied call. There is no body for HEAD."""
    told = headers(decision)
    told += decision.headers
    if decision.retry_after is not None:
        told.append(("Retry-After", str(decision.retry_after)))
    told.append(("Cache-Control", "no-store"))
    told.append(("Content-Type", "application/problem+json"))
    body = b"" if method == "HEAD" else json.dumps(problem(decision), ensure_ascii=False).encode("utf-8")
    return Answer(decision.status, told, body)


def problem(decision: Decision) -> dict[str, object]:
    """The problem document of a denied call."""
    return {
        "type": QUOTA_EXCEEDED if decision.status == 429 and decision.violated else "about:blank",
        "title": TITLES.get(decision.status, "Refused"),
        "status": decision.status,
        "detail": decision.detail,
        "policy": decision.policy,
        "rule": decision.rule,
        "retry_after": decision.retry_after,
        "decision_id": decision.decision_id,
        "violated-policies": list(decision.violated),
    }
