"""Every error of the API as one kind of object: `application/problem+json` (RFC 9457, contracts section 0)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import redis
from django.conf import settings
from django.core import signals
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.views import defaults
from django.views.decorators.csrf import csrf_exempt
from rest_framework import exceptions
from rest_framework.response import Response

from portal.logs import get_logger
from portal.problems import Problem, not_found

CONTENT_TYPE = "application/problem+json"
logger = get_logger(__name__)
SERVICE_AWAY = (OperationalError, InterfaceError, redis.ConnectionError, redis.TimeoutError)

_CODES: dict[type[exceptions.APIException], str] = {
    exceptions.MethodNotAllowed: "method_not_allowed",
    exceptions.UnsupportedMediaType: "unsupported_media_type",
    exceptions.NotAuthenticated: "unauthenticated",
    exceptions.AuthenticationFailed: "unauthenticated",
    exceptions.PermissionDenied: "forbidden",
    exceptions.NotFound: "not_found",
    exceptions.Throttled: "rate_limited",
}


def document(problem: Problem) -> dict[str, Any]:
    """The members of the problem object."""
    return {
        "type": f"{settings.PUBLIC_URL}/problems/{problem.code}",
        "code": problem.code,
        "title": problem.code.replace("_", " ").capitalize(),
        "status": problem.status,
        "detail": problem.detail,
        "errors": problem.errors,
        **problem.extra,
    }


def headers_of(problem: Problem) -> dict[str, str]:
    headers = {}
    if problem.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="portal"'
    if problem.retry_after_s is not None:
        headers["Retry-After"] = str(problem.retry_after_s)
    return headers


def problem_handler(error: Exception, context: dict[str, Any]) -> Response:
    """DRF's exception handler: whatever went wrong in a view, as a problem object."""
    problem = as_problem(error)
    if problem.code == "internal":
        request = context["request"]
        logger.error("unhandled_error", path=request.path, exc_info=error)
        signals.got_request_exception.send(sender=None, request=request)
    if problem.afterwards is not None:
        problem.afterwards()
    headers = headers_of(problem)
    if isinstance(error, exceptions.MethodNotAllowed):
        headers["Allow"] = ", ".join(context["view"].allowed_methods)
    return Response(document(problem), status=problem.status, headers=headers, content_type=CONTENT_TYPE)


def as_problem(error: Exception) -> Problem:
    """What an exception means to the caller; nothing of an unexpected one is told."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, exceptions.ValidationError):
        return _invalid(error)
    if isinstance(error, Http404):
        return not_found()
    if isinstance(error, PermissionDenied):
        return Problem("forbidden", "You may not do this.", status=403)
    if isinstance(error, RequestDataTooBig):
        return too_large()
    if isinstance(error, SuspiciousOperation):
        return Problem("invalid", "The request is malformed.", status=400)
    if isinstance(error, exceptions.APIException):
        code = _CODES.get(type(error), "invalid")
        return Problem(code, str(error.detail), status=error.status_code)
    if isinstance(error, SERVICE_AWAY):
        return unavailable(error)
    return internal()


def unavailable(error: Exception) -> Problem:
    logger.error("service_away", error=type(error).__name__)
    return Problem("unavailable", "A service behind this API is away. Try again soon.", status=503, retry_after_s=2)


def internal() -> Problem:
    return Problem("internal", "Something went wrong on our side. It was logged; please try again.", status=500)


def too_large(max_bytes: int | None = None) -> Problem:
    limit = (max_bytes or settings.DATA_UPLOAD_MAX_MEMORY_SIZE) // 1024
    return Problem("too_large", f"A request body may have at most {limit} kB.", status=413)


def _invalid(error: exceptions.ValidationError) -> Problem:
    errors: dict[str, list[str]] = {}
    for name, sentence in _flatten(error.detail):
        errors.setdefault(name or "body", []).append(sentence)
    detail = " ".join(f"{name}: {' '.join(sentences)}" for name, sentences in errors.items())
    return Problem("invalid", detail, status=400, errors=errors)


def _flatten(detail: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """(field, sentence) pairs; a field of a sub-object is `options.base_url`."""
    if isinstance(detail, dict):
        for key, value in detail.items():
            inner = name if key == "non_field_errors" else f"{name}.{key}" if name else str(key)
            yield from _flatten(value, inner)
    elif isinstance(detail, list):
        for value in detail:
            yield from _flatten(value, name)
    else:
        yield name, str(detail)


# --- What Django itself refuses before a view is reached ----------------------------------------


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if not _is_api(request):
        return defaults.bad_request(request, exception)
    return problem_response(Problem("invalid", "The request is malformed.", status=400))


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    if not _is_api(request):
        return defaults.permission_denied(request, exception)
    return problem_response(Problem("forbidden", "You may not do this.", status=403))


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    if not _is_api(request):
        return defaults.page_not_found(request, exception)
    return no_such_path(request)


def server_error(request: HttpRequest) -> HttpResponse:
    error = sys.exc_info()[1]
    if isinstance(error, SERVICE_AWAY):
        return service_away(request, error)
    return problem_response(internal()) if _is_api(request) else defaults.server_error(request)


def service_away(request: HttpRequest, error: Exception) -> HttpResponse:
    """The database or Redis does not answer: nothing is broken, come back soon."""
    problem = unavailable(error)
    if _is_api(request):
        return problem_response(problem)
    return HttpResponse(render_to_string("503.html"), status=503, headers=headers_of(problem))


@csrf_exempt
def no_such_path(request: HttpRequest) -> HttpResponse:
    """Any path under /api/ that is none, the debug server's page left out."""
    return problem_response(Problem("not_found", "There is no such path. See /api/v1/docs/.", status=404))


def problem_response(problem: Problem) -> HttpResponse:
    return JsonResponse(
        document(problem), status=problem.status, headers=headers_of(problem), content_type=CONTENT_TYPE
    )


def _is_api(request: HttpRequest) -> bool:
    return request.path.startswith("/api/")
