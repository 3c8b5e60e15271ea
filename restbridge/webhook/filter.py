"""
Which callback a stanza is for, and the URL that is called for it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fnmatch import translate
from itertools import product
from urllib.parse import quote

import attrs
from twisted.words.xish.domish import Element

from restbridge.config import Callback
from restbridge.stanzas.jid import JID

_VARIABLE = re.compile(r"\{(kind|type|to|from)\}")
_ESCAPE = re.compile("%[0-9A-F]{2}")

_KINDS = ("message", "presence", "iq")
_FORMS = ("bare", "full", "host")
_DEFAULT_TYPES = {"message": "normal", "presence": "available"}


def event(to: JID) -> str:
    """
    The form of an address, in mod_rest's words.
    """
    if to.resource is not None:
        return "full"
    return "bare" if to.local is not None else "host"


class Filter:
    """
    Knows which callback takes a stanza. The patterns of all are one regular expression: a stanza is matched
    once, however many callbacks there are.
    """

    def __init__(self, callbacks: Sequence[Callback]) -> None:
        """
        @param callbacks: the first that fits takes a stanza.
        """
        self._wanting = {
            (kind, form): _Wanting.of(callbacks, kind, form) for kind, form in product(_KINDS, _FORMS)
        }

    def first(self, stanza: Element) -> int | None:
        """
        The number of the callback that takes C{stanza}; L{None} where none does.
        """
        to = JID.parse(stanza["to"])
        return self._wanting[stanza.name, event(to)].first(to.bare)


@attrs.frozen
class _Wanting:
    """
    Those callbacks that want one kind of stanza, to one form of address.

    @ivar numbers: theirs.
    @ivar patterns: alternatives in the same order, each with an empty group behind it that tells which one
        fitted. In front of it, no alternative could be ruled out by its first letter.
    """

    numbers: Sequence[int]
    patterns: re.Pattern[str]

    @classmethod
    def of(cls, callbacks: Sequence[Callback], kind: str, form: str) -> _Wanting:
        """
        Those of C{callbacks}.
        """
        wanting = {
            number: callback.to
            for number, callback in enumerate(callbacks)
            if kind in callback.stanzas and form in callback.events
        }
        globs = [(number, glob) for number, to in wanting.items() for glob in to]
        patterns = "|".join(f"{translate(glob.pattern)}()" for _, glob in globs)
        return cls([number for number, _ in globs], re.compile(patterns))

    def first(self, address: str) -> int | None:
        """
        The first that takes what is written to an address.
        """
        found = self.patterns.match(address)
        # Without alternatives an expression fits everything, by no group.
        return None if found is None or found.lastindex is None else self.numbers[found.lastindex - 1]


def stanzaVariables(stanza: Element) -> dict[str, str]:
    """
    What stands for the variables of a URL template.
    """
    return {
        "kind": stanza.name,
        "type": stanza.getAttribute("type") or _DEFAULT_TYPES.get(stanza.name, ""),
        "to": stanza["to"],
        "from": stanza["from"],
    }


def expand(template: str, variables: Mapping[str, str]) -> str:
    """
    Fill in a URL template; what is filled in can't leave its place.
    """
    return _VARIABLE.sub(lambda found: _quoted(variables[found.group(1)]), template)


def _quoted(text: str) -> str:
    if not text.strip("."):
        # "." and ".." lead elsewhere even when they are encoded (RFC 3986, section 6.2.2).
        return ""
    # mod_rest writes the hexadecimal digits in lower case, and receivers may compare.
    return _ESCAPE.sub(lambda found: found.group().lower(), quote(text, safe=""))
