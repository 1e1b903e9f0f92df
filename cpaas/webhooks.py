"""The carriers' door: `POST /webhooks/<carrier>/<platform id>/<secret>/[status/]` (contracts section 3).

A plain Django view on purpose: it carries every inbound text, and DRF would halve its rate (facts/perf.md 2.1).
"""

from __future__ import annotations

import hashlib
import hmac
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass

from django.conf import settings
from django.db import IntegrityError
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from cpaas import spool
from cpaas.carriers.base import Carrier, CarrierAccount, ForbiddenWebhook, UnreadableWebhook, WebhookRequest
from cpaas.carriers.registry import CARRIERS
from cpaas.metrics import WEBHOOKS
from cpaas.models import CpaasPlatform
from cpaas.services.dead_letters import keep_unreadable
from cpaas.services.webhook_intake import take_in
from portal.api.problems import problem_response
from portal.logs import get_logger
from portal.problems import Problem
from portal.scoping import parse_id

logger = get_logger(__name__)
LARGEST_BODY = 1024 * 1024
FRESH_S = 2.0


@dataclass(frozen=True)
class _Seen:
    """A platform as this process read it, and when (monotonic seconds)."""

    platform: CpaasPlatform
    account: CarrierAccount
    at: float


_last_line = 0.0
_last_seen: dict[uuid.UUID, _Seen] = {}


@csrf_exempt
@require_POST
def receive(request: HttpRequest, carrier: str, platform_id: str, secret: str) -> HttpResponse:
    """Take one call in and answer at once, in the carrier's own form."""
    try:
        return _receive(request, carrier, platform_id, secret)
    except Problem as problem:
        if problem.code == "forbidden_webhook":
            _note_forbidden(carrier)
        return _problem(problem)


def _receive(request: HttpRequest, carrier: str, platform_id: str, secret: str) -> HttpResponse:
    adapter, call = _adapter(carrier), _call(request)
    seen, nonce = _authenticated(adapter, platform_id, secret, call)
    platform = seen.platform
    try:
        calls = [(each, adapter.parse_webhook(seen.account, each)) for each in adapter.separate(call)]
    except UnreadableWebhook as error:
        WEBHOOKS.labels(carrier, "unreadable").inc()
        with suppress(*spool.DATABASE_AWAY, IntegrityError):
            keep_unreadable(platform_id=platform.pk, request=call)
        raise Problem("invalid", error.detail, status=400) from error
    try:
        for each, events in calls:
            take_in(platform_id=platform.pk, nonce=nonce, request=each, events=events)
        WEBHOOKS.labels(carrier, "taken").inc()
    except spool.DATABASE_AWAY:
        _spool(platform, nonce, call)
    except IntegrityError as error:
        # The platform was deleted under our hands.
        raise _forbidden() from error
    answer = adapter.answer(calls[0][1])
    return HttpResponse(answer.body, status=answer.status, content_type=answer.content_type)


def _adapter(carrier: str) -> Carrier:
    if carrier not in CARRIERS:
        raise _forbidden()
    return CARRIERS[carrier]


def _authenticated(adapter: Carrier, platform_id: str, secret: str, call: WebhookRequest) -> tuple[_Seen, str]:
    """The platform the URL names and the call's nonce. An unknown id and a wrong secret look the same.

    What this process saw a moment ago will do, unless it says no: a key changed just now counts at once.
    """
    key = parse_id(platform_id)
    if key is None:
        raise _forbidden()
    seen = _last_seen.get(key)
    if seen is not None and time.monotonic() - seen.at < FRESH_S:
        try:
            return seen, _check(adapter, seen, secret, call)
        except Problem:
            pass
    seen = _load(key, adapter.code)
    return seen, _check(adapter, seen, secret, call)


def _load(key: uuid.UUID, carrier: str) -> _Seen:
    """The platform; while the database is away, as this process last saw it, so that calls are still checked (R37)."""
    try:
        platform: CpaasPlatform | None = CpaasPlatform.objects.filter(pk=key, carrier=carrier).first()
    except spool.DATABASE_AWAY as error:
        if key not in _last_seen:
            raise Problem("unavailable", "The database is away. Send this again later.", status=503) from error
        return _last_seen[key]
    if platform is None:
        _last_seen.pop(key, None)
        raise _forbidden()
    seen = _last_seen[key] = _Seen(platform, platform.account(), time.monotonic())
    return seen


def _check(adapter: Carrier, seen: _Seen, secret: str, call: WebhookRequest) -> str:
    """The call's nonce, when path secret and signature are the platform's."""
    platform = seen.platform
    if platform.carrier != adapter.code:
        raise _forbidden()
    if not hmac.compare_digest(hashlib.sha256(secret.encode()).hexdigest(), platform.webhook_digest):
        raise _forbidden()
    try:
        return adapter.authenticate(seen.account, call)
    except ForbiddenWebhook as error:
        former = platform.former_account()
        if former is None:
            raise _forbidden() from error
    try:
        return adapter.authenticate(former, call)
    except ForbiddenWebhook as error:
        raise _forbidden() from error


def _spool(platform: CpaasPlatform, nonce: str, call: WebhookRequest) -> None:
    try:
        spool.put(platform, nonce, call)
    except OSError as error:
        logger.error("webhook_not_spooled", carrier=platform.carrier, error=type(error).__name__)
        raise Problem("unavailable", "This cannot be stored now. Send it again later.", status=503) from error
    WEBHOOKS.labels(platform.carrier, "spooled").inc()


def _call(request: HttpRequest) -> WebhookRequest:
    if int(request.META.get("CONTENT_LENGTH") or 0) > LARGEST_BODY:
        raise Problem("too_large", "A webhook body may have at most 1 MB.", status=413)
    # Read by hand: Django's own limit would answer 400, and a body without a length must be bounded too.
    body = request.read(LARGEST_BODY + 1)
    if len(body) > LARGEST_BODY:
        raise Problem("too_large", "A webhook body may have at most 1 MB.", status=413)
    # `request.headers` takes ten times as long.
    headers = {
        name[5:].replace("_", "-").lower(): value for name, value in request.META.items() if name.startswith("HTTP_")
    }
    return WebhookRequest(headers, body, request.content_type or "", _url(request))


def _url(request: HttpRequest) -> str:
    """As the carrier called it, which some carriers sign: they know only our public address."""
    query = request.META.get("QUERY_STRING")
    return f"{settings.PUBLIC_URL}{request.path}{'?' if query else ''}{query or ''}"


def _forbidden() -> Problem:
    return Problem("forbidden_webhook", "This call does not carry the right secret or signature.", status=403)


def _note_forbidden(carrier: str) -> None:
    """A counter, and at most one line a second: a flood must not fill the log."""
    global _last_line
    WEBHOOKS.labels(carrier, "forbidden").inc()
    if time.monotonic() - _last_line > 1:
        _last_line = time.monotonic()
        logger.warning("webhook_forbidden", carrier=carrier)


def _problem(problem: Problem) -> HttpResponse:
    response = problem_response(problem)
    if problem.code == "forbidden_webhook":
        response._has_been_logged = True  # type: ignore[attr-defined]  # Django writes no line of its own then
    return response


urlpatterns = [
    path("webhooks/<str:carrier>/<str:platform_id>/<str:secret>/", receive),
    path("webhooks/<str:carrier>/<str:platform_id>/<str:secret>/status/", receive),
]
