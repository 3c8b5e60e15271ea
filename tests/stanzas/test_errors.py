"""
Stanza errors: as XML, from HTTP.
"""

from __future__ import annotations

import json
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from restbridge.stanzas.errors import (
    CONDITIONS,
    STATUSES,
    TYPES,
    LinkDown,
    NoAnswer,
    StanzaError,
    errorOf,
    errorReply,
)
from restbridge.stanzas.xml import parseDocument, serialize

RECORDED = Path(__file__).parent.parent / "conformance" / "mod_rest-http-status-to-stanza-error.json"


class StanzaErrorTests(SynchronousTestCase):
    """
    The value that an error is.
    """

    def test_roundTrip(self) -> None:
        """
        Each condition survives XML.
        """
        for condition in CONDITIONS:
            error = StanzaError(condition=condition, type="wait", text="a < b", by="example.com")
            self.assertEqual(StanzaError.fromElement(error.toElement()), error)

    def test_usual(self) -> None:
        """
        Each condition has its type and an HTTP status.
        """
        self.assertEqual(StanzaError.of("forbidden", "no").type, "auth")
        self.assertTrue(set(CONDITIONS.values()) <= set(TYPES))
        self.assertTrue(all(300 <= status < 600 for status in STATUSES.values()))

    def test_broken(self) -> None:
        """
        An error that says nothing is undefined.
        """
        error = StanzaError.fromElement(parseDocument(b"<error><text/><x xmlns='urn:x'/></error>"))
        self.assertEqual(error, StanzaError(condition="undefined-condition", type="cancel"))

    def test_status(self) -> None:
        """
        The statuses of callbacks mean what mod_rest takes them for.
        """
        for status, (kind, condition) in json.loads(RECORDED.read_text()).items():
            error = StanzaError.fromStatus(int(status), "because")
            self.assertEqual((error.type, error.condition, error.text), (kind, condition, "because"))

    def test_statusWords(self) -> None:
        """
        Without other words, the status is the text.
        """
        self.assertEqual(StanzaError.fromStatus(404).text, "404 Not Found")
        self.assertEqual(StanzaError.fromStatus(599).text, "599")


class ReplyTests(SynchronousTestCase):
    """
    Errors as answers.
    """

    def test_reply(self) -> None:
        """
        The addresses are swapped, the id stays, the payload goes.
        """
        stanza = parseDocument(
            b"<iq type='get' id='i' from='a@b/c' to='d'><ping xmlns='urn:xmpp:ping'/></iq>"
        )
        reply = errorReply(stanza, StanzaError.of("forbidden"))
        self.assertEqual(
            serialize(reply),
            "<iq to='a@b/c' from='d' id='i' type='error'><error type='auth'>"
            "<forbidden xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>",
        )
        self.assertEqual(errorOf(reply), StanzaError.of("forbidden"))
        self.assertIsNone(errorOf(stanza))

    def test_bare(self) -> None:
        """
        What the stanza hasn't, the reply hasn't.
        """
        reply = errorReply(parseDocument(b"<message/>"), StanzaError.of("gone"))
        self.assertEqual(dict(reply.attributes), {"type": "error"})

    def test_exceptions(self) -> None:
        """
        Why nothing was answered is kept and said.
        """
        self.assertEqual(str(LinkDown("refused")), LinkDown("refused").reason)
        self.assertEqual((NoAnswer(1.5).seconds, str(NoAnswer(1.5))), (1.5, "no answer within 1.5 seconds"))
