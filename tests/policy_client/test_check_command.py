"""python -m policy_client check: what an address answers, asked over real connections."""

import json
import shutil
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from policies.models import Check as ConsolesCheck
from policy_client.__main__ import main
from policy_client.check.answers import percentile, response_time
from policy_client.check.asking import Address, look
from policy_client.check.structured import Item, Unreadable, parse_list
from policy_client.check.values import Answer, Check, Finding, Looked
from policy_client.errors import PolicyError
from tests.policy_client.peer import Asked, Peer, Reply, serving

LOGIN = "Authorization: Bearer made-up"
LIMITS = {"RateLimit-Policy": '"per-user";q=10;w=3600', "RateLimit": '"per-user";r=9;t=60'}
PRIVATE = {"Cache-Control": "private, no-store", **LIMITS}
Findings = dict[str, dict[str, Any]]


def told(capsys: Any) -> Findings:
    return {result["check"]: result for result in json.loads(capsys.readouterr().out)["results"]}


@pytest.fixture
def check(peer: Peer, capsys: Any) -> Callable[..., Findings]:
    """Checks the peer, which answers so, and gives the results by name."""

    def checked(answer: Callable[[Asked], Reply], *arguments: str, code: int | None = None) -> Findings:
        peer.answer = answer
        got = main(["check", f"{peer.url}/reports/7?token=x", "--samples", "1", "--json", *arguments])
        results = told(capsys)
        assert got == (1 if any(result["passed"] is False for result in results.values()) else 0)
        assert code in (None, got)
        return results

    return checked


def members_only(asked: Asked) -> Reply:
    """A service as it should be."""
    if "authorization" in asked.headers:
        return Reply(200, b"the report of alice", PRIVATE)
    return Reply(401, b"log in", {"Cache-Control": "no-store"})


def always(status: int = 200, body: bytes = b"the same for all", **headers: str) -> Callable[[Asked], Reply]:
    written = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda asked: Reply(status, body, {**LIMITS, **written})


def test_checks_have_the_names_that_the_console_ticks_by() -> None:
    assert [check.value for check in Check] == list(ConsolesCheck.values)


def test_a_service_as_it_should_be_passes(check: Callable[..., Findings], peer: Peer) -> None:
    results = check(members_only, "--header", LOGIN, "--expect-p95", "60000", "--samples", "3", code=0)
    assert [result["passed"] for result in results.values()] == [True, True, True, True]
    assert list(results) == [one.value for one in Check]
    assert "over 3 calls" in results["response-time"]["detail"]
    assert {asked.method for asked in peer.asked} == {"GET"} and len(peer.asked) == 6
    assert peer.asked[0].target == "/reports/7?token=x"
    assert ["authorization" in asked.headers for asked in peer.asked] == [False, True, False, True, True, True]


