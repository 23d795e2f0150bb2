"""Django, under WSGI and ASGI, and DRF.

`MIDDLEWARE += ["policy_client.django.PolicyMiddleware"]`, and `INSTALLED_APPS += ["policy_client.django"]` for the
system checks of `POLICY_CLIENT`, which has the names of the environment variables without their prefix, and `SOURCE`
and `IDENTIFY`.
"""

from policy_client.django.middleware import PolicyMiddleware
from policy_client.django.settings import client_from_settings
from policy_client.django.visit import arrive

__all__ = ["PolicyMiddleware", "arrive", "client_from_settings"]
