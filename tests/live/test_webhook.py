"""
Webhooks on real servers: a user's stanza becomes a POST, and its answer becomes a stanza to the user.

Who is written to decides the callback: C{xml-bot@bridge.localhost} is served as XML, C{json-bot@…} as JSON,
and so on.
"""

from __future__ import annotations

import json
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from xml.etree.ElementTree import Element

from tests.live.case import BRIDGE, LiveCase, Promises
from tests.live.client import Client, body, condition, kind, parse
from tests.live.ejabberd import Ejabberd
from tests.live.process import LOOPBACK, eventually, freePorts
from tests.live.prosody import Prosody
from tests.live.receiver import JSON, XML, Receiver, Reply, Request

TEMPLATE = "/{kind}/{type}?to={to}&from={from}"
PING = "<ping xmlns='urn:xmpp:ping'/>"
TEXT = "h\u00ebllo <b>&amp;</b> ]]> \U0001f642\nsecond line"


class Webhooks(Promises):
    """
    What webhooks promise.
    """

    @classmethod
    def callbacks(cls, receiver: Receiver) -> list[dict[str, Any]]:
        """
        One callback for each manner of being called.
        """
        receiver.answerProbe("/probed", JSON)
        (closed,) = freePorts(1)
        urls: dict[str, dict[str, Any]] = {
            "xml": {"url": receiver.url("/xml" + TEMPLATE), "format": XML},
            "json": {"url": receiver.url("/json" + TEMPLATE), "format": "json"},
            "probed": {"url": receiver.url("/probed")},
            "plain": {"url": receiver.url("/plain"), "stanzas": ["message"], "events": ["bare"]},
            "refused": {"url": f"http://{LOOPBACK}:{closed}/"},
            "slow": {"url": receiver.url("/slow"), "timeout": 1},
        }
        return [{**callback, "to": [f"{name}-*@{BRIDGE}"]} for name, callback in urls.items()]

    def testMessageAsXML(self) -> None:
        """
        A message reaches the webhook as XML, and the webhook's answer in XML reaches the sender, swapped
        around.
        """
        self.receiver.answer("/xml", Reply(200, XML, "<message><body>Yes, this is bot</body></message>"))
        alice = self.login("alice")
        sent = alice.message(f"xml-bot@{BRIDGE}", TEXT)
        request = self._called("/xml/message")
        self.assertEqual(XML, request.headers["content-type"].partition(";")[0])
        stanza = parse(request.body)
        self.assertEqual((TEXT, "chat", sent), (body(stanza), stanza.get("type"), stanza.get("id")))
        self.assertEqual((alice.jid, f"xml-bot@{BRIDGE}"), (stanza.get("from"), stanza.get("to")))
        self._assertReply(alice, f"xml-bot@{BRIDGE}", "Yes, this is bot")

    def testMessageAsJSON(self) -> None:
        """
        A message reaches the webhook as JSON, and the webhook's answer in JSON reaches the sender.
        """
        self.receiver.answer("/json", Reply(200, JSON, json.dumps({"body": TEXT})))
        alice = self.login("alice")
        sent = alice.message(f"json-bot@{BRIDGE}", TEXT)
        request = self._called("/json/message")
        self.assertEqual(JSON, request.headers["content-type"].partition(";")[0])
        stanza = json.loads(request.body)
        expected = {"kind": "message", "type": "chat", "id": sent, "body": TEXT, "from": alice.jid}
        self.assertLessEqual({**expected, "to": f"json-bot@{BRIDGE}"}.items(), stanza.items())
        self._assertReply(alice, f"json-bot@{BRIDGE}", TEXT)

    def testAccepted(self) -> None:
        """
        202 and 204 take a message without a word to its sender.
        """
        alice = self.login("alice")
        for status in (202, 204):
            self.receiver.answer("/json", Reply(status))
            alice.message(f"json-bot@{BRIDGE}", str(status))
            self._called("/json/message")
        alice.request(BRIDGE, PING)
        self.assertEqual([], alice.mailbox.all(lambda one: kind(one) == "message"))

    def testToWhomItIsDue(self) -> None:
        """
        The webhook's answer goes to the user whom it answers, and to no other.
        """
        self.receiver.answer(
            "/json", lambda request: Reply(200, JSON, json.dumps({"body": self._sender(request)}))
        )
        alice, bob = self.login("alice"), self.login("bob")
        for user in (alice, bob):
            user.message(f"json-bot@{BRIDGE}", "who am I?")
        for user in (alice, bob):
            self._assertReply(user, f"json-bot@{BRIDGE}", user.jid)

    def testRequestAnswered(self) -> None:
        """
        A user's request is answered by the webhook, with the id and the addresses that the user waits for.
        """
        payload = "<iq type='result'><answer xmlns='urn:example:a'>42</answer></iq>"
        self.receiver.answer("/xml", Reply(200, XML, payload))
        answer = self.login("alice").request(f"xml-bot@{BRIDGE}", "<question xmlns='urn:example:a'/>")
        self.assertEqual(("result", f"xml-bot@{BRIDGE}"), (answer.get("type"), answer.get("from")))
        self.assertEqual("42", answer.findtext("{urn:example:a}answer"))

    def testRequestAnsweredInJSON(self) -> None:
        """
        A request that JSON has a word for is answered in JSON.
        """
        self.receiver.answer("/json", Reply(200, JSON, '{"version": {"name": "Bot", "version": "1"}}'))
        answer = self.login("alice").request(f"json-bot@{BRIDGE}", "<query xmlns='jabber:iq:version'/>")
        stanza = json.loads(self._called("/json/iq").body)
        self.assertEqual(("iq", "get"), (stanza["kind"], stanza["type"]))
        self.assertEqual("Bot", answer.findtext("{jabber:iq:version}query/{jabber:iq:version}name"))

    def testStatusBecomesError(self) -> None:
        """
        A status of 4xx or 5xx becomes the stanza error of mod_rest's table, for messages and for requests.
        """
        table = {
            400: ("modify", "bad-request"),
            403: ("auth", "forbidden"),
            404: ("cancel", "item-not-found"),
            429: ("wait", "resource-constraint"),
            500: ("wait", "internal-server-error"),
            503: ("cancel", "service-unavailable"),
        }
        alice = self.login("alice")
        for status, expected in table.items():
            with self.part(str(status)):
                self.receiver.answer("/json", Reply(status))
                self.assertEqual(expected, condition(self._bounced(alice, f"json-bot@{BRIDGE}")))
                self.assertEqual(expected, condition(alice.request(f"json-bot@{BRIDGE}", PING)))

    def testRefused(self) -> None:
        """
        A webhook that can't be reached makes the sender wait: C{recipient-unavailable}, not a permanent
        error.
        """
        alice = self.login("alice")
        expected = ("wait", "recipient-unavailable")
        self.assertEqual(expected, condition(self._bounced(alice, f"refused-bot@{BRIDGE}")))
        self.assertEqual(expected, condition(alice.request(f"refused-bot@{BRIDGE}", PING)))

    def testNeverAnswers(self) -> None:
        """
        A webhook that takes longer than its time-out makes the sender wait; it is called once, and holds up
        nobody.
        """
        self.receiver.answer("/slow", Reply(200, JSON, "{}", delay=5))
        self.receiver.answer("/json", Reply(200, JSON, '{"body": "quick"}'))
        alice = self.login("alice")
        sent = alice.message(f"slow-bot@{BRIDGE}", "hello?")
        self._called("/slow")
        alice.message(f"json-bot@{BRIDGE}", "hello")
        self._assertReply(alice, f"json-bot@{BRIDGE}", "quick")
        error = alice.expect(_errorTo(sent), 4)
        self.assertEqual("wait", condition(error)[0])
        self.assertEqual([], self.receiver.requests.all(lambda one: one.path == "/slow"))

    def testURLTemplate(self) -> None:
        """
        The URL's variables are filled in percent-encoded, whatever characters an address has.
        """
        alice = self.login("alice", "ph\u00f6ne /?&=#%41+")
        alice.message(f"xml-b+o%t#@{BRIDGE}/a=b&c", "hi", "normal")
        request = self._called("/xml/")
        self.assertEqual("/xml/message/normal", urlsplit(request.path).path)
        self.assertNotIn("@", request.path)
        query = dict(parse_qsl(urlsplit(request.path).query, strict_parsing=True))
        self.assertEqual({"to": f"xml-b+o%t#@{BRIDGE}/a=b&c", "from": alice.jid}, query)

    def testProbe(self) -> None:
        """
        Without a configured format the answer to an OPTIONS probe at the start decides; XML where it says
        nothing.
        """
        for path in ("/probed", "/plain"):
            eventually(partial(self._probes, path), f"a probe of {path}")
        alice = self.login("alice")
        alice.message(f"probed-bot@{BRIDGE}", "hi")
        self.assertEqual("hi", json.loads(self._called("/probed").body)["body"])
        alice.message(f"plain-bot@{BRIDGE}", "hi")
        self.assertEqual("hi", body(parse(self._called("/plain").body)))

    def testFilters(self) -> None:
        """
        A callback gets the kinds of stanzas and the forms of addresses that it asked for, and nothing else.
        """
        alice = self.login("alice")
        answer = alice.request(f"plain-bot@{BRIDGE}", "<query xmlns='urn:example:unknown'/>", timeout=3)
        self.assertEqual(("cancel", "service-unavailable"), condition(answer))
        alice.message(f"plain-bot@{BRIDGE}/resource", "to a full address")
        alice.message(f"plain-bot@{BRIDGE}", "to a bare address")
        self.assertEqual("to a bare address", body(parse(self._called("/plain").body)))

    def testPresence(self) -> None:
        """
        A presence reaches the webhook.
        """
        alice = self.login("alice")
        alice.send(f"<presence to='json-bot@{BRIDGE}'><show>dnd</show><status>busy</status></presence>")
        stanza = json.loads(self._called("/json/presence").body)
        self.assertEqual(
            ("presence", "dnd", "busy"), tuple(stanza[key] for key in ("kind", "show", "status"))
        )

    def testClosedWhenIdle(self) -> None:
        """
        A call over a kept-alive connection that the webhook closed in that moment is made again, and arrives
        once.
        """
        alice = self.login("alice")
        alice.message(f"json-bot@{BRIDGE}", "first")
        first = self._called("/json")
        self.receiver.hangUpOnReuse.set()
        for number in range(5):
            with self.part(str(number)):
                alice.message(f"json-bot@{BRIDGE}", f"message {number}")
                request = self._called("/json")
                self.assertEqual(f"message {number}", json.loads(request.body)["body"])
                self.assertNotEqual(first.connection, request.connection)
        alice.request(BRIDGE, PING)
        self.assertEqual([], self.receiver.requests.all(lambda one: True))
        self.assertEqual([], alice.mailbox.all(lambda one: kind(one) == "message"))
        self.assertTrue(self.receiver.hungUp.acquire(timeout=1), "no connection was ever used again")

    def testManyAtOnce(self) -> None:
        """
        Every message of users who write at the same time is answered, once.
        """
        self.receiver.answer(
            "/json", lambda request: Reply(200, JSON, json.dumps({"body": self._text(request)}))
        )
        users = [self.login("alice"), self.login("bob")]
        for number in range(20):
            for user in users:
                user.message(f"json-bot@{BRIDGE}", str(number))
        for user in users:
            answers = [body(user.expect(lambda one: kind(one) == "message")) for _ in range(20)]
            self.assertEqual(sorted(map(str, range(20))), sorted(map(str, answers)))

    def _called(self, prefix: str) -> Request:
        """
        The next call whose path starts so.
        """
        return self.receiver.expect(lambda one: one.method == "POST" and one.path.startswith(prefix))

    def _probes(self, path: str) -> list[Request]:
        return self.receiver.probes.all(lambda one: one.path == path)

    def _assertReply(self, client: Client, sender: str, text: str) -> None:
        """
        A message with this text comes from this address.
        """
        message = client.expect(lambda one: kind(one) == "message")
        self.assertEqual((sender, text), (message.get("from"), body(message)))
        self.assertEqual(client.jid, message.get("to"))

    def _bounced(self, client: Client, to: str) -> Element:
        """
        The error that a message to this address comes back as.
        """
        return client.expect(_errorTo(client.message(to, "anyone there?")))

    def _sender(self, request: Request) -> str:
        return str(json.loads(request.body)["from"])

    def _text(self, request: Request) -> str:
        return str(json.loads(request.body)["body"])


def _errorTo(sent: str) -> Any:
    """
    A message of type error with this id.
    """
    return lambda one: kind(one) == "message" and one.get("type") == "error" and one.get("id") == sent


class OnProsody(Webhooks, LiveCase):
    """
    Webhooks on Prosody.
    """

    makeServer = Prosody


class OnEjabberd(Webhooks, LiveCase):
    """
    Webhooks on ejabberd.
    """

    makeServer = Ejabberd
