"""
What a request of the client API says, and the checks that come before anything is done.

They come in the order that cowboy's REST flow gave them: method, user, media types, then path, query
and body by whoever serves the request. A refusal's body is one JSON string, or empty.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

import attrs
import msgspec
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from restbridge.boundaries import UserLink
from restbridge.stanzas.jid import JID, InvalidJID
from restbridge.stanzas.media import JSON, essence
from restbridge.stanzas.xml import illegalCharacter
from restbridge.web.answer import Answer, Refusal
from restbridge.web.site import BridgeRequest

METHODS = ("OPTIONS", "GET", "POST", "PUT", "DELETE")
"""In the order of an Allow header."""

_KNOWN = frozenset((*METHODS, "HEAD", "PATCH", "TRACE", "CONNECT"))
_LIMIT = re.compile(r"\+?[0-9]{1,9}")
_TIME = re.compile(r"[+-]?[0-9]{1,18}")


@attrs.frozen(kw_only=True)
class Call:
    """
    A request whose user is known.

    @ivar path: the variable segments of the path, by name.
    @ivar query: as it stands in the URL.
    @ivar timeout: seconds for an answer of the server.
    """

    link: UserLink
    path: Mapping[str, str]
    query: bytes = b""
    body: bytes = b""
    timeout: float = 30.0

    def document(self) -> dict[str, Any]:
        """
        The body.

        @raise Refusal: 400, it is no JSON object.
        """
        try:
            return msgspec.json.decode(self.body, type=dict[str, Any])
        except ValueError:
            raise bad("Invalid request body") from None

    def parameters(self, *names: str) -> dict[str, str]:
        """
        The query; the last of several values counts.

        @param names: those that it may hold.
        @raise Refusal: 400, it can't be read or holds another.
        """
        found = {}
        for pair in filter(None, self.query.split(b"&")):
            name, equals, value = pair.partition(b"=")
            key, text = _unquoted(name), _unquoted(value)
            if not equals or text is None or key not in names:
                raise bad("Invalid query string")
            found[key] = text
        return found


Endpoint = Callable[[Call], Awaitable[Answer]]


def bad(text: str) -> Refusal:
    """
    Something in the request is wrong.
    """
    return Refusal(400, text=text)


def checkMethod(method: str, endpoints: Mapping[str, Endpoint]) -> None:
    """
    @raise Refusal: 501 or 405.
    """
    if method not in _KNOWN:
        raise Refusal(501)
    if method != "OPTIONS" and method not in endpoints:
        raise Refusal(405, headers=(("Allow", allowed(endpoints)),))


def allowed(endpoints: Mapping[str, Endpoint]) -> str:
    """
    The Allow header of a resource.
    """
    return ", ".join(method for method in METHODS if method == "OPTIONS" or method in endpoints)


def checkMediaTypes(request: BridgeRequest, method: str) -> None:
    """
    @raise Refusal: 406 or 415.
    """
    if request.accept and not parse_accept_header(request.accept, MIMEAccept).best_match([JSON]):
        raise Refusal(406)
    given = (request.getHeader(b"content-type") or b"").decode("latin-1")
    if method in ("POST", "PUT") and essence(given) != JSON:
        raise Refusal(415)


def text(document: Mapping[str, Any], key: str, *, missing: str, invalid: str) -> str:
    """
    A text in a document.

    @raise Refusal: 400 with C{missing}, or with C{invalid} for what isn't a text that XML can carry.
    """
    if key not in document:
        raise bad(missing)
    value = document[key]
    if not isinstance(value, str):
        raise bad(invalid)
    illegal = illegalCharacter(value)
    if illegal is not None:
        raise bad(f"{invalid}: the character U+{ord(illegal):04X} can't stand in XML")
    return value


def address(given: object, invalid: str) -> JID:
    """
    An address that somebody names.

    @raise Refusal: 400 with C{invalid}.
    """
    if not isinstance(given, str):
        raise bad(invalid)
    try:
        return JID.parse(given)
    except InvalidJID:
        raise bad(invalid) from None


def limit(parameters: Mapping[str, str], default: int, most: int | None = None) -> int:
    """
    The parameter C{limit}.

    @raise Refusal: 400, it is no number, or above C{most}.
    """
    given = parameters.get("limit", str(default))
    if not _LIMIT.fullmatch(given) or (most is not None and int(given) > most):
        raise bad("Invalid limit")
    return int(given)


def before(parameters: Mapping[str, str]) -> int | None:
    """
    The parameter C{before}, in milliseconds since 1970; L{None} where there is none.

    @raise Refusal: 400, it is no number.
    """
    given = parameters.get("before")
    if given is None:
        return None
    if not _TIME.fullmatch(given):
        raise bad("Invalid value of 'before'")
    return int(given)


def _unquoted(data: bytes) -> str | None:
    if re.search(rb"%(?![0-9A-Fa-f]{2})", data):
        return None
    try:
        return unquote_to_bytes(data.replace(b"+", b" ")).decode()
    except UnicodeDecodeError:
        return None
