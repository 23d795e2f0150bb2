import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from policy_client.snapshot import Snapshot
from policy_client.source import (
    Delivered,
    Fetched,
    FetchFailed,
    FileSource,
    HttpSource,
    Unchanged,
    Undelivered,
    open_source,
    tag_of,
)
from policy_client.wire import Wire, WireError
from tests.policy_client.peer import Asked, Peer, Reply, serving

BODY = b'{"schema": 1}'


@pytest.fixture
def source(peer: Peer) -> Iterator[HttpSource]:
    peer.body = BODY
    source = HttpSource(peer.url, "pck_key", timeout=5)
    yield source
    source.close()


def test_a_bundle_is_fetched_with_the_key_and_verified(peer: Peer, source: HttpSource) -> None:
    peer.instances = 4
    outcome = source.fetch(None)
    assert outcome == Fetched(BODY, tag_of(BODY), {"etag": tag_of(BODY), "date": outcome.headers["date"]}, 4)  # type: ignore[union-attr]
    asked = peer.asked[0]
    assert (asked.method, asked.target) == ("GET", "/api/v1/bundle")
    assert asked.headers["authorization"] == "Bearer pck_key"
    assert "if-none-match" not in asked.headers


def test_unchanged_is_an_outcome_of_its_own(peer: Peer, source: HttpSource) -> None:
    peer.instances = 7
    assert source.fetch(tag_of(BODY)) == Unchanged(7)
    assert peer.asked[0].headers["if-none-match"] == tag_of(BODY)


def test_one_connection_serves_many_fetches(peer: Peer, source: HttpSource) -> None:
    for _ in range(3):
        source.fetch(tag_of(BODY))
        source.report(b"{}")
    assert len({asked.client for asked in peer.asked}) == 1


def test_a_connection_that_idled_out_is_opened_again(peer: Peer, source: HttpSource) -> None:
    peer.answer = lambda asked: Reply(200, BODY, {"ETag": tag_of(BODY)}, cut=True)
    assert isinstance(source.fetch(None), Fetched)
    assert isinstance(source.fetch(None), Fetched)
    assert len({asked.client for asked in peer.asked}) == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 502, 503])
def test_a_refusal_is_a_failure_with_its_status(peer: Peer, source: HttpSource, status: int) -> None:
    peer.answer = lambda asked: Reply(status, b"trouble", {"Retry-After": "30"})
    outcome = source.fetch(tag_of(BODY))
    assert isinstance(outcome, FetchFailed)
    assert (outcome.code, outcome.retry_after) == (f"http_{status}", 30.0)


def test_a_key_that_may_not_is_told_what_it_lacks(peer: Peer, source: HttpSource) -> None:
    peer.answer = lambda asked: Reply(403)
    fetched, reported = source.fetch(None), source.report(b"{}")
    assert isinstance(fetched, FetchFailed) and "with the scope bundle:read" in fetched.message
    assert isinstance(reported, Undelivered) and "with the scope telemetry:write" in reported.message


def test_not_modified_without_a_question_is_a_failure(peer: Peer, source: HttpSource) -> None:
    peer.answer = lambda asked: Reply(304)
    assert isinstance(source.fetch(None), FetchFailed)


def test_a_redirect_is_not_followed_and_named(peer: Peer, source: HttpSource) -> None:
    peer.answer = lambda asked: Reply(301, headers={"Location": "https://elsewhere.example/"})
    outcome = source.fetch(None)
    assert isinstance(outcome, FetchFailed)
    assert "https://elsewhere.example/" in outcome.message


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (Reply(200, BODY[:-3], {"ETag": tag_of(BODY)}), "digest"),
        (Reply(200, BODY, {"ETag": tag_of(BODY)}, promise=len(BODY) + 10, cut=True), "truncated"),
        (Reply(200, BODY), "digest"),
        (Reply(200, BODY, {"ETag": '"v1"'}), "digest"),
        (Reply(200, BODY, {"ETag": tag_of(BODY), "Content-Encoding": "gzip"}), "encoding"),
        (Reply(raw=b"SSH-2.0-OpenSSH_9.2\r\n"), "protocol"),
        (Reply(raw=b""), "unreachable"),
    ],
    ids=["cut body", "broken off", "no tag", "foreign tag", "encoded", "no http", "hung up"],
)
def test_what_cannot_be_trusted_is_refused(peer: Peer, source: HttpSource, reply: Reply, code: str) -> None:
    peer.answer = lambda asked: reply
    outcome = source.fetch(tag_of(b"old"))
    assert isinstance(outcome, FetchFailed)
    assert outcome.code == code


def test_a_weak_mark_by_a_proxy_does_not_matter(peer: Peer, source: HttpSource) -> None:
    peer.answer = lambda asked: Reply(200, BODY, {"ETag": f"W/{tag_of(BODY)}"})
    assert isinstance(source.fetch(None), Fetched)


def test_an_endless_body_is_cut_short(peer: Peer) -> None:
    peer.answer = lambda asked: Reply(200, b"x" * 100_000)
    wire = Wire(peer.url)
    with pytest.raises(WireError) as caught:
        wire.exchange("GET", "/", headers={}, max_bytes=50_000)
    assert caught.value.code == "size"
    wire.close()


