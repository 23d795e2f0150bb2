"""An ASGI application of one policy, and one request to it, without a framework or a server."""

from policy_client.testing import BundleSource, DrivenClient, bundle, policy


def client_of(store, **rules):
    return DrivenClient(BundleSource(bundle(policy("x", route="/x", methods=["GET"], **rules))), store)


async def get(app, path="/x", send=None):
    """The status of one request to an ASGI application."""
    statuses = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def sent(message):
        if message["type"] == "http.response.start":
            statuses.append(message["status"])
        if send is not None:
            await send(message)

    scope = {"type": "http", "method": "GET", "path": path, "headers": [], "query_string": b"", "client": ("::1", 1)}
    await app(scope, receive, sent)
    return statuses[0]


async def hello(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})
