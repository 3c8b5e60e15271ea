"""
C{GET /rest/{query}/{to}?parameters}: a question without a body.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from restbridge.stanzas.bodies import Unreadable, withIgnored
from restbridge.stanzas.compounds import Object, fromText
from restbridge.stanzas.kinds import IQ
from restbridge.stanzas.mapping import Mapped, fromJSON
from restbridge.stanzas.nesting import decodeJSON
from restbridge.stanzas.values import TEXT, Schema

QUERIES = (
    "archive",
    "blocklist",
    "disco",
    "extdisco",
    "items",
    "lastactivity",
    "oob",
    "payload",
    "ping",
    "stats",
    "upload_request",
    "version",
)
"""The questions that a GET can ask."""

_PAYLOADS = {payload.key: payload.field for payload in IQ.payloads}


def ask(query: str, to: str, parameters: Mapping[str, str]) -> Mapped:
    """
    The IQ of C{GET /rest/{query}/{to}?parameters}.

    @param query: one of L{QUERIES}.
    @param to: whom to ask; C{""}: the own account.
    @param parameters: members of the payload: C{with}, C{max}, C{filename}; those of disco, items and
        stats are C{node} and C{name}.
    @raise Unreadable: no such query.
    @raise restbridge.stanzas.mapping.MappingRefused: a parameter can't be understood.
    """
    if query not in QUERIES:
        raise Unreadable("invalid-path")
    json = {"kind": "iq", query: _question(query, parameters)}
    mapped = fromJSON({**json, "to": to} if to else json)
    unused = () if isinstance(json[query], dict) else (f"{query}.{key}" for key in parameters)
    known = ("disco.node", "items.node", "stats.name")
    return withIgnored(mapped, [path for path in unused if path not in known])


def parameters(query: str) -> list[tuple[str, Schema]]:
    """
    What may follow the question mark of one of L{QUERIES}: names, and what their values look like;
    the items of a list are separated by commas.
    """
    field = _PAYLOADS[query]
    if query in ("disco", "items"):
        return [("node", TEXT.schema)]
    if query == "stats":
        return [("name", TEXT.schema)]
    if query == "payload":
        return [("datatype", TEXT.schema), ("data", {**TEXT.schema, "contentMediaType": "application/json"})]
    if not isinstance(field, Object):
        return []
    texts = {key: member.schema for key, member in field.members.items() if fromText(member, "") is not None}
    lists = {"ids": {"type": "array", "items": TEXT.schema}} if "ids" in field.short else {}
    return list({**texts, **field.short, **lists}.items())


def _question(query: str, parameters: Mapping[str, str]) -> Any:
    field = _PAYLOADS[query]
    if query in ("disco", "items"):
        return parameters.get("node", True)
    if query == "stats":
        return [{"name": parameters["name"]}] if "name" in parameters else True
    if query == "payload":
        return _payloadQuestion(parameters)
    if not isinstance(field, Object):
        return True
    return {key: _parameter(field, key, text) for key, text in parameters.items()}


def _payloadQuestion(parameters: Mapping[str, str]) -> Any:
    json: dict[str, Any] = dict(parameters)
    if "data" in json:
        try:
            json["data"] = decodeJSON(json["data"])
        except ValueError as error:
            raise Unreadable("invalid-json", f"data: {error}") from None
    return json


def _parameter(field: Object, key: str, text: str) -> Any:
    if key == "ids":
        return text.split(",")
    if key == "max" and text.isascii() and text.isdigit() and len(text) < 10:
        return int(text)
    return fromText(field.members[key], text) if key in field.members else text