def test_a_console_that_hangs_times_out(peer: Peer) -> None:
    hold = threading.Event()

    def hang(asked: Asked) -> Reply:
        hold.wait(20)
        return Reply(200)

    peer.answer = hang
    source = HttpSource(peer.url, "pck_key", timeout=0.2)
    outcome = source.fetch(None)
    hold.set()
    source.close()
    assert isinstance(outcome, FetchFailed)
    assert outcome.code == "timeout"


def test_a_console_that_drips_is_given_up(peer: Peer) -> None:
    peer.answer = lambda asked: Reply(200, b"x" * 300_000)
    wire = Wire(peer.url, deadline=0.0)
    with pytest.raises(WireError) as caught:
        wire.exchange("GET", "/", headers={}, max_bytes=500_000)
    assert caught.value.code == "timeout"
    wire.close()


def test_nobody_there_is_unreachable() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        source = HttpSource(f"http://127.0.0.1:{reserved.getsockname()[1]}", "pck_key")
        fetched, reported = source.fetch(None), source.report(b"{}")
    assert isinstance(fetched, FetchFailed)
    assert fetched.code == "unreachable"
    assert reported == Undelivered("unreachable", fetched.message)


def test_a_path_below_the_host_is_kept(peer: Peer) -> None:
    peer.body = BODY
    source = HttpSource(f"{peer.url}/console", "pck_key")
    source.fetch(None)
    source.close()
    assert peer.asked[0].target == "/console/api/v1/bundle"


def test_the_proxy_of_the_environment_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Peer()) as proxy:
        proxy.answer = lambda asked: Reply(200, BODY, {"ETag": tag_of(BODY)})
        monkeypatch.setenv("HTTP_PROXY", proxy.url.replace("://", "://user:secret@"))
        source = HttpSource("http://console.invalid", "pck_key")
        assert isinstance(source.fetch(None), Fetched)
        source.close()
    assert proxy.asked[0].target == "http://console.invalid/api/v1/bundle"
    assert proxy.asked[0].headers["host"] == "console.invalid"
    assert proxy.asked[0].headers["proxy-authorization"] == "Basic dXNlcjpzZWNyZXQ="


def test_tls_goes_through_a_tunnel(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Peer()) as proxy:
        proxy.answer = lambda asked: Reply(403)
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        source = HttpSource("https://console.invalid", "pck_key")
        outcome = source.fetch(None)
        source.close()
    assert isinstance(outcome, FetchFailed)
    assert (proxy.asked[0].method, proxy.asked[0].target) == ("CONNECT", "console.invalid:443")
    assert "authorization" not in proxy.asked[0].headers


def test_no_proxy_is_honoured(peer: Peer, source: HttpSource, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert isinstance(source.fetch(None), Fetched)


def test_a_batch_is_delivered_as_json(peer: Peer, source: HttpSource) -> None:
    assert source.report(b'{"counts":[]}') == Delivered()
    assert peer.asked[0].target == "/api/v1/telemetry"
    assert peer.asked[0].headers["content-type"] == "application/json"
    assert peer.batches() == [{"counts": []}]


@pytest.mark.parametrize(("status", "final"), [(400, True), (413, True), (401, False), (404, False), (500, False)])
def test_only_a_fault_of_the_batch_itself_is_final(peer: Peer, source: HttpSource, status: int, final: bool) -> None:
    peer.telemetry = lambda asked: Reply(status)
    outcome = source.report(b"{}")
    assert isinstance(outcome, Undelivered)
    assert outcome.final is final


def test_a_file_is_a_source(tmp_path: Path) -> None:
    path = tmp_path / "a bundle.json"
    source = open_source(path.as_uri(), "")
    assert isinstance(source, FileSource)
    assert source.fetch(None) == FetchFailed("unreadable", f"{path} cannot be read: No such file or directory")
    path.write_bytes(BODY)
    assert source.fetch(None) == Fetched(BODY, tag_of(BODY), {"etag": tag_of(BODY)})
    assert source.fetch(tag_of(BODY)) == Unchanged()
    assert source.report(b"{}") == Delivered()


def test_a_snapshot_comes_back_as_it_was_kept(tmp_path: Path) -> None:
    path = tmp_path / "below" / "policies"
    fetched = Fetched(BODY, tag_of(BODY), {"etag": tag_of(BODY), "date": "Sun, 22 Nov 2026 10:00:00 GMT"})
    assert Snapshot(path).save(fetched) is None
    assert Snapshot(path).load() == fetched
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["policies"]


@pytest.mark.parametrize("damage", [b"", b"\n", b"{}\n{}", b"[1]\n{}", b"{" * 50_000, b"\xff\x00", None])
def test_a_damaged_snapshot_is_ignored_with_a_log_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: bytes | None
) -> None:
    path = tmp_path / "policies"
    Snapshot(path).save(Fetched(BODY, tag_of(BODY), {"etag": tag_of(BODY)}))
    path.write_bytes(path.read_bytes()[:-1] if damage is None else damage)
    assert Snapshot(path).load() is None
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert str(path) in caplog.text


def test_no_snapshot_is_no_trouble(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert Snapshot(tmp_path / "absent").load() is None
    assert not caplog.records


def test_a_snapshot_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    trouble = Snapshot(tmp_path / "file" / "policies").save(Fetched(BODY, tag_of(BODY), {}))
    assert trouble is not None
    assert "cannot be written" in trouble
