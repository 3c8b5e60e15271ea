"""
What is fuzzed: each target takes bytes, and fails where a parser breaks a promise.

A parser may refuse by the exceptions that it documents, and by no other; what it takes makes the round
trip where there is one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, TypeAlias, cast
from urllib.parse import parse_qsl

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.web.http_headers import Headers
from twisted.words.xish.domish import Element, ParserError

from restbridge.clientapi.event import EventId
from restbridge.config import ConfigurationRefused, parse
from restbridge.stanzas import media
from restbridge.stanzas.jid import JID, InvalidJID
from restbridge.stanzas.kinds import KINDS
from restbridge.stanzas.mapping import MappingRefused, fromJSON, toJSON
from restbridge.stanzas.xml import (
    OversizedStanza,
    StreamParser,
    XMLRefused,
    parseDocument,
    serialize,
)
from restbridge.web import idempotency
from restbridge.web.answer import Refusal
from restbridge.web.documents import ServerDown
from restbridge.web.forwarded import clientAddress
from restbridge.web.grants import TokenRefused
from restbridge.web.guard import Presented, presentsCredentials, subjectOf
from restbridge.web.site import BridgeRequest
from tests.stanzas.strategies import stanzas
from tests.web.issuer import NOW, Issuer, oauth2
from tests.web.issuer import settings as issuerSettings

Target: TypeAlias = Callable[[bytes], None]

HEADER = b"<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams'>"

PIECES = 512

_PROXIES = [ip_network("127.0.0.0/8"), ip_network("::1/128")]


def shape(element: Element) -> tuple[Any, ...]:
    """
    An element for comparison.
    """
    children: list[Any] = []
    for child in element.children:
        if isinstance(child, str) and children and isinstance(children[-1], str):
            children[-1] += child
        else:
            children.append(child if isinstance(child, str) else shape(child))
    return (element.uri, element.name, dict(element.attributes), children)


def _written(element: Element) -> None:
    """
    What can be written is read again, and is the same.
    """
    with contextlib.suppress(XMLRefused):
        assert shape(parseDocument(serialize(element).encode())) == shape(element)


def document(data: bytes) -> None:
    """
    A document is an element or refused.
    """
    try:
        element = parseDocument(data)
    except XMLRefused:
        return
    _written(element)


def _events(chunks: list[bytes]) -> list[Any]:
    events: list[Any] = []
    parser = StreamParser("jabber:component:accept")
    parser.DocumentStartEvent = lambda root: events.append(shape(root))
    parser.ElementEvent = lambda stanza: events.append(shape(stanza))
    parser.OversizedEvent = lambda oversized: events.append(_seen(oversized))
    parser.DocumentEndEvent = lambda: events.append("end")
    try:
        for chunk in chunks:
            parser.parse(chunk)
    except ParserError:
        events.append("broken")
    return events


def _seen(oversized: OversizedStanza) -> tuple[Any, ...]:
    return (oversized.reason, shape(oversized.stanza))


def stream(data: bytes) -> None:
    """
    A stream says the same wherever it is cut; its first byte says where, into some hundred pieces at most:
    expat scans an unfinished tag again with each.
    """
    rest = HEADER + data[1:]
    size = max(1 + data[0] if data else 1, len(rest) // PIECES)
    whole = _events([rest])
    assert _events([rest[start : start + size] for start in range(0, len(rest), size)]) == whole
    assert whole.count("broken") <= 1


def _body(mediaType: str) -> Target:
    def target(data: bytes) -> None:
        first, newline, body = data.partition(b"\n")
        path = first.decode("utf-8", "replace") if newline else ""
        try:
            mapped = media.decode(mediaType, body if newline else data, path or None)
        except (media.Unreadable, MappingRefused):
            return
        _written(mapped.stanza)
        _shown(mapped.stanza)

    target.__doc__ = f"A body of {mediaType}, after a line with a path, is a stanza or refused."
    return target


def _shown(stanza: Element) -> None:
    """
    What came from JSON, or from anyone's XML, can be said in JSON and in CBOR.
    """
    if stanza.name in KINDS:
        with contextlib.suppress(XMLRefused):
            for mediaType in (media.JSON, media.CBOR, media.FORM):
                media.encode(mediaType, stanza)


def question(data: bytes) -> None:
    """
    The path and query of a GET are a question or refused.
    """
    path, _, query = data.decode("utf-8", "replace").partition("?")
    name, _, to = path.partition("/")
    with contextlib.suppress(media.Unreadable, MappingRefused):
        _written(media.ask(name, to, dict(parse_qsl(query, keep_blank_values=True))).stanza)


def jid(data: bytes) -> None:
    """
    A text is an address or refused; an address reads as itself.
    """
    with contextlib.suppress(InvalidJID):
        address = JID.parse(data.decode("utf-8", "surrogateescape"))
        assert JID.parse(address.full) == address


def forwarded(data: bytes) -> None:
    """
    Whatever stands in proxies' headers, one to a line, a client is an address.
    """
    headers = Headers()
    for number, line in enumerate(data.split(b"\n")):
        headers.addRawHeader((b"forwarded", b"x-forwarded-for")[number % 2], line)
    assert ip_address(clientAddress("127.0.0.1", headers, _PROXIES))
    assert clientAddress("192.0.2.1", headers, _PROXIES) == "192.0.2.1"


def eventId(data: bytes) -> None:
    """
    An id of an event is none, or is read as what is written of it; what nobody of ours has quoted may
    become too long.
    """
    text = data.decode("utf-8", "replace")
    found = EventId.parse(text)
    assert found is None or len(str(found)) > len(text) or EventId.parse(str(found)) == found


class _Request:
    """
    As much of a request as a key is read from.
    """

    method = b"POST"

    def __init__(self, key: bytes) -> None:
        self.requestHeaders = Headers({idempotency.HEADER: key.split(b"\n")})


def idempotencyKey(data: bytes) -> None:
    """
    A header is a key of visible ASCII characters or 400.
    """
    try:
        key = idempotency._key(cast(BridgeRequest, _Request(data)))
    except Refusal as refusal:
        assert refusal.status == 400
    else:
        assert key is not None
        assert 0 < len(key) <= idempotency.MAX_KEY
        assert all("!" <= character <= "~" for character in key)


def accessToken(data: bytes) -> None:
    """
    Nobody but the issuer makes an access token: any other is refused, or somebody else's to judge.
    """
    token = data.decode("utf-8", "surrogateescape")
    assert isinstance(subjectOf(token), (str, type(None)))
    outcome = Deferred.fromCoroutine(_OAUTH2.grant(token))
    results: list[Any] = []
    outcome.addErrback(lambda failure: failure.trap(TokenRefused, ServerDown, Refusal) and None)
    outcome.addBoth(results.append)
    assert results == [None], results


def authorization(data: bytes) -> None:
    """
    A header holds credentials, or is 400.
    """
    text = data.decode("utf-8", "surrogateescape")
    try:
        assert presentsCredentials(Presented(authorization=text))
    except Refusal as refusal:
        assert refusal.status == 400


def configuration(data: bytes) -> None:
    """
    A file is a configuration or refused.
    """
    with contextlib.suppress(ConfigurationRefused):
        parse(data.decode("utf-8", "replace"), Path("/nonesuch"), {})


@settings(deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(st.one_of(*(stanzas(kind) for kind in KINDS.values())), st.sampled_from((media.JSON, media.CBOR)))
def _kept(json: dict[str, Any], mediaType: str) -> None:
    stanza = fromJSON(json).stanza
    assert toJSON(parseDocument(serialize(stanza).encode())) == json
    again = media.decode(mediaType, media.encode(mediaType, stanza)).stanza
    assert toJSON(again) == json


def roundTrip(data: bytes) -> None:
    """
    A stanza that Hypothesis makes of the bytes is the same after XML, JSON and CBOR.
    """
    _kept.hypothesis.fuzz_one_input(data)  # type: ignore[attr-defined]


_CLOCK = Clock()
_CLOCK.advance(NOW)
_OAUTH2 = oauth2(Issuer(), issuerSettings(), _CLOCK)

TARGETS: Mapping[str, Target] = {
    "document": document,
    "stream": stream,
    "xml": _body(media.XML),
    "json": _body(media.JSON),
    "form": _body(media.FORM),
    "cbor": _body(media.CBOR),
    "text": _body(media.TEXT),
    "question": question,
    "jid": jid,
    "forwarded": forwarded,
    "eventid": eventId,
    "idempotencykey": idempotencyKey,
    "accesstoken": accessToken,
    "authorization": authorization,
    "configuration": configuration,
    "roundtrip": roundTrip,
}
"""By the names under which they are reported."""
