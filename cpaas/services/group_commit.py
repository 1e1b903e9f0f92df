"""Many callers, one transaction: calls that come while others are being written are written together after them.

One at a time leads: it takes all that wait, its own call first, writes them at once and hands the lead to the next in
line. So a lone call goes through without waiting, and under load the round trip, the planning and the flush to disk are
shared. Nobody is answered before its own call is committed; with a process its waiting calls die unanswered.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from django.db import connection

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


class _Caller(Generic[ItemT, ResultT]):
    """One thread in line. It is woken when its result is there, when it has to lead, or when it has to go alone."""

    def __init__(self, item: ItemT) -> None:
        self.item = item
        self.results: list[ResultT] = []
        self.leads = False
        self._woken = threading.Lock()
        self._woken.acquire()

    def wake(self) -> None:
        self._woken.release()

    def wait(self) -> None:
        self._woken.acquire()


class GroupCommit(Generic[ItemT, ResultT]):
    """`write` stores several items, all or none, and returns a result for each."""

    def __init__(self, write: Callable[[Sequence[ItemT]], list[ResultT]], *, most: int) -> None:
        self._write = write
        self._most = most
        self._lock = threading.Lock()
        self._led = False
        self._line: deque[_Caller[ItemT, ResultT]] = deque()

    def store(self, item: ItemT) -> ResultT:
        """Returns when `item` is committed. Raises what `write` raises for this item alone.

        In a transaction of the caller's it is written by itself: others must not depend on how that ends.
        """
        if connection.in_atomic_block:
            return self._write([item])[0]
        caller: _Caller[ItemT, ResultT] = _Caller(item)
        with self._lock:
            self._line.append(caller)
            caller.leads, self._led = not self._led, True
        if not caller.leads:
            caller.wait()
        if caller.leads:
            self._lead()
        # What could not be written with others is tried alone, and fails alone.
        return caller.results[0] if caller.results else self._write([item])[0]

    def _lead(self) -> None:
        with self._lock:
            group = [self._line.popleft() for _ in range(min(len(self._line), self._most))]
        try:
            results = self._write([caller.item for caller in group])
            for caller, result in zip(group, results, strict=True):
                caller.results.append(result)
        except Exception:
            # Those without a result try again alone (`store`), and hear there what is wrong.
            if len(group) == 1:
                raise
        finally:
            self._hand_on()
            for caller in group[1:]:
                caller.wake()

    def _hand_on(self) -> None:
        with self._lock:
            following = self._line[0] if self._line else None
            self._led = following is not None
        if following is not None:
            following.leads = True
            following.wake()
