"""
Media types: what a body may be, and what an answer is written in.
"""

from __future__ import annotations

import json

import cbor2
from twisted.trial.unittest import SynchronousTestCase

from restbridge.stanzas.media import (
    CBOR,
    ERRORS,
    FORM,
    HTML,
    JSON,
    TEXT,
    XML,
    answerType,
    choose,
    encode,
    essence,
)
from restbridge.stanzas.xml import parseDocument


class ChooseTests(SynchronousTestCase):
    """
    Accept as mod_rest reads it.
    """

    def test_first(self) -> None:
        """
        The type named first is chosen, whatever its quality.
        """
        self.assertEqual(answerType("application/xmpp+xml;q=0.1, application/json", JSON), XML)

    def test_contentType(self) -> None:
        """
        Where nothing acceptable is named, the answer is in the type of the request.
        """
        for accept in (None, "*/*", "image/png"):
            self.assertEqual(answerType(accept, f"{JSON}; charset=utf-8"), JSON)

    def test_default(self) -> None:
        """
        Else in XML; errors in HTML.
        """
        self.assertEqual(answerType(None, None), XML)
        self.assertEqual(choose("*/*", None, ERRORS), HTML)

    def test_cbor(self) -> None:
        """
        CBOR is for those who speak it.
        """
        self.assertEqual(answerType(CBOR, None), CBOR)
        self.assertEqual(answerType("*/*", CBOR), CBOR)
        self.assertEqual(answerType(CBOR, JSON), JSON)

    def test_essence(self) -> None:
        """
        Parameters and case don't count.
        """
        self.assertEqual(essence("Text/Plain; charset=utf-8"), TEXT)


class EncodeTests(SynchronousTestCase):
    """
    Stanzas as answers.
    """

    stanza = parseDocument(
        b"<message id='a&#9;b'><body>x &amp; y</body><fallback xmlns='urn:xmpp:fallback:0'/></message>"
    )

    def test_form(self) -> None:
        """
        A form holds the texts, numbers and flags.
        """
        self.assertEqual(encode(FORM, self.stanza), b"kind=message&id=a%09b&body=x+%26+y&fallback=")

    def test_text(self) -> None:
        """
        Text holds the body.
        """
        self.assertEqual(encode(TEXT, self.stanza), b"x & y")

    def test_several(self) -> None:
        """
        Several stanzas are a list.
        """
        several = [parseDocument(b"<message><body>x</body></message>"), parseDocument(b"<iq type='result'/>")]
        self.assertEqual(
            encode(XML, several), b"<xmpp><message><body>x</body></message><iq type='result'/></xmpp>"
        )
        self.assertEqual(
            json.loads(encode(JSON, several)),
            {"xmpp": [{"kind": "message", "body": "x"}, {"kind": "iq", "type": "result"}]},
        )
        self.assertEqual(cbor2.loads(encode(CBOR, several)), json.loads(encode(JSON, several)))
        self.assertEqual(encode(FORM, several), b"kind=iq&type=result")

    def test_whitespace(self) -> None:
        """
        White space in attributes is kept, except where mod_rest's form is wanted.
        """
        self.assertIn(b"id='a&#9;b'", encode(XML, self.stanza))
        self.assertIn(b"id='a\tb'", encode(XML, self.stanza, asModRest=True))
