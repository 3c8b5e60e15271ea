"""
L{restbridge.webhook.wire}: whom a callback may reach.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import optionsForClientTLS
from twisted.python.failure import Failure
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer

from restbridge.webhook.addresses import AddressRefused
from restbridge.webhook.post import Poster
from restbridge.webhook.verdict import Failed, verdictOnFailure
from tests.webhook.fakes import CHAT, stanza
from tests.webhook.wire import OK, PosterTestCase


@implementer(IPolicyForHTTPS)
class Noting:
    """
    @ivar asked: for which hosts and ports somebody has asked.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[bytes, int]] = []

    def creatorForNetloc(self, hostname: bytes, port: int) -> IOpenSSLClientConnectionCreator:
        self.asked.append((hostname, port))
        return optionsForClientTLS(hostname.decode())


class PublicTests(PosterTestCase):
    """
    With C{allow_private = false}.
    """

    def makePoster(self) -> Poster:
        return Poster(reactor=self.reactor, allowPrivate=False)

    def asked(self) -> list[str]:
        """
        The addresses that the bridge connects to.
        """
        return [str(client[0]) for client in self.reactor.tcpClients]

    def test_public(self) -> None:
        """
        A host with public addresses is called, by the address that was looked up and no name.
        """
        for address in ("8.8.8.8", "2a00:1450::1"):
            self.setUp()
            self.reactor.resolve(address)
            call = self.call("http://h.example/a")
            self.assertEqual(self.asked(), [address])
            self.accept().answer(OK)
            self.assertEqual(self.successResultOf(call).body, b"hi")
            self.assertEqual(self.reactor.resolver.asked, ["h.example"])
            self.assertIdle()

    def test_fallback(self) -> None:
        """
        Of several addresses the next is tried when one can't be reached.
        """
        self.reactor.resolve("2a00:1450::1", "8.8.8.8")
        call = self.call()
        factory: Any = self.reactor.tcpClients.pop()[2]
        factory.clientConnectionFailed(None, Failure(Refused()))
        self.reactor.advance(1)
        self.assertEqual(self.asked(), ["8.8.8.8"])
        self.accept().answer(OK)
        self.successResultOf(call)
        self.assertIdle()

    def test_refused(self) -> None:
        """
        If any address of a host isn't public, none is connected to.
        """
        for addresses in (["127.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["::1", "8.8.8.8"], ["fe80::1", "8.8.8.8"]):
            self.setUp()
            self.reactor.resolve(*addresses)
            for url in ("http://h/a", "https://h/a"):
                self.failureResultOf(self.call(url), AddressRefused)
            self.assertEqual(self.asked(), [])
            self.assertIdle()

    def test_rebinding(self) -> None:
        """
        A name that has had a public address is checked again with each connection.
        """
        self.reactor.resolve("8.8.8.8")
        call = self.call()
        self.accept().answer(OK.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n"))
        self.successResultOf(call)
        self.reactor.advance(0)
        self.reactor.resolve("127.0.0.1")
        self.failureResultOf(self.call(), AddressRefused)
        self.assertIdle()

    def test_unknown(self) -> None:
        """
        A name without addresses is just that.
        """
        self.reactor.resolve()
        self.failureResultOf(self.call(), DNSLookupError)

    def test_apart(self) -> None:
        """
        A connection that another callback may have isn't one that this one may use.
        """
        self.reactor.resolve("127.0.0.1")
        own, self.poster = self.poster, Poster(reactor=self.reactor)
        self.kept()
        self.poster = own
        self.failureResultOf(self.call(), AddressRefused)

    def test_failure(self) -> None:
        """
        To the sender it is as if nobody were there; a durable message waits, as the operator may correct it.
        """
        self.reactor.resolve("127.0.0.1")
        refused = self.failureResultOf(self.call("http://h.example/"), AddressRefused).value
        self.assertIsInstance(refused, ConnectError)
        verdict = verdictOnFailure(stanza(CHAT), refused)
        self.assertIsInstance(verdict, Failed)
        self.assertIn("h.example has the address 127.0.0.1 (loopback)", verdict.problem)  # type: ignore[union-attr]
        self.assertTrue(verdict.wholly)  # type: ignore[union-attr]

    def test_verifiesTheName(self) -> None:
        """
        TLS is for the name, not for the address that is connected to.
        """
        self.reactor.resolve("8.8.8.8")
        noting = Noting()
        self.poster = Poster(reactor=self.reactor, policy=noting, allowPrivate=False)
        self.call("https://h.example/a")
        self.assertEqual((noting.asked, self.asked()), ([(b"h.example", 443)], ["8.8.8.8"]))

    def test_onceForEachHost(self) -> None:
        """
        What TLS needs is made once for a host and port, not for each call; each of them has its own.
        """
        noting = Noting()
        self.poster = Poster(reactor=self.reactor, policy=noting, allowPrivate=False)
        for url in ("https://h/a", "https://h/b", "http://h/", "https://h:80/", "https://i/", "https://h/a"):
            self.call(url)
        self.assertEqual(noting.asked, [(b"h", 443), (b"h", 80), (b"i", 443)])


class AnyTests(PosterTestCase):
    def test_default(self) -> None:
        """
        By default receivers may be anywhere.
        """
        for address in ("127.0.0.1", "10.0.0.1", "::1"):
            self.setUp()
            self.reactor.resolve(address)
            call = self.call()
            self.accept().answer(OK)
            self.successResultOf(call)
