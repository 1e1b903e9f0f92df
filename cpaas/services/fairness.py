"""Which conversations are next: fairly over the platforms, so that nobody waits behind somebody else's queue.

A platform belongs to one system provider, so a tenant with 100,000 texts waiting takes no more of the next places than
one with a single text; places that others do not need it has for itself. Of one platform, half of the places go to
those that are due longest and half to those that became due last: so a number with a long queue holds up no other
number's next text either, and what waits longest gets on all the same. A platform whose carrier asked for a pause
(facts 4.7) is passed over until that is over.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Collection
from datetime import datetime

from django.db import connection

from portal.sql import as_uuid, execute, execute_prepared

# The platforms with something to send are found by leaps along the index, however long their queues are. When there are
# more of them than places, it is a matter of luck who is among the next; looks are many.
_PLATFORMS = """
    WITH RECURSIVE platform (id) AS (
        (SELECT outbox_platform FROM cpaas_conversation WHERE outbox_at IS NOT NULL ORDER BY outbox_platform LIMIT 1)
        UNION ALL
        SELECT (
            SELECT c.outbox_platform FROM cpaas_conversation c
            WHERE c.outbox_at IS NOT NULL AND c.outbox_platform > platform.id ORDER BY c.outbox_platform LIMIT 1
        ) FROM platform WHERE platform.id IS NOT NULL
    ), due AS MATERIALIZED (
        SELECT id FROM platform WHERE EXISTS (
            SELECT 1 FROM cpaas_conversation c WHERE c.outbox_platform = platform.id AND {waiting}
        ) AND NOT EXISTS (
            SELECT 1 FROM cpaas_cpaasplatform p WHERE p.id = platform.id AND p.paused_until > %(now)s
        ) AND id <> ALL(%(passed)s::uuid[]) ORDER BY random() LIMIT %(limit)s
    ), share AS MATERIALIZED (SELECT (%(limit)s + count(*) - 1) / greatest(count(*), 1) AS places FROM due)
"""
_WAITING = "c.outbox_at <= %(now)s AND c.id <> ALL(%(taken)s::uuid[])"
_OF_PLATFORM = """
    SELECT id FROM (
        SELECT c.id FROM cpaas_conversation c WHERE c.outbox_platform = due.id AND {waiting}
        ORDER BY c.outbox_at {direction} LIMIT (SELECT {places} FROM share) FOR UPDATE SKIP LOCKED
    ) {name}
"""
_OLDEST = _OF_PLATFORM.format(waiting=_WAITING, direction="", places="(places + 1) / 2", name="oldest")
_NEWEST = _OF_PLATFORM.format(waiting=_WAITING, direction="DESC", places="places / 2", name="newest")
_DUE = f"""
    {_PLATFORMS.format(waiting=_WAITING)}
    SELECT next.id, due.id, (SELECT places FROM share)
    FROM due, LATERAL ({_OLDEST} UNION ALL {_NEWEST}) next LIMIT %(limit)s
"""  # noqa: S608 - made of constants
# SQLite has no LATERAL; its queues are short.
_DUE_ON_SQLITE = """
    SELECT id FROM (
        SELECT c.id, c.outbox_at, row_number() OVER oldest AS oldest, row_number() OVER newest AS newest
        FROM cpaas_conversation c WHERE c.outbox_at <= %(now)s AND NOT EXISTS (
            SELECT 1 FROM cpaas_cpaasplatform p WHERE p.id = c.outbox_platform AND p.paused_until > %(now)s
        ) AND c.outbox_platform NOT IN ({passed})
        WINDOW oldest AS (PARTITION BY c.outbox_platform ORDER BY c.outbox_at),
               newest AS (PARTITION BY c.outbox_platform ORDER BY c.outbox_at DESC)
    ) AS waiting ORDER BY min(2 * oldest - 1, 2 * newest), outbox_at LIMIT %(limit)s
"""


def lock_due(limit: int, now: datetime, passed: Collection[uuid.UUID] = ()) -> list[uuid.UUID]:
    """Up to `limit` conversations that are due, locked until commit; what others have locked is left to them, and so
    are the platforms `passed` over."""
    if connection.vendor != "postgresql":
        return _due_on_sqlite(limit, now, passed)
    taken: dict[uuid.UUID, None] = {}
    while len(taken) < limit:
        wanted = {"limit": limit - len(taken), "taken": list(taken), "passed": list(passed)}
        rows = execute_prepared(_DUE, {"now": now, **wanted})
        # The halves overlap where a queue is short, or all of it became due at once.
        taken |= dict.fromkeys(row[0] for row in rows)
        # Once more only when a platform may have more than its share.
        if not any(count >= share for (_, share), count in Counter(row[1:] for row in rows).items()):
            break
    return list(taken)


def _due_on_sqlite(limit: int, now: datetime, passed: Collection[uuid.UUID]) -> list[uuid.UUID]:
    named = {f"passed{n}": key for n, key in enumerate(passed)}
    statement = _DUE_ON_SQLITE.format(passed=", ".join(f"%({name})s" for name in named))
    return [as_uuid(row[0]) for row in execute(statement, {"now": now, "limit": limit, **named})]
