"""Whom forwarded addresses are believed from."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.proxies import client, network

TRUSTED = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "address"),
    [
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),  # nobody trusted spoke
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "1.2.3.4, 198.51.100.1", "198.51.100.1"),  # the client wrote 1.2.3.4 itself
        ("10.0.0.1", "198.51.100.1, 10.2.2.2", "198.51.100.1"),
        ("10.0.0.1", "10.3.3.3, 10.2.2.2", "10.3.3.3"),
        ("10.0.0.1", "198.51.100.1, junk, 10.2.2.2", "10.2.2.2"),
        ("10.0.0.1", "198.51.100.1:4711", "198.51.100.1"),
        ("10.0.0.1", "[2001:db8::1]:4711", "2001:db8::1"),
        ("fd00::1", "2001:db8::1", "2001:db8::1"),
        ("::ffff:10.0.0.1", "::ffff:198.51.100.1", "198.51.100.1"),
        ("::ffff:203.0.113.9", "", "203.0.113.9"),
        ("", "198.51.100.1", ""),
    ],
)
def test_the_address_is_read_from_the_right_through_trusted_proxies(peer, forwarded_for, address):
    assert client(peer, forwarded_for, "", TRUSTED).address == address


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "proto", "scheme"),
    [
        ("203.0.113.9", "", "https", None),
        ("10.0.0.1", "198.51.100.1", "https", "https"),
        ("10.0.0.1", "198.51.100.1, 10.2.2.2", "https, http", "https"),
        ("10.0.0.1", "6.6.6.6, 198.51.100.1", "https, http", "http"),  # the first entry is the client's own
        ("10.0.0.1", "6.6.6.6, 198.51.100.1", "https, https, http", "http"),
        ("10.0.0.1", "198.51.100.1", "gopher", None),
        ("10.0.0.1", "", "HTTPS", "https"),
    ],
)
def test_the_scheme_is_believed_from_the_same_proxies(peer, forwarded_for, proto, scheme):
    assert client(peer, forwarded_for, proto, TRUSTED).scheme == scheme


@given(st.text(max_size=60))
def test_what_a_client_writes_itself_never_becomes_its_address(forged):
    assert client("10.0.0.1", f"{forged}, 198.51.100.1", "", TRUSTED).address == "198.51.100.1"


def test_addresses_count_by_network():
    assert network("2001:db8:0:1::5") == network("2001:db8:0:1:ffff::9") == "2001:db8:0:1::/64"
    assert network("::ffff:198.51.100.1") == network("198.51.100.1") == "198.51.100.1"
    assert network("") == ""
