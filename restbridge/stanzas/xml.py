"""
Bytes to elements and back, guarded on both sides.

::

    HTTP body    -> parseDocument                  -> Element
    XMPP stream  -> StreamParser -> ElementEvent    -> Element
    Element      -> serialize                      -> text that no XMPP parser can choke on
    stanza       -> encoded                        -> its bytes, and blanks that push a long tag out

Every stanza inside the house is in C{jabber:client}: elements without a namespace, and those of the
stream's own namespace, are read as such and written without one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Mapping
from pyexpat import ExpatError, ParserCreate
from typing import Any, NoReturn, TypeAlias, TypeVar

import attrs
from twisted.words.xish.domish import Element, ParserError

NS_CLIENT = "jabber:client"
NS_XML = "http://www.w3.org/XML/1998/namespace"
NS_XMLNS = "http://www.w3.org/2000/xmlns/"
NS_STREAMS = "http://etherx.jabber.org/streams"

MAX_DEPTH = 100
"""Levels of elements in a stanza. MUC, archive and XHTML payloads stay below 30."""

MAX_ELEMENTS = 10_000
"""Elements in a stanza."""

MAX_PREFIXES = 100
"""Prefixes, declared by tags that a tag stands in: each that declares one more has a table of all of them."""

MAX_STANZA = 512 * 1024
"""Bytes of a stanza that is read: what Prosody lets pass on a server or component stream."""

MAX_TOKEN = 1024 * 1024
"""Bytes of one tag: expat holds an unfinished tag in memory and scans it again with each read."""

MAX_TAG = 128 * 1024
"""Bytes of one tag that is sent: with as many blanks behind it a stanza must stay below L{MAX_STANZA}."""

_SHORT_TAG = 1024
"""Bytes of a tag that expat reads at once, in however many pieces it comes."""

_TAG = re.compile(rb"<[^>]*")
"""A tag, in what L{serialize} makes, which escapes each C{>} that ends none."""

_TEXT_BUFFER = 512
"""Bytes, taken for each stream at its start."""

_MAX_REMEMBERED = 1024
"""How many beginnings of tags, or of attributes, are kept."""

_LONGEST_REMEMBERED = 256
"""Characters of each."""

_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_CONTROLS = bytes({*range(0x20)} - {*b"\t\n\r"})
_SPACE = re.compile("[\t\n\r ]")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]*")
_MAYBE_NAME = re.compile(r"[^\W\d][\w.\-]*")


class XMLRefused(ValueError):
    """
    XML that is not accepted, or that must not be written; its text says what is wrong and where.
    """


class StanzaTooLarge(XMLRefused):
    """
    A stanza that is larger as XML than may be sent.

    @ivar size: bytes.
    @ivar limit: bytes.
    """

    def __init__(self, size: int, limit: int, part: str = "the stanza") -> None:
        super().__init__(f"{part} has {size} bytes as XML; at most {limit} can be sent")
        self.size = size
        self.limit = limit


def illegalCharacter(text: str) -> str | None:
    """
    The first character of C{text} that no XML document can hold (XML 1.0, production 2 C{Char}).

    Lone surrogates are among them.
    """
    # Quicker than the pattern, and enough for most texts.
    if text.isascii() and len(text.encode().translate(None, _CONTROLS)) == len(text):
        return None
    found = _ILLEGAL.search(text)
    return found.group() if found else None


def firstOf(parent: Element, uri: str, name: str) -> Element | None:
    """
    The first child element of that name.
    """
    # domish's own asks each child for the interfaces that it provides.
    children: list[Element | str] = parent.children
    for child in children:
        if not isinstance(child, str) and child.name == name and child.uri == uri:
            return child
    return None


@attrs.define(kw_only=True)
class OversizedStanza:
    """
    What is kept of a stanza that passes a limit: its start tag, and the limit.
    """

    stanza: Element
    reason: str


Scope: TypeAlias = Mapping[str, str]
"""Namespaces by their prefixes, that of no prefix among them."""

_OUTERMOST: Scope = {"": "", "xml": NS_XML}


def _declare(scope: dict[str, str], name: str, namespace: str) -> None:
    """
    Take a declaration with a prefix into C{scope} (Namespaces in XML 1.0, section 3).
    """
    prefix = name.removeprefix("xmlns:")
    isWrong = prefix in ("", "xmlns") or ":" in prefix or not namespace
    if isWrong or (prefix == "xml" and namespace != NS_XML):
        raise XMLRefused(f"the prefix {prefix[:40]!r} can't be declared like that")
    scope[prefix] = namespace


def _within(outer: Scope, attributes: Mapping[str, str]) -> tuple[Scope, dict[str, str], dict[str, str]]:
    """
    What holds within a start tag, and its other attributes: those without a prefix, and those with one.
    """
    declared: dict[str, str] = {}
    plain, prefixed = {}, {}
    for name, value in attributes.items():
        if name == "xmlns":
            declared[""] = value
        elif ":" not in name:
            plain[name] = value
        elif name.startswith("xmlns:"):
            _declare(declared, name, value)
        else:
            prefixed[name] = value
    return {**outer, **declared} if declared else outer, plain, prefixed


def _split(name: str) -> tuple[str, str]:
    """
    Prefix and local part.
    """
    prefix, _, local = name.partition(":")
    if not prefix or not local or ":" in local:
        raise XMLRefused(f"{name[:40]!r} is no name with a prefix")
    return prefix, local


def _bound(scope: Scope, prefix: str) -> str:
    try:
        return scope[prefix]
    except KeyError:
        raise XMLRefused(f"unbound prefix {prefix[:40]!r}") from None


def _qualified(attributes: Mapping[str, str], scope: Scope) -> dict[Any, str]:
    """
    Attributes whose names have prefixes, by namespace and local part.
    """
    found: dict[Any, str] = {}
    for name, value in attributes.items():
        prefix, local = _split(name)
        key = (_bound(scope, prefix), local)
        if key in found:
            raise XMLRefused(f"the attribute {name[:40]!r} stands there twice")
        found[key] = value
    return found


def _refuse(what: str) -> Callable[..., NoReturn]:
    def refuse(*_: object) -> NoReturn:
        raise XMLRefused(f"{what} is not allowed in XMPP (RFC 6120, section 11.1)")

    return refuse


_refuseDoctype = _refuse("a DOCTYPE")
_refuseComment = _refuse("a comment")
_refuseInstruction = _refuse("a processing instruction")


class _Tree:
    """
    Makes elements of expat's events, up to the limits; past them, only counts levels.

    @ivar complete: called with each element that closes at C{stanzaDepth}.
    @ivar oversized: called instead when that element passed a limit.
    """

    def __init__(
        self,
        namespaces: Mapping[str, str],
        stanzaDepth: int,
        complete: Callable[[Element], object],
        oversized: Callable[[OversizedStanza], object],
    ) -> None:
        self.namespaces = namespaces
        self.stanzaDepth = stanzaDepth
        self.complete = complete
        self.oversized = oversized
        self.depth = 0
        # Those that are open, the outermost first. That an element names its parent, as domish has it, would
        # leave all that comes to the garbage collector.
        self._open: list[Element] = []
        self._text: list[str] = []
        self._elements = 0
        self._start = 0
        self._reason: str | None = None
        self._scopes: list[Scope] = [_OUTERMOST]

        # No table of names of its own: a thousand idle streams would hold as many.
        # Nor does it look after namespaces: what it takes there for a fault (those that are reserved, bound
        # to an element by default) servers let any user send, and it would end the stream.
        parser = self.parser = ParserCreate("UTF-8", None, None)
        # Without it expat hands over every line end by itself, and text is put together piecemeal.
        parser.buffer_text = True
        parser.buffer_size = _TEXT_BUFFER
        if hasattr(parser, "SetReparseDeferralEnabled"):  # pragma: no cover  # there is none before expat 2.6
            # A stanza must not wait until the next one pushes it out; MAX_TOKEN bounds what that costs.
            parser.SetReparseDeferralEnabled(False)
        parser.StartElementHandler = self._started
        parser.EndElementHandler = self._ended
        parser.CharacterDataHandler = self._characters
        parser.StartDoctypeDeclHandler = _refuseDoctype
        parser.CommentHandler = _refuseComment
        parser.ProcessingInstructionHandler = _refuseInstruction

    def newElement(self, name: str, attributes: dict[str, str]) -> Element:
        """
        An element of a start tag as it is written. What the tag declares holds until it ends.
        """
        scope = self._scopes[-1]
        found: dict[Any, str] = attributes
        for key in attributes:
            if ":" in key or key == "xmlns":
                scope, found, prefixed = _within(scope, attributes)
                if prefixed:
                    found |= _qualified(prefixed, scope)
                break
        self._scopes.append(scope)
        if ":" in name:
            prefix, name = _split(name)
            namespace = _bound(scope, prefix)
        else:
            namespace = scope[""]
        namespace = self.namespaces.get(namespace, namespace)
        element = Element((namespace, name), namespace)
        element.attributes = found
        return element

    def _started(self, name: str, attributes: dict[str, str]) -> None:
        self.depth += 1
        if self.depth == self.stanzaDepth:
            self._begin()
        self._elements += 1
        if not self._fits():
            self._scopes.append(self._scopes[-1])
            return
        element = self.newElement(name, attributes)
        if self._open:
            parent = self._open[-1]
            if self._text:
                self._flush(parent)
            parent.children.append(element)
        self._open.append(element)

    def _begin(self) -> None:
        self._elements = 0
        self._start = self.parser.CurrentByteIndex
        self._reason = None

    def _fits(self) -> bool:
        if self._reason is None:
            if self.depth - self.stanzaDepth >= MAX_DEPTH:
                self._reason = f"elements nested deeper than {MAX_DEPTH} levels"
            elif self._elements > MAX_ELEMENTS:
                self._reason = f"more than {MAX_ELEMENTS} elements"
            elif len(self._scopes[-1]) > MAX_PREFIXES:
                self._reason = f"more than {MAX_PREFIXES} prefixes"
            elif self.parser.CurrentByteIndex - self._start > MAX_STANZA:
                self._reason = f"more than {MAX_STANZA} bytes"
        return self._reason is None

    def _characters(self, text: str) -> None:
        if self._open and self._fits():
            self._text.append(text)

    def _flush(self, element: Element) -> None:
        element.children.append("".join(self._text))
        self._text.clear()

    def _ended(self, _: str) -> None:
        self.depth -= 1
        self._scopes.pop()
        if not self._open:
            return
        outermost = self._open[0]
        if self._reason is None:
            element = self._open.pop()
            if self._text:
                self._flush(element)
        if self.depth == self.stanzaDepth - 1:
            self._finish(outermost)

    def _finish(self, element: Element) -> None:
        self._open.clear()
        self._text.clear()
        if self._reason is None:
            self.complete(element)
            return
        element.children.clear()
        self.oversized(OversizedStanza(stanza=element, reason=self._reason))


def _readable(error: ExpatError) -> str:
    return str(error).replace("column", "col")


def parseDocument(data: bytes) -> Element:
    """
    The root element of a document of one element.

    @param data: UTF-8.
    @raise XMLRefused: not well-formed, restricted (RFC 6120, section 11.1), or past a limit.
    """
    found: list[Element] = []

    def refuse(oversized: OversizedStanza) -> None:
        raise XMLRefused(oversized.reason)

    tree = _Tree({"": NS_CLIENT}, 1, found.append, refuse)
    try:
        tree.parser.Parse(data, True)
    except ExpatError as error:
        raise XMLRefused(_readable(error)) from None
    return found[0]


class StreamParser:
    """
    The parser of an XML stream; stands where Twisted's C{domish.elementStream()} would.

    A stanza past a limit is read over and reported by L{OversizedEvent}: it must not end a stream
    that many share.

    @ivar DocumentStartEvent: called with the root element, without children.
    @ivar ElementEvent: called with each whole child of the root element.
    @ivar OversizedEvent: called with an L{OversizedStanza}.
    @ivar DocumentEndEvent: called when the root element closes.
    """

    DocumentStartEvent: Callable[[Element], object]
    ElementEvent: Callable[[Element], object]
    OversizedEvent: Callable[[OversizedStanza], object]
    DocumentEndEvent: Callable[[], object]

    def __init__(self, streamNamespace: str) -> None:
        """
        @param streamNamespace: the default namespace of the stream, read as C{jabber:client}.
        """
        # Looked up at each call: Twisted's C{setDispatchFn} replaces the event's function.
        self._tree = _Tree(
            {"": NS_CLIENT, streamNamespace: NS_CLIENT},
            2,
            lambda element: self.ElementEvent(element),  # noqa: PLW0108
            lambda oversized: self.OversizedEvent(oversized),  # noqa: PLW0108
        )
        self._tree.parser.StartElementHandler = self._rootStarted
        self._isOpen = False
        self._fed = 0

    def _rootStarted(self, name: str, attributes: dict[str, str]) -> None:
        tree = self._tree
        tree.parser.StartElementHandler = tree._started
        tree.depth = 1
        self._isOpen = True
        self.DocumentStartEvent(tree.newElement(name, attributes))

    def disable(self) -> None:
        """
        Report nothing more, not even of the bytes that are being read.
        """
        for event in ("DocumentStartEvent", "ElementEvent", "OversizedEvent", "DocumentEndEvent"):
            setattr(self, event, _ignore)

    def parse(self, data: bytes) -> None:
        """
        Read on.

        @raise ParserError: not well-formed, restricted, or a tag of more than L{MAX_TOKEN} bytes;
            nothing can be read after it.
        """
        tree = self._tree
        self._fed += len(data)
        try:
            tree.parser.Parse(data)
        except (ExpatError, XMLRefused) as error:
            raise ParserError(str(error)) from None
        if self._fed - tree.parser.CurrentByteIndex > MAX_TOKEN:
            raise ParserError(f"a tag of more than {MAX_TOKEN} bytes")
        if self._isOpen and tree.depth == 0:
            self._isOpen = False
            self.DocumentEndEvent()


def _ignore(*_: object) -> None:
    """
    An event of a parser that is switched off.
    """


def _checkedName(name: str) -> str:
    if not _NAME.fullmatch(name) and not (_MAYBE_NAME.fullmatch(name) and _expatTakes(name)):
        raise XMLRefused(f"{name!r} is not the name of an element or attribute")
    return name


def _checkedNamespace(namespace: str) -> str:
    """
    What servers' parsers take as well: for expat the two reserved ones belong to their prefixes alone, and
    white space is what some set between namespace and name.
    """
    if namespace in (NS_XML, NS_XMLNS) or _SPACE.search(namespace):
        raise XMLRefused(f"{namespace[:100]!r} can't be the namespace of an element or attribute")
    return namespace


def _expatTakes(name: str) -> bool:
    """
    Which other letters a name may hold is for the parser to say: the editions of XML 1.0 differ.
    """
    try:
        ParserCreate("UTF-8").Parse(f"<{name}/>".encode("utf-8", "replace"), True)
    except ExpatError:
        return False
    return True


def _escapeText(text: str) -> str:
    if not ("&" in text or "<" in text or ">" in text or "\r" in text):
        return text
    # A bare carriage return would arrive as a line feed (XML 1.0, section 2.11).
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\r", "&#13;")


def _escapeAttribute(text: str) -> str:
    text = _escapeText(text).replace("'", "&apos;").replace('"', "&quot;")
    # As they stand, they would arrive as spaces (XML 1.0, section 3.3.3).
    return text.replace("\t", "&#9;").replace("\n", "&#10;")


def _isPlain(text: str) -> bool:
    """
    Whether it can be, or be a part of, the value of an attribute as it stands.
    """
    isMarkup = "&" in text or "<" in text or ">" in text or "'" in text or '"' in text
    return not (isMarkup or "\t" in text or "\n" in text or "\r" in text)


_Key = TypeVar("_Key", bound=Hashable)


class _Remembered(dict[_Key, str]):
    """
    What is written again and again, kept once it is checked; bounded, as strangers make names up.
    """

    def __init__(self, make: Callable[[_Key], str]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, key: _Key) -> str:
        made = self._make(key)
        if len(made) <= _LONGEST_REMEMBERED:
            if len(self) == _MAX_REMEMBERED:
                self.clear()
            self[key] = made
        return made


def _opening(names: tuple[str, str | None]) -> str:
    name, namespace = names
    text = f"<{_checkedName(name)}"
    if namespace is not None:
        text += f" xmlns='{_escapeAttribute(_checkedNamespace(namespace))}'"
    return text


_OPENINGS = _Remembered(_opening)
"""Start tags without attributes, by name and by the namespace to declare."""

_ATTRIBUTES: _Remembered[str] = _Remembered(lambda name: f" {_checkedName(name)}='")
"""Attributes up to their values, by name."""


def serialize(element: Element, defaultNamespace: str = NS_CLIENT) -> str:
    """
    An element as XML that is complete in itself: no prefix but C{xml:}, which needs no declaration,
    and those made up for attributes, declared where they stand.

    domish's own C{toXml} writes namespaces unescaped and lets any character through.

    @param defaultNamespace: the namespace in scope where the text will stand.
    @raise XMLRefused: a character, a name or a namespace that XML can't hold, or too deep nesting.
    """
    parts: list[str] = []
    _write(element, defaultNamespace, parts, MAX_DEPTH)
    text = "".join(parts)
    illegal = illegalCharacter(text)
    if illegal is not None:
        raise XMLRefused(f"the character U+{ord(illegal):04X} can't stand in XML")
    return text


def encoded(stanza: Element, limit: int) -> bytes:
    """
    A stanza as it goes to a server.

    Behind one with a long tag there are blanks, as many as that has bytes. Since expat 2.6 a parser may wait
    with a tag that came in pieces until twice as much is there, and Prosody as Debian 13 has it does: not
    even what is sent after it would be read. Blanks between stanzas mean nothing (RFC 6120, section 4.6.1).

    @param limit: bytes, without those blanks.
    @raise XMLRefused: see L{serialize}; L{StanzaTooLarge}, it has more, or a tag of more than L{MAX_TAG}.
    """
    data = serialize(stanza).encode()
    if len(data) > limit:
        raise StanzaTooLarge(len(data), limit)
    if len(data) <= _SHORT_TAG:
        return data
    longest = max(map(len, _TAG.findall(data)))
    if longest > MAX_TAG:
        raise StanzaTooLarge(longest, MAX_TAG, "a tag of the stanza")
    return data + b" " * longest if longest > _SHORT_TAG else data


def _write(element: Element, scope: str, parts: list[str], levels: int) -> None:
    if levels == 0:
        raise XMLRefused(f"elements nested deeper than {MAX_DEPTH} levels")
    namespace = element.uri or scope
    parts.append(_OPENINGS[element.name, None if namespace == scope else namespace])
    if element.attributes:
        # One look at all the values: there is hardly ever something to escape.
        isPlain = _isPlain("".join(element.attributes.values()))
        for number, (key, value) in enumerate(element.attributes.items()):
            beginning = _ATTRIBUTES[key] if isinstance(key, str) else _prefixed(key, number)
            parts.append(f"{beginning}{value if isPlain else _escapeAttribute(value)}'")
    if not element.children:
        parts.append("/>")
        return
    parts.append(">")
    for child in element.children:
        if isinstance(child, str):
            parts.append(_escapeText(child))
        else:
            _write(child, namespace, parts, levels - 1)
    parts.append(f"</{element.name}>")


def _prefixed(key: tuple[str, str], number: int) -> str:
    namespace, name = key
    if namespace == NS_XML:
        return f" xml:{_checkedName(name)}='"
    declared = f" xmlns:a{number}='{_escapeAttribute(_checkedNamespace(namespace))}'"
    return f"{declared} a{number}:{_checkedName(name)}='"
