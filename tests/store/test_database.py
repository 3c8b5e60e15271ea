"""
L{restbridge.store.database}: a database on a thread of its own.
"""

from __future__ import annotations

import sqlite3
from functools import partial
from threading import current_thread, main_thread

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import capturedLogs, formatEvent

from restbridge.store import sqlite
from restbridge.store.database import Database, StoreFailed, Transaction
from restbridge.store.schema import STEPS
from restbridge.store.sqlite import sqliteEngine
from tests.store.case import StoreTestCase


def place(transaction: Transaction, user: str = "alice@localhost", room: str = "r@rooms.localhost") -> None:
    transaction.execute("INSERT INTO places VALUES (?, ?)", (user, room))


def places(transaction: Transaction) -> list[tuple[str, str]]:
    return transaction.execute("SELECT * FROM places ORDER BY room").fetchall()


class DatabaseTests(StoreTestCase):
    async def test_kept(self) -> None:
        """
        What was written is there after a restart.
        """
        store = self.started()
        await store.run(place)
        await store.stopService()
        self.assertEqual([("alice@localhost", "r@rooms.localhost")], await self.started().run(places))

    async def test_undone(self) -> None:
        """
        Work that fails leaves nothing behind, and its own error comes through.
        """
        store = self.started()

        def half(transaction: Transaction) -> None:
            place(transaction)
            raise KeyError("half")

        with self.assertRaises(KeyError):
            await store.run(half)
        self.assertEqual([], await store.run(places))

    async def test_order(self) -> None:
        """
        Work is done in the order in which it came, one at a time, away from the reactor's thread.
        """
        store = self.started()
        done: list[tuple[int, bool]] = []

        def work(number: int, _: Transaction) -> None:
            done.append((number, current_thread() is main_thread()))

        running = [Deferred.fromCoroutine(store.run(partial(work, number))) for number in range(20)]
        await gatherResults(running)
        self.assertEqual([(number, False) for number in range(20)], done)

    async def test_fault(self) -> None:
        """
        What the database can't do is one kind of error, which names the file.
        """
        with self.assertRaises(StoreFailed) as caught:
            await self.started().run(lambda connection: connection.execute("SELECT nonsense"))
        self.assertIn(str(self.path), str(caught.exception))
        self.assertIn("nonsense", str(caught.exception))

    async def test_closed(self) -> None:
        """
        Work that was begun is done before the file is closed; afterwards there is none.
        """
        store = self.started()
        begun = Deferred.fromCoroutine(store.run(place))
        await store.stopService()
        await begun
        with self.assertRaises(StoreFailed):
            await store.run(places)
        with sqlite3.connect(self.path) as connection:
            self.assertEqual(1, len(connection.execute("SELECT * FROM places").fetchall()))
        connection.close()

    async def test_unusable(self) -> None:
        """
        A file that can't be opened is said at the start; when it can be, later, all is well.
        """
        with capturedLogs() as events:
            await self._findsUnusable()
        said = [line for line in map(formatEvent, events) if "store.url can't be used" in line]
        self.assertEqual(1, len(said), said)

    async def _findsUnusable(self) -> None:
        self.path.mkdir()
        store = self.started()
        with self.assertRaises(StoreFailed):
            await store.run(places)
        self.path.rmdir()
        self.assertEqual([], await store.run(places))

    async def test_upgraded(self) -> None:
        """
        An older database gets what the newer versions have, and keeps what it holds.
        """
        later = "CREATE TABLE later (x TEXT)"
        store = self.started()
        await store.run(place)
        await store.stopService()
        self.patch(sqlite, "STEPS", (*STEPS, later))
        store = self.started()
        self.assertEqual([], await store.run(lambda c: c.execute("SELECT * FROM later").fetchall()))
        self.assertEqual(1, len(await store.run(places)))

    async def test_newer(self) -> None:
        """
        A database of a later version is left alone, and the reason is said.
        """
        with sqlite3.connect(self.path) as connection:
            connection.execute(f"PRAGMA user_version = {len(STEPS) + 1}")
        connection.close()
        with self.assertRaises(StoreFailed) as caught:
            await self.started().run(places)
        self.assertIn("later version", str(caught.exception))

    async def test_lazy(self) -> None:
        """
        One that may never be needed touches no file until it is; neither does its end.
        """
        store = Database(engine=sqliteEngine(self.path), reactor=reactor, needed=False)
        store.startService()
        await store.stopService()
        self.assertFalse(self.path.exists())
        store = Database(engine=sqliteEngine(self.path), reactor=reactor, needed=False)
        store.startService()
        await store.run(place)
        await store.stopService()
        self.assertEqual(1, len(await self.started().run(places)))

    def test_notStarted(self) -> None:
        """
        A store that was not started has touched no file.
        """
        store = Database(engine=sqliteEngine(self.path), reactor=reactor)
        self.failureResultOf(Deferred.fromCoroutine(store.run(places)), StoreFailed)
        self.assertFalse(self.path.exists())
