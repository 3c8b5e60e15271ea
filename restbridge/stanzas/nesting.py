"""
JSON from strangers, no deeper than what walks through it can bear.

::

    text -> decoded -> (few brackets | few levels) the value
                    -> (many levels)               ValueError

Python's own limit is none: from 3.14 on it is the stack's size, and what recurses without asking, as an
encoder in C may, ends the process there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

MAX_LEVELS = 100
"""Levels of lists and objects, in JSON and in CBOR."""


def decodeJSON(text: bytes | str, levels: int = MAX_LEVELS) -> Any:
    """
    The value of a JSON text (RFC 8259).

    @param levels: how many levels of lists and objects it may have.
    @raise ValueError: it is none, or has more.
    """
    try:
        value = msgspec.json.decode(text)
    except RecursionError:
        raise _tooDeep(levels) from None
    if _brackets(text) > levels and not isWithin(value, levels):
        raise _tooDeep(levels)
    return value


def isWithin(value: object, levels: int) -> bool:
    """
    Whether a JSON value has no more than so many levels of lists and objects.
    """
    here: list[Any] = [[value]]
    for _ in range(levels + 1):
        here = [below for each in here for below in _values(each) if type(below) in (dict, list)]
        if not here:
            return True
    return False


def _values(value: Any) -> Iterable[Any]:
    return value.values() if type(value) is dict else value


def _brackets(text: bytes | str) -> int:
    return text.count("[") + text.count("{") if isinstance(text, str) else text.count(b"[") + text.count(b"{")


def _tooDeep(levels: int) -> ValueError:
    return ValueError(f"nested deeper than {levels} levels")
