"""What the client's tests share."""

from collections.abc import Iterator

import pytest

from tests.policy_client.peer import Peer, serving


@pytest.fixture(autouse=True)
def _no_proxy_of_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def peer() -> Iterator[Peer]:
    """A console's stand-in on loopback; set its `body`, or its `answer` for trouble."""
    with serving(Peer()) as running:
        yield running
