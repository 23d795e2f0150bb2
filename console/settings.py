"""Django's settings. What differs between installations comes from `console.deployment`; the rest is fixed here."""

import os
from pathlib import Path
from typing import Any

from redis.backoff import NoBackoff
from redis.retry import Retry

from console import deployment, logs
from console.middleware.proxies import SCHEME
from policies.api import configuration as rest

BASE_DIR = Path(__file__).resolve().parent.parent
DEPLOYMENT = deployment.read(os.environ, BASE_DIR / "var")

DEBUG = DEPLOYMENT.debug
SECRET_KEY = DEPLOYMENT.secret_key
ALLOWED_HOSTS = DEPLOYMENT.allowed_hosts
CSRF_TRUSTED_ORIGINS = DEPLOYMENT.csrf_trusted_origins

INSTALLED_APPS = [
    "console.apps.ConsoleConfig",
    "policies.apps.PoliciesConfig",
    "console.apps.ConsoleAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "servestatic",
    "django.contrib.staticfiles",
    "django_ratelimit",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
]

MIDDLEWARE = [
    "console.middleware.proxies.TrustedProxies",
    "console.middleware.requests.RequestLog",
    "console.middleware.headers.SecurityHeaders",
    "console.middleware.probes.Probes",
    "django.middleware.security.SecurityMiddleware",
    "console.middleware.statics.StaticFiles",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "console.urls"
WSGI_APPLICATION = "console.wsgi.application"
ASGI_APPLICATION = "console.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

DATABASES = {"default": DEPLOYMENT.database}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTHENTICATION_BACKENDS = ["policies.backends.GrantBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False
FORMAT_MODULE_PATH = ["console.formats"]

# The cache holds only what may vanish: the counts of failed logins and bad keys.
IN_PROCESS_MEMORY: dict[str, Any] = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
IN_REDIS: dict[str, Any] = {
    "BACKEND": "django_redis.cache.RedisCache",
    "LOCATION": DEPLOYMENT.redis_url,
    "KEY_PREFIX": "console",
    "OPTIONS": {
        "SOCKET_CONNECT_TIMEOUT": 0.5,
        "SOCKET_TIMEOUT": 0.5,
        # One more try at once, for a connection that the server had closed; redis-py's own default waits in between.
        "CONNECTION_POOL_KWARGS": {"max_connections": 100, "retry": Retry(NoBackoff(), 1)},
    },
}
CACHES = {"default": IN_PROCESS_MEMORY if DEPLOYMENT.embedded else IN_REDIS}
# django-ratelimit warns of counting in process memory. One process may: `console.checks` refuses more than one.
SILENCED_SYSTEM_CHECKS = ["django_ratelimit.E003", "django_ratelimit.W001"] if DEPLOYMENT.embedded else []

REST_FRAMEWORK = rest.REST_FRAMEWORK
SPECTACULAR_SETTINGS = rest.SPECTACULAR_SETTINGS

STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "var" / "static"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "console.static_storage.CollectedOrFound"},
}
SERVESTATIC_USE_FINDERS = True
SERVESTATIC_ALLOW_ALL_ORIGINS = False

# TLS, and cookies that only travel over it, wherever this is not somebody's laptop.
SECURE_SSL_REDIRECT = not DEBUG
SECURE_PROXY_SSL_HEADER = (SCHEME, "https")
SECURE_HSTS_SECONDS = 0 if DEBUG else 365 * 24 * 3600
SECURE_HSTS_INCLUDE_SUBDOMAINS = not DEBUG
SECURE_HSTS_PRELOAD = not DEBUG
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_SECURE = not DEBUG
SESSION_COOKIE_AGE = 12 * 3600
CSRF_COOKIE_SECURE = not DEBUG
CSRF_COOKIE_HTTPONLY = True

# Mail waits in the database until `run_jobs` sends it. Where EMAIL_URL says nothing, it waits and then lapses.
_MAIL = DEPLOYMENT.email or deployment.parse_email_url("dummymail://")
EMAIL_BACKEND = _MAIL["EMAIL_BACKEND"]
EMAIL_HOST = _MAIL["EMAIL_HOST"]
EMAIL_PORT = _MAIL["EMAIL_PORT"]
EMAIL_HOST_USER = _MAIL["EMAIL_HOST_USER"]
EMAIL_HOST_PASSWORD = _MAIL["EMAIL_HOST_PASSWORD"]
EMAIL_USE_TLS = _MAIL["EMAIL_USE_TLS"]
EMAIL_USE_SSL = _MAIL["EMAIL_USE_SSL"]
EMAIL_FILE_PATH = _MAIL["EMAIL_FILE_PATH"]
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = SERVER_EMAIL = DEPLOYMENT.email_from
CONSOLE_URL = DEPLOYMENT.console_url

KEEP_COUNTS_DAYS = DEPLOYMENT.keep_counts_days

LOGGING = logs.configure(DEPLOYMENT.log_format)
