"""
What a request of the client API says, and the checks that come before anything is done.

They come in the order that Cowboy's REST flow gave them: method, user, media types, preconditions, then
path, query and body by whoever serves the request. A refusal's body is one JSON string, or empty.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Container, Mapping
from typing import Any
from urllib.parse import unquote_to_bytes
from uuid import UUID, uuid4

import attrs
import msgspec

from restbridge.boundaries import UserLink
from restbridge.stanzas.jid import JID, InvalidJID
from restbridge.stanzas.media import JSON, essence
from restbridge.stanzas.nesting import decodeJSON
from restbridge.stanzas.xml import illegalCharacter
from restbridge.web.answer import Answer, Refusal
from restbridge.web.site import BridgeRequest

METHODS = ("OPTIONS", "GET", "POST", "PUT", "DELETE")
"""In the order of an Allow header."""

MAX_SHOWN = 200
"""Characters of what somebody sent, in an answer that says that it is wrong."""

_KNOWN = frozenset((*METHODS, "HEAD", "PATCH"))

# A plus that is not percent-encoded stands for a space.
_LIMIT = re.compile(r"[+ ]?[0-9]{1,1000}")
_TIME = re.compile(r"[+ -]?[0-9]{1,1000}")

_QUOTED = re.compile(r'"[^"]*"')
_MEDIA_RANGE = re.compile(r"\*|[^\s/]+/[^\s/]+")
_JSON_RANGES = (JSON, "application/*", "*/*", "*")
"""What fits it, the closest first. The last is no media range, but Java's own client sends it."""


@attrs.frozen(kw_only=True)
class Call:
    """
    A request whose user is known.

    @ivar path: the variable segments of the path, by name.
    @ivar query: as it stands in the URL.
    @ivar timeout: seconds for an answer of the server.
    @ivar id: of the message that it sends.
    """

    link: UserLink
    path: Mapping[str, str]
    query: bytes = b""
    body: bytes = b""
    timeout: float = 30.0
    id: UUID = attrs.field(factory=uuid4)

    def document(self) -> dict[str, Any]:
        """
        The body.

        @raise Refusal: 400, it is no JSON object.
        """
        try:
            found = decodeJSON(self.body)
        except ValueError:
            found = None
        if type(found) is not dict:
            raise bad("Invalid request body")
        return found

    def parameters(self, *names: str) -> dict[str, str]:
        """
        The query; the last of several values counts.

        @param names: those that it may hold.
        @raise Refusal: 400, it can't be read or holds another.
        """
        found = {}
        for pair in filter(None, self.query.split(b"&")):
            name, _, value = pair.partition(b"=")
            key, text = _unquoted(name), _unquoted(value)
            if text is None or key not in names:
                raise bad("Invalid query string")
            found[key] = text
        return found


Endpoint = Callable[[Call], Awaitable[Answer]]


def bad(text: str) -> Refusal:
    """
    Something in the request is wrong.
    """
    return Refusal(400, text=text)


def checkMethod(method: str, endpoints: Container[str]) -> None:
    """
    @raise Refusal: 501 or 405.
    """
    if method not in _KNOWN:
        raise Refusal(501)
    if method != "OPTIONS" and method not in endpoints:
        raise Refusal(405, headers=(("Allow", allowed(endpoints)),))


def allowed(endpoints: Container[str]) -> str:
    """
    The Allow header of a resource.
    """
    return ", ".join(method for method in METHODS if method == "OPTIONS" or method in endpoints)


def checkMediaTypes(request: BridgeRequest, method: str) -> None:
    """
    @raise Refusal: 400, 406, 412 or 415; or 304.
    """
    if not _takesJSON(request.accept):
        raise Refusal(406)
    _checkPreconditions(request, method)
    given = (request.getHeader(b"content-type") or b"").decode("latin-1")
    if method in ("POST", "PUT") and essence(given) != JSON:
        raise Refusal(415)


def _takesJSON(accept: str) -> bool:
    """
    Whether the client takes JSON, whatever its parameters.

    @raise Refusal: 400, the header can't be read.
    """
    weights = dict(_mediaRange(part) for part in _QUOTED.sub("", accept).split(",") if part.strip())
    closest = next((each for each in _JSON_RANGES if each in weights), None)
    return not weights or (closest is not None and weights[closest] > 0)


def _mediaRange(text: str) -> tuple[str, float]:
    """
    A media range and its weight (RFC 9110, section 12.5.1).
    """
    name, *parameters = (part.strip().lower() for part in text.split(";"))
    weight = next((part[2:] for part in parameters if part.startswith("q=")), "1")
    try:
        if _MEDIA_RANGE.fullmatch(name):
            return name, float(weight)
    except ValueError:
        pass
    raise Refusal(400)


def _checkPreconditions(request: BridgeRequest, method: str) -> None:
    """
    All resources exist, and none has an entity tag (RFC 9110, section 13.1).

    @raise Refusal: 412 or 304.
    """
    if (request.getHeader(b"if-match") or b"*").strip() != b"*":
        raise Refusal(412)
    if (request.getHeader(b"if-none-match") or b"").strip() == b"*":
        raise Refusal(304 if method == "GET" else 412)


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
    return carried(value, invalid)


def carried(value: str, invalid: str) -> str:
    """
    A text that XML can carry.

    @raise Refusal: 400, C{invalid} and the character that it can't.
    """
    illegal = illegalCharacter(value)
    if illegal is not None:
        raise bad(f"{invalid}: the character U+{ord(illegal):04X} can't stand in XML")
    return value


def shown(given: object) -> str:
    """
    What somebody sent, for an answer that says that it is wrong.
    """
    text = given if isinstance(given, str) else msgspec.json.encode(given).decode()
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


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
