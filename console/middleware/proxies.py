"""Puts the client's own address and scheme in place of the proxy's, for everything that comes after."""

from django.conf import settings
from django.http import HttpRequest

from console.middleware.sandwich import Sandwich
from console.proxies import client_scheme
from policy_client.identity import TrustedProxies as Proxies

# Nothing from outside can have this name: what a client sends is called HTTP_….
SCHEME = "console.forwarded_scheme"


class TrustedProxies(Sandwich):
    """REMOTE_ADDR becomes the client's address; SECURE_PROXY_SSL_HEADER reads SCHEME."""

    def before(self, request: HttpRequest) -> None:
        proxies: Proxies = settings.DEPLOYMENT.trusted_proxies
        peer = request.META.get("REMOTE_ADDR", "")
        forwarded_for = request.META.get("HTTP_X_FORWARDED_FOR", "")
        scheme = client_scheme(proxies, peer, forwarded_for, request.META.get("HTTP_X_FORWARDED_PROTO", ""))
        if scheme:
            request.META[SCHEME] = scheme
        request.META["REMOTE_ADDR"] = proxies.client(peer, forwarded_for) or ""
