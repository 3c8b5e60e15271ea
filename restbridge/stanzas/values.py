"""
The types of value that are text in XML.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, TypeAlias

import attrs

from restbridge.stanzas.writing import Writing

Schema: TypeAlias = dict[str, Any]
"""A JSON Schema (2020-12)."""


@attrs.frozen(kw_only=True)
class Value:
    """
    A type of value that is text in XML.

    @ivar called: for the sentence "must be ...".
    @ivar fromText: its JSON value; L{None} if the text holds none.
    @ivar toText: its text; L{None} if the JSON value is of another type.
    @ivar schema: what its JSON value looks like.
    """

    called: str
    fromText: Callable[[str], Any]
    toText: Callable[[Any], str | None]
    schema: Schema = attrs.field(eq=False)

    def written(self, value: object, context: Writing) -> str:
        """
        The text of a JSON value.
        """
        text = self.toText(value)
        if text is None:
            raise context.refuse(f"must be {self.called}")
        return context.text(text)


_INTEGER = re.compile(r"-?[0-9]{1,18}")
_NUMBER = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?")
_BOOLEANS = {"1": True, "true": True, "0": False, "false": False}


def _toInteger(text: str) -> int | None:
    return int(text) if _INTEGER.fullmatch(text) else None


def _toNumber(text: str) -> int | float | None:
    if _INTEGER.fullmatch(text):
        return int(text)
    number = float(text) if _NUMBER.fullmatch(text) else math.inf
    return number if math.isfinite(number) else None


def _integerText(value: object) -> str | None:
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is not int or abs(value) >= 10**18:
        return None
    return str(value)


def _numberText(value: object) -> str | None:
    if type(value) is float and abs(value) < 1e18 and not value.is_integer():
        return repr(value)
    return _integerText(value)


def _booleanText(value: object) -> str | None:
    return ("1" if value else "0") if type(value) is bool else None


def _stringText(value: object) -> str | None:
    return value if type(value) is str else None


_BOUNDS: Schema = {"exclusiveMinimum": -(10**18), "exclusiveMaximum": 10**18}

TEXT = Value(called="a string", fromText=lambda text: text, toText=_stringText, schema={"type": "string"})
DATETIME = Value(
    called="a string with a date and time (XEP-0082)",
    fromText=lambda text: text,
    toText=_stringText,
    schema={"type": "string", "format": "date-time"},
)
"""Passed on as it stands: what is wrong with a date, its reader says."""
INTEGER = Value(
    called="a whole number",
    fromText=_toInteger,
    toText=_integerText,
    schema={"type": "integer", **_BOUNDS},
)
NUMBER = Value(
    called="a number", fromText=_toNumber, toText=_numberText, schema={"type": "number", **_BOUNDS}
)
BOOLEAN = Value(
    called="true or false", fromText=_BOOLEANS.get, toText=_booleanText, schema={"type": "boolean"}
)
