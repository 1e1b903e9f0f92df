"""Files of inbound messages: fetched from the carrier and kept by us, because carriers ask for keys and forget soon.

The text is delivered at once; each file is a row that waits. A worker claims a due row, talks to the carrier without a
transaction, and writes only while its claim still stands (complaints 7 and 8 of facts 5; S4.18).
"""

from __future__ import annotations

import tempfile
import time
import uuid
from datetime import timedelta
from typing import BinaryIO, cast
from urllib.parse import unquote, urljoin, urlsplit

from django.core.files.storage import default_storage
from django.db import transaction
from django.db.models import F
from django.utils.http import parse_header_parameters

from cpaas import transport
from cpaas.carriers.base import CarrierError, HttpResponse, NotTaken, Refused
from cpaas.carriers.registry import get_carrier
from cpaas.file_types import type_received
from cpaas.models import Attachment, CpaasPlatform, Message
from cpaas.models.attachments import AttachmentState
from cpaas.services.attachments import write_files
from cpaas.states import MessageStatus
from portal import clock
from portal.background import few_at_once, run_soon
from portal.events import News
from portal.logs import get_logger

logger = get_logger(__name__)
FETCH_TASK = "cpaas.tasks.fetch_media"
# More than any carrier takes in one message.
MOST_FILES = 30
LARGEST_FILE = 25 * 1024 * 1024
# Carriers answer 404 for a moment, or are away for a while; after half a day they have forgotten the file.
WAITS_S = (2, 5, 15, 60, 300, 900, 3600, 3 * 3600, 8 * 3600)
# Longer than any fetch can take.
_CLAIM = timedelta(minutes=5)
_TIMEOUT_S = 30.0
# A carrier that took so long for nothing is left alone for a while, or a hundred of its files would keep those of all
# others waiting.
_SLOW_S = 3.0
_LEFT_ALONE = timedelta(minutes=1)
_MOST_REDIRECTS = 4


def expect_media(*, message_id: uuid.UUID, number_id: uuid.UUID, user_id: uuid.UUID | None, count: int) -> None:
    """Put the `count` files of a message that is just being stored up for fetching, in its transaction."""
    now = clock.now()
    Attachment.objects.bulk_create(
        Attachment(
            created_at=now,
            message_id=message_id,
            number_id=number_id,
            user_id=user_id,
            position=position,
            state=AttachmentState.WAITING,
            sent_as="mms",
            next_try_at=now,
        )
        for position in range(count)
    )
    run_soon(FETCH_TASK)


@few_at_once(2)
def fetch_due_media() -> int:
    """Fetch every file that is due; returns how many were tried. Any number of workers may run at once."""
    done = 0
    while (row := _claim_one()) is not None:
        _fetch(row)
        done += 1
    return done


def _claim_one() -> Attachment | None:
    now = clock.now()
    due = Attachment.objects.filter(state=AttachmentState.WAITING, next_try_at__lte=now).order_by("next_try_at")
    for key in due.values_list("pk", flat=True)[:20]:
        claim = uuid.uuid4()
        if due.filter(pk=key).update(claim=claim, tries=F("tries") + 1, next_try_at=now + _CLAIM):
            rows = Attachment.objects.select_related("message__number__platform")
            return rows.filter(pk=key, claim=claim, message__isnull=False).first()
    return None


def _fetch(row: Attachment) -> None:
    message, began = row.message, time.monotonic()
    assert message is not None
    with cast(BinaryIO, tempfile.TemporaryFile()) as content:
        try:
            row.name = _download(message.number.platform, message.media_urls[row.position], content)
            row.size = content.tell()
            kind = type_received(row.name, content)
            row.content_type, row.name = kind.content_type, kind.name
            _write(row, content)
        except Refused as error:
            _give_up(row, error.detail)
        except CarrierError as error:
            _later(row, error.detail)
            if time.monotonic() - began > _SLOW_S:
                _leave_alone(message.number.platform)
        else:
            _finish(row)


def _download(platform: CpaasPlatform, url: str, content: BinaryIO) -> str:
    """Fetch into `content`; returns the file's name. Raises NotTaken, Doubtful; Refused when trying again is no use."""
    carrier, account = get_carrier(platform.carrier), platform.account()
    for _ in range(_MOST_REDIRECTS + 1):
        # Anew for each address: credentials go to the carrier's own interface and never to where it points.
        request = carrier.media_request(account, url)
        answer = transport.download(request, content, timeout_s=_TIMEOUT_S)
        if answer.status not in (301, 302, 303, 307, 308):
            break
        url = urljoin(url, answer.headers.get("location", ""))
    if content.tell() > LARGEST_FILE:
        raise Refused(f"The file has more than {LARGEST_FILE // 1024 // 1024} MB.", "too_large")
    if answer.status != 200 or not content.tell():
        raise NotTaken(f"The carrier answered {answer.status} and sent no file.", str(answer.status))
    return _name(url, answer)


def _name(url: str, answer: HttpResponse) -> str:
    try:
        _, parameters = parse_header_parameters(answer.headers.get("content-disposition", ""))
    except ValueError:  # too long, or in no alphabet that there is
        parameters = {}
    return parameters.get("filename") or unquote(urlsplit(url).path.rsplit("/", 1)[-1])


def _write(row: Attachment, content: BinaryIO) -> None:
    try:
        write_files(row, content)
    except Exception as error:  # each kind of storage has errors of its own
        logger.error("media_not_stored", attachment=str(row.pk), error=type(error).__name__)
        raise NotTaken("The file could not be stored.", "storage") from error


def _finish(row: Attachment) -> None:
    stored = {
        "state": AttachmentState.STORED,
        "name": row.name,
        "content_type": row.content_type,
        "size": row.size,
        "thumbnail_token": row.thumbnail_token,
        "error": "",
    }
    if not _write_down(row, stored):
        # Its message is gone, or another worker took it over.
        default_storage.delete(row.path)
        default_storage.delete(row.thumbnail_path)


def _later(row: Attachment, why: str) -> None:
    if row.tries > len(WAITS_S):
        _give_up(row, why)
        return
    due = clock.now() + timedelta(seconds=WAITS_S[row.tries - 1])
    mine = Attachment.objects.filter(pk=row.pk, claim=row.claim, state=AttachmentState.WAITING)
    mine.update(error=why[:300], next_try_at=due, claim=None)
    logger.info("media_later", attachment=str(row.pk), tries=row.tries, why=why)


def _leave_alone(platform: CpaasPlatform) -> None:
    """Put off what else is to be fetched there. What another worker is fetching just now goes on."""
    until = clock.now() + _LEFT_ALONE
    others = Attachment.objects.filter(state=AttachmentState.WAITING, claim=None, next_try_at__lt=until)
    others.filter(number__platform=platform).update(next_try_at=until)


def _give_up(row: Attachment, why: str) -> None:
    _write_down(row, {"state": AttachmentState.FAILED, "error": why[:300]})
    logger.warning("media_failed", attachment=str(row.pk), tries=row.tries, why=why)


def _write_down(row: Attachment, changes: dict[str, object]) -> bool:
    """Write what became of the file, if the claim still stands, and tell the user; False when it does not."""
    with transaction.atomic():
        mine = Attachment.objects.filter(pk=row.pk, claim=row.claim, state=AttachmentState.WAITING)
        if not mine.update(**changes, next_try_at=None, claim=None):
            return False
        shown = Message.objects.filter(files=row, status=MessageStatus.RECEIVED)
        message = shown.only("user_id").first()
        if message is not None:
            news = News()
            news.add(message.user_id, "message.updated", message.pk)
            news.write()
    return True
