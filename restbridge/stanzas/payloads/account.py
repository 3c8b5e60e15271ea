"""
An account and whom it will not hear: XEP-0077 (registration), XEP-0191 (blocking).
"""

from __future__ import annotations

from restbridge.stanzas.compounds import Object, Payload, Wrapped
from restbridge.stanzas.fields import ChildText, Field, Flag, SingleAttribute

_BLOCKING = "urn:xmpp:blocking"

_REGISTER_TEXTS = [
    "instructions",
    "username",
    "nick",
    "password",
    "name",
    "first",
    "last",
    "email",
    "address",
    "city",
    "state",
    "zip",
    "phone",
    "url",
    "date",
    "misc",
    "text",
    "key",
]

REGISTER = Payload(
    key="register",
    field=Object(
        uri="jabber:iq:register",
        name="query",
        orTrue=True,
        members={key: ChildText() for key in _REGISTER_TEXTS} | {"registered": Flag(), "remove": Flag()},
    ),
    title="XEP-0077: In-Band Registration",
    example={"username": "juliet", "password": "R0m30"},
    note="A question is `{}`. An empty text asks for that field.",
)


def _addresses(name: str) -> Field:
    return Wrapped(uri=_BLOCKING, name=name, itemName="item", item=SingleAttribute(attribute="jid"))


BLOCKLIST = Payload(
    key="blocklist",
    field=_addresses("blocklist"),
    title="XEP-0191: Blocking Command, the list",
    example=["romeo@montague.example"],
    note="`true` asks for it.",
)

BLOCK = Payload(
    key="block",
    field=_addresses("block"),
    title="XEP-0191: Blocking Command, blocking",
    example=["romeo@montague.example"],
)

UNBLOCK = Payload(
    key="unblock",
    field=_addresses("unblock"),
    title="XEP-0191: Blocking Command, unblocking",
    example=["romeo@montague.example"],
    note="An empty list unblocks all.",
)
