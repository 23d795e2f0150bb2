"""The same work for everybody: who calls, and the rules that they are counted by."""

from typing import Any

from policy_client.client import PolicyClient
from policy_client.options import Options
from policy_client.stores import Store
from policy_client.testing import BundleSource, bundle, policy
from policy_client.visit import Identify

USERS = [f"user-{number}" for number in range(100)]
LIMIT = 20_000
"""Never reached, since the way of an allowed call is measured; but small enough that a bucket does not run empty, and
is forgotten, between two calls of a user."""
CALLERS = 5
"""Of an endpoint: so few that they come again before their buckets are empty, slow as a whole request is."""
WINDOWS = (60, 3600, 86400)

ENDPOINT = "reports.export"


def rules(
    count: int, algorithm: str = "token_bucket", key: str = "user", limit: int = LIMIT, batch: int = 0
) -> dict[str, dict[str, Any]]:
    return {
        f"per_{window}": {"key": [key], "limit": limit, "window": window, "algorithm": algorithm, "batch": batch}
        for window in WINDOWS[:count]
    }


def client(
    store: Store,
    count: int,
    *,
    algorithm: str = "token_bucket",
    key: str = "user",
    limit: int = LIMIT,
    batch: int = 0,
    route: str = "",
    identify: Identify | None = None,
) -> PolicyClient:
    """A client as services have it, background thread and all, but with its bundle from memory."""
    found = policy("" if route else ENDPOINT, route=route, **rules(count, algorithm, key, limit, batch))
    made = PolicyClient(BundleSource(bundle(found)), store, options=Options(), identify=identify)
    made.start()
    made.refresh()
    assert made.ready(), made.status().error
    return made
