"""
Stores in memory: one that works, and one whose database the test plays: when it answers, and whether.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

from restbridge.store.database import StoreFailed, Transaction
from restbridge.store.sqlite import SQLiteConnection

T = TypeVar("T")


def transacted(connection: SQLiteConnection, work: Callable[[Transaction], T]) -> T:
    """
    What C{work} returns, done as one transaction.
    """
    connection.begin()
    try:
        result = work(connection)
    except BaseException:
        connection.rollback()
        raise
    connection.commit()
    return result


class MemoryStore:
    """
    A L{restbridge.store.database.Store} that is gone afterwards, and works at once.
    """

    def __init__(self) -> None:
        self._connection = SQLiteConnection(":memory:")

    async def run(self, work: Callable[[Transaction], T]) -> T:
        return transacted(self._connection, work)


class FakeStore:
    """
    A L{restbridge.store.database.Store} over a real SQLite, without a thread.

    What it is asked is done, and answered, in the order in which it was asked, as by the real one.

    @ivar holds: whether work waits until the test has it done; otherwise it is done at once.
    @ivar broken: whether nothing can be read or written.
    @ivar lies: whether what fails has been committed all the same, as when a server is lost at that moment.
    @ivar waiting: how much work there is that waits.
    """

    def __init__(self, connection: SQLiteConnection | None = None) -> None:
        self.connection = connection or SQLiteConnection(":memory:")
        self.holds = False
        self.broken = False
        self.lies = False
        self._queue: deque[tuple[Callable[[], Any], Deferred[Any]]] = deque()

    async def run(self, work: Callable[[Transaction], T]) -> T:
        if not self.holds and not self._queue:
            return self._done(work)
        waiting: Deferred[T] = Deferred()
        self._queue.append((lambda: self._done(work), waiting))
        return await waiting

    @property
    def waiting(self) -> int:
        return len(self._queue)

    def work(self, pieces: int = 1_000_000) -> None:
        """
        Do what waits, and say so; also what comes of it.
        """
        while self._queue and pieces:
            pieces -= 1
            work, waiting = self._queue.popleft()
            try:
                result = work()
            except Exception:
                waiting.errback()
            else:
                waiting.callback(result)

    def die(self, committed: int) -> None:
        """
        The bridge is no more: of what waits some is done still, and nobody hears of it.
        """
        for work, _ in list(self._queue)[:committed]:
            with suppress(StoreFailed):
                work()
        self._queue.clear()
        self.broken, self.lies = True, False

    def rows(self, statement: str, *parameters: object) -> list[Any]:
        """
        What the database has, whatever the store plays.
        """
        return self.connection.execute(statement, parameters).fetchall()

    def _done(self, work: Callable[[Transaction], T]) -> T:
        if self.broken and not self.lies:
            raise StoreFailed("the test's store is broken")
        result = transacted(self.connection, work)
        if self.broken:
            raise StoreFailed("the test's store is broken, and has done it")
        return result
