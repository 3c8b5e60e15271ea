"""
C{/api/sse}.
"""

from __future__ import annotations

import json

from restbridge.openapi.client import shown
from restbridge.openapi.messages import EXAMPLE
from restbridge.openapi.parts import TEXT, Part, operation, parameter, response
from restbridge.openapi.rooms import SAID

TAG = "Server-sent events"

_DESCRIPTION = """\
Event `message` brings a one-to-one message, event `room.message` what happened in a room, with its `room`;
their data is what the histories show, but for `timestamp`, which is in microseconds. Comments keep the
stream open.

Not to be tried on this page, which would wait for its end: `curl -N -u JID .../api/sse`
"""


def _event(name: str, number: int, data: object) -> str:
    return f"id: {number}\nevent: {name}\ndata: {json.dumps(data)}\n\n"


_STREAM = _event("message", 1, {**EXAMPLE, "timestamp": EXAMPLE["timestamp"] * 1000}) + _event(
    "room.message", 2, {**SAID, "timestamp": SAID["timestamp"] * 1000, "room": "1483-609513-293487"}
)


def paths() -> dict[str, Part]:
    """
    The path of the stream.
    """
    stream = response("Events.", {"text/event-stream": {"schema": TEXT, "example": _STREAM}})
    last = parameter("header", "Last-Event-ID", "The last event seen: the stream goes on after it.", TEXT)
    found = operation(
        TAG,
        "getEvents",
        "What comes in",
        shown({200: stream}),
        description=_DESCRIPTION,
        parameters=[last],
    )
    return {"/api/sse": {"get": found}}
