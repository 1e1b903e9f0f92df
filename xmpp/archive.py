"""Reading an account's archive from where it is known to where it ends (XEP-0313)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from xml.etree.ElementTree import Element

from django.conf import settings

from xmpp.building import build_archive_query, build_newest_query
from xmpp.requests import RequestRefused
from xmpp.stanzas import ArchivePage, News, read_archive_end

PAGE = 100
# The cursor of an archive that was empty when we first looked: all that it has is new.
FROM_THE_START = "*"
# What a server says that has no archive for the account. Anything else may be better the next time.
_NO_ARCHIVE = frozenset({"service-unavailable", "feature-not-implemented", "forbidden", "not-allowed"})

Ask = Callable[[str, str], Awaitable[Element]]
Store = Callable[[Sequence[News], str], Awaitable[None]]


class Archive:
    """The archive of one account. Results come as messages, before the answer to the query: `add` takes them.

    What was archived before `begins` is not ours, when it is not known before the first session.

    `cursor` is the id of the newest message of which all older ones are stored; "" before the first look. Nothing that
    was archived before `since` is new: so far back is asked for when the archive no longer knows the cursor. What is
    stored already is recognised.
    """

    def __init__(self, cursor: str, begins: datetime | None, since: datetime, ask: Ask, store: Store) -> None:
        self.cursor = cursor
        self._begins = begins
        self._since, self._ask, self._store = since, ask, store
        self._page: list[News] = []
        self._oldest = since

    def add(self, news: News, archived_at: datetime | None) -> None:
        # Some servers answer with all they have when they do not know the cursor.
        if archived_at is None or archived_at >= self._oldest:
            self._page.append(news)

    async def begin(self) -> None:
        """Find where what is ours begins: older messages stay where they were written. To be called before the first
        presence, so that nothing that is said to us counts as older."""
        if self.cursor:
            return
        try:
            # Archives may know whole seconds only.
            until = self._begins - timedelta(seconds=1) if self._begins else None
            newest = read_archive_end(await self._ask("set", build_newest_query(until)))
        except RequestRefused as error:
            if error.condition in _NO_ARCHIVE:
                return
            raise
        self._page = []
        self.cursor = newest.last or FROM_THE_START
        await self._store([], self.cursor)

    async def read(self) -> None:
        """Store what is new, page by page; each is stored before the next is asked for.

        A server without an archive has nothing new. Raises RequestFailed, and what `store` raises: what is left is read
        the next time.
        """
        if not self.cursor:
            return
        # What would have been purged by now is not taken in again (R18).
        self._oldest = max(self._since, datetime.now(UTC) - timedelta(days=settings.RETENTION_DAYS))
        page, since, looked_back = None, None, False
        while page is None or not page.complete:
            try:
                page = await self._read_page(since)
            except RequestRefused as error:
                if error.condition == "item-not-found" and not looked_back:
                    since, looked_back = self._oldest, True
                elif error.condition in _NO_ARCHIVE and page is None:
                    return
                else:
                    raise
            else:
                since = None

    async def _read_page(self, since: datetime | None) -> ArchivePage:
        """The page after the cursor, or the first since that time."""
        after = "" if since is not None or self.cursor == FROM_THE_START else self.cursor
        self._page = []
        end = read_archive_end(await self._ask("set", build_archive_query(page_size=PAGE, after=after, since=since)))
        page, self._page = self._page, []
        if page or end.last:
            await self._store(page, end.last)
        self.cursor = end.last or self.cursor
        return end
