"""The WSGI application: everything but the event stream, which needs `portal.asgi` beside it.

In production nginx sends /api/v1/events/ to the ASGI server and the rest here; here that path is a 404 that says so.
"""

from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application

from portal import collector

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")

application = get_wsgi_application()
collector.spare_what_stays()
