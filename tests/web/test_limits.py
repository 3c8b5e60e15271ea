"""
How much a client may ask of the bridge, and how slowly.
"""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from restbridge.config import HTTP
from restbridge.web import quota as quotaModule
from restbridge.web.answer import Refusal
from restbridge.web.channel import BoundedChannel
from restbridge.web.guard import Guard, Presented
from restbridge.web.quota import Places, Quota
from restbridge.web.site import BridgeSite, Health
from tests.web.client import Client, FakeUserLink, FakeUsers, LoggingTestCase, basic
from tests.web.test_site import Mirror

TIMEOUT = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
NAMED_TIMEOUT = TIMEOUT.replace(b"\r\n", b"\r\nX-Request-ID: r-1\r\n", 1)
TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
BAD = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
GET = b"GET /mirror HTTP/1.1\r\n\r\n"


class QuotaTests(SynchronousTestCase):
    """
    60 requests a minute, 3 at once.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.quota = Quota(perMinute=60, burst=3, clock=self.clock)

    def taken(self, caller: str = "bot@bridge.localhost") -> int:
        """
        How many requests are let through now; a hundred are tried.
        """
        for number in range(100):
            try:
                self.quota.take(caller)
            except Refusal:
                return number
        return 100

    def test_burst(self) -> None:
        """
        The burst comes through at once, and then as many as time brings back; never more than the burst.
        """
        self.assertEqual(self.taken(), 3)
        for seconds, number in ((0.5, 0), (0.5, 1), (2, 2), (1000, 3)):
            self.clock.advance(seconds)
            self.assertEqual(self.taken(), number)

    def test_exact(self) -> None:
        """
        Whatever fraction of a second a request costs, a full bucket holds the burst.
        """
        for perMinute in (1, 7, 6000, 59999):
            self.quota = Quota(perMinute=perMinute, burst=70, clock=self.clock)
            self.assertEqual(self.taken(), 70)

    def test_refusal(self) -> None:
        """
        The refusal says when to come again, and for programs what the policy is.
        """
        self.taken()
        self.clock.advance(0.25)
        refusal = self.assertRaises(Refusal, self.quota.take, "bot@bridge.localhost")
        self.assertEqual((refusal.status, refusal.kind, refusal.condition), (429, "wait", "policy-violation"))
        self.assertEqual(
            dict(refusal.headers),
            {
                "Retry-After": "1",
                "RateLimit-Policy": '"requests";q=3;w=3',
                "RateLimit": '"requests";r=0;t=1',
            },
        )

    def test_retryAfter(self) -> None:
        """
        Who comes again when told to is let in.
        """
        self.quota = Quota(perMinute=7, burst=2, clock=self.clock)
        self.taken()
        refusal = self.assertRaises(Refusal, self.quota.take, "bot@bridge.localhost")
        self.clock.advance(int(dict(refusal.headers)["Retry-After"]))
        self.assertEqual(self.taken(), 1)

    def test_eachByItself(self) -> None:
        """
        Nobody pays for another.
        """
        self.taken()
        self.assertEqual(self.taken("clerk@bridge.localhost"), 3)

    def test_clockSetBack(self) -> None:
        """
        A clock that is set back by a year costs a caller no more than the whole bucket.
        """
        self.taken()
        self.clock.rightNow -= 365 * 86400
        self.assertEqual(self.taken(), 0)
        self.clock.advance(1)
        self.assertEqual(self.taken(), 1)

    def test_off(self) -> None:
        """
        0 requests a minute is no limit.
        """
        self.quota = Quota(perMinute=0, burst=1, clock=self.clock)
        self.assertEqual((self.taken(), len(self.quota)), (100, 0))

    def test_bounded(self) -> None:
        """
        However many callers there are, so many are kept; those that asked lately among them.
        """
        self.patch(quotaModule, "KEPT", 5)
        self.taken("busy")
        for number in range(100):
            self.quota.take(str(number))
            self.assertEqual(self.taken("busy"), 0)
        self.assertEqual(len(self.quota), 5)


class PlacesTests(SynchronousTestCase):
    def test_places(self) -> None:
        """
        Past the limit the refusal says so; a place that is given back, however the request ended, is free.
        """
        places = Places(2)

        def fail() -> None:
            with places.one("bot@bridge.localhost"):
                raise ZeroDivisionError

        with places.one("bot@bridge.localhost"):
            self.assertRaises(ZeroDivisionError, fail)
            with places.one("bot@bridge.localhost"), places.one("clerk@bridge.localhost"):
                refusal = self.assertRaises(Refusal, fail)
        self.assertEqual((refusal.status, refusal.condition), (429, "resource-constraint"))
        self.assertEqual((refusal.context, refusal.headers), ({"limit": 2}, (("Retry-After", "1"),)))
        self.assertEqual(len(places), 0)


class GuardTests(SynchronousTestCase):
    def test_counted(self) -> None:
        """
        A user's requests count together, to both APIs; who isn't let in costs nobody anything.
        """
        guard = Guard(
            accounts=None,
            users=FakeUsers(FakeUserLink()),
            quota=Quota(perMinute=60, burst=2, clock=Clock()),
        )

        def presented(password: str) -> Presented:
            return Presented(authorization=basic("alice@example.com", password)["Authorization"])

        for _ in range(5):
            refused = Deferred.fromCoroutine(guard.principal(presented("wrong")))
            self.assertEqual(self.failureResultOf(refused, Refusal).value.status, 403)
            self.assertIsNone(self.successResultOf(Deferred.fromCoroutine(guard.user(presented("wrong")))))
        self.successResultOf(Deferred.fromCoroutine(guard.principal(presented("secret"))))
        self.successResultOf(Deferred.fromCoroutine(guard.user(presented("secret"))))
        for ask in (guard.principal, guard.user):
            failure = self.failureResultOf(Deferred.fromCoroutine(ask(presented("secret"))), Refusal)
            self.assertEqual(failure.value.status, 429)


class ConnectionsTests(LoggingTestCase):
    """
    Four connections in all, two from an address.
    """

    def setUp(self) -> None:
        super().setUp()
        settings = HTTP(
            maxConnections=4,
            maxConnectionsPerAddress=2,
            trustedProxies=(ip_network("198.51.100.0/24"),),
        )
        self.site = BridgeSite(settings=settings, mounts={b"healthz": Health(lambda: None)})
        self.site.reactor = Clock()

    def opened(self, address: IAddress) -> tuple[BoundedChannel, bool]:
        """
        A connection, and whether it was let in.
        """
        connection, transport = self.site.buildProtocol(address), StringTransport(peerAddress=address)
        connection.makeConnection(transport)
        self.assertEqual(transport.disconnecting, transport.disconnected)
        return connection, not transport.disconnected

    def letIn(self, *hosts: str) -> list[bool]:
        kinds = {True: IPv6Address, False: IPv4Address}
        return [self.opened(kinds[":" in host]("TCP", host, 1))[1] for host in hosts]

    def test_perAddress(self) -> None:
        """
        An address has so many, an IPv6 one with its whole network.
        """
        self.assertEqual(
            self.letIn("192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.2"), [True, True, False, True]
        )

    def test_network(self) -> None:
        """
        An IPv6 host has a whole /64 to call from, and no more than others for it.
        """
        hosts = ("2001:db8::1", "2001:db8::2:1", "2001:db8::3", "2001:db8:0:1::1")
        self.assertEqual(self.letIn(*hosts), [True, True, False, True])

    def test_exempt(self) -> None:
        """
        Proxies that are trusted, this machine and UNIX sockets have as many as there are.
        """
        for host in ("198.51.100.7", "127.0.0.1", "::1", "::ffff:127.0.0.1"):
            self.setUp()
            self.assertEqual(self.letIn(*[host] * 5), [True] * 4 + [False])
        self.setUp()
        self.assertEqual([self.opened(UNIXAddress(None))[1] for _ in range(5)], [True] * 4 + [False])

    def test_closed(self) -> None:
        """
        A connection that ends makes room for another; one that was refused does not.
        """
        address = IPv4Address("TCP", "192.0.2.1", 1)
        first, _ = self.opened(address)
        self.opened(address)
        refused, letIn = self.opened(address)
        self.assertFalse(letIn)
        refused.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.letIn("192.0.2.1"), [False])
        first.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.letIn("192.0.2.1", "192.0.2.1"), [True, False])

    def test_log(self) -> None:
        """
        The operator reads once why, and of whom, not a line for each.
        """
        self.letIn(*["192.0.2.1"] * 10, *["127.0.0.1"] * 10)
        self.assertEqual(
            self.logged,
            [
                "2 connections are open from 192.0.2.1: no more",
                "4 connections are open from everywhere: no more",
            ],
        )

    def test_logAgain(self) -> None:
        """
        Once half of them are gone it is news again; of addresses without a connection nothing is kept.
        """
        address = IPv4Address("TCP", "192.0.2.1", 1)
        for _ in range(2):
            opened = [self.opened(address)[0] for _ in range(3)]
            for connection in opened:
                connection.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(len(self.logged), 2)
        self.assertEqual((self.site.connections._from, self.site.connections._full), ({}, set()))


class SlowTests(LoggingTestCase):
    """
    The defaults: ten seconds for the headers, 30 for a body, and one more for each KiB, 60 without a
    request.
    """

    def setUp(self) -> None:
        super().setUp()
        self.mirror = Mirror()
        self.site = BridgeSite(settings=HTTP(), mounts={b"mirror": self.mirror})
        self.client = Client(self.site)
        self.clock = self.client.clock

    @property
    def written(self) -> bytes:
        return bytes(self.client.transport.value())

    def test_headers(self) -> None:
        """
        Headers that trickle in get 408 ten seconds after the first byte.
        """
        self.clock.advance(50)
        for byte in GET[:9]:
            self.client.send(bytes([byte]))
            self.clock.advance(1)
        self.assertFalse(self.client.closed)
        self.client.send(GET[9:10])
        self.clock.advance(1)
        self.assertEqual((self.written, self.client.closed), (TIMEOUT, True))

    def test_idle(self) -> None:
        """
        Without a request a connection is closed after a minute, without a word, also before the first.
        """
        self.clock.advance(59)
        self.client.send(GET)
        self.client.read("GET")
        self.clock.advance(59)
        self.assertFalse(self.client.closed)
        self.client.send(GET)
        self.client.read("GET")
        self.clock.advance(60)
        self.assertEqual((self.written, self.client.closed), (b"", True))

    def test_tooLate(self) -> None:
        """
        What comes while an idle connection is being closed is not carried out.
        """
        self.clock.advance(60)
        self.assertTrue(self.client.closed)
        self.client.send(GET)
        self.assertEqual((self.mirror.requests, self.written), ([], b""))

    def test_body(self) -> None:
        """
        So do bodies, 30 seconds after the headers.
        """
        self.client.send(b"POST /mirror HTTP/1.1\r\nX-Request-ID: r-1\r\nContent-Length: 100\r\n\r\n")
        for _ in range(29):
            self.client.send(b"x")
            self.clock.advance(1)
        self.assertFalse(self.client.closed)
        self.clock.advance(1)
        self.assertEqual((self.written, self.client.closed), (NAMED_TIMEOUT, True))
        self.assertEqual(self.mirror.requests, [])

    def test_progress(self) -> None:
        """
        A large body has the time that it needs while it comes at more than 1 KiB a second.
        """
        for size, wanted in ((150, 200), (200, 408)):
            self.setUp()
            self.client.send(b"POST /mirror HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (150 * 1024))
            for _ in range(min(size, 149)):
                self.client.send(b"x" * 1024)
                self.clock.advance(1)
            self.assertFalse(self.client.closed)
            if wanted == 200:
                self.client.send(b"x" * 1024)
            else:
                self.clock.pump([1] * 32)
            self.assertEqual(self.client.read("POST")[0].status, wanted)

    def test_chunkedBody(self) -> None:
        """
        It doesn't matter in which way a body is sent.
        """
        self.client.send(b"POST /mirror HTTP/1.1\r\nX-Request-ID: r-1\r\nTransfer-Encoding: chunked\r\n\r\n")
        self.clock.advance(30)
        self.assertEqual(self.written, NAMED_TIMEOUT)

    def test_afterBody(self) -> None:
        """
        What a request has used up is the next one's again.
        """
        for _ in range(3):
            self.client.send(b"POST /mirror HTTP/1.1\r\nContent-Length: 1\r\n")
            self.clock.advance(9)
            self.client.send(b"\r\n")
            self.clock.advance(29)
            self.client.send(b"x")
            self.assertEqual(self.client.read("POST")[0].body, b"x")
            self.clock.advance(59)
        self.assertFalse(self.client.closed)

    def test_answer(self) -> None:
        """
        The bridge itself may take its time.
        """
        self.mirror.waits = True
        self.client.send(GET)
        self.clock.advance(3600)
        self.mirror.waiting.pop()()
        self.assertEqual(self.client.read("GET")[0].status, 200)

    def test_lastAnswer(self) -> None:
        """
        Nor does a connection that is closed behind its answer wait forever for that to be read.
        """
        self.client.send(b"GET /mirror HTTP/1.1\r\nConnection: close\r\n\r\n")
        self.assertFalse(self.client.transport.disconnected)
        # This transport alone minds when its producer is taken from it twice.
        self.client.transport.registerProducer(self.client._protocol, True)
        self.clock.advance(60)
        self.clock.advance(15)
        self.assertTrue(self.client.transport.disconnected)

    def test_left(self) -> None:
        """
        Nothing is left running for who has left.
        """
        for data in (b"", GET[:5], b"POST /mirror HTTP/1.1\r\nContent-Length: 9\r\n\r\nx", GET):
            client = Client(self.site)
            client.send(data)
            client.leave()
            self.assertEqual(client.clock.getDelayedCalls(), [])


class HeaderTests(LoggingTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.site = BridgeSite(settings=HTTP(maxHeaders=5000), mounts={b"mirror": Mirror()})

    def answer(self, headers: bytes) -> bytes:
        """
        All that comes back, until the connection is closed.
        """
        client = Client(self.site)
        client.send(b"GET /mirror HTTP/1.1\r\n" + headers + b"\r\n" + GET)
        client.clock.advance(0)
        self.assertEqual(client.closed, not client.transport.value().startswith(b"HTTP/1.1 200"))
        return bytes(client.transport.value())

    def test_size(self) -> None:
        """
        Headers up to the limit are read; past it the answer is 431, in one line or in many.
        """
        self.assertEqual(self.answer(b"A: " + b"x" * 4900 + b"\r\n").count(b"200 OK"), 2)
        self.assertEqual(self.answer(b"A: " + b"x" * 4990 + b"\r\n"), TOO_LARGE)
        self.assertEqual(self.answer((b"A: " + b"x" * 95 + b"\r\n") * 52), TOO_LARGE)
        self.assertEqual(self.answer(b"A: x\r\n" + (b" " + b"x" * 95 + b"\r\n") * 52), TOO_LARGE)
        self.assertEqual(self.answer(b"A: " + b"x" * 100_000 + b"\r\n"), TOO_LARGE)

    def test_endless(self) -> None:
        """
        Nor is a line waited for whose end doesn't come.
        """
        client = Client(self.site)
        client.send(b"GET /" + b"x" * 4990)
        self.assertFalse(client.closed)
        client.send(b"x" * 10)
        self.assertEqual((client.transport.value(), client.closed), (TOO_LARGE, True))

    def test_number(self) -> None:
        """
        500 headers are read, more get 431.
        """
        self.assertEqual(self.answer(b"A:\r\n" * 500).count(b"200 OK"), 2)
        self.assertEqual(self.answer(b"A:\r\n" * 501), TOO_LARGE)

    def test_illegal(self) -> None:
        """
        What is no HTTP gets a whole 400, also a length that Python refuses to read; nothing behind it counts.
        """
        for header in (
            b"nothing",
            b"A b: c",
            b"A: \x00",
            b"Content-Length: -1",
            b"Content-Length: " + b"9" * 4500,
            b"Content-Length: 1\r\nContent-Length: 1",
            b"Content-Length: 1\r\nTransfer-Encoding: chunked",
            b"Transfer-Encoding: gzip",
        ):
            self.assertEqual(self.answer(header + b"\r\n"), BAD)
            self.assertEqual(self.answer(header + b"\r\nA: b\r\n"), BAD)


class Full(StringTransport):
    """
    A transport with room for one answer, whose other end reads when told.
    """

    producer: Any

    def write(self, data: bytes) -> None:
        super().write(data)
        self.producer.pauseProducing()

    def writeSequence(self, data: list[bytes]) -> None:
        self.write(b"".join(data))

    def drain(self) -> bytes:
        """
        The other end reads all that is there.
        """
        data = bytes(self.value())
        self.clear()
        self.producer.resumeProducing()
        return data


class PipelineTests(LoggingTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.mirror = Mirror()
        self.site = BridgeSite(settings=HTTP(), mounts={b"mirror": self.mirror})
        self.site.reactor = self.clock = Clock()
        address = IPv4Address("TCP", "192.0.2.7", 31337)
        self.transport = Full(peerAddress=address)
        self.connection = self.site.buildProtocol(address)
        self.connection.makeConnection(self.transport)

    def test_unread(self) -> None:
        """
        Who doesn't read an answer gets no second one, and isn't read from: one packet full of requests
        doesn't become as many answers in memory.
        """
        self.connection.dataReceived(GET * 3000)
        self.assertEqual(self.transport.value().count(b"200 OK"), 1)
        self.assertEqual(self.transport.producerState, "paused")
        self.connection.dataReceived(GET * 2)
        self.assertEqual(len(self.mirror.requests), 1)

    def test_turns(self) -> None:
        """
        Requests that come in one packet are answered one in a turn of the reactor: others have theirs.
        """
        client = Client(BridgeSite(settings=HTTP(), mounts={b"mirror": self.mirror}))
        client.send(GET * 3)
        self.assertEqual(client.transport.value().count(b"200 OK"), 1)
        client.clock.advance(0)
        self.assertEqual(client.transport.value().count(b"200 OK"), 3)
        client.send(GET)
        self.assertEqual(client.transport.value().count(b"200 OK"), 4)

    def test_left(self) -> None:
        """
        Who has left meanwhile gets no more: nothing is done for nobody.
        """
        client = Client(BridgeSite(settings=HTTP(), mounts={b"mirror": self.mirror}))
        client.send(GET * 2)
        client.leave()
        client.clock.advance(0)
        self.assertEqual(len(self.mirror.requests), 1)

    def test_read(self) -> None:
        """
        As the answers are read the other requests have theirs, in their order, and more is read from them.
        """
        for number in range(100):
            self.connection.dataReceived(b"POST /mirror HTTP/1.1\r\nContent-Length: 2\r\n\r\n%02d" % number)
        bodies = [self.transport.drain()[-2:] for _ in range(100)]
        self.assertEqual(bodies, [b"%02d" % number for number in range(100)])
        self.assertEqual((self.transport.drain(), self.transport.producerState), (b"", "producing"))

    def test_neverRead(self) -> None:
        """
        Who never reads is cut off, when the time for the next request is over.
        """
        self.connection.dataReceived(GET * 2)
        self.clock.advance(59)
        self.assertFalse(self.transport.disconnecting)
        self.clock.advance(1)
        self.assertTrue(self.transport.disconnecting)
        self.clock.advance(15)
        self.assertTrue(self.transport.disconnected)
        self.assertEqual(self.transport.value().count(b"HTTP/1.1"), 1)

    def test_waiting(self) -> None:
        """
        A request that waits for the answer before it to be read is not itself late.
        """
        self.mirror.waits = True
        self.connection.dataReceived(GET * 2)
        self.mirror.waiting.pop()()
        self.clock.advance(59)
        self.transport.drain()
        self.mirror.waiting.pop()()
        self.assertIn(b"200 OK", self.transport.drain())

    def test_answering(self) -> None:
        """
        While a request is being answered no more than some KiB of the next are read.
        """
        self.mirror.waits = True
        self.connection.dataReceived(GET * 1000)
        self.assertEqual((len(self.mirror.waiting), self.transport.producerState), (1, "paused"))