def test_the_table_is_for_people_and_hides_the_query(peer: Peer, capsys: Any) -> None:
    peer.answer = members_only
    assert main(["check", f"{peer.url}/reports/7?token=x", "--header", LOGIN, "--samples", "1"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("passed   cache-headers       It answers 200; Cache-Control is private, no-store.")
    main(["check", f"{peer.url}/reports/7?token=x", "--samples", "1", "--json"])
    assert json.loads(capsys.readouterr().out)["url"] == f"{peer.url}/reports/7"


# Cache headers


@pytest.mark.parametrize(
    ("headers", "passed", "says"),
    [
        ({"Cache_Control": "public, max-age=60", "ETag": '"a"', "Vary": "Accept"}, True, "Vary Accept, ETag"),
        ({"Expires": "Thu, 01 Dec 2026 16:00:00 GMT"}, True, "Expires Thu"),
        ({}, False, "without Cache-Control"),
        ({"Cache_Control": "max-age=soon"}, False, "max-age=soon"),
        ({"Cache_Control": "public, private"}, False, "public and private"),
        ({"Cache_Control": "max-age=60", "Set_Cookie": "session=1"}, False, "sets a cookie"),
        ({"Cache_Control": "max-age=0", "Set_Cookie": "session=1"}, True, "max-age=0"),
        ({"Cache_Control": "private, max-age=60", "Set_Cookie": "session=1"}, True, "private"),
        ({"Cache_Control": 'private="a, max-age=x", max-age=5'}, True, "max-age=5"),
    ],
)
def test_cache_headers(check: Callable[..., Findings], headers: dict[str, str], passed: bool, says: str) -> None:
    result = check(always(**headers))["cache-headers"]
    assert result["passed"] is passed and says in result["detail"]


def test_an_error_says_nothing_about_the_usual_headers(check: Callable[..., Findings]) -> None:
    assert "answers 503" in check(always(503, Cache_Control="no-store"))["cache-headers"]["detail"]
    assert check(always(401))["cache-headers"]["passed"] is True


# Rate-limit headers


@pytest.mark.parametrize(
    ("headers", "passed", "says"),
    [
        ({}, True, '"per-user";r=9;t=60'),
        ({"RateLimit": '"per-user";r=9, "burst";r=1'}, False, "tells of burst"),
        ({"RateLimit": '"per-user";r=9;t='}, False, "a value was expected before “the end”"),
        ({"RateLimit": "limit=10, remaining=9"}, False, "RateLimit cannot be read"),
        ({"RateLimit": '"per-user";t=5'}, False, "no r that is a whole number"),
        ({"RateLimit": '"per-user";r=-1'}, False, "no r"),
        ({"RateLimit_Policy": '"per-user";q=10;w=0'}, False, "no w"),
        ({"RateLimit_Policy": ""}, False, "it is empty"),
        ({"RateLimit_Policy": "7;q=10"}, False, "7 is no name"),
    ],
)
def test_rate_limit_headers(check: Callable[..., Findings], headers: dict[str, str], passed: bool, says: str) -> None:
    result = check(always(**headers))["rate-limit-headers"]
    assert result["passed"] is passed and says in result["detail"]


def test_without_rate_limit_headers_callers_know_nothing(check: Callable[..., Findings]) -> None:
    old = {"X-RateLimit-Remaining": "9"}
    assert "neither" in check(lambda asked: Reply(200, b"x"))["rate-limit-headers"]["detail"]
    assert "only X-RateLimit" in check(lambda asked: Reply(200, b"x", old))["rate-limit-headers"]["detail"]


@pytest.mark.parametrize(
    ("wait", "passed"),
    [("30", True), ("Thu, 01 Dec 2026 16:00:00 GMT", True), (None, False), ("soon", False), ("1.5", False)],
)
def test_whoever_is_refused_learns_when_to_come_back(
    check: Callable[..., Findings], peer: Peer, wait: str | None, passed: bool
) -> None:
    def limited(asked: Asked) -> Reply:
        if len(peer.asked) < 3:
            return Reply(200, b"fine", PRIVATE)
        return Reply(429, b"", {"Retry-After": wait} if wait else {})

    results = check(limited, "--samples", "9")
    assert results["rate-limit-headers"]["passed"] is passed
    assert "over 1 calls (then it answered 429)" in results["response-time"]["detail"]
    assert len(peer.asked) == 3


def test_lists_are_read_as_rfc_9651_has_them() -> None:
    assert parse_list('"a";q=1;x="y\\"z", b;c, 1.5, ?1, :YWJj:, -3') == [
        Item("a", {"q": 1, "x": 'y"z'}),
        Item("b", {"c": True}),
        Item(1.5),
        Item(True),
        Item(":YWJj:"),
        Item(-3),
    ]
    assert parse_list("") == []
    for text in ('"a', '"a",', "a b", "(1 2)", '"a";Q=1', "1.", "12345678901234567", '"ä"'):
        with pytest.raises(Unreadable):
            parse_list(text)


# Logged in against anonymous


def test_without_a_login_there_is_nothing_to_compare(check: Callable[..., Findings], peer: Peer) -> None:
    assert check(members_only)["anonymous-answers"]["passed"] is None
    assert len(peer.asked) == 2


def test_an_answer_that_is_kept_and_given_to_others_is_found(check: Callable[..., Findings]) -> None:
    kept: list[Reply] = []

    def leaking(asked: Asked) -> Reply:
        reply = kept[0] if kept else members_only(asked)
        if reply.status == 200 and not kept:
            kept.append(reply)
        return reply

    result = check(leaking, "--header", LOGIN)["anonymous-answers"]
    assert result["passed"] is False and "something keeps it" in result["detail"]


def test_a_cookie_that_is_given_to_others_is_found(check: Callable[..., Findings], peer: Peer) -> None:
    def leaking(asked: Asked) -> Reply:
        cookies = {"Set-Cookie": "session=alice"} if len(peer.asked) > 1 else {}
        return Reply(200, str(len(peer.asked)).encode(), {**PRIVATE, **cookies})

    assert "got its cookie" in check(leaking, "--header", LOGIN)["anonymous-answers"]["detail"]


def for_two(**headers: str) -> Callable[[Asked], Reply]:
    """Another body for whoever is logged in."""

    def answer(asked: Asked) -> Reply:
        who = asked.headers.get("authorization") or asked.headers.get("cookie") or "nobody"
        return Reply(
            200, who.encode(), {**LIMITS, **{name.replace("_", "-"): value for name, value in headers.items()}}
        )

    return answer


@pytest.mark.parametrize(
    ("headers", "passed", "says"),
    [
        ({"Cache_Control": "private"}, True, "Cache-Control is private"),
        ({"Cache_Control": "no-store"}, True, "with another body"),
        ({"Cache_Control": "max-age=60", "Vary": "Accept, Authorization"}, True, "Vary is"),
        ({"Cache_Control": "max-age=60", "Vary": "*"}, True, "Vary is *"),
        ({"Cache_Control": "public, max-age=60", "Vary": "Authorization"}, False, "must say private"),
        ({"Cache_Control": "max-age=60"}, False, "or Vary name Authorization"),
        ({}, False, "Cache-Control says nothing"),
    ],
)
def test_answers_that_differ_must_be_kept_apart(
    check: Callable[..., Findings], headers: dict[str, str], passed: bool, says: str
) -> None:
    result = check(for_two(**headers), "--header", LOGIN)["anonymous-answers"]
    assert result["passed"] is passed and says in result["detail"]


def test_every_header_of_the_login_must_be_told_apart(check: Callable[..., Findings]) -> None:
    both = ["--header", LOGIN, "--header", "Cookie: session=1"]
    half = check(for_two(Cache_Control="max-age=60", Vary="Authorization"), *both)
    assert half["anonymous-answers"]["passed"] is False
    whole = check(for_two(Cache_Control="max-age=60", Vary="authorization, cookie"), *both)
    assert whole["anonymous-answers"]["passed"] is True


def test_what_everybody_gets_is_not_private(check: Callable[..., Findings]) -> None:
    same = check(always(Cache_Control="no-store"), "--header", LOGIN)["anonymous-answers"]
    assert same["passed"] is True and "the same answer" in same["detail"]
    open_door = check(always(Cache_Control="private"), "--header", LOGIN)["anonymous-answers"]
    assert open_door["passed"] is False and "says that it is private" in open_door["detail"]


def test_a_login_that_is_not_taken_compares_nothing(check: Callable[..., Findings]) -> None:
    result = check(always(401, Cache_Control="no-store"), "--header", LOGIN)["anonymous-answers"]
    assert result["passed"] is False and "answered 401" in result["detail"]


# Response times


def timed(*milliseconds: float, status: int = 200) -> Looked:
    samples = tuple(Answer(status, {}, b"", one / 1000) for one in milliseconds)
    return Looked(samples[0], None, None, samples)


def test_percentiles_are_of_the_nearest_rank() -> None:
    times = [float(number) for number in range(1, 21)]
    assert (percentile(times, 50), percentile(times, 95), percentile([7.0], 95)) == (10.0, 19.0, 7.0)


def test_response_times_are_held_against_what_is_expected() -> None:
    looked = timed(5, 12, 700)
    assert response_time(looked, None) == Finding(Check.RESPONSE_TIME, True, "Median 12 ms, p95 700 ms over 3 calls.")
    assert response_time(looked, 800).passed is True
    slow = response_time(looked, 699)
    assert slow.passed is False and slow.detail.endswith("; at most 699 ms was expected of p95.")


def test_errors_are_no_response_times(check: Callable[..., Findings]) -> None:
    result = check(always(500, Cache_Control="no-store"), "--samples", "3")["response-time"]
    assert result["passed"] is False and "3 of 3 calls" in result["detail"]
    limited = check(always(429, Retry_After="5"))["response-time"]
    assert limited["passed"] is False and "No call came through" in limited["detail"]


def test_samples_end_when_time_is_over(peer: Peer) -> None:
    clock: Iterator[float] = iter(range(0, 10_000, 50))
    looked = look(Address.read(peer.url), (), samples=100, timeout=5, clock=lambda: next(clock))
    assert 0 < len(looked.samples) < 3 and "120 s were over" in looked.trouble


def test_an_answer_that_breaks_off_ends_the_samples(check: Callable[..., Findings], peer: Peer) -> None:
    def dying(asked: Asked) -> Reply:
        return Reply(200, b"x", PRIVATE, promise=9 if len(peer.asked) > 2 else None, cut=True)

    assert "call 2 got no answer" in check(dying, "--samples", "3")["response-time"]["detail"]


# What cannot be asked


@pytest.mark.parametrize(
    "url", ["reports", "ftp://x.example/", "http://", "http://x:99999/", "http://a b/", "http://u:p@x/", "http://[x/"]
)
def test_what_is_no_address_is_refused_without_a_call(url: str, capsys: Any) -> None:
    assert main(["check", url]) == 2
    assert capsys.readouterr().err.startswith("check: ")


def test_an_address_where_nobody_answers_is_no_result(free_port: int, capsys: Any) -> None:
    assert main(["check", f"http://127.0.0.1:{free_port}/"]) == 2
    assert "cannot be reached" in capsys.readouterr().err
    with pytest.raises(PolicyError):
        look(Address.read(f"https://127.0.0.1:{free_port}"), (), samples=1, timeout=1)


@pytest.mark.parametrize(
    "option",
    [
        ["--header", "no colon"],
        ["--header", "X: a\r\nY: b"],
        ["--header", ": x"],
        ["--samples", "0"],
        ["--samples", "501"],
        ["--expect-p95", "-1"],
        ["--expect-p95", "nan"],
        ["--timeout", "61"],
    ],
)
def test_options_are_bounded(option: list[str], capsys: Any) -> None:
    with pytest.raises(SystemExit) as left:
        main(["check", "http://127.0.0.1:1/", *option])
    assert left.value.code == 2


# The report


@pytest.fixture
def console(monkeypatch: pytest.MonkeyPatch) -> Iterator[Peer]:
    with serving(Peer()) as running:
        monkeypatch.setenv("POLICY_CONSOLE_URL", running.url)
        monkeypatch.setenv("POLICY_SERVICE_KEY", "pck_key")
        yield running


def test_a_report_is_sent_with_the_key_of_the_service(peer: Peer, console: Peer, capsys: Any) -> None:
    peer.answer = always(Cache_Control="no-store")
    ticked = {"report": 12, "ticked": [{"release": 17, "item": 1}]}
    console.telemetry = lambda asked: Reply(201, json.dumps(ticked).encode())
    assert main(["check", f"{peer.url}/reports/7?token=x", "--samples", "1", "--report", "--release", "17"]) == 0
    assert "Report 12 was sent; it ticked item 1 of release 17." in capsys.readouterr().err
    [sent] = console.asked
    assert (sent.target, sent.headers["authorization"]) == ("/api/v1/checks/", "Bearer pck_key")
    body = sent.json()
    assert (body["url"], body["release"]) == (f"{peer.url}/reports/7", 17)
    assert [result["check"] for result in body["results"]] == ["cache-headers", "rate-limit-headers", "response-time"]
    assert "token" not in sent.body.decode() and "authorization" not in peer.asked[0].headers


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b'{"detail": "This key lacks the scope checks:write.", "errors": {}}', "lacks the scope checks:write."),
        (b'{"detail": "Please correct: url.", "errors": {"url": ["Too long."]}}', "url: ['Too long.']"),
        (b"<html>", "403"),
    ],
)
def test_a_report_that_is_not_taken_is_said(peer: Peer, console: Peer, capsys: Any, body: bytes, says: str) -> None:
    peer.answer = members_only
    console.telemetry = lambda asked: Reply(403, body)
    assert main(["check", peer.url, "--samples", "1", "--report"]) == 2
    assert says in capsys.readouterr().err


def test_a_report_needs_a_console(peer: Peer, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.delenv("POLICY_CONSOLE_URL", raising=False)
    assert main(["check", peer.url, "--samples", "1", "--report"]) == 2
    assert "checks:write" in capsys.readouterr().err


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Of 127.0.0.1, signed by itself, with its key in the same file."""
    if not shutil.which("openssl"):
        pytest.skip("needs openssl")
    path = tmp_path / "own.pem"
    about = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", *about]
    subprocess.run([*made, "-keyout", str(path), "-out", str(tmp_path / "cert.pem")], check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + (tmp_path / "cert.pem").read_bytes())
    return path


def test_https_is_asked_of_whom_the_machine_trusts_alone(
    certificate: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with serving(Peer(answer=members_only), tls=context) as peer:
        command = ["check", peer.url, "--header", LOGIN, "--samples", "1", "--json"]
        assert main(command) == 2
        assert "cannot be trusted" in capsys.readouterr().err
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert main(command) == 0
        assert json.loads(capsys.readouterr().out)["url"].startswith("https://127.0.0.1:")
