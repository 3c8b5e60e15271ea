"""
Declarations made of declarations: lists, objects, stanzas within stanzas, and a payload as a whole.

An L{Object} is compiled when it is made: an element is read in one pass, with one look into a dict for
each attribute and child, however many declarations there are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeAlias

import attrs
from twisted.words.xish.domish import Element

from restbridge.stanzas.fields import (
    Attribute,
    Child,
    ChildText,
    Content,
    Custom,
    Field,
    NameIsValue,
    Names,
    SingleAttribute,
)
from restbridge.stanzas.values import Schema
from restbridge.stanzas.writing import MAX_NESTING, Writing, childOf, elementsOf, textOf

FORWARDED_SCHEMA = "#/components/schemas/ForwardedMessage"
"""Where the document that the schemas stand in keeps that of a stanza within a stanza."""


def _orTrue(schema: Schema) -> Schema:
    return {"anyOf": [{"const": True}, schema]}


@attrs.frozen(kw_only=True)
class Each(Field):
    """
    A list whose items are children beside one another.
    """

    many: ClassVar[bool] = True
    item: Field
    name: str

    @property
    def schema(self) -> Schema:
        return {"type": "array", "items": self.item.schema}

    def names(self, key: str, inherited: str) -> Names:
        return self.item.names(self.name, inherited)

    def read(self, element: Element, levels: int) -> Any:
        return self.item.read(element, levels)

    def write(self, parent: Element, key: str, value: Any, context: Writing) -> None:
        context.each(value, lambda item: self.item.write(parent, self.name, item, context))


@attrs.frozen(kw_only=True)
class Wrapped(Child):
    """
    A list whose items are children of one child. C{true} asks for it: the child without items.
    """

    item: Field
    itemName: str

    @property
    def schema(self) -> Schema:
        return _orTrue({"type": "array", "items": self.item.schema})

    def read(self, element: Element, levels: int) -> Any:
        names = self.item.names(self.itemName, element.uri)
        found = (child for child in elementsOf(element) if (child.uri, child.name) in names)
        return [value for child in found if (value := self.item.read(child, levels)) is not None]

    def write(self, parent: Element, key: str, value: Any, context: Writing) -> None:
        element = childOf(parent, self.name or key, self.uri)
        if value is not True:
            context.each(value, lambda item: self.item.write(element, self.itemName, item, context))


Member: TypeAlias = Attribute | Content | Field
_Writer: TypeAlias = Callable[[Element, Any, Writing], None]


def _writer(key: str, member: Member) -> _Writer:
    if isinstance(member, Attribute):
        return member.writer(key)
    if isinstance(member, Content):
        return member.write
    return lambda parent, value, context: member.write(parent, key, value, context)


@attrs.frozen(kw_only=True, eq=False)
class Object(Child):
    """
    A child with members: a JSON object.

    @ivar members: by JSON key.
    @ivar orTrue: C{true} asks for it: the child without members.
    @ivar prepare: changes the JSON before it is written: abbreviations.
    @ivar short: the keys that C{prepare} knows beside the members.
    @ivar finish: adds to the JSON that was read.
    """

    uri: str | None = None
    members: Mapping[str, Member]
    orTrue: bool = False
    prepare: Callable[[dict[str, Any], Writing], dict[str, Any]] | None = None
    finish: Callable[[dict[str, Any]], None] | None = None
    short: Mapping[str, Schema] = attrs.field(factory=dict)
    _writers: dict[str, _Writer] = attrs.field(init=False, repr=False)
    _attributes: dict[Any, tuple[str, Callable[[str], Any]]] = attrs.field(init=False, repr=False)
    _content: tuple[str, Callable[[str], Any]] | None = attrs.field(init=False, repr=False)
    _children: dict[str, dict[tuple[str, str], tuple[str, Field]]] = attrs.field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        compiled = {
            "_writers": {key: _writer(key, member) for key, member in self.members.items()},
            "_attributes": {
                member.name or key: (key, member.value.fromText)
                for key, member in self.members.items()
                if isinstance(member, Attribute)
            },
            "_content": next(
                ((key, m.value.fromText) for key, m in self.members.items() if isinstance(m, Content)), None
            ),
        }
        for name, value in compiled.items():
            object.__setattr__(self, name, value)

    @property
    def schema(self) -> Schema:
        members = {key: member.schema for key, member in self.members.items()}
        schema = {"type": "object", "properties": {**members, **self.short}}
        return _orTrue(schema) if self.orTrue else schema

    def _childrenWithin(self, uri: str) -> dict[tuple[str, str], tuple[str, Field]]:
        # The same declaration can stand in several namespaces; there are as many of these as declarations.
        known = self._children.get(uri)
        if known is None:
            fields = ((key, member) for key, member in self.members.items() if isinstance(member, Field))
            known = {pair: (key, field) for key, field in fields for pair in field.names(key, uri)}
            if self.uri in (None, uri):
                self._children[uri] = known
        return known

    def read(self, element: Element, levels: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for name, text in element.attributes.items():
            if name in self._attributes:
                key, fromText = self._attributes[name]
                self._keep(result, key, fromText(text))
        if self._content is not None:
            key, fromText = self._content
            self._keep(result, key, fromText(textOf(element)))
        self._readChildren(element, result, levels)
        if self.finish is not None:
            self.finish(result)
        return result

    def _readChildren(self, element: Element, result: dict[str, Any], levels: int) -> None:
        known = self._childrenWithin(element.uri)
        for child in element.children:
            if isinstance(child, str):
                continue
            found = known.get((child.uri, child.name))
            if found is None:
                continue
            key, field = found
            if not field.many:
                if key not in result:
                    self._keep(result, key, field.read(child, levels))
            elif (value := field.read(child, levels)) is not None:
                result.setdefault(key, []).append(value)

    @staticmethod
    def _keep(result: dict[str, Any], key: str, value: Any) -> None:
        if value is not None:
            result[key] = value

    def write(self, parent: Element, key: str, value: Any, context: Writing) -> None:
        element = childOf(parent, self.name or key, self.uri)
        if value is not True or not self.orTrue:
            self.fill(element, value, context)

    def fill(self, element: Element, value: Any, context: Writing) -> None:
        """
        Write the members of a JSON object into C{element}.
        """
        if type(value) is not dict:
            raise context.refuse("must be an object")
        if self.prepare is not None:
            value = self.prepare(value, context)
        for key, item in value.items():
            write = self._writers.get(key)
            if write is None:
                context.ignore(str(key))
            else:
                context.path.append(key)
                write(element, item, context)
                context.path.pop()


@attrs.frozen(kw_only=True)
class Nested(Child):
    """
    A stanza within a stanza.

    @ivar stanza: gives its declaration, which may be this one's own.
    """

    uri: str
    stanza: Callable[[], Object]

    @property
    def schema(self) -> Schema:
        return {"$ref": FORWARDED_SCHEMA}

    def read(self, element: Element, levels: int) -> Any:
        return self.stanza().read(element, levels - 1) if levels else None

    def write(self, parent: Element, key: str, value: Any, context: Writing) -> None:
        if context.nesting >= MAX_NESTING:
            raise context.refuse(f"stanzas are nested deeper than {MAX_NESTING} levels")
        context.nesting += 1
        self.stanza().write(parent, key, value, context)
        context.nesting -= 1


def fromText(member: Member, text: str) -> Any:
    """
    The JSON value that a text stands for where there are only texts: in forms and query parameters.

    @return: the text itself where it stands for none, for C{write} to refuse it; L{None} if no text
        can be a value of C{member}.
    """
    if isinstance(member, (Attribute, Content, ChildText, SingleAttribute)):
        value = member.value.fromText(text)
        return text if value is None else value
    takesText = isinstance(member, NameIsValue) or (isinstance(member, Custom) and member.takesText)
    return text if takesText else None


@attrs.frozen(kw_only=True)
class Payload:
    """
    A key of a stanza's JSON.

    @ivar title: what it is, with its XEP or RFC: the heading in docs/json.md.
    @ivar example: a value, for docs/json.md.
    @ivar note: what else its user must know.
    """

    key: str
    field: Field
    title: str
    example: Any
    note: str = ""

    @property
    def schema(self) -> Schema:
        """
        What its value looks like, in words too.
        """
        words = {"title": self.title, "description": self.note} if self.note else {"title": self.title}
        return {**words, **self.field.schema, "examples": [self.example]}
