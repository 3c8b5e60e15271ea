"""
C{/rest} beside mod_rest, and beside what Twisted does at most.
"""

from __future__ import annotations

import json

from benchmarks.contestants import (
    CONNECTIONS,
    JSON,
    XML,
    asking,
    askingBare,
    askingModRest,
    confirming,
    posting,
    swift,
)
from benchmarks.load import Request
from benchmarks.race import Race, Turns
from benchmarks.stage import BODY, SINK, Stage
from benchmarks.table import Claim
from tests.live.bridge import BOT

IN_JSON = posting(
    json.dumps({"kind": "message", "to": f"someone@{SINK}", "type": "headline", "body": BODY}), JSON
)
IN_XML = posting(f"<message to='someone@{SINK}' type='headline'><body>{BODY}</body></message>", XML)
PING = Request(
    path="/rest/ping/localhost", headers={"Authorization": BOT, "Accept": JSON}, holds=('"type":"result"', 1)
)


def postJSON(stage: Stage) -> Race:
    """
    POST of a message in JSON
    """
    return _post(stage, IN_JSON)


def postXML(stage: Stage) -> Race:
    """
    POST of a message in XML
    """
    return _post(stage, IN_XML)


def ping(stage: Stage) -> Race:
    """
    GET of a ping: an IQ to the server, and its answer
    """
    return Race(
        turns=both(stage, PING),
        claims=[
            Claim(of="bridge", to="mod_rest", least=1.5),
            Claim(of="bridge", to="mod_rest", what="p99", most=1.0),
        ],
        bridge=confirming(stage),
    )


def both(stage: Stage, request: Request, connections: int = CONNECTIONS) -> Turns:
    """
    The bridge and mod_rest, with the same request.
    """
    return {
        "bridge": asking(confirming(stage), request, connections),
        **askingModRest(stage, request, connections),
    }


def _post(stage: Stage, request: Request) -> Race:
    unconfirmed = "bridge, confirm = false"
    return Race(
        turns={
            **both(stage, request),
            unconfirmed: asking(swift(stage), request),
            "bare Resource": askingBare(stage.bare("resource"), request),
            "bare Klein route": askingBare(stage.bare("klein"), request),
        },
        claims=[
            Claim(of="bridge", to="mod_rest", least=2.0),
            Claim(of=unconfirmed, to="mod_rest"),
            Claim(of="bridge", to="mod_rest", what="p99", most=1.0),
            Claim(of=unconfirmed, to="mod_rest", what="p99"),
            Claim(of="bridge", to="bare Resource", least=0.5),
            Claim(of=unconfirmed, to="bare Resource"),
            Claim(of="bridge", to="bare Klein route"),
        ],
        bridge=confirming(stage),
    )
