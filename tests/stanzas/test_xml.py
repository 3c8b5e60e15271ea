"""
L{restbridge.stanzas.xml}: the guards at both ends of the parser.
"""

from __future__ import annotations

import contextlib
import re
import tracemalloc
from pyexpat import ParserCreate

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from twisted.words.xish.domish import Element, ParserError

from restbridge.stanzas.xml import (
    MAX_DEPTH,
    MAX_ELEMENTS,
    MAX_PREFIXES,
    MAX_STANZA,
    MAX_TAG,
    MAX_TOKEN,
    NS_CLIENT,
    NS_XML,
    NS_XMLNS,
    OversizedStanza,
    StanzaTooLarge,
    StreamParser,
    XMLRefused,
    encoded,
    illegalCharacter,
    parseDocument,
    serialize,
)

HEADER = (
    b"<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' id='1'>"
)


def prefixes(number: int) -> bytes:
    """
    Declarations of so many.
    """
    return b" ".join(b"xmlns:p%d='u'" % each for each in range(number))


legal = st.characters(exclude_categories=["Cs", "Cn"]).filter(lambda c: illegalCharacter(c) is None)
"""What XML can hold."""

names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.\-]{0,8}", fullmatch=True)
namespaces = st.text(legal, min_size=1, max_size=12).map(lambda text: "urn:" + re.sub("[\t\n\r ]", "_", text))


@st.composite
def elements(draw: st.DrawFn, depth: int = 3) -> Element:
    """
    Any element that XML can express, three levels deep.
    """
    namespace = draw(st.just(NS_CLIENT) | namespaces)
    element = Element((namespace, draw(names)), namespace)
    keys = names | st.tuples(st.just(NS_XML) | namespaces, names)
    element.attributes = draw(st.dictionaries(keys, st.text(legal, max_size=12), max_size=3))
    children = st.text(legal, min_size=1, max_size=12)
    for child in draw(st.lists(children | elements(depth - 1) if depth else children, max_size=3)):
        if isinstance(child, str):
            element.addContent(child)
        else:
            element.addChild(child)
    return element


def same(one: Element | str, other: Element | str) -> bool:
    """
    Whether two trees say the same.
    """
    if isinstance(one, str) or isinstance(other, str):
        return one == other
    return (
        (one.uri, one.name, one.attributes) == (other.uri, other.name, other.attributes)
        and len(one.children) == len(other.children)
        and all(same(*pair) for pair in zip(one.children, other.children, strict=True))
    )


