"""
The database: SQLite, on one thread of its own, where all work is done in the order in which it came.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from sqlite3 import Connection
from typing import Any, Protocol, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

T = TypeVar("T")

BUSY_TIMEOUT = 5.0
"""Seconds to wait for another program that holds the file, such as a backup."""

SCHEMA: Sequence[str] = (
    """
    CREATE TABLE places (
        user TEXT NOT NULL,
        room TEXT NOT NULL,
        PRIMARY KEY (user, room)
    ) WITHOUT ROWID;
    CREATE INDEX places_in_room ON places (room);
    CREATE TABLE departures (
        room TEXT NOT NULL,
        user TEXT NOT NULL,
        PRIMARY KEY (room, user)
    ) WITHOUT ROWID;
    CREATE TABLE affiliations (
        number INTEGER PRIMARY KEY,
        room TEXT NOT NULL,
        time INTEGER NOT NULL,
        user TEXT NOT NULL,
        affiliation TEXT NOT NULL,
        id TEXT NOT NULL,
        after TEXT NOT NULL
    );
    CREATE INDEX affiliations_of_room ON affiliations (room, number);
    """,
)
"""What makes each version out of the one before; C{user_version} counts those that were applied."""


class StoreFailed(Exception):
    """
    The database can't be opened, read or written now; nothing was changed.
    """


class Store(Protocol):
    """
    A database.
    """

    async def run(self, work: Callable[[Connection], T]) -> T:
        """
        What C{work} returns, done as one transaction.

        @raise StoreFailed: it was not done.
        """


class SQLite(Service):
    """
    A L{Store} in a file, which is made when it isn't there.
    """

    log = Logger()

    def __init__(self, *, path: Path, reactor: Any) -> None:
        self._path = path
        self._reactor = reactor
        self._thread = ThreadPool(minthreads=0, maxthreads=1, name="store")
        self._connection: Connection | None = None

    def startService(self) -> None:
        super().startService()
        self._thread.start()
        # Whoever starts the bridge hears at once of a file that can't be used.
        Deferred.fromCoroutine(self.run(lambda _: None)).addErrback(self._unusable)

    def stopService(self) -> Deferred[None]:
        """
        Close the file, behind all work that is under way.
        """
        super().stopService()
        closed = deferToThreadPool(self._reactor, self._thread, self._close)
        return closed.addBoth(self._stopped)

    async def run(self, work: Callable[[Connection], T]) -> T:
        if not self.running:
            raise StoreFailed("the store is closed")
        try:
            return await deferToThreadPool(self._reactor, self._thread, self._transact, work)
        except sqlite3.Error as error:
            raise StoreFailed(f"{self._path}: {error}") from error

    def _transact(self, work: Callable[[Connection], T]) -> T:
        if self._connection is None:
            self._connection = opened(self._path)
        with self._connection:
            return work(self._connection)

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


def opened(path: Path) -> Connection:
    """
    The database in a file, with the newest schema.

    @raise sqlite3.Error: it can't be opened, or a later version of restbridge has written it.
    """
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        _upgrade(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _upgrade(connection: Connection) -> None:
    with closing(connection.execute("PRAGMA user_version")) as answer:
        (version,) = answer.fetchone()
    if version > len(SCHEMA):
        raise sqlite3.DatabaseError(f"a later version of restbridge wrote this (schema {version})")
    for number, step in enumerate(SCHEMA[version:], version + 1):
        # One transaction a step: a start that is cut off leaves a whole version behind.
        connection.executescript(f"BEGIN IMMEDIATE; {step}; PRAGMA user_version = {number}; COMMIT;")
