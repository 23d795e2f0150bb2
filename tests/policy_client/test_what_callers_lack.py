"""What a service does not tell of its callers, or tells wrongly: calls are decided all the same, and it is told."""

import asyncio
from collections.abc import Iterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from policy_client import Call, Options, PolicyDenied, protect
from policy_client.asgi import PolicyMiddleware
from policy_client.stores.memory import MemoryStore
from policy_client.testing import BundleSource, DrivenClient, Policies, bundle, policy

PER_TENANT = {"key": ["tenant"], "limit": 5, "window": 60}


@pytest.fixture
def policies() -> Iterator[Policies]:
    policies = Policies()
    yield policies
    policies.client.close()


def trouble(policies: Policies) -> tuple[str, str] | None:
    error = policies.client.status().error
    return None if error is None else (error.code, error.message)


def test_an_identity_that_no_call_has_is_reported_until_one_comes(policies):
    policies.enforce("export", per_tenant=PER_TENANT)
    assert trouble(policies) is None
    policies.client.decide(Call(endpoint="export", ip="192.0.2.1"))
    code, message = trouble(policies)
    assert code == "identity_unavailable"
    assert "tenant" in message
    policies.client.decide(Call(endpoint="export", tenant="acme"))
    assert trouble(policies) is None


def test_what_a_request_may_lack_by_its_nature_is_no_trouble(policies):
    policies.enforce("export", per_client={"key": ["header:x-client-id", "cookie:tier"], "limit": 5, "window": 60})
    policies.client.decide(Call(endpoint="export", ip="192.0.2.1"))
    assert trouble(policies) is None


def test_an_identity_that_is_missing_now_and_then_is_no_trouble(policies):
    policies.enforce("export", per_tenant=PER_TENANT)
    for tenant in ("acme", None, "acme", None):
        policies.client.decide(Call(endpoint="export", ip="192.0.2.1", tenant=tenant))
    assert trouble(policies) is None


def test_the_heartbeat_tells_it():
    source = BundleSource(bundle(policy("export", per_tenant=PER_TENANT)))
    client = DrivenClient(source, MemoryStore(), options=Options())
    client.decide(Call(endpoint="export", ip="192.0.2.1"))
    client.flush()
    assert source.batches[-1]["error"]["code"] == "identity_unavailable"
    client.close()


@pytest.mark.parametrize("said", [0, -1, 1.5, True, "3", None, 10**9 + 1, [1]])
def test_a_cost_that_is_none_leaves_it_to_the_rules_and_is_reported(policies, said):
    policies.enforce("export", per_tenant={**PER_TENANT, "cost": 2})
    client = policies.client
    client.start()
    assert client.cost_of(lambda call: said, Call(endpoint="export")) is None
    assert trouble(policies)[0] == "cost_failed"
    client.flush()
    client.flush()
    decision = client.decide(Call(endpoint="export", tenant="acme", cost=said))
    assert decision.remaining == 3
    assert (trouble(policies) is None) is (said is None)
    client.flush()
    client.flush()
    assert trouble(policies) is None


def test_a_cost_that_the_service_says_takes_the_place_of_the_rules(policies):
    policies.enforce("export", per_tenant={**PER_TENANT, "cost": 2})
    decision = policies.client.decide(Call(endpoint="export", tenant="acme", cost=4))
    assert decision.remaining == 1
    assert not policies.client.decide(Call(endpoint="export", tenant="acme")).allowed
    dear = policies.client.decide(Call(endpoint="export", tenant="acme", cost=6))
    assert (dear.status, dear.retry_after) == (429, None)
    assert "costs 6" in dear.detail


def test_a_job_costs_what_its_arguments_say(policies):
    policies.enforce("merge", shared={"key": [], "limit": 11, "window": 60})

    @protect("merge", client=policies.client, cost=lambda call: len(call.attributes["report_ids"]))
    def merge(report_ids, fast=False):
        return len(report_ids)

    assert merge([1, 2, 3, 4]) == merge(report_ids=[1, 2, 3, 4]) == 4
    with pytest.raises(PolicyDenied) as denied:
        merge([1, 2, 3, 4])
    assert denied.value.decision.remaining == 3
    assert merge([1, 2]) == 2
    with pytest.raises(TypeError, match="nonsense"):
        merge([1], nonsense=True)


def test_a_request_costs_what_it_asks_for(policies):
    policies.enforce("search", shared={"key": [], "limit": 10, "window": 60})

    @protect("search", client=policies.client, cost=lambda call: int(call.query["limit"]))
    async def search(request):
        return PlainTextResponse("found")

    async def ask(app, limit):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as caller:
            return await caller.get(f"/search?limit={limit}")

    @protect("search", client=policies.client, cost=lambda call: call.content_length)
    async def upload(request):
        return PlainTextResponse("taken")

    async def send(app):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as caller:
            return await caller.post("/upload", content=b"four")

    app = Starlette(routes=[Route("/upload", upload, methods=["POST"])])
    assert asyncio.run(send(app)).headers["ratelimit"].startswith('"shared";r=6')
    policies.clock.advance(60)
    routes = [Route("/search", search)]
    for middleware in ([], [Middleware(PolicyMiddleware, client=policies.client)]):
        app = Starlette(routes=routes, middleware=middleware)
        assert asyncio.run(ask(app, 4)).headers["ratelimit"].startswith('"shared";r=')
        assert asyncio.run(ask(app, 11)).status_code == 429
    assert policies.client.decide(Call(endpoint="search", cost=3)).status == 429
    assert policies.client.decide(Call(endpoint="search", cost=2)).allowed
