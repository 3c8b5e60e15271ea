"""
L{restbridge.store.lease}: one bridge at a time.
"""

from __future__ import annotations

import time

from restbridge.store.database import Database, Transaction
from restbridge.store.lease import TERM, Lease
from tests.store.case import StoreTestCase

NAME = "bridge.localhost"


class LeaseTests(StoreTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.store: Database = self.started()
        self.one, self.other = (Lease(store=self.store, name=NAME, holder=name) for name in ("one", "other"))

    async def ends(self) -> int:
        def work(transaction: Transaction) -> int:
            (ends,) = transaction.execute("SELECT ends FROM leases WHERE name = ?", (NAME,)).fetchone()
            return int(ends)

        return await self.store.run(work)

    async def expire(self, seconds: float = TERM) -> None:
        """
        Let the term, or some of it, be over.
        """
        shorter = "UPDATE leases SET ends = ends - ?"
        await self.store.run(lambda transaction: transaction.execute(shorter, (int(seconds * 1000),)))

    async def test_one(self) -> None:
        """
        Who comes first has it, as often as it takes it; others hear who that is.
        """
        for _ in range(2):
            self.assertIsNone(await self.one.take())
            self.assertEqual("one", await self.other.take())

    async def test_names(self) -> None:
        """
        A lease of another name is another lease.
        """
        await self.one.take()
        self.assertIsNone(await Lease(store=self.store, name="bridge2.localhost", holder="other").take())

    async def test_end(self) -> None:
        """
        When its term is over another may have it, and whose it was hears so.
        """
        await self.one.take()
        await self.expire()
        self.assertIsNone(await self.other.take())
        self.assertEqual("other", await self.one.take())

    async def test_term(self) -> None:
        """
        It ends a term after it was taken the last time, by the database's clock.
        """
        await self.one.take()
        await self.expire()
        earliest = time.time() + TERM
        await self.one.take()
        self.assertTrue(earliest - 1 <= await self.ends() / 1000 <= time.time() + TERM + 1)

    async def test_givenBack(self) -> None:
        """
        What is given back another has at once; nobody gives back what is another's.
        """
        await self.one.take()
        await self.other.giveBack()
        self.assertEqual("one", await self.other.take())
        await self.one.giveBack()
        self.assertIsNone(await self.other.take())

    async def test_lasts(self) -> None:
        """
        Nobody else has it before.
        """
        await self.one.take()
        for _ in range(2):
            await self.expire(TERM / 3)
            self.assertEqual("one", await self.other.take())
        await self.expire(TERM / 3)
        self.assertIsNone(await self.other.take())
