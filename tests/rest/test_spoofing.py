"""
C{/rest}: nobody speaks for another, and no value becomes a header.
"""

from __future__ import annotations

import json
from urllib.parse import quote

from hypothesis import given, settings
from hypothesis import strategies as st

from restbridge.stanzas.xml import parseDocument, serialize
from tests.rest.case import BOT, JSON, XML, RestTestCase
from tests.web.client import DOMAIN, Client, basic

FOREIGN = (
    *(f"clerk@{DOMAIN}", f"clerk@{DOMAIN}/desk", DOMAIN, f"{DOMAIN}/bot", f"bot@{DOMAIN}.evil.example"),
    *(f"bot@sub.{DOMAIN}", "bot@example.com", f"bot.@{DOMAIN}"),
    *(f"\N{CYRILLIC SMALL LETTER BE}ot@{DOMAIN}", f"bot\\40{DOMAIN}@{DOMAIN}"),
)
OWN = (BOT, f"{BOT}/any", BOT.upper(), f"\uff42ot@{DOMAIN}")

HEADERS = {"Server", "Date", "Content-Type", "Content-Length", "Restbridge-Ignored", "X-Request-Id"}
BREAKS = (
    *("\r\nX-Evil: 1", "\nX-Evil: 1", "\r\n\r\nHTTP/1.1 200 OK\r\n", "\0", "\x0b\x0c\x1c\x85"),
    # The last becomes CR and LF where characters are cut down to a byte.
    *("\u2028", "\u560d\u560a"),
)
RESULT = parseDocument(f"<iq type='result' from='a' to='{BOT}' id='1'/>".encode())


class FromTests(RestTestCase):
    def test_foreign(self) -> None:
        """
        An address outside of the account's reach is refused with the rule, in every kind and form.
        """
        for sender in FOREIGN:
            for kind in ("message", "presence", "iq"):
                document = {"kind": kind, "from": sender, "to": "a@b", "id": "1"}
                for body, mediaType in (
                    (json.dumps(document), JSON),
                    (f"<{kind} from='{sender}' to='a@b' type='get' id='1'/>", XML),
                ):
                    text = self.assertRefused(self.post(body, mediaType), 403, "not-authorized")
                    self.assertIn("account bot may not send as ", text)
                    self.assertIn(f"its send_as allows {BOT}", text)

    def test_own(self) -> None:
        """
        One's own address is sent normalised, however it was written.
        """
        for sender in OWN:
            self.link.sent.clear()
            self.assertEqual(self.post(json.dumps({"from": sender, "to": "a@b", "body": "x"})).status, 202)
            self.assertEqual(self.sent["from"].partition("/")[0], BOT)

    def test_globs(self) -> None:
        """
        A glob is for bare addresses of the component, whole.
        """
        clerk = basic("clerk")["Authorization"]
        for sender, allowed in (
            (f"desk-1@{DOMAIN}", True),
            (f"desk-1@{DOMAIN}/x", True),
            (f"clerk@{DOMAIN}", True),
            (f"x-desk-1@{DOMAIN}", False),
            (f"desk-1@{DOMAIN}.evil.example", False),
            (BOT, False),
            (f"a@{DOMAIN}/desk-1@{DOMAIN}", False),
        ):
            self.link.sent.clear()
            body = json.dumps({"from": sender, "to": "a@b", "body": "x"})
            reply = self.post(body, Authorization=clerk)
            self.assertEqual((reply.status, len(self.link.sent)), (202, 1) if allowed else (403, 0), sender)

    def test_nested(self) -> None:
        """
        A stanza in a stanza is payload: what it says goes out as it is, from the account.
        """
        inner = f"<message xmlns='jabber:client' from='boss@{DOMAIN}' to='c@d'><body>x</body></message>"
        forwarded = f"<forwarded xmlns='urn:xmpp:forward:0'>{inner}</forwarded>"
        for payload in (forwarded, f"<received xmlns='urn:xmpp:carbons:2'>{forwarded}</received>", inner):
            self.link.sent.clear()
            self.assertEqual(self.post(f"<message to='a@b'>{payload}</message>", XML).status, 202)
            self.assertEqual((self.sent["from"], self.sent["to"]), (BOT, "a@b"))
            self.assertIn(f"boss@{DOMAIN}", serialize(self.sent))

    def test_attributes(self) -> None:
        """
        An attribute that only looks like an address is none, and goes nowhere.
        """
        self.post(f"<message to='a@b' xmlns:x='urn:x' x:from='clerk@{DOMAIN}' FROM='clerk@{DOMAIN}'/>", XML)
        self.assertEqual({"from", "to", "id"}, set(self.sent.attributes))
        self.assertEqual(self.sent["from"], BOT)


class HeaderTests(RestTestCase):
    def assertHeaders(self, method: str, path: str, mediaType: str, body: bytes) -> None:
        """
        There is one answer, which has the headers that answers have.
        """
        client = Client(self.site)
        headers = {**basic(), "Content-Type": mediaType, "Accept": JSON}
        client.begin(method, path, headers, body)
        head = client.transport.value().partition(b"\r\n\r\n")[0]
        self.assertNotRegex(head.replace(b"\r\n", b""), rb"[^ -~]")
        names = {line.partition(b":")[0].decode().title() for line in head.split(b"\r\n")[1:]}
        self.assertLessEqual(names, HEADERS)
        client.read(method)

    @settings(max_examples=50, deadline=None)
    @given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), st.sampled_from(BREAKS))
    def test_anywhere(self, text: str, breaks: str) -> None:
        """
        Line breaks and control characters in keys, values, addresses, parameters and the path.
        """
        hostile = text + breaks + text
        self.link.answer = RESULT
        documents = (
            {"to": "a@b", "body": "x", hostile: "x"},
            {"to": "a@b", "body": "x", "lang": hostile, "id": hostile},
            {"to": hostile, "body": hostile},
            {"from": hostile, "to": "a@b"},
            {"kind": hostile},
            {"kind": "iq", "type": "get", "to": "a@b", "id": hostile, "version": True, hostile: {hostile: 1}},
        )
        for document in documents:
            for path in ("/rest", "/rest/echo"):
                self.assertHeaders("POST", path, JSON, json.dumps({"kind": "message", **document}).encode())
        self.assertHeaders("GET", f"/rest/ping/a%40b?{quote(hostile)}=1", JSON, b"")
        self.assertHeaders("GET", f"/rest/{quote(hostile)}/{quote(hostile)}", JSON, b"")
        self.assertHeaders("POST", f"/rest/message/chat/{quote(hostile)}", JSON, b"{}")
