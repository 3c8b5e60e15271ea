"""
What differs between two configurations, by the paths of the keys: never what it is, which may be a secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import attrs

from restbridge.config.reading import Place
from restbridge.config.values import Callback, Configuration

How = Literal["added", "removed", "changed"]

_NAMED = ("accounts", "users")
_CAPITAL = re.compile("(?=[A-Z])")


@attrs.frozen
class Difference:
    """
    One of them.

    @ivar path: the key, as C{component.domain}; of a callback, C{callbacks} and what it is called.
    """

    path: str
    how: How

    def __str__(self) -> str:
        return f"{self.path} {self.how}"


def differences(before: Configuration, after: Configuration) -> list[Difference]:
    """
    All of them, in the order of the sections.
    """
    return list(_differences(before, after))


def _differences(before: Configuration, after: Configuration) -> Iterator[Difference]:
    for field in attrs.fields(Configuration):
        old, new = getattr(before, field.name), getattr(after, field.name)
        place = Place(path=field.name, folder=Path(), environ={})
        if field.name in _NAMED:
            yield from _ofTables(old, new, place)
        elif field.name == "callbacks":
            yield from _ofCallbacks(old, new, place)
        else:
            yield from _ofTable(old, new, place)


def _ofTable(old: Any, new: Any, place: Place) -> Iterator[Difference]:
    if old is None or new is None:
        if old != new:
            yield Difference(place.path, "added" if old is None else "removed")
        return
    for field in attrs.fields(type(old)):
        if getattr(old, field.name) != getattr(new, field.name):
            yield Difference(place.key(_key(field.name)).path, "changed")


def _ofTables(old: Mapping[str, Any], new: Mapping[str, Any], place: Place) -> Iterator[Difference]:
    for name in dict.fromkeys((*old, *new)):
        yield from _ofTable(old.get(name), new.get(name), place.key(name))


def _ofCallbacks(old: tuple[Callback, ...], new: tuple[Callback, ...], place: Place) -> Iterator[Difference]:
    found = False
    for label in dict.fromkeys(callback.label for callback in (*old, *new)):
        were = [callback for callback in old if callback.label == label]
        are = [callback for callback in new if callback.label == label]
        for difference in _ofCalledAlike(were, are, place.key(label)):
            found = True
            yield difference
    if not found and old != new:
        # Which is the first that fits may be another one.
        yield Difference(place.path, "changed")


def _ofCalledAlike(were: list[Callback], are: list[Callback], place: Place) -> Iterator[Difference]:
    if len(were) == len(are) == 1:
        yield from _ofTable(were[0], are[0], place)
    elif were != are:
        yield Difference(place.path, "changed" if were and are else "removed" if were else "added")


def _key(attribute: str) -> str:
    """
    The key of an attribute: C{max_body} for C{maxBody}.
    """
    return _CAPITAL.sub("_", attribute).lower()
