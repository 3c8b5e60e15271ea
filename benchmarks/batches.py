"""
Batches beside what the server takes when nobody is in between.
"""

from __future__ import annotations

import json
import time

from benchmarks.contestants import asking
from benchmarks.load import Measured, Request
from benchmarks.race import Race, Turn
from benchmarks.stage import BODY, SINK, Sink, Stage, domainOf, stanza
from benchmarks.table import Claim
from tests.live.bridge import BOT
from tests.live.process import eventually
from tests.live.servers import Server

LINES = 1000
CONNECTIONS = 4
NDJSON = "application/x-ndjson"


def batchOnEjabberd(stage: Stage) -> Race:
    """
    POST of 1,000 messages at once, beside the same by a bare component, on ejabberd
    """
    return _batch(stage, stage.ejabberd, "probe.localhost")


def batchOnProsody(stage: Stage) -> Race:
    """
    the same, on Prosody
    """
    return _batch(stage, stage.prosody, domainOf("writer"))


def _batch(stage: Stage, server: Server, domain: str) -> Race:
    bridge = stage.bridge("bridge", server)
    line = json.dumps({"kind": "message", "to": f"someone@{SINK}", "type": "headline", "body": BODY})
    request = Request(
        path="/rest",
        method="POST",
        headers={"Authorization": BOT, "Content-Type": NDJSON},
        body=f"{line}\n" * LINES,
        pieces=LINES,
        holds=('"status":202', LINES),
    )
    return Race(
        turns={
            "bridge": asking(bridge, request, CONNECTIONS),
            f"{server.name} alone": _writing(stage, server, domain),
        },
        claims=[Claim(of="bridge", least=10_000), Claim(of="bridge", to=f"{server.name} alone")],
        bridge=bridge,
    )


def _writing(stage: Stage, server: Server, domain: str) -> Turn:
    """
    A component that writes strings, as fast as the server takes them.
    """
    connection = stage.keep(server.attach(domain))
    connection.settimeout(None)
    sink = stage.sink(server)
    chunk = (stanza(domain) * 100).encode()

    def turn(seconds: float) -> Measured:
        _waitForNone(sink)
        first, began = sink.messages, time.monotonic()
        sent = first
        while time.monotonic() < began + seconds:
            connection.sendall(chunk)
            sent += 100
            _waitFor(sink, sent - 2 * LINES)
        _waitFor(sink, sent)
        lasted = time.monotonic() - began
        return Measured(rate=(sent - first) / lasted)

    return turn


def _waitForNone(sink: Sink) -> None:
    """
    Wait until nothing more comes of what others have written.
    """
    seen = -1
    while seen != sink.messages:
        seen = sink.messages
        time.sleep(0.3)


def _waitFor(sink: Sink, messages: int) -> None:
    eventually(lambda: sink.messages >= messages, f"{messages} messages", timeout=60, pause=0.001)
