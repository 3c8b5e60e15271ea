"""
L{restbridge.webhook.callbacks}: what becomes of stanzas when the bridge stops.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.words.xish.domish import Element

from restbridge.config import Callback
from restbridge.stanzas.errors import errorOf
from restbridge.stanzas.media import TEXT, XML
from restbridge.store.journal import Journal
from restbridge.webhook.callbacks import Callbacks
from restbridge.webhook.outbox import Outbox
from restbridge.webhook.receiver import Receiver
from tests.store.fakes import FakeStore
from tests.web.client import LoggingTestCase
from tests.webhook.fakes import CHAT, DOMAIN, FakeCaller, response, stanza


class StopTests(LoggingTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.caller = FakeCaller()
        self.addCleanup(self.caller.finish)
        self.sent: list[Element] = []
        settings = Callback(url="http://h/0", format=XML)
        receiver = Receiver(settings=settings, domain=DOMAIN, caller=self.caller, clock=Clock())
        self.callbacks = Callbacks(receivers=[receiver], send=self.sent.append)

    def conditions(self) -> list[tuple[str, str]]:
        errors = [errorOf(each) for each in self.sent]
        return [(error.type, error.condition) for error in errors if error is not None]

    def test_nothing(self) -> None:
        """
        Where nothing is under way, there is nothing to wait for.
        """
        self.successResultOf(self.callbacks.finish())

    def test_underWay(self) -> None:
        """
        What is under way is done to its end: the receiver's reply is sent.
        """
        self.callbacks.take(stanza(CHAT))
        finished = self.callbacks.finish()
        self.assertNoResult(finished)
        self.caller.calls[0].answer.callback(response(200, "hi", TEXT))
        self.successResultOf(finished)
        self.assertEqual([str(each.body) for each in self.sent], ["hi"])

    def test_more(self) -> None:
        """
        What comes now is not delivered; its sender is told to try again.
        """
        self.callbacks.take(stanza(CHAT))
        finished = self.callbacks.finish()
        self.assertTrue(self.callbacks.take(stanza(CHAT)))
        self.assertEqual(self.conditions(), [("wait", "recipient-unavailable")])
        self.assertEqual(len(self.caller.calls), 1)
        self.caller.calls[0].answer.callback(response(204))
        self.successResultOf(finished)

    def test_notKept(self) -> None:
        """
        So is who waits for a store that doesn't answer any more.
        """
        store = FakeStore()
        store.holds = True
        settings = Callback(url="http://h/0", format=XML, delivery="durable")
        receiver = Receiver(settings=settings, domain=DOMAIN, caller=self.caller, clock=Clock())
        outbox = Outbox(
            settings=settings,
            call=receiver.call,
            journal=Journal(store=store, holder=DOMAIN, most=10, clock=Clock()),
            replied=lambda: None,
            clock=Clock(),
        )
        callbacks = Callbacks(receivers=[receiver], send=self.sent.append, outboxes={settings.outbox: outbox})
        callbacks.take(stanza(CHAT))
        finished = callbacks.finish()
        self.assertNoResult(finished)
        finished.cancel()
        self.successResultOf(finished)
        self.assertEqual(self.conditions(), [("wait", "recipient-unavailable")])

    def test_givenUp(self) -> None:
        """
        Whose stanza is not delivered in time is told so, while there is still a stream to tell it by.
        """
        self.callbacks.take(stanza(CHAT))
        finished = self.callbacks.finish()
        finished.cancel()
        self.successResultOf(finished)
        self.assertEqual(self.conditions(), [("wait", "recipient-unavailable")])
