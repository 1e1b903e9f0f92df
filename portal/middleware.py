"""Middleware: who calls from where, and the viewer's time zone."""

from __future__ import annotations

import zoneinfo
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from portal.ids import new_id
from portal.request_context import RequestContext, entered

GetResponse = Callable[[HttpRequest], HttpResponse]


def client_address(request: HttpRequest) -> str:
    """The caller's address; X-Forwarded-For is believed only from our own proxies, read from the right."""
    proxies: frozenset[str] = frozenset(settings.TRUSTED_PROXIES)
    address = str(request.META.get("REMOTE_ADDR") or "0.0.0.0")  # noqa: S104
    if address not in proxies:
        return address
    hops: list[str] = [hop.strip() for hop in request.META.get("HTTP_X_FORWARDED_FOR", "").split(",") if hop.strip()]
    for hop in reversed(hops):
        if hop not in proxies:
            return hop
    return address


class RequestContextMiddleware:
    """Gives every request an id, answered as `X-Request-ID`, and remembers it with the caller's address."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        # The id is ours, never the caller's: it goes into logs and audit rows.
        request_id = str(new_id())
        request.META["HTTP_X_REQUEST_ID"] = request_id
        client = request.headers.get("User-Agent", "")[:200]
        with entered(RequestContext(client_address(request), request_id, client)):
            response = self.get_response(request)
        response["X-Request-ID"] = request_id
        return response


class ViewerTimeZoneMiddleware:
    """Pages show times in the zone of the account, else of its system provider (R28)."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        account = getattr(request, "user", None)
        if account is not None and account.is_authenticated:
            provider = account.system_provider
            timezone.activate(zoneinfo.ZoneInfo(account.time_zone or (provider.time_zone if provider else "UTC")))
        try:
            return self.get_response(request)
        finally:
            timezone.deactivate()
