"""
What the declarations write with: elements and their text, the way to a value, the refusal of one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import attrs
from twisted.words.xish.domish import Element

from restbridge.stanzas.xml import illegalCharacter

MAX_NESTING = 16
"""Levels of stanzas within stanzas (XEP-0297, XEP-0313)."""


class MappingRefused(ValueError):
    """
    JSON that no stanza can be made of.

    @ivar path: where: C{dataform.fields[0].options}.
    @ivar problem: what is wrong there, as a sentence that follows the path.
    """

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}" if path else problem)
        self.path = path
        self.problem = problem


@attrs.define(kw_only=True)
class Writing:
    """
    What goes along while JSON is written as XML.

    @ivar asModRest: show what mod_rest's C{/rest/echo} shows, faults included; never for the wire.
    @ivar path: the keys and indices that lead to the value at hand.
    @ivar ignored: the paths of keys that no declaration knows.
    @ivar nesting: how many stanzas are around the one at hand.
    """

    asModRest: bool = False
    path: list[str | int] = attrs.field(factory=list)
    ignored: list[str] = attrs.field(factory=list)
    nesting: int = 0

    def refuse(self, problem: str, *below: str | int) -> MappingRefused:
        """
        The error for the value at hand, or for the one at C{below} it.
        """
        return MappingRefused(self._where(below), problem)

    def ignore(self, *below: str | int) -> None:
        """
        Note a key without a declaration.
        """
        self.ignored.append(self._where(below))

    def _where(self, below: tuple[str | int, ...]) -> str:
        steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in (*self.path, *below))
        return "".join(steps).removeprefix(".")

    def text(self, value: object) -> str:
        """
        A string that XML can carry.
        """
        if type(value) is not str:
            raise self.refuse("must be a string")
        illegal = illegalCharacter(value)
        if illegal is not None:
            raise self.refuse(f"holds the character U+{ord(illegal):04X}, which XML can't carry")
        return value

    def each(self, value: object, write: Callable[[Any], object]) -> None:
        """
        Write the items of a list, each under its index.
        """
        if type(value) is not list:
            raise self.refuse("must be a list")
        for index, item in enumerate(value):
            self.path.append(index)
            write(item)
            self.path.pop()


def textOf(element: Element) -> str:
    """
    The text directly within an element.
    """
    return "".join([child for child in element.children if isinstance(child, str)])


def elementsOf(element: Element) -> Iterable[Element]:
    """
    The child elements.
    """
    return [child for child in element.children if not isinstance(child, str)]


def childOf(parent: Element, name: str, uri: str | None = None, text: str = "") -> Element:
    """
    Add an element to C{parent}, in its namespace unless C{uri} names another.
    """
    uri = uri or parent.uri
    child = Element((uri, name), uri)
    parent.children.append(child)
    if text:
        child.children.append(text)
    return child
