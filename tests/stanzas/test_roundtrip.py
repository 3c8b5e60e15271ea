"""
Nothing that the mapping can express is lost or changed on the way through it.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from twisted.words.xish.domish import Element

from restbridge.stanzas.kinds import IQ, KINDS, MESSAGE, PRESENCE
from restbridge.stanzas.mapping import fromJSON, toJSON
from restbridge.stanzas.media import CBOR, JSON, XML, decode, encode
from restbridge.stanzas.xml import parseDocument, serialize
from tests.stanzas.strategies import stanzas

modest = settings(deadline=None, derandomize=True, max_examples=120)

anyStanza = st.one_of(*(stanzas(kind) for kind in KINDS.values()))


def _overWire(stanza: Element) -> Element:
    return parseDocument(serialize(stanza).encode())


def _canonical(element: Element) -> tuple[Any, ...]:
    """
    An element for comparison: siblings of different names stand in no order.
    """
    children = [("", child) if isinstance(child, str) else _canonical(child) for child in element.children]
    ordered = sorted(children, key=lambda child: child[:2] if child[0] else ("",))
    return (element.uri, element.name, sorted(element.attributes.items(), key=repr), ordered)


class RoundTripTests(SynchronousTestCase):
    """
    Generated stanzas, there and back.
    """

    def _keeps(self, json: dict[str, Any]) -> None:
        mapped = fromJSON(json)
        self.assertEqual(mapped.ignored, ())
        self.assertEqual(toJSON(_overWire(mapped.stanza)), json)

    @modest
    @given(stanzas(MESSAGE))
    def test_message(self, json: dict[str, Any]) -> None:
        """
        A message is the same after JSON -> XML -> JSON.
        """
        self._keeps(json)

    @modest
    @given(stanzas(PRESENCE))
    def test_presence(self, json: dict[str, Any]) -> None:
        """
        A presence is the same after JSON -> XML -> JSON.
        """
        self._keeps(json)

    @modest
    @given(stanzas(IQ))
    def test_iq(self, json: dict[str, Any]) -> None:
        """
        An IQ is the same after JSON -> XML -> JSON.
        """
        self._keeps(json)

    @modest
    @given(anyStanza)
    def test_element(self, json: dict[str, Any]) -> None:
        """
        A stanza is the same after XML -> JSON -> XML.
        """
        stanza = _overWire(fromJSON(json).stanza)
        again = _overWire(fromJSON(toJSON(stanza)).stanza)
        self.assertEqual(_canonical(again), _canonical(stanza))

    @modest
    @given(anyStanza, st.sampled_from((JSON, CBOR, XML)))
    def test_bytes(self, json: dict[str, Any], mediaType: str) -> None:
        """
        A stanza is the same after being written in any media type that can hold all of it.
        """
        stanza = fromJSON(json).stanza
        again = decode(mediaType, encode(mediaType, stanza)).stanza
        self.assertEqual(_canonical(_overWire(again)), _canonical(_overWire(stanza)))
