"""Where webhooks wait while our database is away (R37): encrypted files, flushed to disk before the carrier hears yes.

The spool belongs to one machine. Every web process there has a keeper, a thread that drains it, oldest first, as soon
as the database answers. Draining a file twice is harmless, because taking a call in is.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
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
_UNFINISHED = timedelta(hours=1)
# A keeper also looks unasked: what another process of the machine left when it died must not wait for the next outage.
_LOOK_S = 300
_look = threading.Event()
_lock = threading.Lock()
_keeper: threading.Thread | None = None


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
        "url": request.url,
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
    """Have this process's keeper drain the spool now, until it is empty."""
    global _keeper
    with _lock:
        # After a fork the child has the object but not the thread.
        if _keeper is None or not _keeper.is_alive():
            _keeper = threading.Thread(target=_keep, name="webhook-spool", daemon=True)
            _keeper.start()
    _look.set()


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
    _drop_old()
    return taken


def set_aside() -> list[Path]:
    """Files of this machine with calls that could not be taken in, oldest first."""
    return sorted(_folder().glob("*.bad"))


def read_set_aside(path: Path) -> Waiting:
    """What is in one of them. Raises whatever keeps it from being read: a key that is gone, a file that was cut."""
    return _read(path)


def retry_set_aside() -> Iterator[tuple[str, str]]:
    """Take in what was set aside, oldest first: the name of each file, and "" or why it stays.

    Raises what the database raises while it is away.
    """
    for path in set_aside():
        try:
            _take_in(_read(path))
        except DATABASE_AWAY:
            raise
        except Exception as error:
            yield path.name, reason(error)
        else:
            path.unlink(missing_ok=True)
            yield path.name, ""


def reason(error: Exception) -> str:
    """Why a file could not be taken in, in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def count_waiting() -> tuple[str, str, float]:
    """For /metrics: calls of this machine that wait for the database."""
    return "portal_webhooks_spooled", "Webhook calls on this machine's disk, to be taken in.", len(_files())


def count_set_aside() -> tuple[str, str, float]:
    """For /metrics: calls of this machine that cannot be taken in."""
    return "portal_webhooks_set_aside", "Spooled webhook calls that failed, for a person to look at.", len(set_aside())


def _keep() -> None:
    while True:
        _look.wait(_LOOK_S)
        # Before the look at the folder: a call that is put after it is looked for again.
        _look.clear()
        try:
            _drain_until_empty()
        except Exception as error:
            if not isinstance(error, DATABASE_AWAY):
                logger.error("spool_not_drained", error=type(error).__name__)
            time.sleep(_RETRY_S)
            _look.set()
        finally:
            connection.close()


def _drain_until_empty() -> None:
    while True:
        close_old_connections()
        if taken := drain():
            logger.info("spool_drained", calls=taken)
        if not _files():
            return


def _drop_old() -> None:
    """What a killed process had half written, to which the carrier never heard yes; and what was set aside, when its
    message would be purged (R18)."""
    for pattern, age in (("*.part", _UNFINISHED), ("*.bad", timedelta(days=settings.RETENTION_DAYS))):
        for path in _older(pattern, age):
            path.unlink(missing_ok=True)


def _older(pattern: str, age: timedelta) -> Iterator[Path]:
    for path in _folder().glob(pattern):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > age.total_seconds():
                yield path


def _take_in(waiting: Waiting) -> None:
    carrier: Carrier = get_carrier(waiting.carrier)
    platform = CpaasPlatform.objects.filter(pk=waiting.platform_id).first()
    if platform is None:
        raise ValueError("The platform was deleted meanwhile.")
    for call in carrier.separate(waiting.request):
        take_in(
            platform_id=platform.pk,
            nonce=waiting.nonce,
            request=call,
            events=carrier.parse_webhook(platform.account(), call),
            received_at=waiting.received_at,
        )


def _read(path: Path) -> Waiting:
    record = json.loads(decrypt(path.read_text()))
    return Waiting(
        platform_id=uuid.UUID(record["platform_id"]),
        carrier=record["carrier"],
        nonce=record["nonce"],
        received_at=datetime.fromisoformat(record["received_at"]),
        request=WebhookRequest({}, base64.b64decode(record["body"]), record["content_type"], record.get("url", "")),
    )


def _folder() -> Path:
    folder: Path = settings.VAR_DIR / "spool"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _files() -> list[Path]:
    """Oldest first: the names are UUIDv7."""
    return sorted(_folder().glob("*.call"))
