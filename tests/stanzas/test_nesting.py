"""
How deep JSON from strangers may be.
"""

from __future__ import annotations

import json

import cbor2
from twisted.trial.unittest import SynchronousTestCase

from restbridge.stanzas.bodies import Unreadable
from restbridge.stanzas.media import CBOR, JSON, decode, encode
from restbridge.stanzas.nesting import MAX_LEVELS, decodeJSON, isWithin
from restbridge.stanzas.payloads.json import MAX_JSON_DEPTH
from restbridge.stanzas.xml import parseDocument

BOTTOMLESS = (1_000, 10_000, 100_000)
"""Past what Python 3.11 goes down to in a test, and up to what a stack of eight megabytes has no room for."""


def lists(levels: int, inmost: str = "") -> str:
    return "[" * levels + inmost + "]" * levels


def objects(levels: int, inmost: str = "1") -> str:
    return '{"a":' * levels + inmost + "}" * levels


class NestingTests(SynchronousTestCase):
    def assertTooDeep(self, text: str, levels: int = MAX_LEVELS) -> None:
        for given in (text, text.encode()):
            with self.assertRaisesRegex(ValueError, rf"^nested deeper than {levels} levels$"):
                decodeJSON(given, levels)

    def test_levels(self) -> None:
        """
        So many levels are read, one more is refused; of lists, of objects, and of both.
        """
        for inmost in ("", "1", '"x", null'):
            text = lists(MAX_LEVELS, inmost)
            self.assertEqual(json.loads(text), decodeJSON(text))
            self.assertTooDeep(lists(MAX_LEVELS + 1, inmost))
        self.assertEqual(json.loads(objects(MAX_LEVELS)), decodeJSON(objects(MAX_LEVELS).encode()))
        self.assertTooDeep(objects(MAX_LEVELS + 1))
        self.assertTooDeep(objects(MAX_LEVELS, "{}"))
        self.assertTooDeep(lists(60, f"1, {objects(50)}"))

    def test_fewer(self) -> None:
        """
        There may be a lower limit.
        """
        for levels in (0, 1, 3):
            self.assertEqual(json.loads(lists(levels, "7")), decodeJSON(lists(levels, "7"), levels))
            self.assertTooDeep(lists(levels + 1, "7"), levels)

    def test_wide(self) -> None:
        """
        Many lists side by side are not deep, nor are brackets in a text.
        """
        for text in (f"[{'[],' * 1000}{{}}]", json.dumps("[" * 1000), json.dumps({"{[": "[{" * 1000})):
            self.assertEqual(json.loads(text), decodeJSON(text))

    def test_bottomless(self) -> None:
        """
        It is the same refusal where Python itself gives up, and where a version of it doesn't.
        """
        for levels in BOTTOMLESS:
            self.assertTooDeep(lists(levels))
            self.assertTooDeep(objects(levels))

    def test_malformed(self) -> None:
        """
        What is no JSON is refused as that.
        """
        for text in ("", "{", lists(MAX_LEVELS + 1) + "]", "nul", b"\xff"):
            with self.assertRaisesRegex(ValueError, "^(?!nested deeper)"):
                decodeJSON(text)

    def test_scalars(self) -> None:
        """
        What holds nothing has no level.
        """
        for value in (None, "x", 1, b"[["):
            self.assertTrue(isWithin(value, 0))


class UseTests(SynchronousTestCase):
    def test_received(self) -> None:
        """
        A JSON payload that is too deep for who reads it is shown as the text that it is (XEP-0432).
        """
        for levels in (1, MAX_JSON_DEPTH, MAX_JSON_DEPTH + 1, *BOTTOMLESS):
            text = lists(levels)
            payload = f"<payload xmlns='urn:xmpp:json-msg:0'>{text}</payload>"
            message = parseDocument(f"<message>{payload}</message>".encode())
            expected = json.loads(text) if levels <= MAX_JSON_DEPTH else text
            for found in (json.loads(encode(JSON, message)), cbor2.loads(encode(CBOR, message))):
                self.assertEqual({"data": expected}, found["payload"])

    def test_sent(self) -> None:
        """
        A body that is too deep is refused, wherever it is.
        """
        for levels in BOTTOMLESS:
            for body in (lists(levels), f'{{"payload": {{"data": {objects(levels)}}}}}'):
                with self.assertRaisesRegex(Unreadable, "nested deeper"):
                    decode(JSON, body.encode())
