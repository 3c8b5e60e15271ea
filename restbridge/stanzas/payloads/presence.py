"""
What presence says of its sender: XEP-0115 (capabilities), XEP-0153 (avatars), XEP-0172 (nickname, also
in messages), XEP-0319 (last interaction).
"""

from __future__ import annotations

from restbridge.stanzas.compounds import Object, Payload
from restbridge.stanzas.fields import Attribute, ChildText, SingleAttribute
from restbridge.stanzas.values import DATETIME

CAPS = Payload(
    key="caps",
    field=Object(
        uri="http://jabber.org/protocol/caps",
        name="c",
        members={"hash": Attribute(), "node": Attribute(), "ver": Attribute(), "ext": Attribute()},
    ),
    title="XEP-0115: Entity Capabilities",
    example={"hash": "sha-1", "node": "https://bot.example.com", "ver": "QgayPKawpkPSDYmwT/WM94uAlu0="},
)

VCARD_UPDATE = Payload(
    key="vcard_update",
    field=Object(uri="vcard-temp:x:update", name="x", members={"photo": ChildText()}),
    title="XEP-0153: vCard-Based Avatars",
    example={"photo": "adc83b19e793491b1c6ea0fd8b46cd9f32e592fc"},
)

NICK = Payload(
    key="nick",
    field=ChildText(uri="http://jabber.org/protocol/nick"),
    title="XEP-0172: User Nickname",
    example="Juliet",
)

IDLE_SINCE = Payload(
    key="idle_since",
    field=SingleAttribute(uri="urn:xmpp:idle:1", name="idle", attribute="since", value=DATETIME),
    title="XEP-0319: Last User Interaction in Presence",
    example="2023-05-18T11:03:09Z",
)
