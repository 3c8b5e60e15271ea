"""
What a user's session costs: memory while it idles, and time until its first answer and its second, with a
real Prosody behind the bridge, once in the clear and once over STARTTLS.

    python -m benchmarks.sessions [SESSIONS]

SESSIONS is 1000 where it is left out, and 20 at least. Needs Prosody (Debian: C{apt-get install prosody})
and restbridge in this Python, installed from this checkout with its extra C{test}. The times are the
machine's: a login without the bridge, by nothing but a socket, is measured in turn with the others, and says
how long the server takes for its own part of SCRAM.
"""

from __future__ import annotations

import re
import resource
import socket
import ssl
import sys
import time
from base64 import b64decode, b64encode
from http.client import HTTPConnection
from pathlib import Path
from statistics import median, quantiles

import attrs
from scramp import ScramClient

from benchmarks.load import residentKiB
from restbridge.xmpp.sasl import SCRAM
from tests.live.bridge import Bridge, usersTable
from tests.live.process import LOOPBACK
from tests.live.prosody import Prosody
from tests.live.servers import HOST, Server, passwordOf, readUntil
from tests.live.web import askOver, asUser

WARM_UP = 20
"""Sessions before the first look at the memory: what they bring along is no session's own."""

SETTLE = 2.0
"""Seconds from the last login to the second look."""

BARE_EVERY = 10
"""First requests for each login without the bridge."""

MOST_FIRST, MOST_SECOND = 50.0, 3.0
"""Milliseconds: what is promised of the first request beyond the server's SCRAM, and of the second."""

HEADER = (
    "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
    f" version='1.0' to='{HOST}'>"
)
FEATURES = re.compile(rb"<stream:features.*?</stream:features>", re.S)
NS_SASL = "urn:ietf:params:xml:ns:xmpp-sasl"
NS_BIND = "urn:ietf:params:xml:ns:xmpp-bind"


class Hashed(Prosody):
    """
    Passwords as servers come: the server's own part of SCRAM is no more than a few hashes.
    """

    hashed = True


@attrs.frozen(kw_only=True)
class Way:
    """
    How the bridge reaches the server.

    @ivar most: KiB for each session, as promised.
    """

    name: str
    tls: bool
    most: int


WAYS = (Way(name="in the clear", tls=False, most=40), Way(name="STARTTLS", tls=True, most=100))


@attrs.frozen(kw_only=True)
class Measured:
    """
    What one way costs; times in milliseconds.

    @ivar memory: KiB for each session.
    @ivar scram: what the server takes for its two answers.
    @ivar bare: a whole login without the bridge, C{scram} included.
    """

    memory: float
    scram: list[float]
    bare: list[float]
    first: list[float]
    second: list[float]


class BareLogin:
    """
    A login by nothing but a socket.

    @ivar scram: milliseconds that the server took for its two answers.
    @ivar whole: milliseconds from the connection to the bound resource.
    """

    def __init__(self, server: Server, *, tls: bool) -> None:
        self._port = server.tlsPort if tls else server.c2sPort
        self._certificate = server.certificate if tls else None
        self.scram = self.whole = 0.0

    def run(self, name: str) -> BareLogin:
        """
        Log in as the account, and leave at once.
        """
        began = time.perf_counter()
        self._connection = socket.create_connection((LOOPBACK, self._port), 10)
        try:
            self._login(name)
            self.whole = (time.perf_counter() - began) * 1e3
        finally:
            self._connection.close()
        return self

    def _login(self, name: str) -> None:
        self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        features = self._ask(HEADER, FEATURES).group()
        if self._certificate is not None:
            self._startTLS(self._certificate)
            features = self._ask(HEADER, FEATURES).group()
        self._authenticate(name, re.findall(r"<mechanism>([^<]+)", features.decode()))
        self._ask(HEADER, FEATURES)
        self._ask(f"<iq type='set' id='bind'><bind xmlns='{NS_BIND}'/></iq>", re.compile(rb"<jid>"))

    def _startTLS(self, certificate: Path) -> None:
        self._ask("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", re.compile(rb"<proceed[^>]*>"))
        context = ssl.create_default_context(cafile=str(certificate))
        self._connection = context.wrap_socket(self._connection, server_hostname=HOST)

    def _authenticate(self, name: str, offered: list[str]) -> None:
        client = ScramClient([each for each in SCRAM if each in offered], name, passwordOf(name))
        attributes = f"xmlns='{NS_SASL}' mechanism='{client.mechanism_name}'"
        challenge = self._answer("auth", attributes, client.get_client_first(), "challenge")
        client.set_server_first(challenge)
        success = self._answer("response", f"xmlns='{NS_SASL}'", client.get_client_final(), "success")
        client.set_server_final(success)

    def _answer(self, element: str, attributes: str, message: str, answer: str) -> str:
        began = time.perf_counter()
        data = b64encode(message.encode()).decode()
        pattern = re.compile(rb"<%s [^>]*>([^<]*)</" % answer.encode())
        found = self._ask(f"<{element} {attributes}>{data}</{element}>", pattern)
        self.scram += (time.perf_counter() - began) * 1e3
        return b64decode(found.group(1)).decode()

    def _ask(self, xml: str, answer: re.Pattern[bytes]) -> re.Match[bytes]:
        self._connection.sendall(xml.encode())
        return readUntil(self._connection, answer)


