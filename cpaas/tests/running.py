"""A dispatcher running in a thread of the test process, and what one does step by step."""

from __future__ import annotations

import asyncio
import threading
import uuid
from types import TracebackType
from typing import Self

from cpaas.dispatch import Dispatcher
from cpaas.services.claiming import Claimed, begin_texts, reserve_texts
from portal.residents.database import close_database_threads


class DispatcherThread:
    """`with DispatcherThread():` texts are sent meanwhile."""

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        asyncio.run_coroutine_threadsafe(self._dispatcher.stop(), self._loop).result(5)
        self._thread.join(20)
        close_database_threads()
        assert not self._thread.is_alive()

    def _run(self) -> None:
        async def serve() -> None:
            await self._dispatcher.run()

        self._dispatcher = Dispatcher(holder="test")
        self._loop.run_until_complete(serve())
        self._loop.close()


def claim_texts(limit: int, claim: uuid.UUID) -> list[Claimed]:
    """Up to `limit` texts that are now the caller's to hand over."""
    return begin_texts(reserve_texts(limit, claim))
