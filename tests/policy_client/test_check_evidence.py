"""python -m policy_client check: what it must not pass, and what must not stand in its evidence."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from policy_client.__main__ import main
from tests.policy_client.peer import Asked, Peer, Reply, serving

TOKEN = "c2VjcmV0LXRva2Vu"
LOGIN = ["--header", f"Authorization: Bearer {TOKEN}"]
LIMITS = {"RateLimit-Policy": '"per-user";q=10;w=3600', "RateLimit": '"per-user";r=9;t=60'}
Check = Callable[..., dict[str, dict[str, Any]]]


@pytest.fixture
def check(peer: Peer, capsys: Any) -> Check:
    """Checks the peer, which answers so, and gives the results by name."""

    def checked(answer: Callable[[Asked], Reply], *arguments: str) -> dict[str, dict[str, Any]]:
        peer.answer = answer
        main(["check", peer.url, "--samples", "2", "--json", *arguments])
        return {result["check"]: result for result in json.loads(capsys.readouterr().out)["results"]}

    return checked


def always(status: int = 200, body: bytes = b"the same for all", **headers: str) -> Callable[[Asked], Reply]:
    written = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda asked: Reply(status, body, {**LIMITS, **written})


@pytest.mark.parametrize("status", [302, 304, 404])
def test_a_login_that_leads_elsewhere_is_no_private_answer(check: Check, status: int) -> None:
    body = b"" if status == 304 else b"elsewhere"
    results = check(always(status, body, Cache_Control="private, no-store", Location="/login"), *LOGIN)
    compared = results["anonymous-answers"]
    assert compared["passed"] is False
    assert compared["detail"] == f"The logged-in call is answered {status}, so there is nothing to compare."


def test_a_cookie_of_an_answer_that_leads_elsewhere_is_still_missed_by_nobody(check: Check, peer: Peer) -> None:
    def leaking(asked: Asked) -> Reply:
        return Reply(302, b"", {"Set-Cookie": "session=alice"} if len(peer.asked) > 1 else {})

    assert "got its cookie" in check(leaking, *LOGIN)["anonymous-answers"]["detail"]


@pytest.mark.parametrize("status", [200, 204])
def test_two_answers_without_a_body_are_not_compared(check: Check, status: int) -> None:
    compared = check(always(status, b"", Cache_Control="private"), *LOGIN)["anonymous-answers"]
    assert compared["passed"] is None and f"is answered {status} without a body" in compared["detail"]


def test_times_of_a_redirect_are_told_as_such(check: Check) -> None:
    timed = check(always(302, b"", Cache_Control="no-store"))["response-time"]
    assert timed["detail"].endswith("over 2 calls, 2 of them answered 302.")
    assert check(always(Cache_Control="no-store"))["response-time"]["detail"].endswith("over 2 calls.")


@pytest.mark.parametrize(
    ("headers", "passed"),
    [
        ({"Cache_Control": 'max-age=60, private="X-Trace"'}, False),
        ({"Cache_Control": 'max-age=60, no-cache="X-Trace, X-Other"'}, False),
        ({"Cache_Control": 'max-age=60, private="X-Trace, Set-Cookie"'}, True),
        ({"Cache_Control": 'max-age=60, no-cache="set-cookie"'}, True),
        ({"Cache_Control": "max-age=60, no-cache"}, True),
        ({"Expires": "Thu, 31 Dec 2099 16:00:00 GMT"}, False),
        ({"Expires": "Thu, 31 Dec 2099 16:00:00 GMT", "Cache_Control": "max-age=0"}, True),
        ({"Expires": "Thu, 01 Jan 1970 00:00:00 GMT"}, True),
        ({"Expires": "0"}, True),
    ],
)
def test_a_cookie_is_kept_from_shared_caches_by_what_holds_for_it(
    check: Check, headers: dict[str, str], passed: bool
) -> None:
    result = check(always(Set_Cookie="session=alice", **headers))["cache-headers"]
    assert result["passed"] is passed, result
    assert ("sets a cookie" in result["detail"]) is not passed


def test_what_is_private_by_one_field_may_be_the_same_for_all(check: Check) -> None:
    compared = check(always(Cache_Control='max-age=60, private="X-Trace"'), *LOGIN)["anonymous-answers"]
    assert compared["passed"] is True and "Everybody gets the same" in compared["detail"]


def repeating(asked: Asked) -> Reply:
    """A service that puts what its callers send, and its own cookie, into headers that the checks tell of."""
    token = asked.headers.get("authorization", "nobody").removeprefix("Bearer ")
    session = asked.headers.get("cookie", "nobody")
    return Reply(
        200,
        token.encode(),
        {
            "Cache-Control": f'private, for="{token}"',
            "ETag": f'"{session}"',
            "Vary": "made-by-the-service",
            "Set-Cookie": "id=made-by-the-service; Path=/; HttpOnly",
            "RateLimit-Policy": f'"{token}";q=10;w=60',
            "RateLimit": f'"{token}";r=9;t=60',
        },
    )


def test_no_evidence_repeats_a_login_or_a_cookie(peer: Peer, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    peer.answer = repeating
    with serving(Peer(telemetry=lambda asked: Reply(201, b'{"report": 1, "ticked": []}'))) as console:
        monkeypatch.setenv("POLICY_CONSOLE_URL", console.url)
        monkeypatch.setenv("POLICY_SERVICE_KEY", "pck_key")
        assert (
            main(["check", peer.url, "--samples", "1", "--report", *LOGIN, "--header", "Cookie: sid=monday-4711"]) == 0
        )
        sent = json.dumps(console.asked[0].json()["results"], ensure_ascii=False)
    out, _ = capsys.readouterr()
    for told in (sent, out):
        assert "private, for=" in told and "•••" in told
        for secret in (TOKEN, "monday-4711", "made-by-the-service"):
            assert secret not in told


def test_short_values_of_a_login_leave_words_alone(check: Check) -> None:
    results = check(always(Cache_Control="private, max-age=60"), "--header", "X-Age: age")
    assert results["cache-headers"]["detail"].endswith("Cache-Control is private, max-age=60.")


def test_no_evidence_steers_a_terminal(check: Check) -> None:
    results = check(always(Cache_Control="private, \x1b[31mred"))
    assert "private, �[31mred" in results["cache-headers"]["detail"]


@pytest.fixture
def interim(peer: Peer) -> Iterator[Peer]:
    """A peer that says twice that something is to come."""

    def answer(asked: Asked) -> Reply:
        who = b"alice" if "authorization" in asked.headers else b"nobody"
        early = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"
        head = b"HTTP/1.1 200 OK\r\nCache-Control: private\r\nContent-Length: %d\r\n\r\n" % len(who)
        return Reply(raw=early + head + who)

    peer.answer = answer
    yield peer


def test_an_interim_answer_is_not_taken_for_the_answer(interim: Peer, capsys: Any) -> None:
    main(["check", interim.url, "--samples", "2", "--json", *LOGIN])
    results = {result["check"]: result for result in json.loads(capsys.readouterr().out)["results"]}
    assert results["anonymous-answers"]["passed"] is True
    assert results["anonymous-answers"]["detail"].startswith("Logged in it answers 200, else 200 with another body")
    assert results["cache-headers"]["detail"] == "It answers 200; Cache-Control is private."


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"HTTP/1.1 103 Early Hints\r\n\r\n" * 99, "more than 20 interim answers"),
        (b"\x1b[31m gar\xe9bage\r\n\r\n", "does not speak HTTP: \\x1b[31m gar\\xe9bage"),
    ],
)
def test_what_is_no_answer_is_told_on_one_line(peer: Peer, capsys: Any, raw: bytes, says: str) -> None:
    peer.answer = lambda asked: Reply(raw=raw)
    assert main(["check", peer.url, "--samples", "1"]) == 2
    told = capsys.readouterr().err.rstrip("\n")
    assert says in told and told.isprintable()
