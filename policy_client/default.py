"""The client that is asked where none was given: the installed one, Django's, else one from the environment."""

import logging
import threading

from policy_client.client import PolicyClient
from policy_client.errors import Misconfigured
from policy_client.frameworks import in_use
from policy_client.options import Options
from policy_client.stores.memory import MemoryStore

logger = logging.getLogger("policy_client")

_installed: PolicyClient | None = None
_made: PolicyClient | None = None
_making = threading.Lock()


def install(client: PolicyClient | None) -> None:
    """Make a client the one that `@protect` and the middlewares use where none is given; None takes it away."""
    global _installed  # noqa: PLW0603 - one per process is what it is for
    _installed = client


def process_client() -> PolicyClient:
    """The client of this process, made where it is first asked for; raises Misconfigured."""
    if _installed is not None:
        return _installed
    with _making:
        return installed() or _keep(_make())


def installed() -> PolicyClient | None:
    """The client that was installed or made, if any."""
    return _installed


def default_client() -> PolicyClient:
    """`process_client` for the path of a call: wrong settings leave policies off, loudly, and raise nothing."""
    if _installed is not None:
        return _installed
    try:
        return process_client()
    except Misconfigured as error:
        logger.critical("policies are off: %s", error)
        return _keep(PolicyClient(None, MemoryStore(), options=Options()))


def forget() -> None:
    """Let go of a client that was made here (not of one that was installed); the next call makes another."""
    global _made
    client, _made = _made, None
    if client is not None and client is _installed:
        install(None)
        client.close()


def _keep(client: PolicyClient) -> PolicyClient:
    global _made  # noqa: PLW0603
    _made = client
    install(client)
    return client


def _make() -> PolicyClient:
    django = in_use("django.conf")
    made: PolicyClient | None = None if django is None else django.client_from_settings()
    return PolicyClient.from_env() if made is None else made
