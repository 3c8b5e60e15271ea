"""
Work that would hold up the reactor, on threads, a few pieces at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, DeferredSemaphore

T = TypeVar("T")

Threads = Callable[[Callable[[], Any]], Deferred[Any]]
"""Calls a function on a thread, like C{deferToThread}."""

AT_ONCE = 2
"""Pieces at the same time: hashes keep a processor busy, and Argon2's take 64 MiB each by default."""


class Workers:
    """
    As many threads as may work at once; what else there is to do waits in line.
    """

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self._free = DeferredSemaphore(AT_ONCE)

    async def run(self, work: Callable[[], T]) -> T:
        """
        What C{work} returns, called on a thread.
        """
        await self._free.acquire()
        # No thread can be stopped: its place is free when it is done, also if nobody waits any more.
        outcome: Deferred[T] = Deferred()
        working = self._threads(work)
        working.addBoth(self._release)
        working.chainDeferred(outcome)
        return await outcome

    def _release(self, result: T) -> T:
        self._free.release()
        return result
