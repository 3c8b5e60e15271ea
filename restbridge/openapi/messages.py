"""
C{/api/messages}.
"""

from __future__ import annotations

from typing import Any

from restbridge.clientapi.messages import MAX_MESSAGES
from restbridge.openapi.client import (
    BEFORE,
    HISTORY,
    NO_ARCHIVE,
    TIMESTAMP,
    answersTo,
    limit,
    ok,
    once,
    shown,
)
from restbridge.openapi.parts import KEY, TEXT, Part, body, inJSON, operation, parameter, schema, shape

TAG = "One-to-one messages"

SCHEMAS: dict[str, Part] = {
    "SendMessage": shape(("to", "body"), to=schema("JID"), body=TEXT),
    "RecvMessage": shape(
        ("to", "from", "id", "timestamp", "body"),
        **{
            "to": schema("JID"),
            "from": schema("JID"),
            "id": TEXT,
            "timestamp": TIMESTAMP,
            "body": TEXT,
            "thread": TEXT,
            "parent": {**TEXT, "description": "The thread that the thread comes from."},
            "properties": {
                "type": "object",
                "description": "The properties of Smack, Openfire's library.",
                "additionalProperties": TEXT,
            },
        },
    ),
}

EXAMPLE: dict[str, Any] = {
    "to": "alice@wonderland.example",
    "from": "rabbit@wonderland.example",
    "id": "a5b13c5a-48d0-4f34-95d3-01e31bad742a",
    "timestamp": 1478258324908,
    "body": "Oh dear! I shall be too late!",
}

_LIMIT = limit(f"The most messages to bring; above {MAX_MESSAGES} it is {MAX_MESSAGES}.", MAX_MESSAGES)
_MESSAGES: Part = {"type": "array", "items": schema("RecvMessage"), "description": "The newest last."}
_FOUND = ok(_MESSAGES, Messages=[EXAMPLE])


def paths() -> dict[str, Part]:
    """
    The paths of one-to-one messages.
    """
    sent = answersTo(
        ok(schema("Id"), Sent={"id": "c9ee2ba26a4b1b9a"}),
        "Missing recipient JID",
        "Invalid recipient JID",
        "Missing message body",
        "Invalid message body",
    )
    message = {"to": "rabbit@wonderland.example", "body": "Wait for me!"}
    other = parameter("path", "with", "With whom.", schema("JID"), example="rabbit@wonderland.example")
    return {
        "/api/messages": {
            "get": operation(
                TAG,
                "getMessages",
                "The newest messages",
                shown({**_FOUND, 501: NO_ARCHIVE}, HISTORY),
                parameters=[_LIMIT, BEFORE],
            ),
            "post": operation(
                TAG,
                "sendMessage",
                "Send a message",
                once(sent),
                parameters=[KEY],
                requestBody=body(inJSON(schema("SendMessage"), A_message=message)),
            ),
        },
        "/api/messages/{with}": {
            "get": operation(
                TAG,
                "getMessagesWith",
                "The newest messages to and from somebody",
                shown({**_FOUND, 501: NO_ARCHIVE}, ("Invalid interlocutor JID", *HISTORY)),
                parameters=[other, _LIMIT, BEFORE],
            )
        },
    }
