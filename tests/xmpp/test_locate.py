"""
L{restbridge.xmpp.locate}: what the name servers say, in the order in which it is tried.

The name server is Twisted's, on a UDP port of its own; the resolver is the one that runs in production.
"""

from __future__ import annotations

from collections import Counter
from errno import EMFILE
from random import Random
from typing import Any, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.task import Clock
from twisted.names import dns
from twisted.names.authority import FileAuthority
from twisted.names.client import Resolver
from twisted.names.server import DNSServerFactory
from twisted.trial.unittest import TestCase

from restbridge.stanzas.errors import LinkDown
from restbridge.xmpp.locate import DEADLINE, MAX_RECORDS, RETRIES, Candidate, Locator

STARTTLS = b"_xmpp-client._tcp."
DIRECT = b"_xmpps-client._tcp."


def srv(target: bytes, port: int = 5222, priority: int = 0, weight: int = 0) -> dns.Record_SRV:
    return dns.Record_SRV(priority, weight, port, target, ttl=300)


class Zone(FileAuthority):
    """
    The records of C{example.com}, by name.
    """

    soa: Any = (b"example.com", dns.Record_SOA(b"ns.example.com", b"root.example.com"))

    def __init__(self) -> None:
        self.records: Any = {}
        super().__init__("")


class NameServer(DNSServerFactory):
    """
    A name server for C{example.com}.

    @ivar asked: the names, one for each query.
    @ivar silentAbout: beginnings of the names that it doesn't answer about.
    @ivar code: what it answers with instead of success.
    @ivar truncates: whether its answers don't fit a datagram.
    """

    def __init__(self) -> None:
        self.zone = Zone()
        super().__init__(authorities=[self.zone])
        self.asked: list[bytes] = []
        self.silentAbout: tuple[bytes, ...] = ()
        self.code = dns.OK
        self.truncates = False
        self._awaited: list[tuple[int, Deferred[None]]] = []

    def say(self, service: bytes, *records: dns.IRecord, domain: bytes = b"example.com") -> None:
        self.zone.records[service + domain] = list(records)

    def whenAsked(self, times: int) -> Deferred[None]:
        """
        Fires as soon as so many queries have come in all.
        """
        deferred: Deferred[None] = Deferred()
        self._awaited.append((times, deferred))
        return deferred

    def sendReply(self, protocol: Any, message: dns.Message, address: Any) -> None:
        name = message.queries[0].name.name
        self.asked.append(name)
        if not name.startswith(self.silentAbout or (b"/",)):
            message.rCode = self.code or message.rCode
            message.trunc = self.truncates
            super().sendReply(protocol, message, address)
        for times, deferred in self._awaited:
            if times == len(self.asked):
                deferred.callback(None)


class ClockedReactor(Clock):
    """
    UDP as it is, time as the test has it, and a TCP connection that never comes about.

    @ivar connecting: fires when it is tried.
    """

    def __init__(self, reactor: Any) -> None:
        super().__init__()
        self.listenUDP = reactor.listenUDP
        self.connecting: Deferred[None] = Deferred()

    def connectTCP(self, *_: object) -> None:
        self.connecting.callback(None)


