"""
What the bodies of requests are understood as, by media type and path.
"""

from __future__ import annotations

import json
from typing import Any

import cbor2
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from restbridge.stanzas.mapping import MappingRefused
from restbridge.stanzas.media import (
    CBOR,
    FORM,
    INPUTS,
    JSON,
    TEXT,
    XML,
    UnknownMediaType,
    Unreadable,
    decode,
    encode,
)
from restbridge.stanzas.xml import parseDocument, serialize

modest = settings(deadline=None, derandomize=True, max_examples=200)

_PIECES = (
    b"<message>",
    b"</message>",
    b"<!DOCTYPE a>",
    b"&#0;",
    b'{"body":',
    b'{"dataform":{"fields":[',
    b'"\\ud800"',
    b"1e999",
    b"[" * 300,
    b"\xa1dbody",
    b"\xd8\x1c\x81\xd8\x1d\x00",
    b"\x9f" * 200,
    b"body=%ff&kind=",
    b"\xff\x00",
    b"]}",
    b'"x"',
)
_PATHS = (
    None,
    "",
    "nonsense",
    "message/chat/@",
    "presence/available/a@b",
    "iq/get/a",
    "iq/disco/a",
    "iq/stats/",
)


def xml(mediaType: str, body: bytes, path: str | None = None) -> str:
    """
    The XML of what C{body} holds.
    """
    return serialize(decode(mediaType, body, path).stanza)


class DecodeTests(SynchronousTestCase):
    """
    Bodies of each media type.
    """

    def _unreadable(self, mediaType: str, body: bytes, path: str | None = None) -> str:
        error: Unreadable = self.assertRaises(Unreadable, decode, mediaType, body, path)
        return error.reason

    def test_xml(self) -> None:
        """
        XML is taken as it is.
        """
        self.assertEqual(
            xml(XML, b"<message><any xmlns='urn:x'/></message>"), "<message><any xmlns='urn:x'/></message>"
        )
        self.assertIn("syntax error", self._unreadable(XML, b"text"))

    def test_json(self) -> None:
        """
        JSON is an object with something in it.
        """
        for body in (
            b"[]",
            b"5",
            b'"x"',
            b"{}",
            b"",
            b"{",
            b"\xff",
            b"[" * 10**5,
            b'{"body":NaN}',
            b'{"a":1e400}',
        ):
            self.assertEqual(self._unreadable(JSON, body), "invalid-json")
        self.assertEqual(self._unreadable(JSON, b'{"kind":"nope"}'), "unknown-kind")

    def test_duplicateKeys(self) -> None:
        """
        Of a key that stands there twice, the last counts.
        """
        self.assertEqual(xml(JSON, b'{"body":"a","body":"b"}'), "<message><body>b</body></message>")

    def test_text(self) -> None:
        """
        Text is the body of a chat message.
        """
        self.assertEqual(xml(TEXT, "ünï".encode()), "<message type='chat'><body>ünï</body></message>")
        self.assertRaises(MappingRefused, decode, TEXT, b"\x00")
        self._unreadable(TEXT, b"\xff")

    def test_form(self) -> None:
        """
        A form holds texts; a number is understood, what no text can be is left out and named.
        """
        self.assertEqual(xml(FORM, b"body=a+b%26c"), "<message><body>a b&amp;c</body></message>")
        self.assertEqual(xml(FORM, b"priority=5"), "<presence><priority>5</priority></presence>")
        mapped = decode(FORM, b"kind=iq&ping=true&colour=red")
        self.assertEqual(serialize(mapped.stanza), "<iq type='get'/>")
        self.assertEqual(mapped.ignored, ("colour", "ping"))

    def test_formErrors(self) -> None:
        """
        A form without fields is text; one that is not UTF-8 is none.
        """
        self.assertEqual(xml(FORM, b"foo"), "<message type='chat'><body>foo</body></message>")
        self.assertRaises(MappingRefused, decode, FORM, b"priority=x")
        self._unreadable(FORM, b"body=%ff")

    def test_cbor(self) -> None:
        """
        CBOR holds what JSON holds.
        """
        self.assertEqual(xml(CBOR, cbor2.dumps({"body": "x"})), "<message><body>x</body></message>")
        self.assertRaises(MappingRefused, decode, CBOR, cbor2.dumps({"body": b"x"}))
        self.assertRaises(MappingRefused, decode, CBOR, cbor2.dumps({"payload": {"data": float("nan")}}))

    def test_cborLimits(self) -> None:
        """
        Tags, shared references above all, other keys than texts, and bottomless nesting are refused.
        """
        for body in (
            bytes.fromhex("d81c81d81d00"),
            bytes.fromhex("a16161c24101"),
            bytes.fromhex("a10506"),
            b"\x81" * 10**5,
            b"",
        ):
            self.assertEqual(self._unreadable(CBOR, body), "invalid-cbor")

    def test_unknown(self) -> None:
        """
        There are no other types.
        """
        for mediaType in (None, "", "application/xml", "application/vnd.api+json"):
            self.assertRaises(UnknownMediaType, decode, mediaType, b"{}")

    @modest
    @given(
        st.sampled_from(INPUTS),
        st.binary() | st.lists(st.sampled_from(_PIECES), max_size=6).map(b"".join),
        st.sampled_from(_PATHS),
        st.booleans(),
    )
    def test_anything(self, mediaType: str, body: bytes, path: str | None, asModRest: bool) -> None:
        """
        Any bytes are a stanza that can be written, or refused.
        """
        try:
            mapped = decode(mediaType, body, path, asModRest=asModRest)
        except (Unreadable, MappingRefused):
            return
        serialize(mapped.stanza)

    _json: Any = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
        lambda below: (
            st.lists(below, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ("body", "type", "fields", "dataform", "command", "form", "disco", "archive", "ids")
                )
                | st.sampled_from(
                    ("extensions", "items", "payload", "data", "error", "options", "value", "html")
                )
                | st.text(max_size=3),
                below,
                max_size=4,
            )
        ),
        max_leaves=15,
    )

    @modest
    @given(_json, st.sampled_from((JSON, CBOR)), st.booleans())
    def test_anyJSON(self, value: Any, mediaType: str, asModRest: bool) -> None:
        """
        Any JSON is a stanza that can be written and read, or refused.
        """
        body = cbor2.dumps(value) if mediaType == CBOR else json.dumps(value).encode()
        try:
            stanza = decode(mediaType, body, asModRest=asModRest).stanza
        except (Unreadable, MappingRefused):
            return
        encode(JSON, parseDocument(serialize(stanza).encode()))


