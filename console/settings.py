"""Django's settings. What differs between installations comes from `console.deployment`; the rest is fixed here."""

import os
from importlib.util import find_spec
from pathlib import Path

from console import deployment

BASE_DIR = Path(__file__).resolve().parent.parent
DEPLOYMENT = deployment.read(os.environ, BASE_DIR / "var")

DEBUG = DEPLOYMENT.debug
SECRET_KEY = DEPLOYMENT.secret_key
ALLOWED_HOSTS = DEPLOYMENT.allowed_hosts
CSRF_TRUSTED_ORIGINS = DEPLOYMENT.csrf_trusted_origins

INSTALLED_APPS = [
    *(["policies.apps.PoliciesConfig"] if find_spec("policies") else []),
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
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

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False

STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "var" / "static"