class DocumentTests(SynchronousTestCase):
    def test_plain(self) -> None:
        """
        Elements without a namespace are jabber:client; text comes in one piece.
        """
        message = parseDocument("<message><body>a\n\n&amp;ü</body></message>".encode())
        (body,) = message.elements()
        self.assertEqual((message.uri, body.uri, body.children), (NS_CLIENT, NS_CLIENT, ["a\n\n&ü"]))

    def test_restricted(self) -> None:
        """
        What XMPP forbids is refused by name (RFC 6120, section 11.1).
        """
        for what, xml in (
            ("DOCTYPE", b"<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>"),
            ("comment", b"<a><!-- c --></a>"),
            ("processing instruction", b"<a><?pi x?></a>"),
            ("undefined entity", b"<a>&x;</a>"),
        ):
            with self.assertRaises(XMLRefused) as caught:
                parseDocument(xml)
            self.assertIn(what, str(caught.exception))

    def test_namespaces(self) -> None:
        """
        A prefix is what the nearest declaration says, and none on an attribute is no namespace.
        """
        outer = parseDocument(
            b"<p:a xmlns:p='u' xmlns='d'><b xmlns:p='v' p:x='1' x='2' xml:lang='en'/></p:a>"
        )
        (inner,) = outer.elements()
        self.assertEqual((outer.uri, inner.uri), ("u", "d"))
        self.assertEqual(inner.attributes, {("v", "x"): "1", "x": "2", (NS_XML, "lang"): "en"})

    def test_wrongNamespaces(self) -> None:
        """
        Prefixes and declarations that mean nothing are refused.
        """
        for xml in (
            *(b"<p:a/>", b"<a p:x='1'/>", b"<a><b xmlns:p='u'/><p:c/></a>"),
            *(b"<a:b:c xmlns:a='u'/>", b"<:a/>", b"<a :x='1'/>", b"<a x:='1' xmlns:x='u'/>"),
            *(
                b"<a xmlns:p=''/>",
                b"<a xmlns:='u'/>",
                b"<a xmlns:p:='u'/>",
                b"<a xmlns:xmlns='u'/>",
                b"<a xmlns:xml='u'/>",
            ),
            b"<a xmlns:p='u' xmlns:q='u' p:x='1' q:x='2'/>",
        ):
            self.assertRaises(XMLRefused, parseDocument, xml)

    def test_limits(self) -> None:
        """
        Depth, number of elements and size are bounded, each said by its name.
        """
        for what, xml in (
            (f"{MAX_DEPTH} levels", b"<a>" * 100_000 + b"</a>" * 100_000),
            (f"{MAX_ELEMENTS} elements", b"<a>" + b"<b/>" * MAX_ELEMENTS + b"</a>"),
            (f"{MAX_STANZA} bytes", b"<a>" + b"x" * MAX_STANZA + b"<b/></a>"),
            (f"{MAX_PREFIXES} prefixes", b"<a %b><b/></a>" % prefixes(MAX_PREFIXES)),
        ):
            with self.assertRaises(XMLRefused) as caught:
                parseDocument(xml)
            self.assertIn(what, str(caught.exception))

    def test_manyPrefixes(self) -> None:
        """
        Many tags within many prefixes don't fill the memory, whatever they declare themselves.
        """
        outer = b"<a %b>" % prefixes(2000)
        for tag in (b"<a>", b"<a xmlns='u'>", b"<a xml:b=''>", b"<a xmlns:q='u'>"):
            tracemalloc.start()
            self.addCleanup(tracemalloc.stop)
            self.assertRaises(XMLRefused, parseDocument, outer + tag * 10_000)
            self.assertLess(tracemalloc.get_traced_memory()[1], 10_000_000, tag)
            tracemalloc.stop()

    @settings(deadline=None)
    @given(st.binary(max_size=200))
    def test_anyBytes(self, data: bytes) -> None:
        """
        Any bytes are an element or refused.
        """
        with contextlib.suppress(XMLRefused):
            parseDocument(data)

    @settings(deadline=None)
    @given(elements())
    def test_roundTrip(self, element: Element) -> None:
        """
        What is written is read back unchanged, white space and hostile namespaces included.
        """
        self.assertTrue(same(parseDocument(serialize(element).encode()), element))


class SerializeTests(SynchronousTestCase):
    def test_unwritable(self) -> None:
        """
        What no XML can hold is refused, never written.
        """
        for character in ("\x00", "\x0b", "\ud83d", "\ufffe"):
            self.assertEqual(illegalCharacter(f"a{character}"), character)
            self.assertEqual(illegalCharacter(f"\u00fc\t{character}"), character)
            element = Element((NS_CLIENT, "body"))
            element.addContent(f"a{character}b")
            with self.assertRaises(XMLRefused) as caught:
                serialize(element)
            self.assertIn(f"U+{ord(character):04X}", str(caught.exception))

    def test_names(self) -> None:
        """
        A name that would break out of its tag is refused.
        """
        self.assertRaises(XMLRefused, serialize, Element((NS_CLIENT, "a b")))
        element = Element((NS_CLIENT, "a"))
        element["x='y' z"] = "1"
        self.assertRaises(XMLRefused, serialize, element)

    def test_letters(self) -> None:
        """
        Which letters beyond ASCII a name may hold is for the parser to say: what it takes is written, the
        rest is refused.
        """
        self.assertEqual(serialize(Element((NS_CLIENT, "\u00e9t\u00e9"))), "<\u00e9t\u00e9/>")
        self.assertRaises(XMLRefused, serialize, Element((NS_CLIENT, "\u00aa")))

    def test_namespaces(self) -> None:
        """
        A namespace for which a server's parser would end the stream is refused: those that belong to their
        prefixes, as C{<xml:a/>} has it, and any with white space, which ejabberd sets before the name.
        """
        self.assertRaises(XMLRefused, serialize, parseDocument(b"<message><xml:a/></message>"))
        for namespace in (NS_XML, NS_XMLNS, "a\nb", "a b", "\t", "a\r"):
            element = Element((NS_CLIENT, "message"))
            element.addElement((namespace, "x"))
            self.assertRaises(XMLRefused, serialize, element)
        for namespace in (NS_XMLNS, "a\nb"):
            element = Element((NS_CLIENT, "message"))
            element.attributes[namespace, "x"] = "1"
            self.assertRaises(XMLRefused, serialize, element)

    def test_attributes(self) -> None:
        """
        Each value is read back as it was, whatever stands beside it.
        """
        values = ["plain", "<&>", "it's", '"', "a\tb\nc\r", "100 %", "", "\u00fc{}"]
        for hostile in values:
            element = Element((NS_CLIENT, "a"))
            element.attributes = {"x": "plain", (NS_XML, "lang"): hostile, ("urn:p", "y"): "1", "z": hostile}
            text = serialize(element)
            self.assertEqual(parseDocument(text.encode()).attributes, element.attributes)
            self.assertIn(" xmlns:a2='urn:p' a2:y='1'", text)

    def test_manyNames(self) -> None:
        """
        However many names there are, each is written as itself, and a wrong one is refused each time.
        """
        for name in [f"n{number}" for number in range(3000)] * 2:
            element = Element((f"urn:{name}", name))
            element[name] = "1"
            self.assertEqual(serialize(element), f"<{name} xmlns='urn:{name}' {name}='1'/>")
            self.assertRaises(XMLRefused, serialize, Element((NS_CLIENT, f"{name} x=''")))

    def test_memory(self) -> None:
        """
        Names that strangers make up, many or long, don't fill the memory.
        """
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        for length, count in ((100, 10_000), (20_000, 200)):
            for number in range(count):
                name = f"n{number:0>{length}}"
                element = Element((f"urn:{name}", name))
                element[name] = "1"
                serialize(element)
            self.assertLess(tracemalloc.get_traced_memory()[0], 2_000_000)

    def test_deep(self) -> None:
        """
        A tree that is too deep is refused, not recursed into.
        """
        top = element = Element((NS_CLIENT, "a"))
        for _ in range(5000):
            element = element.addElement("a")
        self.assertRaises(XMLRefused, serialize, top)


