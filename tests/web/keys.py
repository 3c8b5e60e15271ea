"""
What the tests of Idempotency-Key stand on: stores in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock

from restbridge.store.answers import Answers
from restbridge.store.database import Store, StoreFailed, Transaction
from restbridge.store.sqlite import SQLiteConnection
from restbridge.web.idempotency import Once
from tests.store.fakes import transacted

T = TypeVar("T")


class MemoryStore:
    """
    A L{restbridge.store.database.Store} that is gone afterwards, and works at once.

    @ivar fails: whether it fails instead.
    @ivar runs: how often it was asked for something.
    @ivar holds: whether it takes its time.
    @ivar held: what waits for it.
    """

    def __init__(self) -> None:
        self.fails = False
        self.runs = 0
        self.holds = False
        self.held: list[Deferred[None]] = []
        self._connection = SQLiteConnection(":memory:")

    async def run(self, work: Callable[[Transaction], T]) -> T:
        self.runs += 1
        if self.holds:
            self.held.append(Deferred())
            await self.held[-1]
        if self.fails:
            raise StoreFailed("/srv/secret.sqlite: disk I/O error")
        return transacted(self._connection, work)


class NoStore:
    """
    One that nobody may touch.
    """

    async def run(self, work: Callable[[Transaction], T]) -> T:
        raise AssertionError("the store was touched without need")


def once(store: Store | None = None, clock: IReactorTime | None = None, holder: str = "this") -> Once:
    """
    What APIs need; without a store for requests without keys alone.
    """
    return Once(answers=Answers(store or NoStore(), holder=holder), clock=clock or Clock())
