"""What Django's settings say about REST. Imported by them, so this file must not touch models."""

from typing import Any

# Without OPTIONS: there is no metadata to answer it with, and `Allow` must not promise it.
METHODS = ["get", "post", "put", "patch", "delete", "head"]

REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "policies.api.authentication.BearerAuthentication",
        "policies.api.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["policies.api.permissions.ForPeople"],
    "DEFAULT_PARSER_CLASSES": ["policies.api.parsing.StrictJsonParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "policies.api.parsing.AlwaysJson",
    "DEFAULT_FILTER_BACKENDS": [
        "django_filters.rest_framework.DjangoFilterBackend",
        "rest_framework.filters.SearchFilter",
    ],
    "DEFAULT_PAGINATION_CLASS": "policies.api.paging.Pages",
    "DEFAULT_SCHEMA_CLASS": "policies.api.schema.ConsoleSchema",
    "DEFAULT_METADATA_CLASS": None,
    "EXCEPTION_HANDLER": "policies.api.problems.answer",
    "UNICODE_JSON": True,
}

SPECTACULAR_SETTINGS: dict[str, Any] = {
    "TITLE": "Policy Console",
    "DESCRIPTION": (
        "Policies that protect the expensive endpoints of services: edited as revisions, released into environments, "
        "fetched by services as bundles.\n\n"
        "People and scripts send a session cookie (with its CSRF token) or `Authorization: Bearer pct_…`; "
        "services send `Authorization: Bearer pck_…`. Errors are RFC 9457 problem documents with `code` and, by field "
        "path, `errors`. PATCH, PUT and DELETE need `If-Match` with the `ETag` that was read."
    ),
    "VERSION": "1",
    "OAS_VERSION": "3.1.1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_AUTHENTICATION": [],
    "COMPONENT_SPLIT_REQUEST": False,
    "COMPONENT_NO_READ_ONLY_REQUIRED": False,
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "POSTPROCESSING_HOOKS": [],
    "PREPROCESSING_HOOKS": [],
    "SORT_OPERATIONS": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {"deepLinking": True, "displayRequestDuration": True, "validatorUrl": None},
    "TAGS": [
        {"name": "policies", "description": "The owned sets of rules, their revisions and differences."},
        {"name": "releases", "description": "What is live where, and the way back."},
        {"name": "checklists", "description": "What is done before and after a release, with its evidence."},
        {"name": "switches", "description": "Bypass or block, at once."},
        {"name": "overrides", "description": "Exceptions for one caller, for a time."},
        {"name": "catalogue", "description": "Teams, services, environments, endpoints."},
        {"name": "people", "description": "Roles of people: given and withdrawn."},
        {"name": "audit", "description": "The append-only trail of every change."},
        {"name": "services", "description": "What services themselves ask and report, with a service key."},
    ],
}
