"""
L{restbridge.store.answers}: what is kept of requests that carry a key.
"""

from __future__ import annotations

import attrs

from restbridge.store import answers
from restbridge.store.answers import COUNTED, HELD, KEPT, PURGED, Answers, Asked, Kept, Record
from restbridge.store.database import Database, Transaction
from tests.store.case import StoreTestCase

NOW = 1_800_000_000_000

ASKED = Asked(caller="bot@bridge.localhost", key="k1", fingerprint="f1", time=NOW)

ANSWER = Kept(status=200, headers=(("A", "1"), ("A", "2")), mediaType="text/plain", body=b"\x00\xff")

EMPTY = Kept(status=202, headers=(), mediaType=None, body=b"")


def later(asked: Asked, milliseconds: int, **changes: str) -> Asked:
    return attrs.evolve(asked, time=asked.time + milliseconds, **changes)


def keys(transaction: Transaction) -> list[str]:
    return [key for (key,) in transaction.execute("SELECT key FROM answers ORDER BY key")]


class AnswersTests(StoreTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.store: Database = self.started()
        self.answers = Answers(self.store, holder="this")

    async def test_kept(self) -> None:
        """
        An answer comes back as it was, with the fingerprint of the request that it answers; after a restart,
        too.
        """
        other = later(ASKED, 1, key="k2")
        for asked, answer in ((ASKED, ANSWER), (other, EMPTY)):
            self.assertIsNone(await self.answers.begin(asked))
            await self.answers.finish(asked, answer)
        await self.store.stopService()
        kept = Answers(self.started(), holder="this")
        for asked, answer in ((ASKED, ANSWER), (other, EMPTY)):
            again = later(asked, KEPT - 1, fingerprint="f2")
            self.assertEqual(Record(fingerprint="f1", answer=answer), await kept.begin(again))

    async def test_callers(self) -> None:
        """
        A key of somebody else is another key.
        """
        await self.answers.begin(ASKED)
        await self.answers.finish(ASKED, ANSWER)
        self.assertIsNone(await self.answers.begin(later(ASKED, 1, caller="clerk@bridge.localhost")))

    async def test_forgotten(self) -> None:
        """
        What is forgotten leaves nothing behind.
        """
        await self.answers.begin(ASKED)
        await self.answers.forget(ASKED)
        self.assertEqual([], await self.store.run(keys))

    async def test_old(self) -> None:
        """
        After a day an answer counts no more, and nothing of it shows through.
        """
        await self.answers.begin(ASKED)
        await self.answers.finish(ASKED, ANSWER)
        again = later(ASKED, KEPT, fingerprint="f2")
        self.assertIsNone(await self.answers.begin(again))
        other = Answers(self.store, holder="other")
        self.assertEqual(Record(fingerprint="f2", answer=None), await other.begin(later(again, 1)))

    async def test_underWay(self) -> None:
        """
        What another bridge has begun is under way there, until that has had the time for it.
        """
        other = Answers(self.store, holder="other")
        await other.begin(ASKED)
        record = Record(fingerprint="f1", answer=None)
        self.assertEqual(record, await self.answers.begin(later(ASKED, HELD - 1)))
        self.assertIsNone(await self.answers.begin(later(ASKED, HELD)))

    async def test_renewed(self) -> None:
        """
        What is renewed is under way for as long as it is; others that the same bridge has left are not.
        """
        other = Answers(self.store, holder="other")
        left = later(ASKED, 0, key="left")
        for asked in (ASKED, left):
            await other.begin(asked)
        await other.renew([ASKED], NOW + HELD - 1)
        self.assertIsNotNone(await self.answers.begin(later(ASKED, HELD)))
        self.assertIsNone(await self.answers.begin(later(left, HELD)))
        await other.renew([left], NOW + HELD)
        self.assertIsNone(await Answers(self.store, holder="third").begin(later(left, 2 * HELD)))
        self.assertIsNone(await self.answers.begin(later(ASKED, 2 * HELD - 1)))

    async def test_late(self) -> None:
        """
        A bridge that was taken for dead doesn't meddle with who took over.
        """
        other = Answers(self.store, holder="other")
        await other.begin(ASKED)
        taken = later(ASKED, HELD)
        await self.answers.begin(taken)
        await other.finish(ASKED, EMPTY)
        await other.forget(ASKED)
        await self.answers.finish(taken, ANSWER)
        self.assertEqual(Record(fingerprint="f1", answer=ANSWER), await other.begin(later(taken, 1)))

    async def test_crash(self) -> None:
        """
        What one's own bridge has left under way is begun again at once.
        """
        await self.answers.begin(ASKED)
        self.assertIsNone(await Answers(self.store, holder="this").begin(later(ASKED, 1)))

    async def test_purged(self) -> None:
        """
        With each new one a few old ones go, the oldest first, and none that is not old.
        """
        for number in range(PURGED + 2):
            asked = later(ASKED, number, key=f"old{number:02}")
            await self.answers.begin(asked)
            await self.answers.finish(asked, EMPTY)
        young = later(ASKED, PURGED + 2, key="young")
        await self.answers.begin(young)
        await self.answers.begin(later(ASKED, KEPT + PURGED, key="new1"))
        left = [f"old{number:02}" for number in (PURGED, PURGED + 1)]
        self.assertEqual(["new1", *left, "young"], await self.store.run(keys))
        await self.answers.begin(later(ASKED, KEPT + PURGED + 1, key="new2"))
        self.assertEqual(["new1", "new2", "young"], await self.store.run(keys))

    async def test_most(self) -> None:
        """
        Of a caller's records only so many are kept, the newest; others' are left alone.
        """
        self.patch(answers, "MOST", 5)
        await self.answers.begin(later(ASKED, 0, caller="alice@example.com", key="alice's"))
        for number in range(1, COUNTED):
            await self.answers.begin(later(ASKED, number, key=f"k{number:04}"))
        kept = [f"k{number:04}" for number in range(COUNTED - 5, COUNTED)]
        self.assertEqual(["alice's", *kept], await self.store.run(keys))