class LocatorTests(TestCase):
    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor = cast(Any, reactor)
        self.server = NameServer()
        port = self.reactor.listenUDP(0, dns.DNSDatagramProtocol(self.server), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.address = ("127.0.0.1", port.getHost().port)
        self.clock = ClockedReactor(self.reactor)
        self.locator = self.makeLocator(self.reactor)

    def makeLocator(self, reactor: Any, servers: int = 1) -> Locator:
        """
        A locator whose resolver has the name server so many times.
        """
        resolver = Resolver(servers=[self.address] * servers, reactor=reactor)
        return Locator(resolver=resolver, clock=self.clock, order=Random(2782))

    def start(self, domain: str = "example.com", tls: str = "required") -> Deferred[list[Candidate]]:
        return Deferred.fromCoroutine(self.locator.candidates(domain, tls))

    async def found(self, domain: str = "example.com", tls: str = "required") -> list[Candidate]:
        """
        The candidates; nothing is left behind by the search for them.
        """
        found = await self.start(domain, tls)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        return found

    async def refusal(self, domain: str = "example.com", tls: str = "required") -> str:
        """
        The reason why there are no candidates.
        """
        with self.assertRaises(LinkDown) as caught:
            await self.found(domain, tls)
        return str(caught.exception.reason)


class AnsweredTests(LocatorTests):
    """
    What comes of records.
    """

    async def test_priorities(self) -> None:
        """
        The lowest priority is tried first, whichever the kind of record; both kinds are asked for.
        """
        self.server.say(STARTTLS, srv(b"c.example.com", priority=30), srv(b"a.example.com", 5000, 10))
        self.server.say(DIRECT, srv(b"b.example.com", 443, 20))
        self.assertEqual(
            await self.found(),
            [
                Candidate("a.example.com", 5000, False),
                Candidate("b.example.com", 443, True),
                Candidate("c.example.com", 5222, False),
            ],
        )
        self.assertCountEqual(self.server.asked, [STARTTLS + b"example.com", DIRECT + b"example.com"])

    async def test_directOnly(self) -> None:
        """
        Where TLS must be direct, only servers that have it are asked for.
        """
        self.server.say(STARTTLS, srv(b"a.example.com"))
        self.server.say(DIRECT, srv(b"b.example.com", 443))
        self.assertEqual(await self.found(tls="direct"), [Candidate("b.example.com", 443, True)])
        self.assertEqual(self.server.asked, [DIRECT + b"example.com"])

    async def test_weights(self) -> None:
        """
        Within a priority the share of first attempts follows the weight; all are tried in the end.
        """
        weights = {b"none": 0, b"little": 10, b"much": 90}
        self.server.say(
            STARTTLS, srv(b"last", priority=2), *(srv(host, 5222, 1, w) for host, w in weights.items())
        )
        first: Counter[str] = Counter()
        for _ in range(200):
            hosts = [candidate.host for candidate in await self.found()]
            self.assertEqual(sorted(hosts), ["last", "little", "much", "none"])
            self.assertEqual(hosts[-1], "last")
            first[hosts[0]] += 1
        self.assertGreater(first["much"], 160)
        self.assertIn(first["little"], range(8, 40))
        self.assertLess(first["none"], 8)

    async def test_littleWeights(self) -> None:
        """
        A weight of 0 has its chance beside a small one: the sum of the weights is among the draws, and 0 too.
        """
        self.server.say(STARTTLS, srv(b"none"), srv(b"one", weight=1))
        first = Counter([(await self.found())[0].host for _ in range(100)])
        self.assertIn(first["none"], range(38, 63))

    async def test_noWeights(self) -> None:
        """
        Servers without weight, of one kind or the other, come first equally often.
        """
        self.server.say(STARTTLS, srv(b"a"), srv(b"b"))
        self.server.say(DIRECT, srv(b"c"))
        first = Counter([(await self.found())[0].host for _ in range(150)])
        self.assertEqual(sorted(first), ["a", "b", "c"])
        self.assertGreater(min(first.values()), 35)

    async def test_usableOnly(self) -> None:
        """
        Records that nobody can connect to are passed over: port 0, and targets that are no host names.
        """
        self.server.say(
            STARTTLS,
            srv(b"a.example.com", 0),
            srv(b""),
            srv(b"\xff\xfe.example.com"),
            srv(b"two words.example.com"),
            srv(b"a..b.example.com"),
            srv(b"nul\0.example.com"),
            srv(b"under_score.example.com"),
            srv(b"xn--zzzzzz.example.com"),
            srv(b"good.example.com", priority=9),
        )
        self.assertEqual(await self.found(), [Candidate("good.example.com", 5222, False)])

    async def test_nothingUsable(self) -> None:
        """
        Records of which none is usable are as good as none.
        """
        self.server.say(STARTTLS, srv(b"a.example.com", 0), srv(b"two words"))
        self.server.say(DIRECT, srv(b""))
        self.assertEqual(await self.found(), [Candidate("example.com", 5222, False)])

    async def test_otherRecords(self) -> None:
        """
        What else an answer holds is not looked at.
        """
        self.server.say(STARTTLS, dns.Record_CNAME(b"elsewhere.example.com", ttl=300))
        self.assertEqual(await self.found(), [Candidate("example.com", 5222, False)])

    async def test_manyRecords(self) -> None:
        """
        Of an answer, however long, a bounded number of servers is used: those to be tried first.
        """
        self.server.say(STARTTLS, *(srv(b"h%d" % n, priority=99 - n) for n in range(50)))
        hosts = [candidate.host for candidate in await self.found()]
        self.assertEqual(hosts, [f"h{n}" for n in range(49, 49 - MAX_RECORDS, -1)])


class DeclinedTests(LocatorTests):
    """
    What comes of the target C{"."} (RFC 2782).
    """

    async def test_declined(self) -> None:
        """
        A domain that says it has no such service is not tried; the operator learns why, and what to do.
        """
        self.server.say(STARTTLS, srv(b"", 0))
        reason = await self.refusal()
        self.assertIn("_xmpp-client._tcp.example.com", reason)
        self.assertIn('users."example.com".connect', reason)

    async def test_bothDeclined(self) -> None:
        """
        Nor is one that says so of both kinds.
        """
        self.server.say(STARTTLS, srv(b"", 0))
        self.server.say(DIRECT, srv(b"", 0))
        self.assertIn("_xmpp-client._tcp.example.com", await self.refusal())

    async def test_directDeclined(self) -> None:
        """
        A domain that has no direct TLS may have STARTTLS, unless TLS must be direct.
        """
        self.server.say(DIRECT, srv(b"", 0))
        self.assertEqual(await self.found(), [Candidate("example.com", 5222, False)])
        self.assertIn("_xmpps-client._tcp.example.com", await self.refusal(tls="direct"))

    async def test_otherKind(self) -> None:
        """
        A domain that has no STARTTLS may have direct TLS.
        """
        self.server.say(STARTTLS, srv(b"", 0))
        self.server.say(DIRECT, srv(b"a.example.com", 443))
        self.assertEqual(await self.found(), [Candidate("a.example.com", 443, True)])


class FallbackTests(LocatorTests):
    """
    What happens without records: the domain itself, on the port of the service.
    """

    async def assertFallback(self) -> None:
        self.assertEqual(await self.found(), [Candidate("example.com", 5222, False)])
        self.assertEqual(await self.found(tls="direct"), [Candidate("example.com", 5223, True)])

    async def test_unknownName(self) -> None:
        """
        There is no such name (NXDOMAIN).
        """
        await self.assertFallback()

    async def test_noRecords(self) -> None:
        """
        There is such a name, with no SRV records.
        """
        for service in (STARTTLS, DIRECT):
            self.server.say(service, dns.Record_A("192.0.2.1", ttl=300))
        await self.assertFallback()

    async def test_failing(self) -> None:
        """
        The name server fails, or refuses to say.
        """
        for code in (dns.ESERVER, dns.EREFUSED, dns.EFORMAT, dns.ENOTIMP):
            self.server.code = code
            await self.assertFallback()

    async def test_unaskable(self) -> None:
        """
        The domain does not fit DNS.
        """
        domain = "a" * 64 + ".example.com"
        self.assertEqual(await self.found(domain), [Candidate(domain, 5222, False)])
        self.assertEqual(self.server.asked, [])


class NotAskedTests(LocatorTests):
    """
    What no name server is asked about.
    """

    async def test_addresses(self) -> None:
        """
        A domain that is an IP address is where its server is.
        """
        self.assertEqual(await self.found("192.0.2.1"), [Candidate("192.0.2.1", 5222, False)])
        self.assertEqual(await self.found("[2001:db8::1]"), [Candidate("2001:db8::1", 5222, False)])
        self.assertEqual(await self.found("192.0.2.1", "direct"), [Candidate("192.0.2.1", 5223, True)])
        self.assertEqual(self.server.asked, [])

    async def test_localhost(self) -> None:
        """
        localhost and what is below it are this machine (RFC 6761, section 6.3).
        """
        for domain in ("localhost", "chat.localhost"):
            self.assertEqual(await self.found(domain), [Candidate(domain, 5222, False)])
        self.assertEqual(self.server.asked, [])


class InternationalTests(LocatorTests):
    """
    Domains beyond ASCII.
    """

    async def test_records(self) -> None:
        """
        They are asked for in the form that DNS has them in.
        """
        self.server.say(STARTTLS, srv(b"xn--bcher-kva.example.com"), domain=b"xn--mnchen-3ya.example.com")
        self.assertEqual(
            await self.found("münchen.example.com"), [Candidate("xn--bcher-kva.example.com", 5222, False)]
        )

    async def test_fallback(self) -> None:
        """
        They are connected to in that form, too.
        """
        self.assertEqual(
            await self.found("münchen.example.com"), [Candidate("xn--mnchen-3ya.example.com", 5222, False)]
        )

    async def test_none(self) -> None:
        """
        A domain that has no such form is not found; the operator learns which.
        """
        self.assertIn("☃.example.com", await self.refusal("☃.example.com"))
        self.assertEqual(self.server.asked, [])


class SilenceTests(LocatorTests):
    """
    What happens when answers stay out, or nobody waits for them any more.
    """

    def setUp(self) -> None:
        super().setUp()
        self.locator = self.makeLocator(self.clock)

    async def arrival(self) -> None:
        """
        Wait until the answers that are on their way have arrived: until a later one has.
        """
        await Resolver(servers=[self.address], reactor=self.reactor).lookupService(
            "_xmpp-client._tcp.example.com"
        )

    def drain(self) -> None:
        """
        Let the resolver give up.
        """
        while self.clock.getDelayedCalls():
            self.clock.advance(sum(RETRIES))

    async def test_silent(self) -> None:
        """
        Both kinds are asked for at the same time, and once again; then the domain itself is tried.
        """
        self.server.silentAbout = (STARTTLS, DIRECT)
        found = self.start()
        for times, seconds in ((2, RETRIES[0]), (4, RETRIES[1])):
            await self.server.whenAsked(times)
            self.assertNoResult(found)
            self.clock.advance(seconds)
        self.assertEqual(self.successResultOf(found), [Candidate("example.com", 5222, False)])
        self.assertEqual(self.clock.seconds(), DEADLINE)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def test_silentAboutOne(self) -> None:
        """
        The one kind does not suffer from silence about the other.
        """
        self.server.silentAbout = (DIRECT,)
        self.server.say(STARTTLS, srv(b"a.example.com"))
        found = self.start()
        await self.server.whenAsked(2)
        await self.arrival()
        self.clock.advance(DEADLINE)
        self.assertEqual(self.successResultOf(found), [Candidate("a.example.com", 5222, False)])
        self.drain()

    async def test_manySilent(self) -> None:
        """
        Several silent name servers take no longer than one.
        """
        self.server.silentAbout = (STARTTLS, DIRECT)
        self.locator = self.makeLocator(self.clock, servers=3)
        found = self.start()
        while self.clock.seconds() < DEADLINE:
            self.assertNoResult(found)
            self.clock.advance(RETRIES[0])
        self.assertEqual(self.successResultOf(found), [Candidate("example.com", 5222, False)])
        self.drain()

    async def test_noTCP(self) -> None:
        """
        An answer that is to be had only over TCP is waited for no longer than another.
        """
        self.server.truncates = True
        found = self.start(tls="direct")
        await self.clock.connecting
        self.assertNoResult(found)
        self.clock.advance(DEADLINE)
        self.assertEqual(self.successResultOf(found), [Candidate("example.com", 5223, True)])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_noPorts(self) -> None:
        """
        Where no port can be opened to ask from, no search is the last: the resolver never answers
        about a name again.
        """

        def listenUDP(*_: object, **__: object) -> None:
            raise CannotListenError("", 0, OSError(EMFILE, "Too many open files"))

        self.clock.listenUDP = listenUDP
        fallback = [Candidate("example.com", 5222, False)]
        self.assertEqual(self.successResultOf(self.start()), fallback)
        again = self.start()
        self.clock.advance(DEADLINE)
        self.assertEqual(self.successResultOf(again), fallback)

    async def test_cancelled(self) -> None:
        """
        Who gives up is told so at once; who waits for the same answer gets it.
        """
        self.server.say(STARTTLS, srv(b"a.example.com"))
        one, other = self.start(), self.start()
        one.cancel()
        self.failureResultOf(one, CancelledError)
        self.assertEqual(await other, [Candidate("a.example.com", 5222, False)])
        self.assertEqual(len(self.server.asked), 2)
        self.assertEqual(self.clock.getDelayedCalls(), [])
