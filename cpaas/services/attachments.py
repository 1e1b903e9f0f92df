"""Files of users: taken in, kept until a message takes them, sent along as MMS or as a link (S1.37–S1.39, R14)."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import BinaryIO

from django.conf import settings
from django.core.files.base import ContentFile, File
from django.core.files.storage import default_storage

from cpaas.file_types import ALLOWED, MMS_TYPES, FileType, TypeNotAllowed, type_to_send
from cpaas.models import Attachment, CpaasNumber, Message
from cpaas.models.attachments import AttachmentState, new_file_token
from cpaas.services.discarding import discard
from cpaas.services.thumbnails import make_thumbnail
from portal import clock
from portal.logs import get_logger
from portal.models import EndUser
from portal.outside import refuse_open_transaction
from portal.problems import Problem, no_room

logger = get_logger(__name__)
MOST_FILES = 10
# What a user may have lying about unused: a stolen token must not fill the storage.
_MOST_UNUSED = 100
_MOST_UNUSED_BYTES = 500 * 1024 * 1024


@dataclass(frozen=True)
class Parcel:
    """The files of one message, decided: which go as MMS, which as a link, and the text with its links."""

    text: str
    files: Sequence[Attachment] = ()

    @property
    def kind(self) -> str:
        return "mms" if any(each.sent_as == "mms" for each in self.files) else "sms"


def store_upload(*, user: EndUser, name: str, content: BinaryIO, size: int) -> Attachment:
    """Take in a file of `size` bytes; no transaction may be open. Its row comes first, so that a process that is killed
    leaves no file that nobody knows of.

    Raises Problem `type_not_allowed` (415, S1.39), `invalid` (empty), `too_many_files` (409), `unavailable` (503).
    """
    refuse_open_transaction()
    if not size:
        raise Problem("invalid", "The file is empty.", errors={"file": ["The file is empty."]})
    kind = _allowed_type(name, content)
    _require_room(user, size)
    row = Attachment.objects.create(
        created_at=clock.now(),
        user=user,
        state=AttachmentState.UPLOADING,
        name=kind.name,
        content_type=kind.content_type,
        size=size,
        tries=1,
    )
    try:
        write_files(row, content)
    except Exception as error:  # each kind of storage has errors of its own
        logger.error("upload_not_stored", error=type(error).__name__, detail=str(error)[:200])
        discard(row)
        raise no_room() from error
    row.state = AttachmentState.UNUSED
    # Unless it was taken for abandoned meanwhile.
    still = Attachment.objects.filter(pk=row.pk, state=AttachmentState.UPLOADING)
    if not still.update(state=row.state, thumbnail_token=row.thumbnail_token):
        raise no_room()
    return row


def write_files(row: Attachment, content: BinaryIO) -> None:
    """Write the file of `row`, and its thumbnail where it can have one, into the storage. Raises what that raises."""
    thumbnail = make_thumbnail(row.content_type, content)
    default_storage.save(row.path, File(content))
    if thumbnail is not None:
        default_storage.save(row.thumbnail_path, ContentFile(thumbnail))
        row.thumbnail_token = new_file_token()


def pack(*, number: CpaasNumber, text: str, files: Sequence[Attachment]) -> Parcel:
    """Decide how the unused `files` go with `text` from `number`: those every carrier takes, while their total is small
    enough, as MMS where number and platform have it; the others as links behind the text (R12, R14, S4.18, S4.19)."""
    if not files:
        return Parcel(text)
    as_mms = {row.pk for row in files if row.content_type in MMS_TYPES}
    total = sum(row.size for row in files if row.pk in as_mms)
    if not number.mms_effective or total > number.platform.option("mms_limit_bytes"):
        as_mms = set()
    for position, row in enumerate(files):
        row.position, row.sent_as = position, "mms" if row.pk in as_mms else "link"
    links = [row.url for row in files if row.sent_as == "link"]
    return Parcel("\n".join([text, *links] if text.strip() else links), files)


def attach(parcel: Parcel, message: Message) -> None:
    """Give the files to `message`, each once, in the caller's transaction. Raises Problem `unknown_attachment`."""
    for row in parcel.files:
        taken = Attachment.objects.filter(pk=row.pk, state=AttachmentState.UNUSED).update(
            state=AttachmentState.STORED,
            message=message,
            number=message.number,
            position=row.position,
            sent_as=row.sent_as,
        )
        if not taken:
            raise unknown_attachment()


def mms_urls(message_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, list[str]]:
    """Where the carrier gets the files of these outbound messages that go as MMS; no query for none."""
    files = files_of(message_ids)
    return {key: [row.url for row in rows if row.sent_as == "mms"] for key, rows in files.items()}


def files_of(message_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, list[Attachment]]:
    """The files of these messages, in their order, also those that are still to come or never came."""
    found: dict[uuid.UUID, list[Attachment]] = defaultdict(list)
    wanted = list(message_ids)
    rows = Attachment.objects.filter(message_id__among=wanted).order_by("message_id", "position")
    for row in rows if wanted else ():
        assert row.message_id is not None
        found[row.message_id].append(row)
    return found


def expected_way(user: EndUser, row: Attachment) -> str:
    """How an unused file will go, `mms` or `link`, when it is sent alone from a number that can do most."""
    if row.content_type in MMS_TYPES:
        for number in CpaasNumber.objects.visible_to(user).select_related("platform")[:20]:
            if number.mms_effective and row.size <= number.platform.option("mms_limit_bytes"):
                return "mms"
    return "link"


def unknown_attachment() -> Problem:
    sentence = "There is no such attachment, or it was sent already."
    return Problem("unknown_attachment", sentence, errors={"attachments": [sentence]})


def _allowed_type(name: str, content: BinaryIO) -> FileType:
    try:
        return type_to_send(name, content)
    except TypeNotAllowed as error:
        allowed = list(ALLOWED)
        sentence = f"{error} Allowed are {', '.join(allowed)}."
        raise Problem(
            "type_not_allowed", sentence, status=415, errors={"file": [sentence]}, allowed_types=allowed
        ) from error


def _require_room(user: EndUser, size: int) -> None:
    """Raises Problem `too_many_files` when the user has too much that no message has taken."""
    unused = Attachment.objects.filter(
        user=user,
        state__in=[AttachmentState.UPLOADING, AttachmentState.UNUSED],
        created_at__gt=clock.now() - timedelta(hours=settings.UNUSED_FILE_HOURS),
    )[:_MOST_UNUSED]
    sizes = list(unused.values_list("size", flat=True))
    if len(sizes) == _MOST_UNUSED or sum(sizes) + size > _MOST_UNUSED_BYTES:
        raise Problem(
            "too_many_files",
            "You have uploaded many files that no message has used. Send some of them, or wait until tomorrow.",
            status=409,
        )
