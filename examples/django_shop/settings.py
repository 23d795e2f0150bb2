"""The smallest settings that serve a shop. The client reads the POLICY_… variables, and IDENTIFY from here."""

import os
import secrets
import tempfile
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent.parent
FOLDER = CHECKOUT / "var" if os.access(CHECKOUT, os.W_OK) else Path(tempfile.gettempdir())

SECRET_KEY = secrets.token_urlsafe(32)  # nothing here outlives the process
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "examples.django_shop.urls"
INSTALLED_APPS = ["examples.django_shop", "policy_client.django"]
MIDDLEWARE = ["policy_client.django.PolicyMiddleware"]
POLICY_CLIENT = {"IDENTIFY": "examples.django_shop.views.identify"}
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("SHOP_DATABASE") or FOLDER / "example-shop.sqlite3",
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"stderr": {"class": "logging.StreamHandler"}},
    "loggers": {"policy_client": {"handlers": ["stderr"], "level": "INFO"}},
}
