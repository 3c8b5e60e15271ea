"""
The vocabulary in which payloads are declared: each declaration reads an element as JSON and writes
JSON as an element, and tells the schema of that JSON, so that the three can't drift apart.

::

    Element --read--> JSON value                     never fails: what can't be read is left out
    JSON value --write--> children of an Element     L{MappingRefused} names what it can't write

Three kinds of declaration make up an L{Object<restbridge.stanzas.compounds.Object>}: an L{Attribute},
the text L{Content}, and L{Field}s, which own child elements.

A C{uri} of L{None} means the namespace of the element around it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, TypeAlias

import attrs
from twisted.words.xish.domish import Element

from restbridge.stanzas.values import TEXT, Schema, Value
from restbridge.stanzas.writing import Writing, childOf, textOf

Names: TypeAlias = tuple[tuple[str, str], ...]
"""The (namespace, name) pairs of the children that a field reads."""


@attrs.frozen(kw_only=True)
class Attribute:
    """
    An attribute of the element around it.

    @ivar name: its name, or (namespace, name); L{None}: as the JSON key.
    """

    name: str | tuple[str, str] | None = None
    value: Value = TEXT

    @property
    def schema(self) -> Schema:
        """
        What the JSON value looks like.
        """
        return self.value.schema

    def writer(self, key: str) -> Callable[[Element, Any, Writing], None]:
        """
        What writes the value of the JSON key C{key}.
        """
        name: Any = self.name or key

        def write(element: Element, value: Any, context: Writing) -> None:
            element.attributes[name] = self.value.written(value, context)

        return write


@attrs.frozen(kw_only=True)
class Content:
    """
    The text of the element around it; always read, C{""} if there is none.
    """

    value: Value = TEXT

    @property
    def schema(self) -> Schema:
        """
        What the JSON value looks like.
        """
        return self.value.schema

    def write(self, element: Element, value: Any, context: Writing) -> None:
        """
        Write the value as text of C{element}.
        """
        text = self.value.written(value, context)
        if text:
            element.children.append(text)


class Field:
    """
    A value that is held in child elements.

    @cvar many: several children are the items of one list.
    """

    many: ClassVar[bool] = False

    @property
    def schema(self) -> Schema:
        """
        What the JSON value looks like, given or shown.
        """
        raise NotImplementedError

    def names(self, key: str, inherited: str) -> Names:
        """
        The children to read.

        @param key: the JSON key, which is the name if the declaration gives none.
        @param inherited: the namespace of the parent.
        """
        raise NotImplementedError

    def read(self, element: Element, levels: int) -> Any:
        """
        The JSON value of such a child; L{None} if it holds none.

        @param levels: how many more stanzas may be nested in it.
        """
        raise NotImplementedError

    def write(self, parent: Element, key: str, value: Any, context: Writing) -> None:
        """
        Add the children for C{value} to C{parent}.
        """
        raise NotImplementedError


@attrs.frozen(kw_only=True)
class Child(Field):
    """
    A field of one element.

    @ivar name: its name; L{None}: as the JSON key.
    """

    uri: str | None = None
    name: str | None = None

    def names(self, key: str, inherited: str) -> Names:
        return ((self.uri or inherited, self.name or key),)


@attrs.frozen(kw_only=True)
class ChildText(Child):
    """
    The text of a child: C{"body": "Hello"} is C{<body>Hello</body>}.
    """

    value: Value = TEXT

    @property
    def schema(self) -> Schema:
        return self.value.schema

    def read(self, element: Element, levels: int) -> Any:
        return self.value.fromText(textOf(element))

    def write(self, parent: Element, key: str, value: Any, context: Writing) -> None:
        childOf(parent, self.name or key, self.uri, self.value.written(value, context))


@attrs.frozen(kw_only=True)
class Flag(Child):
    """
    A child that stands there or not: C{"markable": true} is C{<markable/>}.
    """

    @property
    def schema(self) -> Schema:
        return {"type": "boolean"}

    def read(self, element: Element, levels: int) -> Any:
        return True

    def write(self, parent: Element, key: str, value: Any, context: Writing) -> None:
        if type(value) is not bool:
            raise context.refuse("must be true or false")
        if value:
            childOf(parent, self.name or key, self.uri)


@attrs.frozen(kw_only=True)
class NameIsValue(Field):
    """
    One of several children, whose name is the value: C{"state": "paused"} is C{<paused/>}.
    """

    uri: str
    choices: tuple[str, ...]

    @property
    def schema(self) -> Schema:
        return {"type": "string", "enum": list(self.choices)}

    def names(self, key: str, inherited: str) -> Names:
        return tuple((self.uri, choice) for choice in self.choices)

    def read(self, element: Element, levels: int) -> Any:
        return element.name

    def write(self, parent: Element, key: str, value: Any, context: Writing) -> None:
        if type(value) is not str or value not in self.choices:
            raise context.refuse(f"must be one of {', '.join(self.choices)}")
        childOf(parent, value, self.uri)


@attrs.frozen(kw_only=True)
class SingleAttribute(Child):
    """
    The one attribute of a child: C{"replace": "m1"} is C{<replace id='m1'/>}.
    """

    attribute: str
    value: Value = TEXT

    @property
    def schema(self) -> Schema:
        return self.value.schema

    def read(self, element: Element, levels: int) -> Any:
        text = element.attributes.get(self.attribute)
        return None if text is None else self.value.fromText(text)

    def write(self, parent: Element, key: str, value: Any, context: Writing) -> None:
        text = self.value.written(value, context)
        childOf(parent, self.name or key, self.uri).attributes[self.attribute] = text


@attrs.frozen(kw_only=True)
class Custom(Field):
    """
    A codec of its own, for what the other declarations can't say.

    @ivar reads: the (namespace, name) pairs of the children that it reads; none if it only writes.
    @ivar takesText: a string is one of the values that it writes.
    @ivar schema: what it writes and shows.
    """

    reads: Names = ()
    takesText: bool = False
    schema: Schema
    reader: Callable[[Element, int], Any] = attrs.field(default=lambda element, levels: None)
    writer: Callable[[Element, Any, Writing], None]

    def names(self, key: str, inherited: str) -> Names:
        return self.reads

    def read(self, element: Element, levels: int) -> Any:
        return self.reader(element, levels)

    def write(self, parent: Element, key: str, value: Any, context: Writing) -> None:
        self.writer(parent, value, context)
