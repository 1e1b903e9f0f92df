"""Row ids: UUIDv7 (RFC 9562), so that the primary key is also the order of creation and every list pages by it."""

from __future__ import annotations

import uuid

from uuid_utils.compat import uuid7


def new_id() -> uuid.UUID:
    return uuid7()
