"""Taking files away: marked in the transaction that deletes their message, so that their addresses are dead when it
commits; then the files go, then the rows. Whatever dies in between, the next sweep goes on (R18)."""

from __future__ import annotations

import uuid
from datetime import timedelta

from django.conf import settings
from django.core.files.storage import default_storage
from django.db.models import Q, QuerySet

from cpaas.models import Attachment
from cpaas.models.attachments import AttachmentState
from portal import clock
from portal.logs import get_logger
from portal.models import IdempotencyKey

logger = get_logger(__name__)
_ABANDONED = (AttachmentState.UPLOADING, AttachmentState.UNUSED)
_BATCH = 500


def mark_gone(rows: QuerySet[Attachment]) -> int:
    """Cut `rows` off from their messages, and take their kept answers away; returns how many. Runs in the caller's
    transaction, after which the rows are `discard_gone`'s."""
    IdempotencyKey.objects.filter(object_id__in=rows.values("pk"))._raw_delete(rows.db)
    return rows.update(
        state=AttachmentState.GONE, message=None, user=None, name="", thumbnail_token=None, claim=None, error=""
    )


def discard(row: Attachment) -> None:
    """Take one file away at once."""
    mark_gone(Attachment.objects.filter(pk=row.pk))
    _discard([row])


def discard_gone(*, number_id: uuid.UUID | None = None, most: int | None = None) -> int:
    """Remove the files of what is gone, of one number or of all, then the rows; returns how many. Safe to interrupt,
    and to run twice at once."""
    gone = Attachment.objects.filter(state=AttachmentState.GONE).order_by("pk")
    if number_id is not None:
        gone = gone.filter(number_id=number_id)
    done, last = 0, uuid.UUID(int=0)
    while most is None or done < most:
        rows = list(gone.filter(pk__gt=last)[: min(_BATCH, most or _BATCH)])
        if not rows:
            break
        last = rows[-1].pk
        done += _discard(rows)
    return done


def discard_abandoned() -> int:
    """Take away what was uploaded a day ago and no message has used, and uploads that broke off; returns how many."""
    old = clock.now() - timedelta(hours=settings.UNUSED_FILE_HOURS)
    return mark_gone(Attachment.objects.filter(state__in=_ABANDONED, created_at__lt=old))


def _discard(rows: list[Attachment]) -> int:
    """What the storage does not let go stays for the next time, and so does what a worker may just be fetching."""
    removed = [row.pk for row in rows if _remove_files(row)]
    idle = Q(next_try_at=None) | Q(next_try_at__lte=clock.now())
    Attachment.objects.filter(idle, pk__among=removed, state=AttachmentState.GONE)._raw_delete(Attachment.objects.db)
    return len(removed)


def _remove_files(row: Attachment) -> bool:
    try:
        for path in row.all_paths():
            default_storage.delete(path)
    except Exception as error:  # each kind of storage has errors of its own
        logger.warning("file_not_removed", attachment=str(row.pk), error=type(error).__name__)
        return False
    return True
