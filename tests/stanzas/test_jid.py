"""
L{restbridge.stanzas.jid}: addresses.
"""

from __future__ import annotations

import tracemalloc

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from restbridge.stanzas.jid import JID, MAX_PART, InvalidJID


class JIDTests(SynchronousTestCase):
    def test_normalised(self) -> None:
        """
        Local part and domain are case-folded, the resource is not; a final dot of the domain goes.
        """
        for text, normal in (
            ("BOB@LOCALHOST", "bob@localhost"),
            ("localhost", "localhost"),
            ("Example.COM./Desk Top", "example.com/Desk Top"),
            ("ÜNÏ@Exämple.org", "ünï@exämple.org"),
            ("a@b/🙂", "a@b/🙂"),
            ("a@b/c/d@e", "a@b/c/d@e"),
            ("a@[::1]", "a@[::1]"),
            ("foo_bar.example", "foo_bar.example"),
        ):
            self.assertEqual(str(JID.parse(text)), normal)

    def test_parts(self) -> None:
        """
        An address falls into its parts.
        """
        jid = JID.parse("juliet@example.com/balcony")
        self.assertEqual((jid.local, jid.domain, jid.resource), ("juliet", "example.com", "balcony"))
        self.assertEqual((jid.bare, jid.full), ("juliet@example.com", "juliet@example.com/balcony"))

    def test_invalid(self) -> None:
        """
        What is no address is refused, naming the part.
        """
        for text, part in (
            ("", "domain"),
            ("@", "local part"),
            ("@b", "local part"),
            ("a@", "domain"),
            ("a@b/", "resource"),
            ("a@b/\u200b", "resource"),
            ("a b@c", "local part"),
            ("a@b c", "domain"),
            ("a@b..c", "domain"),
            ("a@b:5222", "domain"),
            ("a@[::g]", "domain"),
            ("a\ud83d@b", "local part"),
            ("a@b/\x00", "resource"),
            ("a" * (MAX_PART + 1) + "@b", "local part"),
            ("a@b/" + "ü" * 512, "resource"),
        ):
            with self.assertRaises(InvalidJID) as caught:
                JID.parse(text)
            self.assertIn(part, str(caught.exception), text)

    def test_longAddresses(self) -> None:
        """
        Addresses that strangers make up don't fill the memory.
        """
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        for number in range(500):
            part = f"{number:0>1000}"
            self.assertEqual(JID.parse(f"{part}@{part}/{part}").local, part)
        self.assertLess(tracemalloc.get_traced_memory()[0], 1_000_000)

    @settings(deadline=None)
    @given(st.text(max_size=40))
    def test_anyText(self, text: str) -> None:
        """
        Any text is an address or refused; a normalised address is its own normal form.
        """
        try:
            jid = JID.parse(text)
        except InvalidJID:
            return
        self.assertEqual(JID.parse(jid.full), jid)
