"""The door to files: `/files/<token>/<name>` (contracts section 3).

Whoever has the address may read the file: the remote party, the carrier that fetches an MMS, the user's client. It is
dead as soon as the file's message is. A plain Django view, past all middleware that is for people.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import IO

from django.conf import settings
from django.core.files.storage import default_storage
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseNotModified, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import path
from django.utils.http import content_disposition_header, http_date
from django.views.decorators.csrf import csrf_exempt

from cpaas.file_types import SHOWN_IN_PLACE
from cpaas.models import Attachment
from cpaas.models.attachments import THUMBNAIL_NAME, AttachmentState
from portal.api.problems import SERVICE_AWAY, service_away
from portal.logs import get_logger

logger = get_logger(__name__)
_OPEN = (AttachmentState.UNUSED, AttachmentState.STORED)
_CHUNK = 64 * 1024
_TOKEN = re.compile(r"[A-Za-z0-9_-]{22}")
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")
# A file is never a page of ours: no script, no form, nothing from elsewhere, an origin of its own.
CONTENT_SECURITY_POLICY = "default-src 'none'; img-src 'self'; media-src 'self'; sandbox; frame-ancestors 'none'"


@csrf_exempt
def serve(request: HttpRequest, token: str, name: str) -> HttpResponseBase:
    """The file or thumbnail with that address, whole or in part; 404 for anything else."""
    if request.method not in ("GET", "HEAD"):
        return HttpResponse(status=405, headers={"Allow": "GET, HEAD"})
    try:
        row = _find(token)
    except SERVICE_AWAY as error:
        return service_away(request, error)
    if row is None:
        return _not_there()
    is_thumbnail = row.token != token
    if name != (THUMBNAIL_NAME if is_thumbnail else row.url_name):
        return _not_there()
    where = row.thumbnail_path if is_thumbnail else row.path
    etag = f'"{row.pk.hex}{"-t" if is_thumbnail else ""}"'
    if etag in request.META.get("HTTP_IF_NONE_MATCH", ""):
        answer: HttpResponseBase = HttpResponseNotModified()
    elif settings.ACCEL_FILES:
        # The web server in front has the folder, and knows ranges itself.
        answer = HttpResponse(headers={"X-Accel-Redirect": f"{settings.ACCEL_FILES.rstrip('/')}/{where}"})
    else:
        answer = _content(request, where, etag)
    if answer.status_code < 300 or answer.status_code in (304, 416):
        for header, value in _headers(row, etag, is_thumbnail).items():
            answer.headers[header] = value
    return answer


def _find(token: str) -> Attachment | None:
    """The file whose own address, or whose thumbnail's, has that token."""
    if not _TOKEN.fullmatch(token):
        return None
    return Attachment.objects.filter(Q(token=token) | Q(thumbnail_token=token), state__in=_OPEN).first()


def _headers(row: Attachment, etag: str, is_thumbnail: bool) -> dict[str, str]:
    kind = "image/jpeg" if is_thumbnail else row.content_type
    in_place = kind in SHOWN_IN_PLACE
    return {
        "Content-Type": kind,
        "Content-Disposition": str(
            content_disposition_header(not in_place, THUMBNAIL_NAME if is_thumbnail else row.name)
        ),
        "Content-Security-Policy": CONTENT_SECURITY_POLICY,
        "X-Content-Type-Options": "nosniff",
        # Asked for anew each time, so that nobody keeps it longer than we do.
        "Cache-Control": "private, no-cache",
        "ETag": etag,
        "Last-Modified": http_date(row.created_at.timestamp()),
        "X-Robots-Tag": "noindex",
    }


def _content(request: HttpRequest, where: str, etag: str) -> HttpResponseBase:
    try:
        file: IO[bytes] = default_storage.open(where)
        size = file.seek(0, 2)
    except Exception as error:  # each kind of storage has errors of its own
        # Taken away at this moment; else the storage is away or has lost it.
        logger.warning("file_not_readable", error=type(error).__name__)
        if isinstance(error, FileNotFoundError):
            return _not_there()
        return HttpResponse(status=503, headers={"Retry-After": "60"})
    first, last = 0, size - 1
    status, headers = 200, {"Accept-Ranges": "bytes"}
    wanted = _RANGE.fullmatch(request.META.get("HTTP_RANGE", "").strip())
    if wanted and any(wanted.groups()) and request.META.get("HTTP_IF_RANGE", etag) == etag:
        first, last = _part(wanted[1], wanted[2], size)
        if first > last:
            file.close()
            return HttpResponse(status=416, headers={"Content-Range": f"bytes */{size}"})
        status, headers["Content-Range"] = 206, f"bytes {first}-{last}/{size}"
    headers["Content-Length"] = str(last - first + 1)
    if request.method == "HEAD":
        file.close()
        return HttpResponse(status=status, headers=headers)
    return StreamingHttpResponse(_Part(file, first, last - first + 1), status=status, headers=headers)


def _part(first: str, last: str, size: int) -> tuple[int, int]:
    """The first and last byte that `first-last` means of so many; first behind last when there is no such part."""
    if not first:
        return max(size - int(last), 0), size - 1
    return int(first), min(int(last), size - 1) if last else size - 1


class _Part:
    """`length` bytes of a file from byte `first` on, piece by piece; closed with the response, read or not."""

    def __init__(self, file: IO[bytes], first: int, length: int) -> None:
        self._file, self._left = file, length
        file.seek(first)

    def __iter__(self) -> Iterator[bytes]:
        while self._left > 0 and (piece := self._file.read(min(_CHUNK, self._left))):
            self._left -= len(piece)
            yield piece

    def close(self) -> None:
        self._file.close()


def _not_there() -> HttpResponse:
    response = HttpResponse("There is no such file, or it has expired.", status=404, content_type="text/plain")
    response._has_been_logged = True  # type: ignore[attr-defined]  # addresses of files belong into no log
    return response


serve.opens_by_address = True  # type: ignore[attr-defined]  # what the walk of tests/isolation has to know

urlpatterns = [path("files/<str:token>/<str:name>", serve)]
