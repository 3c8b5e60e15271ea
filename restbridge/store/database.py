"""
The database: work for it is done on one thread of its own, in the order in which it came. What comes while
the thread is busy is committed together, next.

::

    run(work), run(work), run(work) -> one transaction -> committed: each has its result
                                                       -> one failed: again, each in one of its own
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Protocol, TypeVar

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

T = TypeVar("T")

AT_ONCE = 500
"""Pieces of work in one transaction."""


class StoreFailed(Exception):
    """
    The database can't be opened, read or written now; nothing was changed.
    """


class Rows(Protocol):
    """
    What a statement has found.
    """

    @property
    def rowcount(self) -> int:
        """
        How many rows a statement has changed.
        """

    def __iter__(self) -> Iterator[Any]: ...

    def fetchone(self) -> Any:
        """
        The next row, a tuple; L{None} behind the last.
        """

    def fetchall(self) -> list[Any]:
        """
        All that are left.
        """


class Transaction(Protocol):
    """
    A transaction, on the database's thread.

    Statements are such as SQLite (3.35) and PostgreSQL (13) both know, with C{?} for each parameter.

    @ivar locking: what ends a C{SELECT} of rows that nobody else shall change meanwhile.
    @ivar claiming: likewise, where those that somebody else has locked are left out.
    @ivar now: what is the database's own time, in milliseconds since 1970: one clock for all who share it.
    """

    locking: str
    claiming: str
    now: str

    def execute(self, statement: str, parameters: Sequence[object] = ()) -> Rows:
        """
        Have one statement done.
        """

    def executemany(self, statement: str, parameters: Iterable[Sequence[object]]) -> Rows:
        """
        Have it done with each of these parameters.
        """


class Store(Protocol):
    """
    A database.
    """

    async def run(self, work: Callable[[Transaction], T]) -> T:
        """
        What C{work} returns, done as one transaction.

        @param work: changes nothing but the database: it may be done again, after it was undone.
        @raise StoreFailed: it was not done.
        """


class Connection(Transaction, Protocol):
    """
    An open database.
    """

    def begin(self) -> None:
        """
        Begin a transaction.
        """

    def commit(self) -> None:
        """
        End it; all of it is kept, also if the power fails now.
        """

    def rollback(self) -> None:
        """
        End it; nothing of it is kept.
        """

    def close(self) -> None:
        """
        Give the database back.
        """


@attrs.frozen(kw_only=True)
class Engine:
    """
    A kind of database, and where it is.

    @ivar name: for the log; without a password.
    @ivar connect: opens it, with the newest schema; blocks.
    @ivar failure: what it raises.
    """

    name: str
    connect: Callable[[], Connection]
    failure: type[Exception]


@attrs.frozen
class _Waiting:
    """
    @ivar done: fires on the reactor's thread.
    """

    work: Callable[[Transaction], Any]
    done: Deferred[Any] = attrs.field(factory=Deferred)


class Database(Service):
    """
    A L{Store}.
    """

    log = Logger()

    def __init__(self, *, engine: Engine, reactor: Any, needed: bool = True) -> None:
        """
        @param needed: whether it is opened at the start, not by the first work, which may never come.
        """
        self._engine = engine
        self._needed = needed
        self._reactor = reactor
        self._thread = ThreadPool(minthreads=0, maxthreads=1, name="store")
        self._connection: Connection | None = None
        self._waiting: list[_Waiting] = []
        self._busy = False

    def startService(self) -> None:
        super().startService()
        self._thread.start()
        if self._needed:
            # Whoever starts the bridge hears at once of a database that can't be used.
            Deferred.fromCoroutine(self.run(lambda _: None)).addErrback(self._unusable)

    def stopService(self) -> Deferred[None]:
        """
        Close the database, behind all work that is under way.
        """
        # What was never opened isn't opened now.
        last = Deferred.fromCoroutine(self.run(lambda _: None)) if self._busy else succeed(None)
        super().stopService()
        closed = last.addBoth(lambda _: deferToThreadPool(self._reactor, self._thread, self._close))
        return closed.addBoth(self._stopped)

    async def run(self, work: Callable[[Transaction], T]) -> T:
        if not self.running:
            raise StoreFailed("the store is closed")
        waiting = _Waiting(work)
        self._waiting.append(waiting)
        self._next()
        try:
            result: T = await waiting.done
        except self._engine.failure as error:
            raise StoreFailed(f"{self._engine.name}: {error}") from error
        return result

    def _next(self) -> None:
        if self._busy or not self._waiting:
            return
        self._busy = True
        batch, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
        works = [waiting.work for waiting in batch]
        outcomes = deferToThreadPool(self._reactor, self._thread, self._transact, works)
        outcomes.addCallback(self._settle, batch)

    def _settle(self, outcomes: list[Any], batch: list[_Waiting]) -> None:
        self._busy = False
        self._next()
        for waiting, outcome in zip(batch, outcomes, strict=True):
            if not waiting.done.called:
                waiting.done.callback(outcome)

    def _transact(self, works: list[Callable[[Transaction], Any]]) -> list[Any]:
        """
        What each returns, or its L{Failure}.
        """
        try:
            return self._attempt(works)
        except Exception:
            if len(works) == 1:
                return [Failure()]
        return [outcome for work in works for outcome in self._transact([work])]

    def _attempt(self, works: list[Callable[[Transaction], Any]]) -> list[Any]:
        fresh = self._connection is None
        connection = self._connection = self._connection or self._engine.connect()
        try:
            connection.begin()
        except self._engine.failure:
            # The server may have been restarted since the last time.
            self._drop()
            if fresh:
                raise
            return self._attempt(works)
        try:
            outcomes = [work(connection) for work in works]
            connection.commit()
        except BaseException:
            self._undo(connection)
            raise
        return outcomes

    def _undo(self, connection: Connection) -> None:
        try:
            connection.rollback()
        except self._engine.failure:
            self._drop()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(self._engine.failure):
                connection.close()

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _stopped(self, result: object) -> None:
        self._thread.stop()
        if isinstance(result, Failure):
            self.log.failure("The store could not be closed", result)

    def _unusable(self, failure: Failure) -> None:
        failure.trap(StoreFailed)
        self.log.critical("store.url can't be used: {reason}", reason=failure.getErrorMessage())
