"""The application that uvicorn serves."""

import os

from django.core.asgi import get_asgi_application

from console.checks import refuse_to_serve_with_errors

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "console.settings")

application = get_asgi_application()
refuse_to_serve_with_errors()
