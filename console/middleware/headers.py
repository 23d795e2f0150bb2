"""Security headers on every answer: pages, errors, the API and its documentation, static files."""

from django.http import HttpRequest, HttpResponseBase

from console.middleware.sandwich import Sandwich

CONTENT_SECURITY_POLICY = (
    "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class SecurityHeaders(Sandwich):
    """The same constant headers on everything; nothing inside may loosen them."""

    def after(self, request: HttpRequest, response: HttpResponseBase) -> None:
        for name, value in HEADERS.items():
            response[name] = value
