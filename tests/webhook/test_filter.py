"""
L{restbridge.webhook.filter}
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import parse_qsl, unquote, urlsplit

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from restbridge.config import Callback, Glob
from restbridge.stanzas.jid import JID
from restbridge.webhook.filter import Filter, event, expand, stanzaVariables
from tests.webhook.fakes import DOMAIN, stanza

URL = "https://app.example.com/xmpp"
PATTERNS = st.one_of(st.just("*@h"), st.text("ab*?[]!-", max_size=6).map("{}@h".format))
ADDRESSES = (DOMAIN, f"bot@{DOMAIN}", f"bot@{DOMAIN}/desk", f"{DOMAIN}/desk")


class FilterTests(SynchronousTestCase):
    def first(self, callbacks: Sequence[Callback], to: str, kind: str = "message") -> int | None:
        return Filter(callbacks).first(stanza(f"<{kind} to='{to}' from='a@b'/>"))

    def fitting(self, callback: Callback, *addresses: str, kind: str = "message") -> list[str]:
        return [to for to in addresses if self.first([callback], to, kind) is not None]

    def test_everything(self) -> None:
        """
        By default a callback takes every stanza to every address.
        """
        for kind in ("message", "presence", "iq"):
            self.assertEqual(self.fitting(Callback(url=URL), *ADDRESSES, kind=kind), list(ADDRESSES))

    def test_kinds(self) -> None:
        """
        C{stanzas} limits the kinds.
        """
        callback = Callback(url=URL, stanzas=frozenset(["presence", "iq"]))
        self.assertEqual(self.fitting(callback, DOMAIN), [])
        self.assertEqual(self.fitting(callback, DOMAIN, kind="iq"), [DOMAIN])

    def test_events(self) -> None:
        """
        C{events} limits the forms of the address, in mod_rest's words.
        """
        for events, expected in (
            (["host"], [DOMAIN]),
            (["bare"], [f"bot@{DOMAIN}"]),
            (["full"], [f"bot@{DOMAIN}/desk", f"{DOMAIN}/desk"]),
        ):
            self.assertEqual(self.fitting(Callback(url=URL, events=frozenset(events)), *ADDRESSES), expected)

    def test_event(self) -> None:
        """
        The form of an address is known by its parts.
        """
        events = [event(JID.parse(address)) for address in ADDRESSES]
        self.assertEqual(events, ["host", "bare", "full", "full"])

    def test_globs(self) -> None:
        """
        C{to} limits the addresses; the resource doesn't count, nor does the case of a pattern.
        """
        callback = Callback(url=URL, to=(Glob(f"B?t@{DOMAIN}"), Glob("support-*")))
        found = self.fitting(callback, *ADDRESSES, f"support-1@{DOMAIN}", f"boot@{DOMAIN}")
        self.assertEqual(found, [f"bot@{DOMAIN}", f"bot@{DOMAIN}/desk", f"support-1@{DOMAIN}"])

    def test_first(self) -> None:
        """
        Of several callbacks the first that fits takes a stanza, whichever of its patterns it is.
        """
        callbacks = [
            Callback(url=URL, stanzas=frozenset(["iq"])),
            Callback(url=URL, to=(Glob("a@*"), Glob("b@*"))),
            Callback(url=URL, to=(Glob("b@*"), Glob("c@*"))),
            Callback(url=URL, events=frozenset(["host"])),
        ]
        found = [self.first(callbacks, to) for to in ("a@h", "b@h", "c@h", "d@h", "h")]
        self.assertEqual(found, [1, 1, 2, None, 3])
        self.assertEqual(self.first(callbacks, "a@h", "iq"), 0)

    def test_nobody(self) -> None:
        """
        Without callbacks nobody takes anything.
        """
        self.assertIsNone(self.first([], DOMAIN))

    @given(st.lists(st.lists(PATTERNS, min_size=1), max_size=5), st.text("ab*?[]!-", min_size=1))
    def test_asEachAlone(self, patterns: list[list[str]], local: str) -> None:
        """
        Matched together, patterns fit what each fits alone.
        """
        callbacks = [Callback(url=URL, to=tuple(map(Glob, each))) for each in patterns]
        address = f"{local}@h"
        alone = (n for n, each in enumerate(callbacks) if any(glob.fits(address) for glob in each.to))
        self.assertEqual(self.first(callbacks, address), next(alone, None))


class ExpandTests(SynchronousTestCase):
    def test_modRest(self) -> None:
        """
        A URL is filled in as mod_rest fills it in: all but unreserved characters are encoded, in lower case.
        """
        variables = stanzaVariables(
            stanza(f"<message type='chat' to='bot@{DOMAIN}' from='alice@localhost/rec'/>")
        )
        url = expand("http://h/t/{kind}/{type}?to={to}&from={from}", variables)
        self.assertEqual(url, f"http://h/t/message/chat?to=bot%40{DOMAIN}&from=alice%40localhost%2frec")

    def test_types(self) -> None:
        """
        Where a stanza has no type, the one that it stands for (RFC 6121, sections 4.7.1 and 5.2.2).
        """
        for kind, type_ in (("message", "normal"), ("presence", "available"), ("iq", "")):
            found = stanzaVariables(stanza(f"<{kind} to='{DOMAIN}' from='a@b'/>"))
            self.assertEqual(found["type"], type_)

    def test_others(self) -> None:
        """
        Braces around anything else stay as they are, and what is filled in isn't expanded again.
        """
        variables = {"kind": "message", "type": "{to}", "to": "x", "from": "y"}
        self.assertEqual(expand("http://h/{type}/{id}/{}", variables), "http://h/%7bto%7d/{id}/{}")

    def test_dots(self) -> None:
        """
        A stanza can't lead one folder up, not even from an invalid type.
        """
        for type_ in (".", ".."):
            variables = {"kind": "message", "type": type_, "to": "x", "from": "y"}
            self.assertEqual(expand("http://h/a/{type}/b", variables), "http://h/a//b")

    @given(st.text(st.characters(exclude_categories=["Cs"])))
    def test_staysInPlace(self, text: str) -> None:
        """
        Whatever is filled in, it stays one segment of the path and one parameter of the query.
        """
        variables = dict.fromkeys(("kind", "type", "to", "from"), text)
        url = expand("https://h/a/{from}/b?c={to}&d=e", variables)
        parts = urlsplit(url)
        self.assertTrue(url.isascii() and url.isprintable() and " " not in url)
        self.assertEqual((parts.netloc, parts.fragment), ("h", ""))
        start, folder, segment, end = parts.path.split("/")
        self.assertEqual((start, folder, end), ("", "a", "b"))
        kept = text if text.strip(".") else ""
        self.assertEqual(unquote(segment), kept)
        self.assertEqual(parse_qsl(parts.query, keep_blank_values=True), [("c", kept), ("d", "e")])
