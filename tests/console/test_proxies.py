"""Whom forwarded addresses and schemes are believed from."""

from dataclasses import replace

import pytest
from django.http import HttpResponse
from django.test import RequestFactory
from hypothesis import given
from hypothesis import strategies as st

from console.middleware.proxies import TrustedProxies as Middleware
from console.proxies import client_scheme
from policy_client.identity import TrustedProxies

PROXIES = TrustedProxies.parse("10.0.0.0/8, fd00::/8")


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "proto", "scheme"),
    [
        ("203.0.113.9", "", "https", None),
        ("10.0.0.1", "198.51.100.1", "https", "https"),
        ("10.0.0.1", "198.51.100.1, 10.2.2.2", "https, http", "https"),
        ("10.0.0.1", "6.6.6.6, 198.51.100.1", "https, http", "http"),  # the first entry is the client's own
        ("10.0.0.1", "6.6.6.6, 198.51.100.1", "https, https, http", "http"),
        ("10.0.0.1", "10.3.3.3, 10.2.2.2", "https, http", "https"),
        ("10.0.0.1", "198.51.100.1", "gopher", None),
        ("10.0.0.1", "", "HTTPS", "https"),
        ("10.0.0.1", "", "", None),
        ("", "", "https", None),
    ],
)
def test_the_scheme_is_believed_from_trusted_proxies(peer, forwarded_for, proto, scheme):
    assert client_scheme(PROXIES, peer, forwarded_for, proto) == scheme


@given(forged=st.text(max_size=60), scheme=st.text(max_size=20))
def test_what_a_client_writes_itself_never_counts(forged, scheme):
    address = PROXIES.client("10.0.0.1", f"{forged}, 198.51.100.1")
    assert address == "198.51.100.1"
    assert client_scheme(PROXIES, "10.0.0.1", f"{forged}, 198.51.100.1", f"{scheme}, http") == "http"


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "address"),
    [
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),
        ("10.0.0.1", "6.6.6.6, 198.51.100.1, 10.2.2.2", "198.51.100.1"),
        ("", "198.51.100.1", ""),
    ],
)
def test_the_clients_address_takes_the_place_of_the_proxys(settings, peer, forwarded_for, address):
    settings.DEPLOYMENT = replace(settings.DEPLOYMENT, trusted_proxies=PROXIES)
    seen = Middleware(lambda request: HttpResponse(request.META["REMOTE_ADDR"]))
    request = RequestFactory().get("/", REMOTE_ADDR=peer, headers={"x-forwarded-for": forwarded_for})
    assert seen(request).content.decode() == address
