"""
Who takes turns, and how each does the same work.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from benchmarks.load import Measured, Request, drive
from benchmarks.race import Turn
from benchmarks.stage import SINK, Stage
from tests.live.bridge import BOT, Bridge
from tests.live.servers import passwordOf
from tests.live.web import basic

JSON = "application/json"
XML = "application/xmpp+xml"
CONNECTIONS = 16
MEMBER = basic("alice", passwordOf("alice"))


def confirming(stage: Stage) -> Bridge:
    """
    The bridge as the default configuration has it.
    """
    return stage.bridge("bridge", stage.prosody)


def swift(stage: Stage) -> Bridge:
    """
    A bridge that answers before the server has confirmed: as mod_rest does, which I{is} in the server.
    """
    return stage.bridge("swift", stage.prosody, component={"confirm": False})


def calling(stage: Stage, name: str, **callback: object) -> Bridge:
    """
    A bridge with a callback that takes all.
    """
    return stage.bridge(name, stage.prosody, callbacks=[callbackOf(stage, **callback)])


def callbackOf(stage: Stage, **more: object) -> dict[str, object]:
    """
    A callback that calls those who count.
    """
    return {"url": stage.deliveries.url, "format": "json", **more}


def posting(body: str, mediaType: str) -> Request:
    """
    A POST to C{/rest}, as the bot.
    """
    headers = {"Authorization": BOT, "Content-Type": mediaType}
    return Request(path="/rest", method="POST", headers=headers, body=body, expects=202)


def asking(bridge: Bridge, requests: Request | Sequence[Request], connections: int = CONNECTIONS) -> Turn:
    """
    Ask a bridge; several requests in turn.
    """
    asked = [requests] if isinstance(requests, Request) else requests

    def turn(seconds: float) -> Measured:
        pid = bridge.process.pid
        return drive(bridge.port, asked, connections=connections, seconds=seconds, pid=pid)

    return turn


def askingModRest(stage: Stage, request: Request, connections: int = CONNECTIONS) -> dict[str, Turn]:
    """
    Ask mod_rest, as a user of its server; nobody where it is not here.
    """
    own = attrs.evolve(request, headers={**request.headers, "Authorization": MEMBER})
    server = stage.prosody

    def turn(seconds: float) -> Measured:
        return drive(server.httpPort, [own], connections=connections, seconds=seconds)

    return {} if stage.modRest is None else {"mod_rest": turn}


def askingBare(port: int, request: Request) -> Turn:
    """
    Ask what does not look at requests.
    """
    return lambda seconds: drive(port, [request], connections=CONNECTIONS, seconds=seconds)


def delivering(
    stage: Stage, address: str, bridge: Bridge | None = None, outstanding: int = CONNECTIONS
) -> Turn:
    """
    Write to an address whose callbacks are counted: of this bridge's component, or of mod_rest's.
    """
    port = stage.prosody.componentPort(SINK)

    def turn(seconds: float) -> Measured:
        pid = bridge.process.pid if bridge else None
        return stage.deliveries.measure(port, address, outstanding=outstanding, seconds=seconds, pid=pid)

    return turn
