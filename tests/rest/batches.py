"""
Batches for tests.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from restbridge.rest.batch import NDJSON
from tests.rest.case import JSON, RestTestCase
from tests.web.client import Client, Reply, basic

PING = {"kind": "iq", "type": "get", "to": "example.net", "ping": True}
PONG = "<iq type='result' from='example.net' to='bot@bridge.localhost' id='1'/>"
ARCHIVE = {"kind": "iq", "type": "set", "to": "example.net", "archive": True}


def message(text: object, **more: object) -> dict[str, Any]:
    """
    A message that may be sent.
    """
    return {"kind": "message", "to": "a@b.example", "body": str(text), **more}


def written(stanzas: Sequence[Any], mediaType: str = NDJSON) -> bytes:
    """
    A batch; bytes stand for themselves.
    """
    lines = [each if isinstance(each, bytes) else json.dumps(each).encode() for each in stanzas]
    return b"[" + b", ".join(lines) + b"]" if mediaType == JSON else b"\n".join(lines)


def read(reply: Reply) -> list[Any]:
    """
    The results.
    """
    if reply.type == JSON:
        found: list[Any] = reply.json
        return found
    assert reply.body.endswith(b"\n")
    return [json.loads(line) for line in reply.body.splitlines()]


class BatchTestCase(RestTestCase):
    def begin(self, stanzas: Sequence[Any], mediaType: str = NDJSON, **headers: str) -> Client:
        """
        Post a batch, by a connection of its own.
        """
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        client = Client(self.site)
        given = {**basic(), "Content-Type": mediaType, **named}
        client.begin("POST", "/rest", given, written(stanzas, mediaType))
        return client

    def batch(self, stanzas: Sequence[Any], mediaType: str = NDJSON, **headers: str) -> Reply:
        """
        Post one that is answered at once.
        """
        client = self.begin(stanzas, mediaType, **headers)
        self.turns.advance(0)
        return client.read("POST")[0]

    def texts(self) -> list[str]:
        """
        Of the messages that were written.
        """
        return [str(stanza.body) for stanza in self.link.sent if stanza.name == "message"]

    def statuses(self, reply: Reply) -> list[int]:
        """
        Of the results.
        """
        self.assertEqual(200, reply.status, reply.body)
        return [result["status"] for result in read(reply)]
