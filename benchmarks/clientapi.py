"""
C{/api}, as users who log in by the bridge: beside ejabberd's own API, and beside the server's own archive.
"""

from __future__ import annotations

import json
import time
from functools import partial

from benchmarks.contestants import CONNECTIONS, JSON, asking
from benchmarks.load import Measured, Request, drive
from benchmarks.race import Race, Turn, Turns
from benchmarks.stage import BODY, SINK, LoadedEjabberd, Stage, domainOf
from benchmarks.table import Claim
from benchmarks.users import Login, Streams
from tests.live.bridge import Bridge, usersTable
from tests.live.servers import HOST, Server, passwordOf
from tests.live.web import ask, asUser

PAGE = 50
ARCHIVED = 400
RECENT = 80
PACE = 0.15
"""Seconds between the most recent of these: as many in one second as a program writes, and no person, would
have to be read to its end, since that is all that an archive may tell of times."""
SESSIONS = 1000
STREAMS = 100
TO = f"someone@{SINK}"


def post(stage: Stage) -> Race:
    """
    POST of a message to /api on ejabberd, beside its own API's send_message
    """
    return _post(stage, stage.ejabberd)


def postHashed(stage: Stage) -> Race:
    """
    the same, on ejabberd as Debian configures it, with hashes in place of passwords
    """
    return _post(stage, stage.hashingEjabberd)


def posts(stage: Stage, connections: int) -> Turns:
    """
    Of L{post}, at this many connections.
    """
    return _posts(stage, stage.ejabberd, connections)


def _post(stage: Stage, server: LoadedEjabberd) -> Race:
    return Race(
        turns=_posts(stage, server, CONNECTIONS),
        claims=[
            Claim(of="bridge", to="send_message", least=2.0),
            Claim(of="bridge", to="send_message", what="p99"),
        ],
        bridge=_forUsers(stage, server),
    )


def _posts(stage: Stage, server: LoadedEjabberd, connections: int) -> Turns:
    """
    Both as alice, with her password. Each call to ejabberd's API is a log-in of its own: where passwords are
    stored plain it checks them more than twenty times as fast as where they are hashed.
    """
    headers = {"Authorization": asUser("alice"), "Content-Type": JSON}
    ours = Request(
        path="/api/messages", method="POST", headers=headers, body=json.dumps({"to": TO, "body": BODY})
    )
    message = {"type": "chat", "from": f"alice@{HOST}", "to": TO, "subject": "", "body": BODY}
    theirs = Request(path="/api/send_message", method="POST", headers=headers, body=json.dumps(message))

    def sendMessage(seconds: float) -> Measured:
        return drive(server.httpPort, [theirs], connections=connections, seconds=seconds)

    return {"bridge": asking(_forUsers(stage, server), ours, connections), "send_message": sendMessage}


def onEjabberd(stage: Stage) -> Bridge:
    """
    For the users of ejabberd.
    """
    return _forUsers(stage, stage.ejabberd)


def onProsody(stage: Stage) -> Bridge:
    """
    For those of Prosody.
    """
    return _forUsers(stage, stage.prosody)


def history(stage: Stage) -> Race:
    """
    a history page of 50, beside the server's own time for it, on ejabberd
    """
    return _history(stage, stage.ejabberd)


def historyOnProsody(stage: Stage) -> Race:
    """
    the same, on Prosody
    """
    return _history(stage, stage.prosody)


def pages(stage: Stage, connections: int) -> Turns:
    """
    The bridge's pages alone.
    """
    bridge = onEjabberd(stage)
    _converse(stage, stage.ejabberd)
    return {"bridge": asking(bridge, _page(), connections)}


def sessions(stage: Stage) -> Race:
    """
    pings to their own accounts by 1,000 users in turn, beside those of one user
    """
    server = stage.prosody
    few, many = "bridge, 1 session", f"bridge, {SESSIONS:,} sessions"
    names = [f"user{number}" for number in range(SESSIONS)]
    for name in names:
        server.addAccount(name, passwordOf(name))
    lonely, crowded = (
        _forUsers(stage, server, which, idle=3600, max_sessions=SESSIONS) for which in ("lonely", "crowded")
    )
    for name in names:
        ask(crowded.port, "GET", "/rest/ping/", headers={"Authorization": asUser(name)})
    requests = [Request(path="/rest/ping/", headers={"Authorization": asUser(name)}) for name in names]
    return Race(
        turns={many: asking(crowded, requests), few: asking(lonely, requests[0])},
        claims=[Claim(of=many, to=few), Claim(of=many, to=few, what="cpu")],
        bridge=crowded,
    )


def events(stage: Stage) -> Race:
    """
    messages to a user with 100 streams of events, beside one with a single stream; each event counts
    """
    bridge = onProsody(stage)
    domain = domainOf("teller")
    sender = stage.keep(stage.prosody.attach(domain))
    many, few = f"bridge, {STREAMS} streams", "bridge, 1 stream"
    turns: dict[str, Turn] = {}
    for name, user, number in ((many, "bob", STREAMS), (few, "kate", 1)):
        streams = stage.closing(Streams(sender, domain, user))
        streams.open(bridge.port, number)
        turns[name] = partial(streams.measure, bridge.process.pid)
    claims = [Claim(of=many, to=few), Claim(of=many, to=few, what="cpu")]
    return Race(turns=turns, claims=claims, bridge=bridge)


def _history(stage: Stage, server: Server) -> Race:
    bridge = _forUsers(stage, server)
    login = Login(stage.connect(server.c2sPort), "kate")
    _converse(stage, server)

    def itself(seconds: float) -> Measured:
        times = []
        until = time.monotonic() + seconds
        while (began := time.monotonic()) < until:
            login.page(PAGE)
            times.append(time.monotonic() - began)
        return Measured(rate=len(times) / sum(times), p99=sorted(times)[int(len(times) * 0.99)] * 1e3)

    return Race(
        turns={"bridge": asking(bridge, _page(), 1), server.name: itself},
        claims=[Claim(of="bridge", to=server.name, what="time", most=1.3)],
        bridge=bridge,
    )


def _page() -> Request:
    return Request(
        path=f"/api/messages?limit={PAGE}",
        headers={"Authorization": asUser("kate")},
        holds=('"timestamp":', PAGE),
    )


def _converse(stage: Stage, server: Server) -> None:
    """
    Fill kate's archive: she writes to the sink, at last as people do.
    """
    writer = Login(stage.connect(server.c2sPort), "kate")
    writer.archiveAll()
    for number in range(ARCHIVED):
        writer.say(f"<message to='{TO}' type='chat' id='h{number}'><body>{BODY} {number}</body></message>")
        if number >= ARCHIVED - RECENT:
            time.sleep(PACE)


def _forUsers(stage: Stage, server: Server, name: str = "users", **more: object) -> Bridge:
    users = {HOST: usersTable(server.c2sPort, **more)}
    return stage.bridge(f"{name}-{server.name}", None, users=users)
