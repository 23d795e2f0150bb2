import pytest

from policy_client.call import Call
from policy_client.errors import Misconfigured
from policy_client.identity import MAX_VALUE, TrustedProxies, canonical_address, subject
from policy_client.rules import parse_rule


def rule(*key, on_missing="ip"):
    return parse_rule(
        {"kind": "rate_limit", "name": "r", "key": list(key), "limit": 1, "window": 1, "on_missing": on_missing}
    )


@pytest.mark.parametrize(
    ("text", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("192.0.2.7:4711", "192.0.2.7"),
        (" 192.0.2.7 ", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("::FFFF:c000:207", "192.0.2.7"),
        ("[::ffff:192.0.2.7]:443", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("2001:0DB8:0001:0002:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::9]:443", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("testclient", "testclient"),
        ("", ""),
    ],
)
def test_an_address_is_counted_as(text, counted):
    assert canonical_address(text) == counted


def test_neighbours_in_one_network_share_and_others_do_not():
    of = {text: subject(rule("ip"), Call(ip=text)) for text in ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1")}
    assert of["2001:db8::1"] == of["2001:db8::2"] != of["2001:db8:0:1::1"]


@pytest.mark.parametrize(
    ("trusted", "remote", "forwarded", "client"),
    [
        ("", "192.0.2.1", "203.0.113.9", "192.0.2.1"),
        ("10.0.0.0/8", "192.0.2.1", "203.0.113.9", "192.0.2.1"),
        ("10.0.0.0/8", "10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.0/8", "10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.0/8", "10.0.0.1", "203.0.113.9:5000", "203.0.113.9"),
        ("10.0.0.0/8", "10.0.0.1", "198.51.100.66, 203.0.113.9", "203.0.113.9"),
        ("10.0.0.0/8", "10.0.0.1", "198.51.100.66, 203.0.113.9, 10.1.1.1", "203.0.113.9"),
        ("10.0.0.0/8", "::ffff:10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.0/8", "10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.0/8", "10.0.0.1", "203.0.113.9, unknown, 10.1.1.1", "10.1.1.1"),
        ("10.0.0.0/8", "10.0.0.1", "unknown", "10.0.0.1"),
        ("10.0.0.0/8", "10.0.0.1", ",", "10.0.0.1"),
        ("10.0.0.0/8, ::1", "::1", "[2001:db8::7]:99", "2001:db8::7"),
        ("10.0.0.0/8", None, "203.0.113.9", None),
        ("10.0.0.0/8", "10.0.0.1", "x" * 10_000, "10.0.0.1"),
    ],
)
def test_forwarded_addresses_count_through_trusted_proxies_alone(trusted, remote, forwarded, client):
    assert TrustedProxies.parse(trusted).client(remote, forwarded) == client


def test_a_network_that_is_none_is_refused():
    with pytest.raises(Misconfigured, match=r"10\.0\.0\.0/8"):
        TrustedProxies.parse("10.0.0.0/8, everyone")


def test_each_part_is_read_from_its_place():
    call = Call(
        method="POST",
        ip="192.0.2.1",
        user="u",
        tenant="t",
        api_key="k",
        headers={"x-id": "h"},
        cookies={"sid": "c"},
        query={"q": "v"},
        path_params={"id": 7},
        attributes={"plan": "gold"},
    )
    parts = (
        "ip",
        "user",
        "tenant",
        "api_key",
        "method",
        "header:X-Id",
        "cookie:sid",
        "query:q",
        "path:id",
        "attr:plan",
    )
    expected = ["192.0.2.1", "u", "t", "k", "POST", "h", "c", "v", "7", "gold"]
    for part, value in zip(parts, expected, strict=True):
        assert subject(rule(part), call) == (f"={value}",)
    assert subject(rule(*parts[:8]), call) == tuple(f"={value}" for value in expected[:8])
    assert subject(rule(), call) == ()


@pytest.mark.parametrize("call", [Call(ip="192.0.2.1"), Call(ip="192.0.2.1", user="")])
def test_a_missing_part_is_counted_as_the_rule_says(call):
    assert subject(rule("user"), call) == ("~192.0.2.1",)
    assert subject(rule("user", "ip"), call) == ("~192.0.2.1", "=192.0.2.1")
    assert subject(rule("user", on_missing="shared"), call) == ("-",)
    assert subject(rule("user", on_missing="skip"), call) is None
    assert subject(rule("ip", "user", on_missing="skip"), call) is None


def test_a_call_without_address_shares_a_counter():
    assert subject(rule("user"), Call()) == subject(rule("ip"), Call()) == ("-",)


def test_values_cannot_pretend_to_be_something_else():
    anonymous = subject(rule("user"), Call(ip="192.0.2.1"))
    nobody = subject(rule("user"), Call())
    forged = [subject(rule("user"), Call(user=user)) for user in ("192.0.2.1", "~192.0.2.1", "-", "=-", "#")]
    assert len({anonymous, nobody, *forged}) == 7
    assert subject(rule("user", "tenant"), Call(user="a", tenant="bc")) != subject(
        rule("user", "tenant"), Call(user="ab", tenant="c")
    )


def test_long_values_are_kept_short_and_apart():
    one, other = (subject(rule("user"), Call(user="x" * 100_000 + end)) for end in "ab")
    assert one != other
    assert len(one[0]) <= MAX_VALUE
    assert subject(rule("user"), Call(user="\udcff" * 100))
