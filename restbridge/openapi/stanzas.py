"""
The schemas of stanzas, as their declarations tell them, and examples.
"""

from __future__ import annotations

from typing import Any

from restbridge.openapi.parts import Part, schema, shape
from restbridge.stanzas.kinds import FORWARDED, KINDS

SCHEMAS: dict[str, Part] = {
    "Message": KINDS["message"].schema,
    "Presence": KINDS["presence"].schema,
    "IQ": KINDS["iq"].schema,
    "ForwardedMessage": FORWARDED.stanza.schema,
    "Stanza": {
        "description": "Unknown keys are ignored. Without `kind` its type or its payload says what it is.",
        "anyOf": [schema("Message"), schema("Presence"), schema("IQ")],
    },
    "Answer": {"allOf": [schema("Stanza"), {"required": ["kind"]}]},
    "Archive": shape(
        ("xmpp",),
        xmpp={
            "type": "array",
            "items": schema("Answer"),
            "description": "The results, and last the IQ that ends them.",
        },
    ),
}

TO_SEND: dict[str, Any] = {
    "A_message": {"kind": "message", "type": "chat", "to": "juliet@example.com", "body": "Hello, World!"},
    "Presence": {"kind": "presence", "to": "juliet@example.com", "show": "away", "status": "Back at two"},
    "A_ping": {"kind": "iq", "type": "get", "to": "example.com", "ping": True},
    "What_is_it?": {"kind": "iq", "type": "get", "to": "example.com", "disco": True},
    "From_the_archive": {"kind": "iq", "type": "set", "archive": {"with": "juliet@example.com", "max": 10}},
    "A_command": {
        "kind": "iq",
        "type": "set",
        "to": "example.com",
        "command": {"node": "uptime", "action": "execute"},
    },
}
"""Requests, by what they are."""

ANSWERED: dict[str, Any] = {
    "A_result": {
        "kind": "iq",
        "type": "result",
        "from": "example.com",
        "to": "bot@rest.example.com",
        "id": "q1",
        "version": {"name": "Prosody", "version": "13.0.1"},
    },
    "An_error": {
        "kind": "message",
        "type": "error",
        "from": "nobody@example.com",
        "to": "bot@rest.example.com",
        "id": "q2",
        "error": {"type": "cancel", "condition": "service-unavailable"},
    },
    "An_archive": {
        "xmpp": [
            {
                "kind": "message",
                "from": "romeo@example.com",
                "to": "romeo@example.com/phone",
                "archive": {
                    "id": "28482-98726-73623",
                    "forward": {
                        "delay": "2023-05-18T11:03:09Z",
                        "message": {
                            "from": "juliet@example.com/balcony",
                            "to": "romeo@example.com",
                            "type": "chat",
                            "body": "Call me but love",
                        },
                    },
                },
            },
            {
                "kind": "iq",
                "type": "result",
                "to": "romeo@example.com/phone",
                "id": "q3",
                "result": {"page": {"first": "28482-98726-73623", "last": "28482-98726-73623", "count": 1}},
            },
        ]
    },
}
"""What comes back."""
