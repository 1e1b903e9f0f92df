"""The WSGI application: everything but the event stream, which `portal.asgi` serves beside it (docs/operations.md)."""

from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")

application = get_wsgi_application()
