"""
L{restbridge.webhook.health}
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from restbridge.webhook.health import JITTER, Health


class HealthTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.health = Health(first=1.0, longest=6.0, jitter=lambda: 1.0)

    def widths(self, now: float = 10.0) -> tuple[int, bool]:
        return self.health.width(32, now), self.health.isDown(now)

    def test_fine(self) -> None:
        """
        As long as nothing has failed, all may be called.
        """
        self.assertEqual((32, False), self.widths())
        self.assertFalse(self.health.fails(10.0))

    def test_doubtful(self) -> None:
        """
        Calls for one conversation, however many of them, leave it open whose fault it is.
        """
        for began in (1.0, 2.0, 3.0):
            self.assertTrue(self.health.failed(1, began))
        self.assertEqual((1, False), self.widths())
        self.assertTrue(self.health.fails(10.0))

    def test_down(self) -> None:
        """
        When calls for two have failed, or nobody is there, it is the callback.
        """
        self.health.failed(1, 1.0)
        self.health.failed(2, 1.0)
        self.assertEqual((0, True), self.widths())
        self.setUp()
        self.health.failed(1, 1.0, wholly=True)
        self.assertEqual((0, True), self.widths())

    def test_passed(self) -> None:
        """
        One call that comes through, and all is fine.
        """
        self.health.failed(1, 1.0, wholly=True)
        self.health.failed(2, 1.0)
        self.health.pause(2.0)
        self.health.passed(3.0)
        self.assertEqual((32, False), self.widths())
        self.assertEqual(1.0, self.health.pause(3.0))

    def test_message(self) -> None:
        """
        What fails while others come through is the message's fault.
        """
        self.health.passed(3.0)
        self.assertFalse(self.health.failed(1, 2.9))
        self.assertFalse(self.health.failed(1, 3.0))
        self.assertEqual((32, False), self.widths())
        self.assertTrue(self.health.failed(1, 3.1))

    def test_asked(self) -> None:
        """
        A pause that was asked for is kept to its end, whatever comes through meanwhile; a probe ends it.
        """
        self.health.asked(1, 20.0)
        self.health.asked(2, 15.0)
        self.health.passed(11.0)
        self.assertEqual((0, True), self.widths(19.9))
        self.assertEqual(9.0, self.health.pause(11.0))
        self.assertEqual((0, True), self.widths(20.0))
        self.health.passed(20.0)
        self.assertEqual((32, False), self.widths(20.0))

    def test_pauses(self) -> None:
        """
        Pauses grow to the longest.
        """
        self.assertEqual([1.0, 2.0, 4.0, 6.0, 6.0], [self.health.pause(0.0) for _ in range(5)])

    def test_jitter(self) -> None:
        """
        Bridges that fail at once don't come back at once.
        """
        pauses = {Health(first=10.0, longest=10.0).pause(0.0) for _ in range(50)}
        self.assertGreater(len(pauses), 10)
        self.assertTrue(all(10 * (1 - JITTER) <= pause <= 10 * (1 + JITTER) for pause in pauses))
