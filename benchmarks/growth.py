"""
The same work, when there is more of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.contestants import asking
from benchmarks.race import Race, Turn, Turns
from benchmarks.rest import IN_JSON, PING
from benchmarks.stage import HELD, SINK, Stage
from benchmarks.table import Claim
from tests.live.bridge import BOT, Bridge
from tests.live.process import eventually

CONNECTIONS = (1, 16, 256)
PENDING = (10, 10_000)
HOUR = 3600

Work = Callable[[Stage, int], Turns]
"""What is done over so many connections, or with so many messages on their way."""


def overConnections(
    purpose: str, work: Work, bridgeOf: Callable[[Stage], Bridge], peer: str | None = None
) -> Callable[[Stage], Race]:
    """
    A race of a work with itself, and with a peer's.
    """

    def race(stage: Stage) -> Race:
        turns: dict[str, Turn] = {}
        for connections in CONNECTIONS:
            for side, turn in work(stage, connections).items():
                turns[_at(side, connections)] = turn
        few, some, many = CONNECTIONS
        claims = [
            Claim(of=_at("bridge", some), to=_at("bridge", few)),
            Claim(of=_at("bridge", many), to=_at("bridge", some), least=0.8),
        ]
        if peer is not None:
            claims.append(Claim(of=_at(peer, many), to=_at(peer, some)))
            claims += [
                Claim(of=_at("bridge", connections), to=_at(peer, connections), what=what)
                for what in ("rate", "p99")
                for connections in CONNECTIONS
            ]
        return Race(turns=turns, claims=claims, bridge=bridgeOf(stage))

    race.__doc__ = f"{purpose}, over 1, 16 and 256 connections"
    return race


def _at(side: str, connections: int) -> str:
    return f"{side}, {connections}"


def pending(stage: Stage) -> Race:
    """
    pings and posts while 10 and 10,000 other IQs wait for their answers
    """
    few, many = PENDING
    bridges = {few: _waiting(stage, "few", few), many: _waiting(stage, "many", many)}
    turns: dict[str, Turn] = {}
    for name, request in (("ping", PING), ("post", IN_JSON)):
        for number in (many, few):
            turns[f"{name}, {number:,} wait"] = asking(bridges[number], request)
    claims = [
        Claim(of=f"{name}, {many:,} wait", to=f"{name}, {few:,} wait", what=what, most=most)
        for name in ("ping", "post")
        for what, most in (("cpu", 1.05), ("time", None))
    ]
    return Race(turns=turns, claims=claims, bridge=bridges[many])


def _waiting(stage: Stage, name: str, number: int) -> Bridge:
    """
    A bridge by which so many ask who never answers.
    """
    patient: dict[str, Any] = {"iq_timeout": HOUR, "iq_max_timeout": HOUR, "iq_max_pending": number + 1000}
    bridge = stage.bridge(
        name, stage.prosody, rest=patient, http={"max_connections": HELD, "max_connections_per_address": HELD}
    )
    sink = stage.sink(stage.prosody)
    began = sink.queries
    request = (
        f"GET /rest/ping/nobody@{SINK} HTTP/1.1\r\nHost: bridge\r\nAuthorization: {BOT}\r\n\r\n".encode()
    )
    for sent in range(1, number + 1):
        connection = stage.connect(bridge.port)
        connection.sendall(request)
        if sent % 100 == 0 or sent == number:
            eventually(lambda: sink.queries >= began + sent, f"{sent} queries to wait", timeout=60)  # noqa: B023
    return bridge
