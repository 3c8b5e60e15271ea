"""
Short questions and answers: XEP-0012 (last activity), XEP-0039 (statistics), XEP-0092 (version), XEP-0100
(gateway), XEP-0199 (ping), XEP-0215 (external services).
"""

from __future__ import annotations

from typing import Any

import attrs
from twisted.words.xish.domish import Element

from restbridge.stanzas.compounds import Each, Object, Payload, Wrapped
from restbridge.stanzas.fields import Attribute, ChildText, Content, Flag
from restbridge.stanzas.values import BOOLEAN, DATETIME, INTEGER, NUMBER
from restbridge.stanzas.writing import Writing, childOf

LASTACTIVITY = Payload(
    key="lastactivity",
    field=Object(
        uri="jabber:iq:last",
        name="query",
        orTrue=True,
        members={"seconds": Attribute(value=INTEGER), "status": Content()},
    ),
    title="XEP-0012: Last Activity",
    example={"seconds": 903, "status": "Heading home"},
    note="A question is `{}`.",
)

STATS = Payload(
    key="stats",
    field=Wrapped(
        uri="http://jabber.org/protocol/stats",
        name="query",
        itemName="stat",
        item=Object(members={"name": Attribute(), "unit": Attribute(), "value": Attribute(value=NUMBER)}),
    ),
    title="XEP-0039: Statistics Gathering",
    example=[{"name": "users/online", "unit": "users", "value": 365}],
    note="`true` asks which there are.",
)

VERSION = Payload(
    key="version",
    field=Object(
        uri="jabber:iq:version",
        name="query",
        orTrue=True,
        members={"name": ChildText(), "version": ChildText(), "os": ChildText()},
    ),
    title="XEP-0092: Software Version",
    example={"name": "My Software", "version": "1.0.0", "os": "Linux"},
    note="A question is `{}`.",
)


@attrs.frozen(kw_only=True)
class _Description(ChildText):
    """
    The description of a gateway, which mod_rest can't write and shows empty.
    """

    def write(self, parent: Element, key: str, value: Any, context: Writing) -> None:
        text = self.value.written(value, context)
        childOf(parent, key, text="" if context.asModRest else text)


GATEWAY = Payload(
    key="gateway",
    field=Object(
        uri="jabber:iq:gateway",
        name="query",
        orTrue=True,
        members={"desc": _Description(), "prompt": ChildText(), "jid": ChildText()},
    ),
    title="XEP-0100: Gateway Interaction",
    example={"desc": "Please enter the screen name", "prompt": "Screen name"},
)

PING = Payload(key="ping", field=Flag(uri="urn:xmpp:ping"), title="XEP-0199: XMPP Ping", example=True)

EXTDISCO = Payload(
    key="extdisco",
    field=Object(
        uri="urn:xmpp:extdisco:2",
        name="services",
        orTrue=True,
        members={
            "type": Attribute(),
            "services": Each(
                name="service",
                item=Object(
                    members={
                        "type": Attribute(),
                        "host": Attribute(),
                        "port": Attribute(value=INTEGER),
                        "transport": Attribute(),
                        "name": Attribute(),
                        "username": Attribute(),
                        "password": Attribute(),
                        "expires": Attribute(value=DATETIME),
                        "restricted": Attribute(value=BOOLEAN),
                    }
                ),
            ),
        },
    ),
    title="XEP-0215: External Service Discovery",
    example={
        "services": [{"type": "turn", "host": "turn.example.com", "port": 3478, "transport": "udp"}],
    },
    note="A question is `{}`, or names the `type` of service.",
)
