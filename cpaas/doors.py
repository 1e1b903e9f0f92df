"""The routes of messaging that are open to the outside."""

from __future__ import annotations

from cpaas import files, webhooks

urlpatterns = [*webhooks.urlpatterns, *files.urlpatterns]
