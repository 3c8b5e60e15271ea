"""
What L{restbridge.store.journal} promises to bridges that are at work at the same moment, on PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from typing import TypeVar

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from restbridge.store.database import Database, Transaction
from restbridge.store.journal import Entry, Journal
from tests.live.stored import StoredInPostgreSQL

T = TypeVar("T")

WAITING = """
    SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


class Lingering:
    """
    A L{restbridge.store.database.Store} whose transactions end when the test says.

    @ivar written: fires when the first has done its work.
    """

    def __init__(self, store: Database) -> None:
        self.written: Deferred[None] = Deferred()
        self._store = store
        self._end = Event()

    async def run(self, work: Callable[[Transaction], T]) -> T:
        def lingering(transaction: Transaction) -> T:
            result = work(transaction)
            reactor.callFromThread(self.written.callback, None)  # type: ignore[attr-defined]  # no interface of it
            self._end.wait()
            return result

        return await self._store.run(lingering)

    def end(self) -> None:
        self._end.set()


class SameMomentTests(StoredInPostgreSQL, TestCase):
    async def waits(self, store: Database) -> None:
        """
        Return when somebody waits for what somebody else has locked.
        """

        def count(transaction: Transaction) -> int:
            found: int = transaction.execute(WAITING).fetchone()[0]
            return found

        while not await store.run(count):
            await deferLater(reactor, 0.01)

    async def test_finish(self) -> None:
        """
        A conversation to which another bridge is just writing isn't forgotten.
        """
        lingering = Lingering(self.started())
        self.addCleanup(lingering.end)
        journal, other = (
            Journal(store=store, holder=holder, most=9, clock=reactor)
            for store, holder in ((self.started(), "one"), (lingering, "other"))
        )
        entry = Entry(callback="c", sender="a@b", recipient="c@d", webhook="w", received=1, stanza="<x/>")
        first = (await journal.accept(entry, hold=True)).message
        await journal.delivered(first, None)
        writing = Deferred.fromCoroutine(other.accept(entry, hold=True))
        await lingering.written
        finishing = Deferred.fromCoroutine(journal.finish([first.conversation]))
        await self.waits(self.started())
        lingering.end()
        self.assertEqual({first.conversation}, await finishing)
        second = (await writing).message
        self.assertEqual([second], await journal.page(first.conversation))
