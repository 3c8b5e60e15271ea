"""
L{restbridge.webhook.outcomes}, by a receiver.
"""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.error import DNSLookupError
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from restbridge.config import Callback
from restbridge.webhook.outcomes import OUTCOMES
from restbridge.webhook.post import Response, ResponseTooLarge
from restbridge.webhook.receiver import AT_ONCE, WAITING, Busy, Receiver
from tests.webhook.fakes import CHAT, DOMAIN, FakeCaller, response, stanza


class OutcomesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.caller = FakeCaller()
        self.addCleanup(self.caller.finish)
        settings = Callback(url="http://h/", format="application/json")
        self.receiver = Receiver(settings=settings, domain=DOMAIN, caller=self.caller, clock=self.clock)

    def call(self) -> Deferred[Response]:
        return Deferred.fromCoroutine(self.receiver.call(stanza(CHAT)))

    def test_each(self) -> None:
        """
        Each call is counted once, by how it ended; an end that nobody has thought of is a failure.
        """
        for outcome, end in (
            ("2xx", response(204)),
            ("3xx", response(301)),
            ("4xx", response(410)),
            ("5xx", response(503)),
            ("failed", response(999)),
            ("timeout", DeferredTimeout()),
            ("timeout", ConnectTimeout()),
            ("unreachable", Refused()),
            ("unreachable", DNSLookupError()),
            ("cancelled", CancelledError()),
            ("failed", ResponseTooLarge()),
        ):
            before = self.receiver.outcomes.counts.copy()
            self.caller.answers.append(end)
            called = self.call()
            if isinstance(end, Exception):
                self.failureResultOf(called, type(end))
            else:
                self.assertIs(end, self.successResultOf(called))
            self.assertEqual({outcome: 1}, dict(self.receiver.outcomes.counts - before), repr(end))
        self.assertLessEqual(set(self.receiver.outcomes.counts), set(OUTCOMES))

    def test_took(self) -> None:
        """
        How long it took is counted, too.
        """
        called = self.call()
        self.clock.advance(2)
        self.caller.calls[-1].answer.callback(response())
        self.successResultOf(called)
        self.assertEqual(2.0, self.receiver.outcomes.took.seconds)

    def test_busy(self) -> None:
        """
        What is refused, since too much waits, is told from what failed.
        """
        self.receiver.waiting = AT_ONCE + WAITING
        self.failureResultOf(self.call(), Busy)
        self.assertEqual({"busy": 1}, dict(self.receiver.outcomes.counts))
