"""
L{restbridge.webhook.addresses}
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

from hypothesis import assume, given
from hypothesis import strategies as st
from twisted.internet.error import ConnectError
from twisted.trial.unittest import SynchronousTestCase

from restbridge.webhook.addresses import AddressRefused, check, refusedBy

REFUSED = {
    "unspecified": ["0.0.0.0", "0.255.255.255", "::"],
    "loopback": ["127.0.0.1", "127.255.255.254", "::1"],
    "private": ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1"],
    "carrier-grade NAT": ["100.64.0.1", "100.127.255.255"],
    "link-local": ["169.254.169.254", "fe80::1", "febf::1", "fe80::1%eth0"],
    "documentation": ["192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1"],
    "benchmark": ["198.18.0.1", "198.19.255.255", "2001:2::1"],
    "multicast": ["224.0.0.1", "239.255.255.255", "ff02::1", "ff0e::1"],
    "reserved": [
        *("192.0.0.1", "192.0.0.170", "192.88.99.1", "240.0.0.1", "255.255.255.255"),
        *("100::1", "100:0:0:1::1", "2001:1::1", "2001:10::1", "2001:20::1", "2001:1ff::1", "5f00::1"),
        *("4000::1", "e000::1", "200::1"),
    ],
    "IPv4-mapped": ["::ffff:127.0.0.1", "::ffff:8.8.8.8"],
    "IPv4-translated": ["::ffff:0:127.0.0.1"],
    "IPv4-compatible": ["::127.0.0.1", "::8.8.8.8", "::2"],
    "NAT64": ["64:ff9b::127.0.0.1", "64:ff9b::8.8.8.8", "64:ff9b:1::1", "64:ff9b:1:ffff::a00:1"],
    "6to4": ["2002:7f00:1::1", "2002:808:808::1"],
    "Teredo": ["2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2"],
    "unique-local": ["fc00::1", "fd12:3456::1"],
    "site-local": ["fec0::1"],
    "ISATAP of private": ["2a00:1450::5efe:10.0.0.1", "2a00:1450::200:5efe:192.168.0.1"],
    "ISATAP of loopback": ["2a00:1450::5efe:127.0.0.1"],
}
PUBLIC = (
    *("1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.1", "100.63.255.255", "100.128.0.1", "126.255.255.255"),
    *("128.0.0.1", "169.253.0.1", "172.15.255.255", "172.32.0.1", "192.0.1.1", "192.167.1.1", "192.169.0.1"),
    *("198.17.255.255", "198.20.0.1", "223.255.255.255"),
    *("2000::1", "2001:200::1", "2001:4860:4860::8888", "2606:4700::1111", "2a00:1450::1"),
    *("2003::1", "3ffe::1"),
    *("2a00:1450::5efe:8.8.8.8", "2a00:1450::200:5efe:1.1.1.1", "2a00:1450::1:5efe:10.0.0.1"),
)

IPV4 = st.integers(0, 2**32 - 1).map(IPv4Address)
IPV6 = st.one_of(
    st.integers(0, 2**128 - 1).map(IPv6Address),
    # Within what is given out, and near the ranges that are cut out of it.
    st.integers(0x2000 << 112, (0x4000 << 112) - 1).map(IPv6Address),
    st.integers(0x2001 << 112, (0x2003 << 112) - 1).map(IPv6Address),
    st.ip_addresses(v=6),
)


def embedded(network: str, address: IPv4Address, bits: int = 0) -> IPv6Address:
    """
    An IPv4 address in an IPv6 one, C{bits} from the right.
    """
    return IPv6Address(int(IPv6Address(network)) | int(address) << bits)


class RefusedByTests(SynchronousTestCase):
    def test_refused(self) -> None:
        """
        Each range has its name, at both ends.
        """
        for rule, addresses in REFUSED.items():
            for address in addresses:
                self.assertEqual(refusedBy(ip_address(address)), rule, address)

    def test_public(self) -> None:
        """
        Their neighbours are public.
        """
        for address in PUBLIC:
            self.assertIsNone(refusedBy(ip_address(address)), address)

    @given(st.one_of(IPV4, IPV6, st.ip_addresses()))
    def test_global(self, address: IPv4Address | IPv6Address) -> None:
        """
        What the standard library doesn't take for global, or for anything special, is never public.
        """
        special = (
            not address.is_global
            or address.is_private
            or address.is_loopback
            or address.is_link_local
            or address.is_multicast
            or address.is_reserved
            or address.is_unspecified
            or getattr(address, "is_site_local", False)
        )
        if special:
            self.assertIsNotNone(refusedBy(address))

    @given(st.one_of(IPV4, st.ip_addresses(v=4)))
    def test_nothingElse(self, address: IPv4Address) -> None:
        """
        An IPv4 address that is global is public, but for the old relays of 6to4 and what the IETF keeps.
        """
        if address.is_global and not address.is_multicast:
            kept = str(address).startswith(("192.88.99.", "192.0.0."))
            self.assertEqual(refusedBy(address), "reserved" if kept else None)

    @given(st.one_of(IPV4, st.ip_addresses(v=4)), st.integers(0, 2**32 - 1))
    def test_embedded(self, address: IPv4Address, network: int) -> None:
        """
        An IPv4 address can't be smuggled in an IPv6 one.
        """
        for start in ("::", "::ffff:0:0", "::ffff:0:0:0", "64:ff9b::", "64:ff9b:1::"):
            self.assertIsNotNone(refusedBy(embedded(start, address)))
        self.assertIsNotNone(refusedBy(embedded("2002::", address, 80)))
        teredo = IPv4Address(int(address) ^ 0xFFFFFFFF)
        self.assertIsNotNone(refusedBy(embedded("2001::", teredo)))
        prefix = IPv6Address(0x2A00 << 112 | network << 64)
        assume(refusedBy(prefix) is None)
        for interface in ("::5efe:0:0", "::200:5efe:0:0"):
            isatap = IPv6Address(int(prefix) | int(embedded(interface, address)))
            self.assertEqual(refusedBy(isatap) is None, refusedBy(address) is None)


class CheckTests(SynchronousTestCase):
    def test_any(self) -> None:
        """
        One address that isn't public is enough; the refusal names the host, the address and the rule, and is
        that of a host that can't be reached.
        """
        check("h", ["8.8.8.8", "2a00:1450::1"])
        check("h", [])
        for addresses in (["10.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["10.0.0.1", "2a00:1450::1"]):
            refused = self.assertRaises(AddressRefused, check, "h", addresses)
            self.assertIsInstance(refused, ConnectError)
            for words in (str(refused), repr(refused)):
                self.assertIn("h has the address 10.0.0.1 (private), and allow_private is false", words)
