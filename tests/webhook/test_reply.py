"""
L{restbridge.webhook.reply}: beyond the recordings in tests/conformance.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from twisted.words.xish.domish import Element

from restbridge.stanzas.errors import errorOf
from restbridge.stanzas.media import INPUTS, JSON, TEXT, XML
from restbridge.stanzas.xml import NS_XML, serialize
from restbridge.webhook.reply import MAX_TEXT, replyTo
from tests.webhook.fakes import CHAT, DOMAIN, PING, response, stanza

GIVEN = (
    "<{kind} type='error'><error type='wait'>"
    "<resource-constraint xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>"
    "<text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>later</text>"
    "<quota xmlns='urn:x' left='0'/></error></{kind}>"
)


class ReplyTests(SynchronousTestCase):
    def reply(self, to: str, status: int, body: str | bytes = "", mediaType: str | None = None) -> Element:
        reply = replyTo(stanza(to), response(status, body, mediaType, phrase="In Words"))
        assert reply is not None
        return reply

    def error(self, reply: Element) -> tuple[str, str, str | None]:
        self.assertEqual(reply["type"], "error")
        error = errorOf(reply)
        assert error is not None
        return error.type, error.condition, error.text

    def test_addresses(self) -> None:
        """
        To and from are the bridge's to set, whatever the receiver says; the id and the language aren't.
        """
        body = (
            "<message to='a@b' from='c@d' id='mine' type='chat' xml:lang='de' x='y'><body>hi</body></message>"
        )
        reply = self.reply(CHAT, 200, body, XML)
        self.assertEqual(
            reply.attributes,
            {
                "to": "romeo@example.net/r",
                "from": f"bot@{DOMAIN}",
                "id": "mine",
                "type": "chat",
                (NS_XML, "lang"): "de",
            },
        )

    def test_iqId(self) -> None:
        """
        The answer to an IQ has its id.
        """
        reply = self.reply(PING, 200, "<iq id='mine' type='set'><x xmlns='urn:x'/></iq>", XML)
        self.assertEqual((reply["id"], reply["type"]), ("i1", "result"))

    def test_groupchat(self) -> None:
        """
        A reply to a group chat goes to the room.
        """
        reply = self.reply(CHAT, 200, "<message type='groupchat'><body>hi</body></message>", XML)
        self.assertEqual(reply["to"], "romeo@example.net")

    def test_errorAsSuccess(self) -> None:
        """
        An error that comes with 200 goes out whole, with the id of the stanza that it is about.
        """
        for to, kind, identity in ((CHAT, "message", "m1"), (PING, "iq", "i1")):
            reply = self.reply(to, 200, GIVEN.format(kind=kind), XML)
            self.assertEqual(self.error(reply), ("wait", "resource-constraint", "later"))
            self.assertEqual(reply["id"], identity)

    def test_errorGiven(self) -> None:
        """
        So does one that comes with a status of an error, what only the application knows included.
        """
        for to, kind, identity in ((CHAT, "message", "m1"), (PING, "iq", "i1")):
            reply = self.reply(to, 404, GIVEN.format(kind=kind), XML)
            self.assertEqual(self.error(reply), ("wait", "resource-constraint", "later"))
            self.assertEqual(reply["id"], identity)
            self.assertIn("<quota xmlns='urn:x' left='0'/>", serialize(reply))

    def test_errorInJSON(self) -> None:
        """
        In JSON too.
        """
        body = '{"kind":"message","type":"error","error":{"type":"wait","condition":"gone","text":"x"}}'
        self.assertEqual(self.error(self.reply(CHAT, 500, body, JSON)), ("wait", "gone", "x"))

    def test_errorWithoutKind(self) -> None:
        """
        There it need not say what it answers, whatever the status; a stanza without an error must.
        """
        for to in (CHAT, PING):
            for status in (200, 404):
                reply = self.reply(to, status, '{"error":{"condition":"gone"}}', JSON)
                self.assertEqual(self.error(reply), ("cancel", "gone", None))
        self.assertEqual(self.reply(PING, 200, '{"body":"hi"}', JSON)["type"], "result")

    def test_errorOfAnotherKind(self) -> None:
        """
        An error of another kind isn't meant; the status counts.
        """
        reply = self.reply(CHAT, 404, GIVEN.format(kind="iq"), XML)
        self.assertEqual(self.error(reply), ("cancel", "item-not-found", "404 In Words"))

    def test_stanzaWithoutError(self) -> None:
        """
        Nor is a stanza that holds none.
        """
        reply = self.reply(CHAT, 404, "<message type='error'><body>x</body></message>", XML)
        self.assertEqual(self.error(reply), ("cancel", "item-not-found", "404 In Words"))

    def test_text(self) -> None:
        """
        A text with a status of an error is the error's text, as far as a person wants to read it.
        """
        for mediaType in (TEXT, "Text/Plain; charset=utf-8"):
            reply = self.reply(CHAT, 403, " not yours\n", mediaType)
            self.assertEqual(self.error(reply), ("auth", "forbidden", "not yours"))
        reply = self.reply(PING, 404, "x" * (MAX_TEXT + 1), TEXT)
        self.assertEqual(self.error(reply), ("cancel", "item-not-found", "x" * MAX_TEXT))
        self.assertEqual(self.error(self.reply(PING, 404, "  ", TEXT))[2], "404 In Words")

    def test_unwritableText(self) -> None:
        """
        A text that XML can't hold doesn't hide which error it is.
        """
        for body in (b"a\x00b", b"a\xffb", "a\ufffeb".encode()):
            reply = self.reply(CHAT, 404, body, TEXT)
            self.assertEqual(self.error(reply), ("cancel", "item-not-found", "a\ufffdb"))
            serialize(reply)

    def test_redirect(self) -> None:
        """
        A redirect isn't followed: it is an error.
        """
        self.assertEqual(self.error(self.reply(CHAT, 302))[:2], ("cancel", "undefined-condition"))

    def test_accepted(self) -> None:
        """
        What was accepted gets no reply, whatever came with it; an IQ its empty result.
        """
        for status in (202, 204):
            self.assertIsNone(replyTo(stanza(CHAT), response(status, "hi", TEXT)))
            reply = self.reply(PING, status, "hi", TEXT)
            self.assertEqual((reply["type"], reply.children), ("result", []))

    def test_noReply(self) -> None:
        """
        Nothing answers an error or a result, whatever the receiver says.
        """
        for xml in (
            CHAT.replace("chat", "error"),
            PING.replace("get", "result"),
            PING.replace("get", "error"),
        ):
            for status in (200, 202, 404, 500):
                self.assertIsNone(replyTo(stanza(xml), response(status, "hi", TEXT)))

    def test_unreadable(self) -> None:
        """
        What can't be read is an empty reply.
        """
        for body, mediaType in (
            ("{", JSON),
            ('{"body": 5}', JSON),
            ("<message", XML),
            ("<message xmlns='urn:x'/>", XML),
            ("<p/>", "text/html"),
            ("x", "\xff"),
            ("x", None),
            (b"\xff", TEXT),
        ):
            reply = self.reply(CHAT, 200, body, mediaType)
            self.assertEqual(
                (reply["type"], reply["to"], reply.children), ("chat", "romeo@example.net/r", [])
            )

    @given(
        st.sampled_from([CHAT, PING]), st.integers(200, 599), st.sampled_from(INPUTS), st.binary(max_size=200)
    )
    def test_anything(self, to: str, status: int, mediaType: str, body: bytes) -> None:
        """
        Whatever a receiver answers, it can't speak for anyone but the address that was written to, nor to
        anyone but who wrote.
        """
        reply = replyTo(stanza(to), response(status, body, mediaType))
        if reply is not None:
            self.assertEqual((reply["from"], reply.name), (f"bot@{DOMAIN}", stanza(to).name))
            self.assertEqual(reply["to"].partition("/")[0], "romeo@example.net")
            serialize(reply)