class PathTests(SynchronousTestCase):
    """
    C{POST /rest/{kind}/{type}/{to}}.
    """

    def test_outweighs(self) -> None:
        """
        The path outweighs the body.
        """
        body = b'{"to":"b@example.com","type":"normal","body":"x"}'
        self.assertEqual(
            xml(JSON, body, "message/chat/a@example.com"),
            "<message to='a@example.com' type='chat'><body>x</body></message>",
        )

    def test_text(self) -> None:
        """
        Text is a body or a show.
        """
        self.assertEqual(
            xml(TEXT, b"x", "message/headline/"), "<message type='headline'><body>x</body></message>"
        )
        self.assertEqual(xml(TEXT, b"dnd", "presence/available/"), "<presence><show>dnd</show></presence>")
        self.assertRaises(Unreadable, decode, TEXT, b"x", "iq/get/example.com")

    def test_payload(self) -> None:
        """
        C{iq/{payload}/{to}} makes the body that payload.
        """
        self.assertEqual(
            xml(JSON, b'{"name":"x"}', "iq/version/example.com"),
            "<iq to='example.com' type='get'><query xmlns='jabber:iq:version'><name>x</name></query></iq>",
        )
        self.assertIn("<ping ", xml(JSON, b"{}", "iq/ping/example.com"))

    def test_nowhere(self) -> None:
        """
        Other paths lead nowhere.
        """
        for path in ("nonsense", "", "foo/chat/a", "message/chat"):
            error = self.assertRaises(Unreadable, decode, JSON, b'{"body":"x"}', path)
            self.assertEqual(error.reason, "invalid-path")

    def test_noAddress(self) -> None:
        """
        What is no address in the path is left out and named.
        """
        mapped = decode(TEXT, b"x", "message/chat/@")
        self.assertEqual(mapped.ignored, ("to",))
        self.assertNotIn("to", mapped.stanza.attributes)

    def test_xml(self) -> None:
        """
        XML says all itself.
        """
        self.assertEqual(xml(XML, b"<message to='a'/>", "nonsense"), "<message to='a'/>")
