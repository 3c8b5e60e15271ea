"""
The bytes of a request as a stanza, one function for each media type.

::

    body -> texts or JSON -> amended by the path -> fromJSON -> Mapped
    body -> parseDocument -------------------------------------> Mapped
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pyexpat import ParserCreate
from typing import Any
from urllib.parse import unquote_to_bytes

import cbor2

from restbridge.stanzas import nesting
from restbridge.stanzas.compounds import fromText
from restbridge.stanzas.jid import JID, InvalidJID
from restbridge.stanzas.kinds import IQ, KINDS, impliedKind
from restbridge.stanzas.mapping import Mapped, fromJSON
from restbridge.stanzas.xml import NS_CLIENT, XMLRefused, parseDocument

_PATH = re.compile(r"(message|presence|iq)/([A-Za-z0-9_-]+)/(.*)", re.DOTALL)
_PAYLOADS = {payload.key for payload in IQ.payloads} - {"error", "result"}


class Unreadable(ValueError):
    """
    A body that is not what its media type promises.

    @ivar reason: as mod_rest names it: C{invalid-json}, C{invalid-path}, C{unknown-kind}; or in words.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        """
        @param detail: more words on it.
        """
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


def decodeXML(body: bytes, path: str | None, asModRest: bool) -> Mapped:
    try:
        stanza = parseDocument(body)
    except XMLRefused as error:
        raise Unreadable(str(error)) from None
    if asModRest and _declaresItsNamespace(body):
        # mod_rest takes the declaration away from the stanza, not from its children, and finds none of them.
        stanza.uri = ""
    return Mapped(stanza=stanza)


def _declaresItsNamespace(body: bytes) -> bool:
    """
    Whether a stanza says C{jabber:client} itself, which mod_rest's manual forbids.
    """
    names: list[str] = []
    parser = ParserCreate("UTF-8")
    parser.StartElementHandler = lambda name, attributes: names.append(
        attributes.get(f"xmlns:{name.partition(':')[0]}" if ":" in name else "xmlns", "")
    )
    parser.Parse(body, True)
    return names[0] == NS_CLIENT


def decodeJSON(body: bytes, path: str | None, asModRest: bool) -> Mapped:
    try:
        found = nesting.decodeJSON(body)
    except ValueError as error:
        raise Unreadable("invalid-json", str(error)) from None
    return _mapped(found, path, asModRest, "invalid-json")


def _refuseTag(*_: object) -> Any:
    # Shared references would make a small body a large or endless tree; the rest JSON has no word for.
    raise ValueError("tags are not accepted")


_NO_TAGS: dict[int, Callable[..., Any]] = dict.fromkeys((*range(1100), 43000, 55799), _refuseTag)


def decodeCBOR(body: bytes, path: str | None, asModRest: bool) -> Mapped:
    try:
        found = cbor2.loads(
            body,
            tag_hook=_refuseTag,
            semantic_decoders=_NO_TAGS,
            max_depth=nesting.MAX_LEVELS,
            strict_hashable_types=True,
        )
    except (cbor2.CBORDecodeError, ValueError, OverflowError, RecursionError) as error:
        raise Unreadable("invalid-cbor", str(error)) from None
    return _mapped(found, path, asModRest, "invalid-cbor")


def _mapped(found: Any, path: str | None, asModRest: bool, otherwise: str) -> Mapped:
    if type(found) is not dict or (not found and path is None):
        raise Unreadable(otherwise, "it must be an object with at least one key")
    ignored: list[str] = []
    json = found if path is None else _amended(found, path, ignored)
    return withIgnored(fromJSON(json, asModRest=asModRest), ignored)


def withIgnored(mapped: Mapped, ignored: list[str]) -> Mapped:
    return Mapped(stanza=mapped.stanza, ignored=(*mapped.ignored, *ignored)) if ignored else mapped


def _amended(json: dict[str, Any], path: str, ignored: list[str]) -> dict[str, Any]:
    """
    The JSON with what the path says. C{iq/{payload}/{to}} makes all of it that payload.
    """
    parts = _PATH.fullmatch(path)
    if parts is None:
        raise Unreadable("invalid-path", "it must be KIND/TYPE/TO; the kinds are message, presence and iq")
    kind, what, to = parts.groups()
    if kind == "iq" and what in _PAYLOADS:
        json = {"kind": "iq", what: json or True}
    else:
        json = {**json, "kind": kind, "type": what}
    if not to:
        return json
    try:
        return {**json, "to": str(JID.parse(to))}
    except InvalidJID:
        ignored.append("to")
        return json


def _utf8(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise Unreadable(f"not UTF-8: {error.reason}") from None


def decodeText(body: bytes, path: str | None, asModRest: bool) -> Mapped:
    text = _utf8(body)
    if path is None:
        return fromJSON({"kind": "message", "type": "chat", "body": text})
    ignored: list[str] = []
    json = _amended({}, path, ignored)
    if json["kind"] == "iq":
        raise Unreadable("invalid-path", "a text can't be the payload of an iq")
    json["body" if json["kind"] == "message" else "show"] = text
    return withIgnored(fromJSON(json), ignored)


def decodeForm(body: bytes, path: str | None, asModRest: bool) -> Mapped:
    if b"=" not in body:
        return decodeText(_unquoted(body).encode(), path, asModRest)
    pairs = (pair.partition(b"=") for pair in body.split(b"&") if pair)
    texts = {_unquoted(key): _unquoted(value) for key, _, value in pairs}
    ignored: list[str] = []
    return withIgnored(_mapped(_typed(texts, path, ignored), path, asModRest, "invalid-form"), ignored)


def _unquoted(text: bytes) -> str:
    return _utf8(unquote_to_bytes(text.replace(b"+", b" ")))


def _typed(texts: dict[str, str], path: str | None, ignored: list[str]) -> dict[str, Any]:
    """
    The texts of a form as JSON; without those whose key takes no text, as mod_rest has it.
    """
    parts = _PATH.fullmatch(path or "")
    kind = parts.group(1) if parts else texts.get("kind", impliedKind(texts))
    members = KINDS[kind].stanza.members if kind in KINDS else {}
    json: dict[str, Any] = {"kind": kind, **texts}
    for key in [key for key in texts if key in members]:
        json[key] = fromText(members[key], texts[key])
        if json[key] is None:
            del json[key]
            ignored.append(key)
    return json