class Requests:
    """
    A portal, which asks for all its users over one connection.
    """

    def __init__(self, bridge: Bridge) -> None:
        self._connection = HTTPConnection(LOOPBACK, bridge.port, timeout=30)

    def ping(self, name: str) -> float:
        """
        As a user, ask the own account, which needs a session and nobody else.

        @return: milliseconds.
        """
        headers = {"Accept": "application/json", "Authorization": asUser(name)}
        answer = askOver(self._connection, "GET", "/rest/ping/", headers=headers)
        if answer.status != 200:
            raise SystemExit(f"{name}: {answer.status} {answer.text()}")
        return answer.seconds * 1e3


def measure(server: Server, way: Way, names: list[str]) -> Measured:
    """
    Log in one user after the other, by a fresh bridge.
    """
    port = server.tlsPort if way.tls else server.c2sPort
    more = {"tls": "required", "ca_file": str(server.certificate)} if way.tls else {}
    table = usersTable(port, idle=3600, max_sessions=len(names), **more)
    with Bridge(None, users={HOST: table}) as bridge:
        bridge.start()
        requests = Requests(bridge)
        bare: list[BareLogin] = []
        first: list[float] = []
        second: list[float] = []
        for name in names[:WARM_UP]:
            requests.ping(name)
        before = residentKiB(bridge.process.pid)
        for number, name in enumerate(names[WARM_UP:]):
            if number % BARE_EVERY == 0:
                bare.append(BareLogin(server, tls=way.tls).run(name))
            first.append(requests.ping(name))
            second.append(requests.ping(name))
        time.sleep(SETTLE)
        memory = (residentKiB(bridge.process.pid) - before) / len(first)
    return Measured(
        memory=memory,
        scram=[login.scram for login in bare],
        bare=[login.whole for login in bare],
        first=first,
        second=second,
    )


def show(way: Way, measured: Measured) -> None:
    """
    Print the costs of one way, as a block of the table.
    """
    beyond = [first - median(measured.scram) for first in measured.first]
    print(f"{way.name}: {len(measured.first)} sessions")
    print(f"  {'memory, each':<34} {measured.memory:6.1f} KiB {'':18} < {way.most}")
    for name, times, most in (
        ("the server's part of SCRAM", measured.scram, None),
        ("login without the bridge", measured.bare, None),
        ("first request", measured.first, None),
        ("first request, beyond the server's", beyond, MOST_FIRST),
        ("second request", measured.second, MOST_SECOND),
    ):
        parts = quantiles(times, n=20)
        limit = "" if most is None else f"< {most:g}"
        spread = f"({parts[0]:.1f} to {parts[-1]:.1f})"
        print(f"  {name:<34} {median(times):6.1f} ms  {spread:<18} {limit}".rstrip(), flush=True)


def main() -> None:
    sessions = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    names = [f"user{number}" for number in range(WARM_UP + sessions)]
    with Hashed() as server:
        server.start()
        for name in names:
            server.addAccount(name, passwordOf(name))
        for way in WAYS:
            show(way, measure(server, way, names))
    print("Medians; in brackets where 90 % of the times lie.")


if __name__ == "__main__":
    main()
