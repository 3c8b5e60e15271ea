"""
L{restbridge.web.forwarded}
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from restbridge.web.forwarded import clientAddress

NAMES = ["Forwarded", "X-Forwarded-For"]
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

    def both(self, forwarded: str, older: str) -> str:
        headers = Headers({"Forwarded": [forwarded], "X-Forwarded-For": [older]})
        return clientAddress("127.0.0.1", headers, TRUSTED)

    def test_otherHeader(self) -> None:
        """
        Most proxies write one of the headers, and hand on what the client wrote into the other: where they
        don't agree, the client is taken for the proxy, and shares its limits.
        """
        self.assertEqual(self.both("for=192.0.2.1", "192.0.2.1"), "192.0.2.1")
        self.assertEqual(self.both("for=192.0.2.99", "192.0.2.1"), "127.0.0.1")
        self.assertEqual(self.both("for=unknown", "192.0.2.1"), "127.0.0.1")
        self.assertEqual(self.both("proto=https", "192.0.2.1"), "192.0.2.1")

    def test_spoofed(self) -> None:
        """
        What the client writes ahead of what the proxy appends changes nothing: an open quote, a comment, a
        chain, another port, far too much.
        """
        for spoofed in (
            "for=192.0.2.99",
            'for="',
            'for="192.0.2.99',
            'by="x;for=192.0.2.99',
            "for=127.0.0.1, for=127.0.0.1",
            "for=192.0.2.99;for=192.0.2.98",
            ",".join(["for=127.0.0.2"] * 1000),
            "\xff\x00\t ,;=,",
        ):
            for appended, client in (
                ("for=198.51.100.7", "198.51.100.7"),
                ('for="[2001:db8::7]:4711"', "2001:db8::7"),
                ('proto=https;for="198.51.100.7:80"', "198.51.100.7"),
            ):
                self.assertEqual(self.of(f"{spoofed}, {appended}"), client, spoofed)
                self.assertEqual(self.of(spoofed, appended), client, spoofed)

    def test_garbage(self) -> None:
        """
        What is no address is none, however much it looks like one: the search ends before it.
        """
        for hop in (
            "1.2.3",
            "0x7f.0.0.1",
            "2130706433",
            "192.0.2.1.",
            "::1%eth0",
            "fe80::1%x GET /",
            "[",
            "[]",
        ):
            self.assertEqual(self.of(f'for="{hop}", for=127.0.0.2'), "127.0.0.2", hop)
            self.assertEqual(self.of(f"{hop}, 127.0.0.2", name="X-Forwarded-For"), "127.0.0.2", hop)

    def test_canonical(self) -> None:
        """
        One address is written one way, since limits count by it; IPv4 is IPv4, whatever carries it.
        """
        for hop in ("2001:DB8::1", "2001:db8:0::0:1", "[2001:db8::1]", "[2001:0db8::1]:1"):
            self.assertEqual(self.of(hop, name="X-Forwarded-For"), "2001:db8::1")
        self.assertEqual(self.of("::ffff:192.0.2.1", name="X-Forwarded-For"), "192.0.2.1")
        self.assertEqual(self.of("for=192.0.2.1", peer="::ffff:127.0.0.1"), "192.0.2.1")

    def test_noAddress(self) -> None:
        """
        A peer without an address speaks for nobody.
        """
        self.assertEqual(self.of("for=192.0.2.1", peer="-"), "-")

    @given(st.lists(st.text(st.characters(max_codepoint=255)), max_size=3), st.sampled_from(NAMES))
    def test_appended(self, lines: list[str], name: str) -> None:
        """
        Whatever the client sends, what the proxy appends counts.
        """
        for appended in ("198.51.100.7", '"[2001:db8::7]:80"' if name == "Forwarded" else "[2001:db8::7]:80"):
            own = f"for={appended}" if name == "Forwarded" else appended
            expected = "198.51.100.7" if "." in appended else "2001:db8::7"
            self.assertEqual(self.of(*lines, own, name=name), expected)
            self.assertEqual(self.of(", ".join([*lines, own]), name=name), expected)

    @given(st.lists(st.binary(), max_size=3), st.sampled_from([b"Forwarded", b"X-Forwarded-For"]))
    def test_anything(self, lines: list[bytes], name: bytes) -> None:
        """
        Whatever the header holds, there is an address to log.
        """
        found = clientAddress("127.0.0.1", Headers({name: lines}), TRUSTED)
        self.assertEqual(found, str(ip_address(found)))
