"""Row ids: UUIDv7 (RFC 9562), so that the primary key is also the order of creation and every list pages by it."""

from __future__ import annotations

import uuid
from datetime import datetime

from uuid_utils.compat import uuid7


def new_id() -> uuid.UUID:
    return uuid7()


def new_id_at(at: datetime) -> uuid.UUID:
    """A new id as a row made at `at` has it: for what happened earlier than it is stored."""
    return uuid7(nanoseconds=int(at.timestamp() * 1_000_000) * 1000)


def first_id_at(at: datetime) -> uuid.UUID:
    """The smallest id a row made at `at` or later can have: an index range over ids is one over creation times."""
    milliseconds = min(max(int(at.timestamp() * 1000), 0), 2**48 - 1)
    return uuid.UUID(int=milliseconds << 80 | 7 << 76 | 2 << 62)
