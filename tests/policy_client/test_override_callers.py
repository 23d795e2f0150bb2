"""Whom overrides are for: how they are found, and which of several counts."""

from typing import Any

import pytest

from policy_client.decision import Decision, prepare
from policy_client.stores.memory import MemoryStore
from tests.policy_client.counting import START, call_of, decide, limit, override, plan_of

WHO: list[tuple[dict[str, str], dict[str, Any], bool]] = [
    ({"user": "alice"}, {"user": "alice"}, True),
    ({"user": "7"}, {"user": "alice", "path_params": {"id": 7}}, False),
    ({"path:id": "7"}, {"path_params": {"id": 7}}, True),
    ({"attr:plan": "free"}, {"attributes": {"plan": "free"}}, True),
    ({"attr:plan": "1"}, {"attributes": {"plan": 1}}, True),
    ({"attr:plan": "free"}, {"attributes": {"plan": ["unhashable"]}}, False),
    ({"tenant": "acme", "user": "alice"}, {"tenant": "acme"}, True),
    ({"tenant": "acme", "user": "alice"}, {"tenant": "other"}, False),
    ({"tenant": "acme", "user": "alice"}, {}, False),
    ({"api_key": "k" * 100}, {"api_key": "k" * 100}, True),
    ({"header:X-Client": "Robot"}, {"headers": {"x-client": "Robot"}}, True),
    ({"header:x-client": "Robot"}, {"headers": {"x-client": "robot"}}, False),
    ({"cookie:tier": "gold"}, {"cookies": {"tier": "gold"}}, True),
    ({"query:q": "é"}, {"query": {"q": "é"}}, True),
    ({"method": "post"}, {}, True),
    ({"method": "GET"}, {}, False),
    ({"ip": "192.0.2.1"}, {}, True),
    ({"ip": "192.0.2.2"}, {}, False),
    ({"ip": "192.0.2.1"}, {"ip": "::ffff:192.0.2.1"}, True),
    ({"ip": "::ffff:192.0.2.0/120"}, {}, True),
    ({"ip": "192.0.2.0/31"}, {}, True),
    ({"ip": "192.0.2.2/31"}, {}, False),
    ({"ip": "0.0.0.0/0"}, {}, True),
    ({"ip": "0.0.0.0/0"}, {"ip": "2001:db8::1"}, False),
    ({"ip": "::/0"}, {}, False),
    ({"ip": "2001:db8::7"}, {"ip": "2001:db8::8"}, True),
    ({"ip": "2001:db8::7/128"}, {"ip": "2001:db8::8"}, True),
    ({"ip": "2001:db8::/32"}, {"ip": "2001:db8:ffff::8"}, True),
    ({"ip": "2001:db8::/48"}, {"ip": "2001:db8:1::8"}, False),
    ({"ip": "192.0.2.1"}, {"ip": "192.0.2.1:5000"}, True),
    ({"ip": "0.0.0.0/0"}, {"ip": "testclient"}, False),
    ({"ip": "0.0.0.0/0"}, {"ip": None}, False),
    ({"ip": "192.0.2.0/24", "user": "alice"}, {}, True),
    ({"ip": "192.0.2.0/24", "user": "bob"}, {}, False),
]


@pytest.mark.parametrize(("key", "call", "holds"), WHO)
def test_all_parts_of_its_key_must_equal_those_of_the_call(
    key: dict[str, str], call: dict[str, Any], holds: bool
) -> None:
    plan = plan_of(limit(), overrides=[override("block", key=key)])
    prepared = prepare(plan, call_of(**call), START)
    assert (isinstance(prepared, Decision) and prepared.reason == "override_block") is holds


def test_of_several_limits_the_one_said_for_fewer_calls_counts() -> None:
    def limit_of(*over: dict[str, Any], **call: Any) -> int:
        plan = plan_of(limit(key=["user", "tenant", "ip"]), overrides=list(over))
        return decide(plan, MemoryStore(), tenant="acme", **call).limits[0].limit

    wide = override("limit", id=9, policy=None, limit=100)
    policy = override("limit", id=8, limit=101)
    tenant = override("limit", id=7, key={"tenant": "acme", "user": "alice"}, limit=102)
    rule = override("limit", id=6, rule="per-user", limit=103)
    assert [limit_of(*list_) for list_ in ([wide], [wide, policy], [wide, policy, tenant])] == [100, 101, 102]
    assert limit_of(wide, policy, tenant, rule) == 103
    assert limit_of(policy, override("limit", id=10, limit=50)) == 50
    net = override("limit", id=10, key={"ip": "192.0.2.0/24"}, limit=1)
    host = override("limit", id=3, key={"ip": "192.0.2.1"}, limit=2)
    assert (limit_of(net, host), limit_of(net, host, ip="192.0.2.9")) == (2, 1)


def test_an_entry_needs_what_its_overrides_look_at() -> None:
    key = {"tenant": "acme", "header:x-client": "robot", "ip": "192.0.2.0/24"}
    plan = plan_of(limit(), overrides=[override("exempt", key=key), override("exempt", id=6, policy="POL-0009")])
    needs = plan.entry_for("export").needs
    assert needs == {"user", "ip", "tenant", "header:x-client"}
    assert plan.entry_for(None).needs == frozenset()


def test_without_an_override_of_its_own_an_entry_decides_as_quickly_as_ever() -> None:
    assert plan_of(limit()).entry_for("export").quick
    elsewhere = plan_of(limit(), overrides=[override("exempt", policy="POL-0009")])
    assert elsewhere.entry_for("export").quick
    assert not plan_of(limit(), overrides=[override("exempt")]).entry_for("export").quick


def test_ten_thousand_overrides_are_found_by_one_look_up_for_each_form_of_key() -> None:
    """However many there are, a call is compared with as many as it has forms of key: here three."""
    over = [override("limit", id=number, key={"user": f"user-{number}"}, limit=7) for number in range(1, 10_001)]
    over += [override("limit", id=20_000, key={"ip": "198.51.100.0/24"}, limit=8)]
    over += [override("limit", id=20_001, key={"ip": "198.51.100.7", "user": "bob"}, limit=9)]
    plan = plan_of(limit(), overrides=over)
    [callers] = plan.entry_for("export").overrides
    assert len(callers._shapes) == 3
    store = MemoryStore()

    def limit_for(**call: Any) -> int:
        return decide(plan, store, **call).limits[0].limit

    assert [limit_for(user=user) for user in ("user-1", "user-10000", "bob")] == [7, 7, 5]
    # A network is for callers, not for users behind it: whose counters are of users, nothing changes.
    assert limit_for(user="bob", ip="198.51.100.7") == 5
    assert limit_for(user=None, ip="198.51.100.7") == 8
