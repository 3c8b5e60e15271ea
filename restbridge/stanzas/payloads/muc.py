"""
Rooms: XEP-0045 (joining), XEP-0249 (invitations), XEP-0421 (occupant ids).
"""

from __future__ import annotations

from typing import Any

from twisted.words.xish.domish import Element

from restbridge.stanzas.compounds import Object, Payload
from restbridge.stanzas.fields import Attribute, ChildText, Custom, SingleAttribute
from restbridge.stanzas.values import BOOLEAN, DATETIME, INTEGER
from restbridge.stanzas.writing import Writing, childOf

_MUC = "http://jabber.org/protocol/muc"

MUC = Payload(
    key="muc",
    field=Object(
        uri=_MUC,
        name="x",
        members={
            "history": Object(
                members={
                    "maxchars": Attribute(value=INTEGER),
                    "maxstanzas": Attribute(value=INTEGER),
                    "seconds": Attribute(value=INTEGER),
                    "since": Attribute(value=DATETIME),
                }
            ),
            "password": ChildText(),
        },
    ),
    title="XEP-0045: Multi-User Chat",
    example={"history": {"maxstanzas": 20}, "password": "cauldronburn"},
)


def _writeJoin(parent: Element, value: Any, context: Writing) -> None:
    if type(value) is not bool:
        raise context.refuse("must be true or false")
    if value:
        childOf(parent, "x", _MUC)


JOIN = Payload(
    key="join",
    field=Custom(writer=_writeJoin, schema={"type": "boolean"}),
    title="XEP-0045: Joining a room",
    example=True,
    note='Short for `"muc": {}`, and shown as that.',
)

INVITE = Payload(
    key="invite",
    field=Object(
        uri="jabber:x:conference",
        name="x",
        members={
            "jid": Attribute(),
            "reason": Attribute(),
            "password": Attribute(),
            "thread": Attribute(),
            "continue": Attribute(value=BOOLEAN),
        },
    ),
    title="XEP-0249: Direct MUC Invitations",
    example={"jid": "room@conference.example.com", "reason": "Come and see"},
)

OCCUPANT_ID = Payload(
    key="occupant_id",
    field=SingleAttribute(uri="urn:xmpp:occupant-id:0", name="occupant-id", attribute="id"),
    title="XEP-0421: Anonymous unique occupant identifiers",
    example="dd72603deec90a38ba552f7c68cbcc61bca202cd",
)
