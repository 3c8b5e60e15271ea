"""
RFC 6121: the body, subject and thread of a message; the show, status and priority of a presence.
"""

from __future__ import annotations

from restbridge.stanzas.compounds import Object, Payload
from restbridge.stanzas.fields import Attribute, ChildText, Content
from restbridge.stanzas.values import INTEGER

BODY = Payload(
    key="body",
    field=ChildText(),
    title="RFC 6121: Body",
    example="Hello, World!",
    note="Of several bodies in different languages the first is shown.",
)

SUBJECT = Payload(
    key="subject", field=ChildText(), title="RFC 6121: Subject, or topic of a room", example="Lunch"
)

THREAD = Payload(
    key="thread",
    field=Object(members={"id": Content(), "parent": Attribute()}),
    title="RFC 6121: Thread",
    example={"id": "t1", "parent": "t0"},
)

SHOW = Payload(
    key="show",
    field=ChildText(),
    title="RFC 6121: Show",
    example="away",
    note="`away`, `chat`, `dnd` or `xa`; left out: online.",
)

STATUS = Payload(key="status", field=ChildText(), title="RFC 6121: Status", example="Back at two")

PRIORITY = Payload(
    key="priority",
    field=ChildText(value=INTEGER),
    title="RFC 6121: Priority",
    example=5,
    note="From -128 to 127.",
)
