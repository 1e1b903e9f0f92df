"""Reading an account's archive from where it is known to where it ends (XEP-0313)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from xml.etree.ElementTree import Element

from slixmpp.exceptions import IqError

from xmpp.stanzas import News, build_archive_query, build_newest_query, read_archive_end

PAGE = 100
# The cursor of an archive that was empty when we first looked: all that it has is new.
FROM_THE_START = "*"
# Of an archive that no longer knows where we stopped, so far back is asked for; what is stored already is recognised.
LOOK_BACK = timedelta(days=2)

Ask = Callable[[str, Element], Awaitable[Element]]
Store = Callable[[Sequence[News], str], Awaitable[None]]


class Archive:
    """The archive of one account. Results come as messages, before the answer to the query: `add` takes them.

    `cursor` is the id of the newest message of which all older ones are stored; "" before the first look.
    """

    def __init__(self, cursor: str, ask: Ask, store: Store) -> None:
        self.cursor = cursor
        self._ask, self._store = ask, store
        self._page: list[News] = []

    def add(self, news: News) -> None:
        self._page.append(news)

    async def read(self) -> None:
        """Store what is new, page by page; each is stored before the next is asked for.

        A server without an archive has nothing new. Raises slixmpp's IqTimeout and what `store` raises.
        """
        if not self.cursor:
            await self._begin()
            return
        after, since = "" if self.cursor == FROM_THE_START else self.cursor, None
        complete = False
        while not complete:
            self._page = []
            try:
                query = build_archive_query(page_size=PAGE, after=after, since=since)
                end = read_archive_end(await self._ask("set", query))
            except IqError as error:
                if error.condition != "item-not-found" or since is not None:
                    return
                after, since = "", datetime.now(UTC) - LOOK_BACK
                continue
            page, self._page = self._page, []
            await self._store(page, end.last)
            self.cursor = end.last or self.cursor
            after, since, complete = end.last, None, end.complete

    async def _begin(self) -> None:
        """With the account's first session begins what we know: older messages stay where they were written."""
        try:
            newest = read_archive_end(await self._ask("set", build_newest_query()))
        except IqError:
            return
        self._page = []
        self.cursor = newest.last or FROM_THE_START
        await self._store([], self.cursor)
