"""
The webhook exchanges that were recorded with mod_rest, repeated by a real client, a bridge and a receiver
that answers as it did then. L{tests.live.exchanges} says what is promised.
"""

from __future__ import annotations

import copy
import json
from functools import partial
from typing import Any, ClassVar
from xml.etree.ElementTree import Element, tostring

from tests.live.bridge import componentTable
from tests.live.case import LiveCase, Promises
from tests.live.client import Client, parse
from tests.live.ejabberd import Ejabberd
from tests.live.exchanges import Exchange, exchanges, probes
from tests.live.process import eventually
from tests.live.prosody import Prosody
from tests.live.receiver import JSON, Reply, Request

PING = "<ping xmlns='urn:xmpp:ping'/>"
LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"

ARCHIVED = ("{urn:xmpp:sid:0}stanza-id", "{urn:xmpp:mam:tmp}archived")
"""What an archive adds to the messages that it keeps."""


class Recorded(Promises):
    """
    What a callback of mod_rest may rely on.

    @cvar addedThere: JSON keys of what the recorded server added to a user's stanza, and this one doesn't.
    """

    needsBridge = False
    addedThere: ClassVar[frozenset[str]] = frozenset()

    def testJSON(self) -> None:
        """
        A callback with a configured format gets every recorded stanza as it did, and its answers reach the
        user as they did.
        """
        self._repeat("bridge.localhost", {"url": self.receiver.url("/stanzas"), "format": JSON})

    def testProbed(self) -> None:
        """
        So does a callback that asks for JSON in its answer to the probe.
        """
        self.receiver.answerProbe("/probe", JSON)
        self._repeat("probe.localhost", {"url": self.receiver.url("/probe")})

    def testXML(self) -> None:
        """
        So does a callback that asks for nothing, and is called by a URL with variables.
        """
        url = self.receiver.url("/t/{kind}/{type}?to={to}&from={from}")
        self._repeat("bridge2.localhost", {"url": url})

    def _repeat(self, domain: str, callback: dict[str, Any]) -> None:
        """
        Repeat the exchanges of one component.
        """
        barrier = {"url": self.receiver.url("/barrier"), "format": JSON, "to": [f"barrier@{domain}"]}
        component = componentTable(self.server.componentPort(domain), domain)
        self.startBridge(component, callbacks=[barrier, callback])
        alice = self.login("alice", "rec")
        self._assertProbed(domain)
        recorded = exchanges()
        self.assertEqual(116, len(recorded))
        for exchange in recorded:
            if exchange.component == domain:
                with self.part(exchange.name):
                    self._exchange(alice, exchange)

    def _assertProbed(self, domain: str) -> None:
        """
        The callback was probed as mod_rest does.
        """
        paths = {"bridge": "/stanzas", "probe": "/probe", "bridge2": "/t/"}
        begins = paths[domain.partition(".")[0]]
        (recorded,) = (probe for probe in probes() if probe["uri"].startswith(begins))
        eventually(lambda: self.receiver.probes.all(lambda one: one.path.startswith(begins)), "a probe")
        made = self.receiver.probes.expect(lambda one: one.path.startswith(begins))
        self.assertEqual((recorded["uri"], recorded["body"]), (made.path, made.body.decode()))

    def _exchange(self, alice: Client, exchange: Exchange) -> None:
        """
        Repeat one exchange.
        """
        self.receiver.clear()
        self.receiver.answer("/", lambda one: exchange.reply if exchange.isCalledBy(one.body) else Reply())
        alice.mailbox.clear()
        alice.send(exchange.sent)
        self._assertCalled(self.receiver.expect(lambda one: exchange.isCalledBy(one.body)), exchange)
        if exchange.bounced:
            bounce = json.loads(self.receiver.expect(lambda one: b"error" in one.body).body)
            self.assertEqual(("message", "error"), (bounce["kind"], bounce["type"]))
        self._assertBack(alice, exchange)
        # A subscription is carried on by the server and by slixmpp, with presences of their own.
        more = self.receiver.requests.all(lambda one: one.path != "/barrier" and b"presence" not in one.body)
        self.assertEqual([], [*more, *self.receiver.requests.all(lambda one: exchange.isCalledBy(one.body))])

    def _assertCalled(self, request: Request, exchange: Exchange) -> None:
        """
        The callback is called as mod_rest calls it.
        """
        recorded = exchange.called
        self.assertEqual((recorded["method"], recorded["uri"]), (request.method, request.path))
        for header in ("content-type", "content-language"):
            self.assertEqual(recorded["headers"][header], request.headers.get(header), header)
        accepted = request.headers["accept"].split(", ")
        theirs = recorded["headers"]["accept"].split(", ")
        self.assertEqual(theirs, [each for each in accepted if each in theirs])
        if recorded["headers"]["content-type"] == JSON:
            expected = json.loads(recorded["body"])
            for key in self.addedThere:
                expected.pop(key, None)
            self.assertEqual(expected, json.loads(request.body))
        else:
            self.assertEqual(_tree(parse(recorded["body"])), _tree(parse(request.body)))

    def _assertBack(self, alice: Client, exchange: Exchange) -> None:
        """
        What comes back to the user is what is promised, with the id of the request or a fresh one.
        """
        expected = None if exchange.bounced else exchange.expected
        fits = partial(_isFrom, exchange.component)
        if expected is not None:
            self._assertAnswers(exchange, expected, alice.mailbox.expect(fits))
        for _ in range(2):
            # Behind these there is nothing more on its way back, unless the receiver was held up.
            alice.request(f"barrier@{exchange.component}", PING)
        self.assertEqual([], [tostring(stanza, "unicode") for stanza in alice.mailbox.all(fits)])

    def _assertAnswers(self, exchange: Exchange, expected: Element, back: Element) -> None:
        """
        A stanza is what was to come back.
        """
        asked, wanted, given = (each.get("id") for each in (exchange.stanza, expected, back))
        if wanted == asked:
            self.assertEqual(asked, given)
        else:
            self.assertNotIn(given, (None, "", asked))
        if "/" not in expected.attrib["to"]:
            # A server may write down which of the user's clients it chose.
            back.set("to", back.attrib["to"].partition("/")[0])
        self.assertEqual(_tree(_delivered(expected)), _tree(_delivered(back)))


def _isFrom(domain: str, stanza: Element) -> bool:
    """
    Whether it comes from an address under test.
    """
    bare = stanza.get("from", "").partition("/")[0]
    return bare.rpartition("@")[2] == domain and not bare.startswith("barrier@")


def _delivered(stanza: Element) -> Element:
    """
    Without its id, and without what servers add on the way to the user.
    """
    bare = copy.deepcopy(stanza)
    for attribute in ("id", LANGUAGE):
        bare.attrib.pop(attribute, None)
    for child in [child for child in bare if child.tag in ARCHIVED]:
        bare.remove(child)
    return bare


def _tree(element: Element) -> Any:
    """
    An element, for comparison; what siblings are in which order means nothing.
    """
    children = sorted((_tree(child) for child in element), key=repr)
    return element.tag, sorted(element.attrib.items()), (element.text or "").strip(), children


class OnProsody(Recorded, LiveCase):
    """
    The recorded exchanges on the server that they were recorded with.
    """

    makeServer = Prosody


class OnEjabberd(Recorded, LiveCase):
    """
    The recorded exchanges on ejabberd, which adds no avatar's hash to a presence.
    """

    makeServer = Ejabberd
    addedThere = frozenset(("vcard_update",))
