"""
What a stanza is when its JSON doesn't say, and what is refused, ignored or left out.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from twisted.words.xish.domish import Element

from restbridge.stanzas.fields import Field
from restbridge.stanzas.kinds import ADDRESSING, KINDS
from restbridge.stanzas.mapping import MappingRefused, UnknownKind, fromJSON, toJSON
from restbridge.stanzas.xml import NS_CLIENT, parseDocument, serialize
from tests.stanzas.strategies import texts

modest = settings(deadline=None, derandomize=True, max_examples=150)


def xmlOf(json: dict[str, Any]) -> str:
    """
    The XML of a stanza's JSON.
    """
    return serialize(fromJSON(json).stanza)


def jsonOf(xml: str) -> dict[str, Any]:
    """
    The JSON of a stanza's XML.
    """
    return toJSON(parseDocument(xml.encode()))


class ImpliedTests(SynchronousTestCase):
    """
    Kind and type may be left out.
    """

    def _implied(self, json: dict[str, Any]) -> tuple[str, str | None]:
        stanza = fromJSON(json).stanza
        return stanza.name, stanza.attributes.get("type")

    def test_kindByPayload(self) -> None:
        """
        A key that only one kind of stanza has says which kind it is.
        """
        self.assertEqual(self._implied({"body": "x"}), ("message", None))
        self.assertEqual(self._implied({"show": "away"}), ("presence", None))
        self.assertEqual(self._implied({"join": True}), ("presence", None))
        self.assertEqual(self._implied({"disco": True}), ("iq", "get"))

    def test_kindByType(self) -> None:
        """
        So does a type that only one kind has; it outweighs the payload.
        """
        self.assertEqual(self._implied({"type": "subscribe"}), ("presence", "subscribe"))
        self.assertEqual(self._implied({"type": "result", "nick": "x"}), ("iq", "result"))
        self.assertEqual(self._implied({"type": "available", "body": "x"}), ("presence", None))

    def test_message(self) -> None:
        """
        What says nothing is a message.
        """
        self.assertEqual(self._implied({"to": "juliet@example.com"}), ("message", None))

    def test_set(self) -> None:
        """
        Commands, archive queries and blocking are sets, other IQs are gets.
        """
        self.assertEqual(self._implied({"command": "uptime"}), ("iq", "set"))
        self.assertEqual(self._implied({"archive": {}}), ("iq", "set"))
        self.assertEqual(self._implied({"block": ["a@example.com"]}), ("iq", "set"))
        self.assertEqual(self._implied({"kind": "iq"}), ("iq", "get"))

    def test_archivedMessage(self) -> None:
        """
        An archive result is a message only where the kind says so, and that has no implied type.
        """
        self.assertEqual(self._implied({"kind": "message", "archive": {"id": "1"}}), ("message", None))

    def test_available(self) -> None:
        """
        A presence without a type is shown as available.
        """
        self.assertEqual(jsonOf("<presence/>"), {"kind": "presence", "type": "available"})


class RefusedTests(SynchronousTestCase):
    """
    A known key with a value that no stanza can hold is refused by its path.
    """

    def _refused(self, json: Any) -> tuple[str, str]:
        error = self.assertRaises(MappingRefused, fromJSON, json)
        return error.path, error.problem

    def test_wrongType(self) -> None:
        """
        The path of the value and the type that it must have are named.
        """
        self.assertEqual(self._refused({"body": 5}), ("body", "must be a string"))
        self.assertEqual(self._refused({"body": None}), ("body", "must be a string"))
        self.assertEqual(self._refused({"priority": "high"}), ("priority", "must be a whole number"))
        self.assertEqual(self._refused({"markable": 1}), ("markable", "must be true or false"))
        self.assertEqual(self._refused({"version": "1"}), ("version", "must be an object"))
        self.assertEqual(self._refused({"kind": 5}), ("kind", "must be a string"))
        self.assertEqual(self._refused({"body": "x", "to": 5}), ("to", "must be a string"))

    def test_deep(self) -> None:
        """
        Lists are counted from 0 in the path.
        """
        form = {"fields": [{"var": "a"}, {"options": 5}]}
        self.assertEqual(self._refused({"dataform": form})[0], "dataform.fields[1].options")
        self.assertEqual(self._refused({"reactions": {"reactions": ["👍", 1]}})[0], "reactions.reactions[1]")
        self.assertEqual(self._refused({"disco": {"extensions": {"urn:x": 5}}})[0], "disco.extensions.urn:x")

    def test_character(self) -> None:
        """
        A character that XML can't carry is refused, wherever it stands.
        """
        problem = "holds the character U+0007, which XML can't carry"
        self.assertEqual(self._refused({"body": "\x07"}), ("body", problem))
        self.assertEqual(self._refused({"replace": "\x07"}), ("replace", problem))
        self.assertEqual(self._refused({"formdata": {"\x07": "x"}})[1], problem)
        self.assertEqual(self._refused({"body": "\ud800"})[0], "body")

    def test_choice(self) -> None:
        """
        Where only certain words are possible, they are listed.
        """
        self.assertIn("composing", self._refused({"state": "thinking"})[1])
        self.assertEqual(self._refused({"error": {"condition": "sad"}})[0], "error.condition")
        self.assertEqual(self._refused({"error": {"type": "sad"}})[0], "error.type")

    def test_html(self) -> None:
        """
        HTML must be one well-formed body of moderate depth.
        """
        for html in ("<body>", "<p>x</p>", "x", "<body/>x", "<body/></html><html>", "<!-- --><body/>", ""):
            self.assertEqual(self._refused({"html": html})[0], "html")
        self.assertEqual(self._refused({"html": f"<body>{'<b>' * 60}{'</b>' * 60}</body>"})[0], "html")

    def test_nesting(self) -> None:
        """
        Stanzas can be forwarded within forwarded stanzas, but not without end.
        """
        json: dict[str, Any] = {"body": "deep"}
        for _ in range(16):
            json = {"forwarded": {"message": json}}
        self.assertEqual(toJSON(fromJSON(json).stanza)["forwarded"], json["forwarded"])
        path, problem = self._refused({"forwarded": {"message": json}})
        self.assertEqual(path.count("message"), 17)
        self.assertIn("16 levels", problem)

    def test_noObject(self) -> None:
        """
        A stanza is an object.
        """
        self.assertEqual(self._refused([]), ("", "must be an object"))

    def test_unknownKind(self) -> None:
        """
        There are three kinds.
        """
        self.assertRaises(UnknownKind, fromJSON, {"kind": "nope"})


class IgnoredTests(SynchronousTestCase):
    """
    Unknown keys are left out, and named.
    """

    def test_named(self) -> None:
        """
        Each is named by its path.
        """
        form = {"fields": [{"var": "a", "colour": "red"}], "size": 2}
        mapped = fromJSON({"body": "x", "mood": "fine", "dataform": form})
        self.assertEqual(mapped.ignored, ("mood", "dataform.fields[0].colour", "dataform.size"))

    def test_otherKind(self) -> None:
        """
        A key of another kind of stanza is unknown.
        """
        self.assertEqual(fromJSON({"kind": "presence", "body": "x"}).ignored, ("body",))


class UnreadableTests(SynchronousTestCase):
    """
    What comes from the wire may be wrong in any way.
    """

    def test_leftOut(self) -> None:
        """
        A value that is not of its type is left out.
        """
        idle = "<idle xmlns='urn:xmpp:idle:1'/>"
        xml = f"<presence><priority>high</priority><x xmlns='jabber:x:data'/>{idle}</presence>"
        self.assertEqual(jsonOf(xml), {"kind": "presence", "type": "available", "dataform": {"fields": []}})

    def test_notJSON(self) -> None:
        """
        A JSON payload that isn't JSON is shown as the text that it is.
        """
        xml = "<message><payload xmlns='urn:xmpp:json-msg:0' datatype='urn:x'>{bad</payload></message>"
        self.assertEqual(jsonOf(xml)["payload"], {"datatype": "urn:x", "data": "{bad"})

    def test_nesting(self) -> None:
        """
        Stanzas nested deeper than can be written are left out.
        """
        forwarded, message = "<forwarded xmlns='urn:xmpp:forward:0'>", f"<message xmlns='{NS_CLIENT}'>"
        depth = 40
        xml = f"<message>{(forwarded + message) * depth}{'</message></forwarded>' * depth}</message>"
        self.assertEqual(str(jsonOf(xml)).count("message"), 17)

    @modest
    @given(st.data())
    def test_anything(self, data: st.DataObject) -> None:
        """
        Whatever elements stand in a stanza, it has JSON.
        """
        kind = data.draw(st.sampled_from(sorted(KINDS)))
        stanza = Element((NS_CLIENT, kind), NS_CLIENT)
        _fill(stanza, data, 3)
        self.assertEqual(toJSON(stanza)["kind"], kind)


_NAMES = sorted(
    {
        pair
        for kind in KINDS.values()
        for payload in kind.payloads
        if isinstance(payload.field, Field)
        for pair in payload.field.names(payload.key, NS_CLIENT)
    }
)
_WITHIN = (
    "field",
    "value",
    "option",
    "x",
    "set",
    "message",
    "forwarded",
    "item",
    "identity",
    "actions",
    "body",
)
_ATTRIBUTES = (*ADDRESSING, "var", "node", "size", "port", "seconds", "restricted", "type", "jid")


def _fill(element: Element, data: st.DataObject, levels: int) -> None:
    for name in data.draw(st.lists(st.sampled_from(_ATTRIBUTES), max_size=3)):
        element[name] = data.draw(texts)
    if not levels:
        element.addContent(data.draw(texts))
        return
    plain = st.sampled_from(_WITHIN).map(lambda name: (element.uri, name))
    for child in data.draw(st.lists(st.sampled_from(_NAMES) | plain, max_size=3)):
        _fill(element.addElement(child), data, levels - 1)
