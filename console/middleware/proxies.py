"""Puts the client's own address and scheme in place of the proxy's, for everything that comes after."""

from django.conf import settings
from django.http import HttpRequest

from console import proxies
from console.middleware.sandwich import Sandwich

# Nothing from outside can have this name: what a client sends is called HTTP_….
SCHEME = "console.forwarded_scheme"


class TrustedProxies(Sandwich):
    """REMOTE_ADDR becomes the client's address; SECURE_PROXY_SSL_HEADER reads SCHEME."""

    def before(self, request: HttpRequest) -> None:
        client = proxies.client(
            request.META.get("REMOTE_ADDR", ""),
            request.META.get("HTTP_X_FORWARDED_FOR", ""),
            request.META.get("HTTP_X_FORWARDED_PROTO", ""),
            settings.DEPLOYMENT.trusted_proxies,
        )
        request.META["REMOTE_ADDR"] = client.address
        if client.scheme:
            request.META[SCHEME] = client.scheme
