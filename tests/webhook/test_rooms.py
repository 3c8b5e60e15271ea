"""
What goes back to rooms (XEP-0045): only what a receiver has to say there. A room puts out whoever answers
with an error, and presence that answers presence would be the account's own, by somebody else's nickname.
"""

from __future__ import annotations

from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.words.xish.domish import Element

from restbridge.config import Callback
from restbridge.stanzas.media import JSON, TEXT, XML
from restbridge.stanzas.muc import NS_MUC_USER
from restbridge.stanzas.xml import OversizedStanza, XMLRefused
from restbridge.webhook.callbacks import Callbacks
from restbridge.webhook.post import Response, ResponseTooLarge
from restbridge.webhook.receiver import Receiver
from restbridge.webhook.reply import replyTo
from restbridge.webhook.verdict import Delivered, refusal, verdictOn, verdictOnFailure
from restbridge.xmpp.inbound import Inbound
from tests.webhook.fakes import DOMAIN, FakeCaller, response, stanza

ENDS = f"from='room@rooms.localhost/alice' to='bot@{DOMAIN}/restbridge' id='m1'"
SAID = f"<message type='groupchat' {ENDS}><body>hello</body></message>"
WHISPERED = f"<message type='chat' {ENDS}><body>hello</body><x xmlns='{NS_MUC_USER}'/></message>"
CAME = f"<presence {ENDS}><x xmlns='{NS_MUC_USER}'><item role='participant'/></x></presence>"
LEFT = CAME.replace("<presence", "<presence type='unavailable'")
ALL = (SAID, WHISPERED, CAME, LEFT)

ERROR = '{"error": {"type": "cancel", "condition": "item-not-found"}}'


class ReplyTests(SynchronousTestCase):
    def test_nothing(self) -> None:
        """
        No errors, whoever makes them, and nothing empty.
        """
        for xml in ALL:
            for answer in (
                response(200),
                response(200, "<html/>", "text/html"),
                response(200, ERROR, JSON),
                response(404),
                response(500, "no", TEXT),
                response(503, ERROR, JSON),
                response(301),
                response(202),
                response(204),
            ):
                self.assertIsNone(replyTo(stanza(xml), answer), (xml, answer.status))

    def test_said(self) -> None:
        """
        What is said goes back: to the room, or to the one who spoke.
        """
        for kind, to in (("groupchat", "room@rooms.localhost"), ("chat", "room@rooms.localhost/alice")):
            body = f"<message type='{kind}'><body>hi</body></message>"
            for xml in (SAID, WHISPERED):
                reply = replyTo(stanza(xml), response(200, body, XML))
                assert reply is not None
                self.assertEqual(
                    (to, f"bot@{DOMAIN}/restbridge", kind), (reply["to"], reply["from"], reply["type"])
                )

    def test_iq(self) -> None:
        """
        Requests of others in the room are answered as any other.
        """
        reply = replyTo(stanza(f"<iq type='get' {ENDS}><x xmlns='urn:x'/></iq>"), response(500))
        assert reply is not None
        self.assertEqual("error", reply["type"])

    def test_verdict(self) -> None:
        """
        So it is with durable callbacks.
        """
        for xml in ALL:
            self.assertEqual(Delivered(None), verdictOn(stanza(xml), response(200), 0))
            for verdict in (
                verdictOn(stanza(xml), response(404), 0),
                verdictOnFailure(stanza(xml), ResponseTooLarge()),
            ):
                self.assertIsNone(getattr(verdict, "reply", None))
            self.assertIsNone(refusal(stanza(xml), "recipient-unavailable"))


class CallbackTests(SynchronousTestCase):
    def sent(self, xml: str, answer: Response | Exception, fault: Exception | None = None) -> list[Element]:
        """
        What is tried to be sent back.
        """
        caller = FakeCaller(answer)
        receiver = Receiver(
            settings=Callback(url="http://h/", format=XML), domain=DOMAIN, caller=caller, clock=Clock()
        )
        sent: list[Element] = []

        def send(reply: Element) -> None:
            sent.append(reply)
            if fault is not None:
                raise fault

        self.assertTrue(Callbacks(receivers=[receiver], send=send).take(stanza(xml)))
        return sent

    def test_unreachable(self) -> None:
        """
        That nobody could be called is not the room's business.
        """
        for xml in ALL:
            self.assertEqual([], self.sent(xml, Refused()))

    def test_unwritable(self) -> None:
        """
        Nor is it that a reply can't be written.
        """
        answer = response(200, "<message type='groupchat'><body>hi</body></message>", XML)
        (tried,) = self.sent(SAID, answer, XMLRefused("no"))
        self.assertEqual("groupchat", tried["type"])

    def test_oversized(self) -> None:
        """
        Nor that it has passed on too much.
        """
        sent: list[Element] = []
        inbound = Inbound(takers=[], answer=lambda iq: iq, send=sent.append)
        for xml in ALL:
            inbound.oversized(OversizedStanza(stanza=stanza(xml), reason="too large"))
        self.assertEqual([], sent)
