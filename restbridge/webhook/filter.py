"""
Which callback a stanza is for, and the URL that is called for it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote

from twisted.words.xish.domish import Element

from restbridge.config import Callback
from restbridge.stanzas.jid import JID

_VARIABLE = re.compile(r"\{(kind|type|to|from)\}")
_ESCAPE = re.compile("%[0-9A-F]{2}")

_DEFAULT_TYPES = {"message": "normal", "presence": "available"}


def event(to: JID) -> str:
    """
    The form of an address, in mod_rest's words.
    """
    if to.resource is not None:
        return "full"
    return "bare" if to.local is not None else "host"


def fits(callback: Callback, stanza: Element) -> bool:
    """
    Whether C{callback} takes C{stanza}.
    """
    to = JID.parse(stanza["to"])
    return (
        stanza.name in callback.stanzas
        and event(to) in callback.events
        and any(glob.fits(to.bare) for glob in callback.to)
    )


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
