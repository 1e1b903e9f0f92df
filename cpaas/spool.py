"""Where webhooks wait while our database is away (R37): encrypted files, flushed to disk before the carrier hears yes.

The spool belongs to one machine; every web process there drains it, oldest first, as soon as the database answers.
Draining a file twice is harmless, because taking a call in is.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import threading
import time
import uuid
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from django.conf import settings
from django.db import InterfaceError, OperationalError, close_old_connections, connection

from cpaas.carriers.base import Carrier, WebhookRequest
from cpaas.carriers.registry import get_carrier
from cpaas.models import CpaasPlatform
from cpaas.services.webhook_intake import take_in
from portal import clock
from portal.encryption import decrypt, encrypt
from portal.ids import new_id
from portal.logs import get_logger

logger = get_logger(__name__)

# The database is away; any other error is about the call itself and would come again.
DATABASE_AWAY = (OperationalError, InterfaceError)
_RETRY_S = 1.0
# No call takes so long to write.
_UNFINISHED_S = 3600
_lock = threading.Lock()
_draining = False


@dataclass(frozen=True)
class Waiting:
    """One authenticated call on disk."""

    platform_id: uuid.UUID
    carrier: str
    nonce: str
    received_at: datetime
    request: WebhookRequest


def put(platform: CpaasPlatform, nonce: str, request: WebhookRequest) -> None:
    """Write one call to disk, flushed, and drain soon. Raises OSError when the disk does not take it."""
    folder = _folder()
    record = {
        "platform_id": str(platform.pk),
        "carrier": platform.carrier,
        "nonce": nonce,
        "received_at": clock.now().isoformat(),
        "content_type": request.content_type,
        "body": base64.b64encode(request.body).decode(),
    }
    final = folder / f"{new_id()}.call"
    aside = final.with_suffix(".part")
    try:
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(encrypt(json.dumps(record)))
            file.flush()
            os.fsync(file.fileno())
        aside.rename(final)
    except OSError:
        # A disk that is full shall not fill up with what it did not take.
        aside.unlink(missing_ok=True)
        raise
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    start_draining()


def start_draining() -> None:
    """Drain in a thread of its own until the spool is empty; does nothing when it is, or when one is at it."""
    global _draining
    with _lock:
        if _draining or not _files():
            return
        _draining = True
    threading.Thread(target=_drain_until_empty, name="webhook-spool", daemon=True).start()


def drain() -> int:
    """Take in what waits, oldest first; returns how many calls. Raises what the database raises while it is away."""
    taken = 0
    for path in _files():
        try:
            waiting = _read(path)
            _take_in(waiting)
        except FileNotFoundError:
            continue  # another process of this machine was faster
        except DATABASE_AWAY:
            raise
        except Exception as error:
            # It would fail for ever and keep all others waiting; kept aside for a person to look at.
            logger.error("spooled_webhook_not_taken", file=path.name, error=type(error).__name__)
            with contextlib.suppress(FileNotFoundError):
                path.rename(path.with_suffix(".bad"))
            continue
        path.unlink(missing_ok=True)
        taken += 1
    _drop_unfinished()
    return taken


def _drain_until_empty() -> None:
    global _draining
    try:
        while _files():
            try:
                close_old_connections()
                logger.info("spool_drained", calls=drain())
            except DATABASE_AWAY:
                connection.close()
                time.sleep(_RETRY_S)
    finally:
        connection.close()
        with _lock:
            _draining = False


def _drop_unfinished() -> None:
    """What a killed process had half written: the carrier never heard yes to it."""
    for path in _folder().glob("*.part"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > _UNFINISHED_S:
                path.unlink()


def _take_in(waiting: Waiting) -> None:
    carrier: Carrier = get_carrier(waiting.carrier)
    platform = CpaasPlatform.objects.filter(pk=waiting.platform_id).first()
    if platform is None:
        raise ValueError("The platform was deleted meanwhile.")
    events = carrier.parse_webhook(platform.account(), waiting.request)
    take_in(
        platform_id=platform.pk,
        nonce=waiting.nonce,
        request=waiting.request,
        events=events,
        received_at=waiting.received_at,
    )


def _read(path: Path) -> Waiting:
    record = json.loads(decrypt(path.read_text()))
    return Waiting(
        platform_id=uuid.UUID(record["platform_id"]),
        carrier=record["carrier"],
        nonce=record["nonce"],
        received_at=datetime.fromisoformat(record["received_at"]),
        request=WebhookRequest({}, base64.b64decode(record["body"]), record["content_type"]),
    )


def _folder() -> Path:
    folder: Path = settings.VAR_DIR / "spool"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _files() -> list[Path]:
    """Oldest first: the names are UUIDv7."""
    return sorted(_folder().glob("*.call"))
