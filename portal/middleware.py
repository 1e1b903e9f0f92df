"""Middleware: headers of every answer, who calls from where, how long a session lasts, and the viewer's time zone."""

from __future__ import annotations

import functools
import ipaddress
import zoneinfo
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.http import HttpRequest, HttpResponse
from django.urls import ResolverMatch, get_urlconf, resolve
from django.utils import timezone
from django_structlog.middlewares import RequestMiddleware

from portal import clock
from portal.api.problems import SERVICE_AWAY, service_away
from portal.ids import new_id
from portal.request_context import RequestContext, entered

GetResponse = Callable[[HttpRequest], HttpResponse]
# What a staff session remembers of itself, in seconds since 1970; the second is written once a minute at most.
BEGAN_AT, SEEN_AT = "began_at", "seen_at"
SEEN_EVERY_S = 60
# Copying a new token needs the clipboard; nothing else of the browser is needed.
PERMISSIONS_POLICY = ", ".join(
    f"{feature}=()"
    for feature in ("camera", "microphone", "geolocation", "payment", "usb", "serial", "midi", "display-capture")
)

# No script or style but our own files, nothing from elsewhere, and nobody may frame us. Pictures may be inline.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)


def client_address(request: HttpRequest) -> str:
    """The caller's address; X-Forwarded-For is believed only from our own proxies, read from the right."""
    proxies: frozenset[str] = frozenset(settings.TRUSTED_PROXIES)
    address = str(request.META.get("REMOTE_ADDR") or "0.0.0.0")  # noqa: S104
    if address not in proxies:
        return address
    hops: list[str] = [hop.strip() for hop in request.META.get("HTTP_X_FORWARDED_FOR", "").split(",") if hop.strip()]
    for hop in reversed(hops):
        if hop not in proxies:
            return hop if _is_address(hop) else address
    return address


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


class EdgeMiddleware:
    """Believes `X-Forwarded-Proto` from our own proxies only. No answer is kept by a cache unless it says so itself,
    no page may use the browser's devices, and none runs code that is not a file of ours."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.META.get("REMOTE_ADDR") not in settings.TRUSTED_PROXIES:
            request.META.pop("HTTP_X_FORWARDED_PROTO", None)
        response = self.get_response(request)
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers.setdefault("Permissions-Policy", PERMISSIONS_POLICY)
        if not (settings.DEBUG and response.status_code in (404, 500)):  # Django's own pages for developers
            response.headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
        return response


class RequestContextMiddleware:
    """Gives every request an id, answered as `X-Request-ID`, and remembers it with the caller's address."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        # The id is ours, never the caller's: it goes into logs and audit rows.
        request_id = str(new_id())
        request.META["HTTP_X_REQUEST_ID"] = request_id
        # `request.headers` takes ten times as long.
        client = request.META.get("HTTP_USER_AGENT", "")[:200]
        with entered(RequestContext(client_address(request), request_id, client)):
            response = self.get_response(request)
        response["X-Request-ID"] = request_id
        return response


class RequestLogMiddleware(RequestMiddleware):
    """Logs requests that fail, by their path: the query may hold numbers and words of texts (R18)."""

    @staticmethod
    def format_request(request: HttpRequest) -> str:
        return f"{request.method} {request.path}"


class ServiceAwayMiddleware:
    """Answers 503 when a page fails because the database or Redis is away."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        return service_away(request, exception) if isinstance(exception, SERVICE_AWAY) else None


def _or_503(call: Callable[[Any, HttpRequest], HttpResponse]) -> Callable[[Any, HttpRequest], HttpResponse]:
    """For a middleware that reads the database itself: what it raises, no other middleware gets to see."""

    @functools.wraps(call)
    def careful(self: Any, request: HttpRequest) -> HttpResponse:
        try:
            return call(self, request)
        except SERVICE_AWAY as error:
            return service_away(request, error)

    return careful


class SessionLimitsMiddleware:
    """Ends a session PORTAL_SESSION_S after its login, and when nobody did anything in it for PORTAL_SESSION_IDLE_S.

    What a page asks for by itself (htmx) is not taken for somebody doing something.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    @_or_503
    def __call__(self, request: HttpRequest) -> HttpResponse:
        session = request.session
        if SESSION_KEY in session:
            now = int(clock.now().timestamp())
            began, seen = session.get(BEGAN_AT, 0), session.get(SEEN_AT, 0)
            if now - began >= settings.SESSION_COOKIE_AGE or now - seen >= settings.SESSION_IDLE_S:
                session.flush()
            elif now - seen >= SEEN_EVERY_S and "HX-Request" not in request.headers:
                session[SEEN_AT] = now
        return self.get_response(request)


def note_login(request: HttpRequest, **_: Any) -> None:
    """Receiver of `user_logged_in`: the session's time starts."""
    request.session[BEGAN_AT] = request.session[SEEN_AT] = int(clock.now().timestamp())


@functools.lru_cache(maxsize=1000)
def _resolved(path: str, urlconf: str | None) -> ResolverMatch:
    """A platform's calls come to the same two paths; looking for their view was a sixth of Django's work."""
    return resolve(path, urlconf)


class ShortWayMiddleware:
    """Calls of machines below `settings.SHORT_WAYS` go straight to their view, past every middleware listed after this.

    They carry no cookie and no person: a session, CSRF token, language, zone or page header would be work for nothing,
    and there are thousands a second.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        self.prefixes = tuple(settings.SHORT_WAYS)

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not request.path_info.startswith(self.prefixes):
            return self.get_response(request)
        request.get_host()  # raises DisallowedHost, which is answered 400
        match = request.resolver_match = _resolved(request.path_info, get_urlconf())
        response: HttpResponse = match.func(request, *match.args, **match.kwargs)
        return response


class ViewerTimeZoneMiddleware:
    """Pages show times in the zone of the account, else of its system provider (R28)."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    @_or_503
    def __call__(self, request: HttpRequest) -> HttpResponse:
        account = getattr(request, "user", None)
        if account is not None and account.is_authenticated:
            provider = account.system_provider
            timezone.activate(zoneinfo.ZoneInfo(account.time_zone or (provider.time_zone if provider else "UTC")))
        try:
            return self.get_response(request)
        finally:
            timezone.deactivate()
