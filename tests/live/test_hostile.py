"""
What must not break the bridge: bad requests over HTTP, bad stanzas from users.

One bad stanza on the component's stream would make the server close it, with all traffic in flight. So each
test ends with the look whether the bridge is attached still, by the connection that it had.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar

from tests.live.badinput import MAX_BODY, Bad, notAllowed, notAStanza, notWellFormed, odd, tooLarge
from tests.live.bridge import BOT
from tests.live.case import BRIDGE, LiveCase, Promises
from tests.live.client import Client, body, parse
from tests.live.ejabberd import Ejabberd
from tests.live.prosody import Prosody
from tests.live.receiver import JSON, XML, Receiver, Request
from tests.live.web import Answer, ask

SOON = 2.0
"""Seconds within which each answer must come."""

ODD_TEXT = (
    "\u0085\u2028\u200b\ufeff\u202e\ud7ff\ufffd\U0001fffd\U0010ffff"
    " ]]> <!DOCTYPE x> <!-- --> &amp; \u0301\t\n."
)
STREAM_ERROR = "{http://etherx.jabber.org/streams}error"


class BadRequests(Promises):
    """
    What someone who sends nonsense is told.
    """

    sections: ClassVar[dict[str, Any]] = {"http": {"max_body": MAX_BODY}}

    def testNotWellFormed(self) -> None:
        """
        What is not well-formed is refused with 4xx, in the caller's format, naming what is wrong.
        """
        for bad in notWellFormed():
            self._assertRefused(bad)

    def testNotAStanza(self) -> None:
        """
        What is no stanza, or is from or to an impossible address, is refused likewise.
        """
        for bad in notAStanza():
            self._assertRefused(bad)

    def testTooLarge(self) -> None:
        """
        What is too large for the bridge or for the server's stream is refused with 413.
        """
        for bad in tooLarge():
            self._assertRefused(bad)

    def testNotAllowed(self) -> None:
        """
        Unknown media types, wrong credentials, methods and paths are refused with the status that says so.
        """
        for bad in notAllowed():
            self._assertRefused(bad)

    def testOdd(self) -> None:
        """
        What is merely odd is sent or refused, without harm to the stream.
        """
        for bad in odd():
            with self.part(bad.name):
                self._assertStatus(bad, self._send(bad, JSON))
                self.assertAttached()

    def testHowToAuthenticate(self) -> None:
        """
        Who comes without credentials learns how to bring some.
        """
        challenge = self.bridge.get("/rest/ping/localhost", auth=None).headers["www-authenticate"]
        self.assertRegex(challenge, r"Basic\b")
        self.assertRegex(challenge, r"Bearer\b")

    def testTimeOutHeader(self) -> None:
        """
        A time-out that is no number, or no sensible one, does no harm.
        """
        for value in ("abc", "-1", "0", "nan", "inf", "1e9", ""):
            with self.part(value):
                headers = {"Authorization": BOT, "Accept": JSON, "Prosody-Rest-Timeout": value}
                answer = ask(self.bridge.port, "GET", "/rest/ping/localhost", headers=headers)
                self.assertLess(answer.status, 505)
                self.assertNotEqual(500, answer.status)
                self.assertLess(answer.seconds, SOON)
                self.assertAttached()

    def _assertRefused(self, bad: Bad) -> None:
        """
        As JSON and as XML; and nothing broke.
        """
        with self.part(bad.name):
            asJSON = self._send(bad, JSON)
            self._assertStatus(bad, asJSON)
            self.assertEqual(JSON, asJSON.type)
            error = asJSON.json()
            self.assertEqual(("error", asJSON.status), (error["type"], error["code"]))
            self.assertRegex(asJSON.text(), bad.says or ".")
            self.assertAttached()
        with self.part(f"{bad.name}, as XML"):
            asXML = self._send(bad, XML)
            self._assertStatus(bad, asXML)
            if bad.path.startswith("/rest"):
                self.assertEqual((XML, STREAM_ERROR), (asXML.type, parse(asXML.body).tag))

    def _assertStatus(self, bad: Bad, answer: Answer) -> None:
        self.assertIn(answer.status, bad.statuses, answer.text()[:500])
        self.assertLess(answer.seconds, SOON)

    def _send(self, bad: Bad, accept: str) -> Answer:
        named = {"Accept": accept, "Content-Type": bad.type, "Authorization": bad.auth}
        headers = {name: value for name, value in named.items() if value is not None}
        content = bad.body.encode() if isinstance(bad.body, str) else bad.body
        return ask(self.bridge.port, bad.method, bad.path, content, headers)


class BadStanzas(Promises):
    """
    What users may do to the component.
    """

    @classmethod
    def callbacks(cls, receiver: Receiver) -> list[dict[str, Any]]:
        """
        One callback a format.
        """
        formats = {"xml": XML, "json": JSON}
        return [
            {"url": receiver.url(f"/{name}"), "format": mediaType, "to": [f"{name}-*@{BRIDGE}"]}
            for name, mediaType in formats.items()
        ]

    def testTexts(self) -> None:
        """
        Long texts, texts of newlines and texts of rare characters reach the webhook whole.
        """
        alice = self.login("alice")
        for text in (ODD_TEXT, "x" * 200_000, "\n" * 50_000 + ".", "\u20ac" * 50_000, "&" * 40_000):
            with self.part(text[:10]):
                arrived = self._arrival("json", alice.message(f"json-bot@{BRIDGE}", text))
                self.assertEqual(text, json.loads(arrived.body)["body"])
                arrived = self._arrival("xml", alice.message(f"xml-bot@{BRIDGE}", text))
                self.assertEqual(text, body(parse(arrived.body)))
                self.assertAttached()

    def testShapes(self) -> None:
        """
        Stanzas of odd shapes don't keep the next message from arriving.
        """
        alice = self.login("alice")
        for shape in self._shapes():
            for name in ("json", "xml"):
                with self.part(f"{shape[:60]} as {name}"):
                    alice.send(shape.replace("@TO@", f"{name}-bot@{BRIDGE}"))
                    self._assertNextArrives(alice, name)
        self.assertAttached()

    def _shapes(self) -> list[str]:
        """
        Stanzas that servers let through.
        """
        attributes = " ".join(f"a{number}='{number}'" for number in range(50))
        insides = [
            "<a>" * 200 + "</a>" * 200,
            "<a/>" * 2000,
            f"<a {attributes}/>",
            "<a:x xmlns:a='urn:a' a:y='1' xml:lang='en'><b xmlns='urn:b'><a:c/></b></a:x>",
            "<body/><body xml:lang='sv'>a</body><body>b</body>",
            "<body><b xmlns='urn:b'>not a text</b></body>",
            "<x xmlns='jabber:x:oob'><url/></x><error type='nonsense'/>",
            "<command xmlns='http://jabber.org/protocol/commands'><x xmlns='jabber:x:data'/></command>",
            "<html xmlns='http://jabber.org/protocol/xhtml-im'><body xmlns='http://www.w3.org/1999/xhtml'/></html>",
        ]
        messages = [f"<message to='@TO@' type='chat'>{inside}</message>" for inside in insides]
        return [
            *messages,
            "<message to='@TO@'/>",
            "<message to='@TO@' type='weird'><body>x</body></message>",
            "<message to='@TO@' type='error'><body>x</body></message>",
            f"<message to='@TO@' id='{'i' * 900}'><body>x</body></message>",
            f"<message to='@TO@/{'r' * 1000}'><body>x</body></message>",
            "<presence to='@TO@' type='subscribe'/>",
            "<presence to='@TO@' type='unavailable'><priority>x</priority></presence>",
            "<iq to='@TO@' type='result' id='never-asked'/>",
            "<iq to='@TO@' type='get' id='no payload'/>",
            "<iq to='@TO@' type='set' id='&lt;&quot;&apos;'><a xmlns='urn:a'/></iq>",
        ]

    def _assertNextArrives(self, client: Client, name: str) -> None:
        """
        A message gets through, whatever came before it.
        """
        self._arrival(name, client.message(f"{name}-bot@{BRIDGE}", "next"))

    def _arrival(self, name: str, stanzaId: str) -> Request:
        """
        The call with the stanza of this id, among presences of servers' own and what else comes.
        """
        marks = (f'"{stanzaId}"', f"'{stanzaId}'")
        return self.receiver.expect(
            lambda one: one.path == f"/{name}" and any(mark in one.body.decode() for mark in marks)
        )


class RequestsOnProsody(BadRequests, LiveCase):
    """
    Bad requests, with Prosody at the other end.
    """

    makeServer = Prosody


class RequestsOnEjabberd(BadRequests, LiveCase):
    """
    Bad requests, with ejabberd at the other end.
    """

    makeServer = Ejabberd


class StanzasOnProsody(BadStanzas, LiveCase):
    """
    Bad stanzas that come through Prosody.
    """

    makeServer = Prosody

    def testDeep(self) -> None:
        """
        Elements nested 28,000 deep end, at worst, the stream and never the bridge.

        Only here: ejabberd 23.01 itself does not survive 5,000.
        """
        alice = self.login("alice")
        for name in ("json", "xml"):
            alice.send(f"<message to='{name}-bot@{BRIDGE}'>{'<a>' * 28_000}{'</a>' * 28_000}</message>")
            alice.message(f"{name}-bot@{BRIDGE}", "after")
        self.bridge.waitFor("/readyz", 200)
        self.assertEqual(200, self.bridge.get("/rest/ping/localhost").status)
        self._assertNextArrives(alice, "json")


class StanzasOnEjabberd(BadStanzas, LiveCase):
    """
    Bad stanzas that come through ejabberd.
    """

    makeServer = Ejabberd
