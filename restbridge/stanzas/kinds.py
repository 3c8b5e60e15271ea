"""
Message, presence, iq: which payloads each may carry, and what a stanza is when its JSON doesn't say.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from restbridge.stanzas.compounds import Member, Nested, Object, Payload
from restbridge.stanzas.fields import Attribute, Field
from restbridge.stanzas.payloads import (
    account,
    archive,
    commands,
    disco,
    error,
    forms,
    html,
    im,
    info,
    json,
    markup,
    media,
    muc,
    presence,
)
from restbridge.stanzas.values import Schema
from restbridge.stanzas.writing import Writing
from restbridge.stanzas.xml import NS_CLIENT, NS_XML

ADDRESSING: Mapping[str, Attribute] = {
    "to": Attribute(),
    "from": Attribute(),
    "id": Attribute(),
    "type": Attribute(),
    "lang": Attribute(name=(NS_XML, "lang")),
}
"""What every stanza may have (RFC 6120, section 8.1)."""

TYPES: Mapping[str, tuple[str, ...]] = {
    "message": ("chat", "error", "groupchat", "headline", "normal"),
    "presence": (
        "available",
        "error",
        "probe",
        "subscribe",
        "subscribed",
        "unavailable",
        "unsubscribe",
        "unsubscribed",
    ),
    "iq": ("error", "get", "result", "set"),
}
"""The types of each kind; C{available} is JSON for a presence without one."""

_SETS = ("archive", "block", "command", "unblock")


def _showURL(message: dict[str, Any]) -> None:
    url = message.get("oob", {}).get("url")
    if url is not None:
        message["oob_url"] = url


def _prepareMessage(message: dict[str, Any], context: Writing) -> dict[str, Any]:
    return media.withoutSecondURL(message)


def _preparePresence(presence: dict[str, Any], context: Writing) -> dict[str, Any]:
    left = {"type"} if presence.get("type") == "available" else set()
    if "muc" in presence and presence.get("join") is True:
        left.add("join")
    return {key: value for key, value in presence.items() if key not in left} if left else presence


def _showAvailable(presence: dict[str, Any]) -> None:
    presence.setdefault("type", "available")


@attrs.frozen(kw_only=True)
class Kind:
    """
    A kind of stanza.

    @ivar payloads: what it may carry, in the order of docs/json.md.
    @ivar stanza: the declaration of the whole.
    """

    name: str
    payloads: tuple[Payload, ...]
    prepare: Callable[[dict[str, Any], Writing], dict[str, Any]] | None = None
    finish: Callable[[dict[str, Any]], None] | None = None
    stanza: Object = attrs.field(init=False, repr=False)

    @stanza.default
    def _declare(self) -> Object:
        members: dict[str, Member] = {**ADDRESSING, **{each.key: each.field for each in self.payloads}}
        return Object(
            uri=NS_CLIENT, name=self.name, members=members, prepare=self.prepare, finish=self.finish
        )

    @property
    def schema(self) -> Schema:
        """
        What the JSON of such a stanza looks like.
        """
        members = {key: each.schema for key, each in ADDRESSING.items()}
        members["type"] = {"type": "string", "description": ", ".join(TYPES[self.name])}
        carried = {each.key: each.schema for each in self.payloads}
        return {"type": "object", "properties": {"kind": {"const": self.name}, **members, **carried}}


@attrs.frozen(kw_only=True)
class _ForwardedForm(Nested):
    """
    A data form in a forwarded message, which mod_rest leaves out when it writes one.
    """

    def write(self, parent: Any, key: str, value: Any, context: Writing) -> None:
        if context.asModRest:
            context.ignore()
        else:
            super().write(parent, key, value, context)

    def read(self, element: Any, levels: int) -> Any:
        return self.stanza().read(element, levels)

    @property
    def schema(self) -> Schema:
        return self.stanza().schema


def _forwardable(payload: Payload) -> Payload:
    if payload is forms.DATAFORM:
        field: Field = _ForwardedForm(uri=forms.NS_FORMS, name="x", stanza=lambda: forms.FORM)
        return attrs.evolve(payload, field=field)
    return json.NESTED_PAYLOAD if payload is json.PAYLOAD else payload


_FORWARDED = archive.forwarded(Nested(uri=NS_CLIENT, stanza=lambda: FORWARDED.stanza))

_IN_MESSAGES = (
    im.BODY,
    im.SUBJECT,
    im.THREAD,
    html.HTML,
    markup.STATE,
    markup.REPLACE,
    markup.REPLY,
    markup.REACTIONS,
    markup.REFERENCE,
    markup.MARKABLE,
    markup.DISPLAYED,
    markup.ENCRYPTION,
    markup.FALLBACK,
    markup.ATTACH_TO,
    markup.STANZA_IDS,
    muc.OCCUPANT_ID,
    muc.INVITE,
    presence.NICK,
    media.OOB,
    archive.archived(_FORWARDED),
    _FORWARDED,
    archive.DELAY,
    archive.RSM,
    json.PAYLOAD,
    forms.DATAFORM,
    error.ERROR,
)

FORWARDED: Kind = Kind(name="message", payloads=tuple(_forwardable(payload) for payload in _IN_MESSAGES))
"""A message within another one."""

MESSAGE = Kind(
    name="message",
    payloads=(*_IN_MESSAGES, media.OOB_URL, forms.FORMDATA),
    prepare=_prepareMessage,
    finish=_showURL,
)

PRESENCE = Kind(
    name="presence",
    payloads=(
        im.SHOW,
        im.STATUS,
        im.PRIORITY,
        muc.JOIN,
        muc.MUC,
        presence.CAPS,
        presence.VCARD_UPDATE,
        presence.IDLE_SINCE,
        presence.NICK,
        muc.OCCUPANT_ID,
        archive.DELAY,
        archive.RSM,
        forms.DATAFORM,
        error.ERROR,
    ),
    prepare=_preparePresence,
    finish=_showAvailable,
)

IQ = Kind(
    name="iq",
    payloads=(
        info.PING,
        info.VERSION,
        disco.DISCO,
        disco.ITEMS,
        commands.COMMAND,
        archive.QUERY,
        archive.RESULT,
        info.EXTDISCO,
        info.LASTACTIVITY,
        info.STATS,
        info.GATEWAY,
        account.REGISTER,
        account.BLOCK,
        account.UNBLOCK,
        account.BLOCKLIST,
        media.OOB_QUERY,
        media.UPLOAD_REQUEST,
        media.UPLOAD_SLOT,
        json.PAYLOAD,
        forms.DATAFORM,
        forms.FORMDATA,
        presence.NICK,
        archive.DELAY,
        archive.RSM,
        error.ERROR,
    ),
)

KINDS: Mapping[str, Kind] = {kind.name: kind for kind in (MESSAGE, PRESENCE, IQ)}

_BY_TYPE = {each: kind for kind, types in TYPES.items() for each in types if each != "error"}

_CARRIERS = Counter(payload.key for kind in KINDS.values() for payload in kind.payloads)

_BY_KEY = {
    payload.key: kind.name
    for kind in KINDS.values()
    for payload in kind.payloads
    if _CARRIERS[payload.key] == 1
} | {"archive": "iq", "formdata": "iq"}
"""The keys that say what kind of stanza they belong to."""


def impliedKind(json: Mapping[str, Any]) -> str:
    """
    The kind of a stanza whose JSON names none: by its type, else by what it carries, else a message.
    """
    byType = _BY_TYPE.get(json["type"]) if isinstance(json.get("type"), str) else None
    return byType or next((_BY_KEY[key] for key in json if key in _BY_KEY), "message")


def impliedType(kind: str, json: Mapping[str, Any]) -> str | None:
    """
    The type of a stanza whose JSON names none; only an IQ needs one.
    """
    if kind != "iq":
        return None
    return "set" if any(key in json for key in _SETS) else "get"
