"""
L{restbridge.clientapi.groupchat}: what is done for many.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from restbridge.clientapi.groupchat import AT_ONCE, severally


class SeverallyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.begun: list[Deferred[int]] = []
        self.fails = False

    async def work(self, number: int) -> int:
        if self.fails:
            raise ValueError("down")
        self.begun.append(Deferred())
        return number * await self.begun[-1]

    def test_fewAtOnce(self) -> None:
        """
        A few are under way at the same time; the results are in the order of what they are for.
        """
        done = Deferred.fromCoroutine(severally(range(AT_ONCE + 1), self.work))
        self.assertEqual(len(self.begun), AT_ONCE)
        self.begun[3].callback(10)
        self.assertEqual(len(self.begun), AT_ONCE + 1)
        for begun in (*self.begun[4:], *self.begun[:3]):
            begun.callback(10)
        self.assertEqual(self.successResultOf(done), [10 * number for number in range(AT_ONCE + 1)])

    def test_manyFail(self) -> None:
        """
        However many fail at once, it comes to its end.
        """
        done = Deferred.fromCoroutine(severally(range(5000), self.work))
        self.fails = True
        for begun in self.begun:
            begun.errback(ValueError("down"))
        self.failureResultOf(done, ValueError)
