"""
The archive: XEP-0313 (message archive management), with XEP-0059 (result sets), XEP-0203 (delay) and
XEP-0297 (forwarding).
"""

from __future__ import annotations

from typing import Any

from restbridge.stanzas.compounds import Each, Object, Payload
from restbridge.stanzas.fields import Attribute, ChildText, Field, Flag, SingleAttribute
from restbridge.stanzas.payloads.forms import NS_FORMS
from restbridge.stanzas.values import DATETIME, INTEGER, TEXT, Schema
from restbridge.stanzas.writing import Writing

NS_ARCHIVE = "urn:xmpp:mam:2"

_FORM_KEYS = ("with", "start", "end", "before-id", "after-id", "ids")
_PAGE_KEYS = ("after", "before", "max")

_SET = Object(
    uri="http://jabber.org/protocol/rsm",
    name="set",
    members={
        "after": ChildText(),
        "before": ChildText(),
        "count": ChildText(value=INTEGER),
        "first": ChildText(),
        "index": ChildText(value=INTEGER),
        "last": ChildText(),
        "max": ChildText(value=INTEGER),
    },
)

RSM = Payload(
    key="rsm", field=_SET, title="XEP-0059: Result Set Management", example={"max": 10, "before": ""}
)

DELAY = Payload(
    key="delay",
    field=SingleAttribute(uri="urn:xmpp:delay", attribute="stamp", value=DATETIME),
    title="XEP-0203: Delayed Delivery",
    example="2023-05-18T11:03:09Z",
)

_FORM = Object(
    uri=NS_FORMS,
    name="x",
    members={
        "type": Attribute(),
        "title": ChildText(),
        "instructions": ChildText(),
        "fields": Each(
            name="field",
            item=Object(
                members={
                    "type": Attribute(),
                    "var": Attribute(),
                    "label": Attribute(),
                    "desc": ChildText(),
                    "required": Flag(),
                    "values": Each(name="value", item=ChildText()),
                    "options": Each(
                        name="option", item=Object(members={"label": Attribute(), "value": ChildText()})
                    ),
                }
            ),
        ),
    },
)


def _field(var: str, value: Any) -> dict[str, Any]:
    if value is None:
        return {"var": var}
    return {"var": var, "values": value if isinstance(value, list) else [value]}


def _criteria(query: dict[str, Any], context: Writing) -> dict[str, Any]:
    fields = [_field("FORM_TYPE", NS_ARCHIVE)]
    # mod_rest adds an empty field for each key left out, which not every server accepts.
    fields += [_field(key, query.get(key)) for key in _FORM_KEYS if key in query or context.asModRest]
    return {"type": "submit", "fields": fields}


def _spelledOut(query: dict[str, Any], context: Writing) -> dict[str, Any]:
    """
    The query with its convenience keys put where the protocol has them.
    """
    _checkCriteria(query, context)
    full = {key: value for key, value in query.items() if key not in _FORM_KEYS + _PAGE_KEYS}
    if any(key in query for key in _FORM_KEYS):
        full.setdefault("form", _criteria(query, context))
    page = {key: query[key] for key in _PAGE_KEYS if key in query}
    if page and isinstance(full.setdefault("page", {}), dict):
        full["page"] = {**page, **full["page"]}
    return full


def _checkCriteria(query: dict[str, Any], context: Writing) -> None:
    # Here, so that the error names the key that was given.
    for key in _FORM_KEYS:
        if key in query:
            context.path.append(key)
            value = query[key]
            if key == "ids" and type(value) is list:
                context.each(value, context.text)
            else:
                context.text(value)
            context.path.pop()


_SHORT: dict[str, Schema] = {
    **dict.fromkeys(_FORM_KEYS, TEXT.schema),
    **{key: _SET.members[key].schema for key in _PAGE_KEYS},
    "ids": {"anyOf": [TEXT.schema, {"type": "array", "items": TEXT.schema}]},
}

QUERY = Payload(
    key="archive",
    field=Object(
        uri=NS_ARCHIVE,
        name="query",
        orTrue=True,
        prepare=_spelledOut,
        short=_SHORT,
        members={"queryid": Attribute(), "form": _FORM, "page": _SET},
    ),
    title="XEP-0313: Message Archive Management, the query",
    example={"with": "juliet@example.com", "start": "2023-05-18T00:00:00Z", "max": 20},
    note="`with`, `start`, `end`, `before-id`, `after-id` and `ids` (a list) are short for fields of `form`;"
    " `after`, `before` and `max` for keys of `page`.",
)

RESULT = Payload(
    key="result",
    field=Object(uri=NS_ARCHIVE, name="fin", members={"page": _SET}),
    title="XEP-0313: Message Archive Management, the end of the results",
    example={"page": {"first": "28482-98726-73623", "last": "09af3-cc343-b409f", "count": 23}},
)


def forwarded(message: Field) -> Payload:
    """
    A forwarded message.

    @param message: the declaration of what is forwarded.
    """
    return Payload(
        key="forwarded",
        field=Object(
            uri="urn:xmpp:forward:0",
            name="forwarded",
            members={"delay": DELAY.field, "message": message},
        ),
        title="XEP-0297: Stanza Forwarding",
        example={
            "delay": "2023-05-18T11:03:09Z",
            "message": {
                "from": "romeo@example.com/orchard",
                "to": "juliet@example.com",
                "type": "chat",
                "body": "Call me but love",
            },
        },
    )


def archived(forwarded: Payload) -> Payload:
    """
    A message out of the archive.
    """
    return Payload(
        key="archive",
        field=Object(
            uri=NS_ARCHIVE,
            name="result",
            members={"id": Attribute(), "queryid": Attribute(), "forward": forwarded.field},
        ),
        title="XEP-0313: Message Archive Management, a result",
        example={"id": "28482-98726-73623", "queryid": "q1", "forward": forwarded.example},
    )
