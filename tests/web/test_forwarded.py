"""
L{restbridge.web.forwarded}
"""

from __future__ import annotations

from ipaddress import ip_network

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from restbridge.web.forwarded import clientAddress

TRUSTED = [ip_network("127.0.0.0/8"), ip_network("fd00::/8")]


class ClientAddressTests(SynchronousTestCase):
    def of(self, *lines: str, peer: str = "127.0.0.1", name: str = "Forwarded") -> str:
        return clientAddress(peer, Headers({name: list(lines)}), TRUSTED)

    def test_stranger(self) -> None:
        """
        A peer that isn't trusted speaks for nobody.
        """
        self.assertEqual(self.of("for=192.0.2.1", peer="198.51.100.7"), "198.51.100.7")

    def test_nobodyTrusted(self) -> None:
        """
        Without trusted proxies, the peer is the client.
        """
        headers = Headers({"Forwarded": ["for=192.0.2.1"]})
        self.assertEqual(clientAddress("127.0.0.1", headers, []), "127.0.0.1")

    def test_forwarded(self) -> None:
        """
        The forms of RFC 7239, section 4, with ports, quotes and other parameters.
        """
        for line, client in (
            ("for=192.0.2.1", "192.0.2.1"),
            ("For=192.0.2.1;proto=https;by=127.0.0.1", "192.0.2.1"),
            ('for="192.0.2.1:4711"', "192.0.2.1"),
            ('for="[2001:db8::1]:4711"', "2001:db8::1"),
            ('for="[2001:db8::1]"', "2001:db8::1"),
            ("proto=http;for=192.0.2.1", "192.0.2.1"),
        ):
            self.assertEqual(self.of(line), client)

    def test_nearest(self) -> None:
        """
        The nearest address that isn't a trusted proxy's counts; what stands before it is hearsay.
        """
        self.assertEqual(self.of("for=198.51.100.1, for=192.0.2.1, for=127.0.0.2"), "192.0.2.1")
        self.assertEqual(self.of("for=198.51.100.1", "for=192.0.2.1"), "192.0.2.1")

    def test_allTrusted(self) -> None:
        """
        Among proxies alone, the farthest is the client.
        """
        self.assertEqual(self.of("for=127.0.0.3, for=127.0.0.2"), "127.0.0.3")

    def test_unknown(self) -> None:
        """
        A hop without an address ends the search.
        """
        for hop in ("unknown", "_hidden", "example.com", '""'):
            self.assertEqual(self.of(f"for=192.0.2.1, for={hop}, for=127.0.0.2"), "127.0.0.2")

    def test_xForwardedFor(self) -> None:
        """
        The older header counts where the standard one is missing.
        """
        line = "198.51.100.1, 192.0.2.1:80, fd00::1"
        self.assertEqual(self.of(line, name="X-Forwarded-For"), "192.0.2.1")

    @given(st.lists(st.binary(), max_size=3), st.sampled_from([b"Forwarded", b"X-Forwarded-For"]))
    def test_anything(self, lines: list[bytes], name: bytes) -> None:
        """
        Whatever the header holds, there is an address to log.
        """
        headers = Headers({name: lines})
        self.assertRegex(clientAddress("127.0.0.1", headers, TRUSTED), r"\A[0-9a-fA-F:.%\w]+\Z")
