"""
L{restbridge.webhook.callbacks}
"""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.error import DNSLookupError
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.task import Clock
from twisted.web.client import ResponseNeverReceived
from twisted.words.xish.domish import Element

from restbridge.config import Callback, Glob
from restbridge.stanzas.errors import LinkDown, errorOf
from restbridge.stanzas.media import TEXT, XML
from restbridge.stanzas.xml import XMLRefused
from restbridge.webhook.callbacks import Callbacks
from restbridge.webhook.post import ResponseTooLarge
from restbridge.webhook.receiver import AT_ONCE, WAITING, Receiver
from tests.web.client import LoggingTestCase
from tests.webhook.fakes import CHAT, DOMAIN, PING, FakeCaller, response, stanza


class CallbacksTests(LoggingTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.caller = FakeCaller()
        self.addCleanup(self.caller.finish)
        self.sent: list[Element] = []
        self.faults: list[Exception] = []
        self.callbacks = self.make({})

    def make(self, *settings: dict[str, Any]) -> Callbacks:
        receivers = [
            Receiver(
                settings=Callback(url=f"http://h/{number}", format=XML, **each),
                domain=DOMAIN,
                caller=self.caller,
                clock=Clock(),
            )
            for number, each in enumerate(settings)
        ]
        return Callbacks(receivers=receivers, send=self.send)

    def send(self, reply: Element) -> None:
        if self.faults:
            raise self.faults.pop(0)
        self.sent.append(reply)

    def take(self, xml: str, answer: Any) -> None:
        self.caller.answers.append(answer)
        self.assertTrue(self.callbacks.take(stanza(xml)))

    def assertError(self, type_: str, condition: str) -> None:
        (reply,) = self.sent
        error = errorOf(reply)
        assert error is not None
        self.assertEqual(
            (reply["to"], error.type, error.condition), ("romeo@example.net/r", type_, condition)
        )
        self.sent.clear()

    def test_first(self) -> None:
        """
        The first receiver that fits takes a stanza, and no other.
        """
        self.callbacks = self.make({"stanzas": frozenset(["iq"])}, {"to": (Glob("bot@*"),)}, {})
        for xml in (PING, CHAT, CHAT.replace("bot@", "cat@")):
            self.take(xml, response(202))
        self.assertEqual([call.url for call in self.caller.calls], ["http://h/0", "http://h/1", "http://h/2"])

    def test_none(self) -> None:
        """
        What no receiver wants is left to others.
        """
        self.callbacks = self.make({"stanzas": frozenset(["iq"])})
        self.assertFalse(self.callbacks.take(stanza(CHAT)))
        self.assertEqual(self.caller.calls, [])

    def test_reply(self) -> None:
        """
        The receiver's answer goes back as a stanza.
        """
        self.take(CHAT, response(200, "hi", TEXT))
        (reply,) = self.sent
        self.assertEqual((reply["to"], str(reply.body)), ("romeo@example.net/r", "hi"))

    def test_unreachable(self) -> None:
        """
        Where no call gets through, the sender may try again later; the log says why.
        """
        for problem in (
            Refused(),
            DNSLookupError(),
            ResponseNeverReceived([]),
            ResponseTooLarge(),
        ):
            self.take(CHAT, problem)
            self.assertError("wait", "recipient-unavailable")
            self.assertIn("http://h/0", self.logged[-1])

    def test_timeout(self) -> None:
        """
        A receiver that takes too long is said to.
        """
        for problem in (DeferredTimeout(30), ConnectTimeout()):
            self.take(PING, problem)
            self.assertError("wait", "remote-server-timeout")

    def test_busy(self) -> None:
        """
        Nor are more stanzas kept than can be delivered soon.
        """
        for _ in range(AT_ONCE + WAITING):
            self.callbacks.take(stanza(CHAT))
        self.assertEqual(self.sent, [])
        self.callbacks.take(stanza(CHAT))
        self.assertError("wait", "resource-constraint")

    def test_noErrorForErrors(self) -> None:
        """
        An error that can't be delivered is only logged.
        """
        self.take(CHAT.replace("chat", "error"), Refused())
        self.assertEqual(self.sent, [])
        self.assertIn("could not be delivered", self.logged[-1])

    def test_unwritable(self) -> None:
        """
        A reply that can't be written as XML becomes an error, and the log says why.
        """
        self.faults = [XMLRefused("too large")]
        self.take(PING, response(200))
        self.assertError("cancel", "internal-server-error")
        self.assertIn("too large", self.logged[-1])

    def test_unwritableAtAll(self) -> None:
        """
        If not even that can be written, that is the end of it.
        """
        self.faults = [XMLRefused("too large"), XMLRefused("still")]
        self.take(PING, response(200))
        self.assertEqual((self.sent, self.flushLoggedErrors()), ([], []))

    def test_linkDown(self) -> None:
        """
        A reply is lost while the link is down: that is logged, and nothing is raised.
        """
        self.faults = [LinkDown("the server left")]
        self.take(PING, response(200))
        self.assertEqual((self.sent, self.flushLoggedErrors()), ([], []))
        self.assertIn("the server left", self.logged[-1])

    def test_linkDownAfterwards(self) -> None:
        """
        Also if it goes down between a refused reply and its error.
        """
        self.faults = [XMLRefused("x"), LinkDown("the server left")]
        self.take(PING, response(200))
        self.assertIn("the server left", self.logged[-1])

    def test_ours(self) -> None:
        """
        A fault of ours is logged with its traceback, and the sender learns that there was one.
        """
        self.take(PING, response(200, mediaType=cast(Any, 5)))
        self.assertError("cancel", "internal-server-error")
        self.assertEqual(len(self.flushLoggedErrors(AttributeError)), 1)

    def test_start(self) -> None:
        """
        At the start each receiver is probed; that none answers doesn't matter.
        """
        self.callbacks = self.make({}, {})
        self.caller.answers = [Refused()]
        self.callbacks.start()
        self.assertEqual([call.method for call in self.caller.calls], ["OPTIONS", "OPTIONS"])
        waiting: Deferred[Any] = self.caller.calls[1].answer
        waiting.errback(Refused())
        self.assertEqual(self.flushLoggedErrors(), [])
