"""The end-user routes of IM and XMPP (contracts section 6)."""

from __future__ import annotations

from xmpp.api import accounts, im, subscriptions

urlpatterns = [*accounts.urlpatterns, *im.urlpatterns, *subscriptions.urlpatterns]
