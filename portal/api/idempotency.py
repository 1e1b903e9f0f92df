"""`Idempotency-Key`: the same POST again gets the first answer and does nothing twice (contracts section 0).

The first request claims the key; its answer is stored, sealed like a secret because it may hold one. For services that
stay in the database claim, change and answer are one transaction: a crash leaves none of them, so whoever asks again is
answered at once, and a second request waits for the first. Around a service that asks a carrier the claim is committed
before; one whose process died lapses after two minutes.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar, cast

from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError, transaction
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.encoders import JSONEncoder

from portal import clock
from portal.api import problems
from portal.api.uploads import ReceivedFile
from portal.encryption import decrypt, encrypt
from portal.models import EndUser, IdempotencyKey, PortalAccount
from portal.problems import Problem, conflict, invalid
from portal.scoping import parse_id

HEADER = "Idempotency-Key"
LONGEST_KEY = 200
KEPT = timedelta(hours=24)
_DEAD_AFTER = timedelta(minutes=2)


PostT = TypeVar("PostT", bound=Callable[..., Response])


def idempotent(*, talks_outside: bool | Callable[[Request], bool] = False) -> Callable[[PostT], PostT]:
    """Decorates a view's `post`. `talks_outside`: no transaction may be open while its service asks a carrier; or
    says of a request whether that is so."""

    def decorate(post: PostT) -> PostT:
        @functools.wraps(post)
        def wrapped(view: Any, request: Request, **kwargs: Any) -> Response:
            key = _key_of(request)
            if key is None:
                return post(view, request, **kwargs)
            is_outside = talks_outside(request) if callable(talks_outside) else talks_outside
            answer_once = _answer_outside if is_outside else _answer_inside
            return answer_once(request, key, lambda: post(view, request, **kwargs))

        wrapped.honours_idempotency_key = True  # type: ignore[attr-defined]
        return wrapped  # type: ignore[return-value]

    return decorate


def _key_of(request: Request) -> str | None:
    key: str = request.headers.get(HEADER, "").strip()
    if len(key) > LONGEST_KEY:
        raise invalid(**{HEADER: f"The {HEADER} header may have at most {LONGEST_KEY} characters."})
    return key or None


def _claim(request: Request, key: str) -> IdempotencyKey:
    """The key's row: ours to work under, or the stored answer of an earlier request.

    Raises Problem `idempotency_mismatch`, `idempotency_in_progress`.
    """
    owner = cast(EndUser | PortalAccount, request.user).pk
    row = IdempotencyKey(
        owner=owner, path=request.path[:200], key=key, body_digest=_digest(request), created_at=clock.now()
    )
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError:
        return _claim_known(row)
    return row


def _claim_known(wanted: IdempotencyKey) -> IdempotencyKey:
    row = IdempotencyKey.objects.filter(owner=wanted.owner, path=wanted.path, key=wanted.key).first()
    now = clock.now()
    if row is None:
        raise _in_progress()
    age = now - row.created_at
    if age <= KEPT and row.body_digest != wanted.body_digest:
        raise conflict("idempotency_mismatch", f"This {HEADER} was used with another body. Use a new key.")
    if age <= KEPT and row.status is not None:
        return row
    if row.status is None and age <= _DEAD_AFTER:
        raise _in_progress()
    # Outlived its day, or whoever ran it died: take it over, unless another request just did.
    fresh = {"body_digest": wanted.body_digest, "status": None, "answer": None, "object_id": None, "created_at": now}
    seen = IdempotencyKey.objects.filter(pk=row.pk, created_at=row.created_at, status=row.status)
    if not seen.update(**fresh):
        raise _in_progress()
    return IdempotencyKey(pk=row.pk, **fresh)


def _answer_inside(request: Request, key: str, work: Callable[[], Response]) -> Response:
    """Claim, work and answer in one transaction."""
    claim = None
    try:
        with transaction.atomic():
            claim = _claim(request, key)
            if claim.status is not None:
                return _stored_answer(claim)
            response = work()
            _keep(claim, response.status_code, response.data)
            return response
    except Exception as error:
        problem = problems.as_problem(error)
        if claim is not None and _is_final(problem):
            with transaction.atomic():
                # The first claim went with the work; a request that was waiting for us may have its own by now.
                claim = _claim(request, key)
                if claim.status is None:
                    _keep(claim, problem.status, problems.document(problem))
        raise


def _answer_outside(request: Request, key: str, work: Callable[[], Response]) -> Response:
    """Claim, then work with no transaction open, then keep the answer."""
    claim = _claim(request, key)
    if claim.status is not None:
        return _stored_answer(claim)
    try:
        response = work()
        _keep(claim, response.status_code, response.data)
    except Exception as error:
        problem = problems.as_problem(error)
        if _is_final(problem):
            _keep(claim, problem.status, problems.document(problem))
        else:
            IdempotencyKey.objects.filter(pk=claim.pk, created_at=claim.created_at).delete()
        raise
    return response


def _is_final(problem: Problem) -> bool:
    """Whether the same request will always get this answer."""
    return problem.status < 500 and problem.status != 429


def _keep(claim: IdempotencyKey, status: int, data: Any) -> None:
    """Store the answer, unless the claim is no longer ours."""
    created = data.get("id") if isinstance(data, dict) and status < 300 else None
    IdempotencyKey.objects.filter(pk=claim.pk, created_at=claim.created_at).update(
        status=status,
        answer={"sealed": encrypt(json.dumps(data, cls=JSONEncoder))},
        object_id=parse_id(created) if created else None,
    )


def _stored_answer(row: IdempotencyKey) -> Response:
    assert row.status is not None
    try:
        data = json.loads(decrypt((row.answer or {}).get("sealed", "")))
    except (ImproperlyConfigured, ValueError) as error:
        # Its encryption key is gone. What was done must not be done again.
        raise conflict("idempotency_mismatch", "The first answer can no longer be read. Use a new key.") from error
    content_type = problems.CONTENT_TYPE if row.status >= 400 else None
    return Response(data, status=row.status, content_type=content_type)


def _digest(request: Request) -> str:
    parameters = sorted(request.query_params.lists())
    text = json.dumps([request.data, parameters], sort_keys=True, default=ReceivedFile.identity)
    return hashlib.sha256(text.encode()).hexdigest()


def _in_progress() -> Problem:
    return Problem(
        "idempotency_in_progress", "The first request with this key is still running.", status=409, retry_after_s=1
    )
