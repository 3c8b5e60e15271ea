"""
What the bridge holds in memory: at rest, and over many requests.
"""

from __future__ import annotations

import json
import sys
import time

from benchmarks.contestants import CONNECTIONS, JSON, XML, confirming, posting
from benchmarks.load import Request, drive, residentKiB
from benchmarks.rest import PING
from benchmarks.stage import BODY, SINK, Stage
from tests.live.bridge import Bridge

SETTLE = 5
"""Seconds from the start to the first look."""

SECONDS = 5
"""Of requests, from one look to the next."""

RECIPIENTS = 1000

LINES = 20
"""Of the curve."""

IDLE, BUSY = 60.0, 120.0
"""MiB: what is promised at rest, and after all requests."""


def watch(requests: int) -> None:
    """
    Ask so often, a third each for messages in JSON, messages in XML and pings, and print the curve.
    """
    with Stage() as stage:
        bridge = confirming(stage)
        time.sleep(SETTLE)
        looks = [(0, _resident(bridge))]
        asked = _mixture()
        while looks[-1][0] < requests:
            pid = bridge.process.pid
            done = drive(bridge.port, asked, connections=CONNECTIONS, seconds=SECONDS, pid=pid)
            looks.append((looks[-1][0] + done.count, _resident(bridge)))
            print(_line(*looks[-1]), file=sys.stderr, flush=True)
    _show(looks)


def _mixture() -> list[Request]:
    requests = []
    for number in range(RECIPIENTS):
        to = f"user{number}@{SINK}"
        document = {"kind": "message", "to": to, "type": "headline", "body": BODY}
        requests += [
            posting(json.dumps(document), JSON),
            posting(f"<message to='{to}' type='headline'><body>{BODY}</body></message>", XML),
            PING,
        ]
    return requests


def _resident(bridge: Bridge) -> float:
    return residentKiB(bridge.process.pid) / 1024


def _show(looks: list[tuple[int, float]]) -> None:
    step = max(1, len(looks) // LINES)
    shown = looks[::step] if looks[-1] in looks[::step] else [*looks[::step], looks[-1]]
    for look in shown:
        print(_line(*look))
    (_, idle), (_, half), (_, last) = looks[0], looks[len(looks) // 2], looks[-1]
    print(f"at rest {idle:.1f} MiB, promised less than {IDLE:g}: {_met(idle < IDLE)}")
    print(f"at the end {last:.1f} MiB, promised less than {BUSY:g}: {_met(last < BUSY)}")
    print(f"over the second half it grew by {last - half:.1f} MiB")


def _line(requests: int, size: float) -> str:
    return f"{requests:>10,} requests  {size:6.1f} MiB  {'#' * round(size / 2)}"


def _met(truth: bool) -> str:
    return "met" if truth else "MISSED"
