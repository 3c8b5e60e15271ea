"""
What accompanies the text of a message: XEP-0085 (chat states), XEP-0308 (correction), XEP-0333 (markers),
XEP-0359 (stanza ids), XEP-0367 (attaching), XEP-0372 (references), XEP-0380 (encryption), XEP-0428
(fallback), XEP-0444 (reactions), XEP-0461 (replies).
"""

from __future__ import annotations

from restbridge.stanzas.compounds import Each, Object, Payload
from restbridge.stanzas.fields import Attribute, ChildText, Flag, NameIsValue, SingleAttribute
from restbridge.stanzas.values import INTEGER

_MARKERS = "urn:xmpp:chat-markers:0"

STATE = Payload(
    key="state",
    field=NameIsValue(
        uri="http://jabber.org/protocol/chatstates",
        choices=("active", "composing", "gone", "inactive", "paused"),
    ),
    title="XEP-0085: Chat State Notifications",
    example="composing",
)

REPLACE = Payload(
    key="replace",
    field=SingleAttribute(uri="urn:xmpp:message-correct:0", attribute="id"),
    title="XEP-0308: Last Message Correction",
    example="m1",
)

MARKABLE = Payload(
    key="markable", field=Flag(uri=_MARKERS), title="XEP-0333: Chat Markers, asked for", example=True
)

DISPLAYED = Payload(
    key="displayed",
    field=SingleAttribute(uri=_MARKERS, attribute="id"),
    title="XEP-0333: Chat Markers, displayed",
    example="m1",
)

STANZA_IDS = Payload(
    key="stanza_ids",
    field=Each(
        name="stanza-id",
        item=Object(uri="urn:xmpp:sid:0", members={"id": Attribute(), "by": Attribute()}),
    ),
    title="XEP-0359: Unique and Stable Stanza IDs",
    example=[{"id": "28482-98726-73623", "by": "room@conference.example.com"}],
)

ATTACH_TO = Payload(
    key="attach_to",
    field=SingleAttribute(uri="urn:xmpp:message-attaching:1", name="attach-to", attribute="id"),
    title="XEP-0367: Message Attaching",
    example="m1",
)

REFERENCE = Payload(
    key="reference",
    field=Object(
        uri="urn:xmpp:reference:0",
        members={
            "type": Attribute(),
            "uri": Attribute(),
            "begin": Attribute(value=INTEGER),
            "end": Attribute(value=INTEGER),
        },
    ),
    title="XEP-0372: References",
    example={"type": "mention", "uri": "xmpp:juliet@example.com", "begin": 0, "end": 6},
)

ENCRYPTION = Payload(
    key="encryption",
    field=SingleAttribute(uri="urn:xmpp:eme:0", attribute="namespace"),
    title="XEP-0380: Explicit Message Encryption",
    example="urn:xmpp:omemo:2",
)

FALLBACK = Payload(
    key="fallback",
    field=Flag(uri="urn:xmpp:fallback:0"),
    title="XEP-0428: Fallback Indication",
    example=True,
)

REACTIONS = Payload(
    key="reactions",
    field=Object(
        uri="urn:xmpp:reactions:0",
        members={"id": Attribute(), "reactions": Each(name="reaction", item=ChildText())},
    ),
    title="XEP-0444: Message Reactions",
    example={"id": "m1", "reactions": ["👍", "🎉"]},
)

REPLY = Payload(
    key="reply",
    field=Object(uri="urn:xmpp:reply:0", members={"id": Attribute(), "to": Attribute()}),
    title="XEP-0461: Message Replies",
    example={"id": "m1", "to": "juliet@example.com/balcony"},
)