class EncodedTests(SynchronousTestCase):
    """
    Stanzas as they go to a server.
    """

    def message(self, attribute: str, body: str = "") -> Element:
        message = Element((NS_CLIENT, "message"))
        child = message.addElement(("urn:x", "x"))
        child["a"] = attribute
        child.addElement(("urn:x", "b"), content=body)
        return message

    def test_asSerialized(self) -> None:
        """
        Nothing is added to what has no long tag, however large it is.
        """
        for attribute, body in (("", ""), ("a" * 900, "&<>" * 50_000)):
            message = self.message(attribute, body)
            self.assertEqual(serialize(message).encode(), encoded(message, MAX_STANZA * 2))

    def test_blanks(self) -> None:
        """
        What has one is followed by as many blanks.
        """
        for value in ("a" * 5000, ">'\n" * 5000, "\u20ac" * 5000):
            message = self.message(value, "body")
            text = serialize(message).encode()
            tag = text.index(b"<b>") - text.index(b"<x") - len(">")
            self.assertEqual(text + b" " * tag, encoded(message, MAX_STANZA))

    def test_deferred(self) -> None:
        """
        They push a tag out of an expat that defers, in whatever pieces it comes.
        """
        for size in (900, 1100, 5000, 70_000, 130_000):
            sent = encoded(self.message("a" * size), MAX_STANZA)
            for piece in (700, 1448, 8192):
                ended: list[str] = []
                parser = ParserCreate()
                parser.EndElementHandler = ended.append
                parser.Parse(HEADER)
                for start in range(0, len(sent), piece):
                    parser.Parse(sent[start : start + piece])
                self.assertEqual(["b", "x", "message"], ended, (size, piece))

    def test_limits(self) -> None:
        """
        A stanza, or a tag of it, may be too large.
        """
        message = self.message("a" * 1000)
        size = len(serialize(message))
        encoded(message, size)
        tooLarge = self.assertRaises(StanzaTooLarge, encoded, message, size - 1)
        self.assertEqual((size, size - 1), (tooLarge.size, tooLarge.limit))
        longest = len("<x xmlns='urn:x' a=''")
        encoded(self.message("a" * (MAX_TAG - longest)), MAX_STANZA)
        tooLarge = self.assertRaises(
            StanzaTooLarge, encoded, self.message("a" * (MAX_TAG - longest + 1)), MAX_STANZA
        )
        self.assertEqual((MAX_TAG + 1, MAX_TAG), (tooLarge.size, tooLarge.limit))
        self.assertIn("a tag of the stanza has 131073 bytes", str(tooLarge))


class StreamTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.events: list[object] = []
        self.parser = StreamParser("jabber:component:accept")
        self.parser.DocumentStartEvent = self.events.append
        self.parser.ElementEvent = self.events.append
        self.parser.OversizedEvent = self.events.append
        self.parser.DocumentEndEvent = lambda: self.events.append("end")
        self.parser.parse(HEADER)

    def test_stanzas(self) -> None:
        """
        Each whole child of the root is a stanza, wherever the bytes are cut.
        """
        for byte in b"<message><body>Hi</body></message> <iq/></stream:stream>":
            self.parser.parse(bytes([byte]))
        root, message, iq, end = self.events
        assert isinstance(root, Element)
        assert isinstance(message, Element)
        assert isinstance(iq, Element)
        self.assertEqual((root.name, root["id"], end), ("stream", "1", "end"))
        self.assertEqual(serialize(message), "<message><body>Hi</body></message>")
        self.assertEqual(iq.uri, NS_CLIENT)

    def test_pieces(self) -> None:
        """
        A stream has not ended before it has begun, in however many pieces its header comes, and ends once.
        """
        events: list[str] = []
        parser = StreamParser("jabber:component:accept")
        parser.DocumentStartEvent = lambda _: events.append("start")
        parser.DocumentEndEvent = lambda: events.append("end")
        for byte in b"<?xml version='1.0'?>" + HEADER:
            parser.parse(bytes([byte]))
        self.assertEqual(events, ["start"])
        parser.parse(b"</stream:stream>")
        parser.parse(b"\n")
        self.assertEqual(events, ["start", "end"])

    def test_anyNamespace(self) -> None:
        """
        A namespace that is none, which servers let any user send, does not end the stream.
        """
        for namespace in (b"a b", b" ", b"a&#10;b", b"&#9;"):
            self.parser.parse(
                b"<message><x xmlns='%b' xmlns:p='%b' p:y='1'/></message>" % (namespace, namespace)
            )
        for name in (b"xml:a", b"a xmlns='http://www.w3.org/XML/1998/namespace'"):
            self.parser.parse(b"<message><%b/></message>" % name)
        self.assertEqual(len(self.events), 7)

    def test_disabled(self) -> None:
        """
        A parser that is switched off reports nothing more, not even of what it is reading.
        """
        self.parser.ElementEvent = lambda _: self.parser.disable()
        self.parser.parse(b"<iq/><iq/></stream:stream>")
        self.assertEqual(len(self.events), 1)

    def test_oversized(self) -> None:
        """
        A stanza past a limit is reported by its start tag, and the stream goes on.
        """
        self.parser.parse(b"<message id='1'><body>")
        for _ in range(MAX_STANZA // 65536 + 1):
            self.parser.parse(b"x" * 65536)
        self.parser.parse(b"</body></message><iq/>")
        _, oversized, iq = self.events
        assert isinstance(oversized, OversizedStanza)
        assert isinstance(iq, Element)
        self.assertEqual(serialize(oversized.stanza), "<message id='1'/>")
        self.assertIn("bytes", oversized.reason)

    def test_behindOversized(self) -> None:
        """
        What comes behind it is what it is, also where the limit was passed deep inside.
        """
        deep = b"<a>" * (MAX_DEPTH + 1) + b"</a>" * (MAX_DEPTH + 1)
        self.parser.parse(b"<message>%b</message><iq><b/></iq><presence/>" % deep)
        _, oversized, iq, presence = self.events
        assert isinstance(oversized, OversizedStanza)
        assert isinstance(iq, Element)
        assert isinstance(presence, Element)
        shown = [serialize(each) for each in (oversized.stanza, iq, presence)]
        self.assertEqual(shown, ["<message/>", "<iq><b/></iq>", "<presence/>"])

    def test_pastLimit(self) -> None:
        """
        Of what is past a limit nothing is looked at, faults in its names neither.
        """
        self.parser.parse(b"<message %b><a><p:b q:x='1' xmlns:r=''/></a></message><iq/>" % prefixes(200))
        _, oversized, iq = self.events
        assert isinstance(oversized, OversizedStanza)
        assert isinstance(iq, Element)
        self.assertIn("prefixes", oversized.reason)

    def test_unfinishedTag(self) -> None:
        """
        A tag without end is cut off before it fills the memory.
        """
        self.parser.parse(b"<message id='")
        with self.assertRaises(ParserError):
            for _ in range(2 * MAX_TOKEN // 65536):
                self.parser.parse(b"x" * 65536)

    def test_restricted(self) -> None:
        """
        What XMPP forbids ends a stream, too.
        """
        self.assertRaises(ParserError, self.parser.parse, b"<!-- x -->")
