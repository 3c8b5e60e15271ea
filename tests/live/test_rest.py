"""
C{/rest} on real servers: a request over HTTP becomes a stanza, and the answer comes back.
"""

from __future__ import annotations

import http.client
from urllib.parse import quote, urlencode
from xml.etree.ElementTree import Element

from tests.live.bridge import BEARER, BOT, PASSWORD
from tests.live.case import BRIDGE, LiveCase, Promises
from tests.live.client import CLIENT, Client, body, condition, kind
from tests.live.ejabberd import Ejabberd
from tests.live.process import LOOPBACK
from tests.live.prosody import Prosody
from tests.live.receiver import JSON, XML
from tests.live.web import Answer, askOver, basic

BOT_JID = f"bot@{BRIDGE}"
DISCO = "http://jabber.org/protocol/disco#info"
VERSION = "jabber:iq:version"
TEXT = "h\u00ebllo <b>&amp;</b> ]]> \"x\" 'y' \U0001f642\nsecond line\ttab"


def isMessage(stanza: Element) -> bool:
    """
    A message with a text.
    """
    return kind(stanza) == "message" and body(stanza) is not None


class Requests(Promises):
    """
    What C{/rest} promises its callers.
    """

    def testPing(self) -> None:
        """
        C{GET /rest/ping/localhost} is answered with the server's result.
        """
        answer = self.bridge.get("/rest/ping/localhost")
        self.assertEqual((200, JSON), (answer.status, answer.type))
        result = answer.json()
        self.assertEqual(("iq", "result", "localhost"), (result["kind"], result["type"], result["from"]))
        self.assertEqual(BOT_JID, result["to"])

    def testPingAsXML(self) -> None:
        """
        The answer comes as XML to who prefers that.
        """
        answer = self.bridge.get("/rest/ping/localhost", accept=XML)
        self.assertEqual((200, XML), (answer.status, answer.type))
        result = answer.xml()
        self.assertEqual(
            ("iq", "result", "localhost"), (kind(result), result.get("type"), result.get("from"))
        )

    def testCredentials(self) -> None:
        """
        A bearer token opens what the password opens, and so does the account's whole address.
        """
        for auth in (BEARER, basic(BOT_JID, PASSWORD)):
            self.assertEqual(200, self.bridge.get("/rest/ping/localhost", auth=auth).status)

    def testQueries(self) -> None:
        """
        C{disco}, C{items} and C{version} of the server arrive as the JSON that mod_rest makes of them.
        """
        disco = self.bridge.get("/rest/disco/localhost").json()["disco"]
        self.assertIn("urn:xmpp:ping", disco["features"])
        self.assertIn(("server", "im"), [(one["category"], one["type"]) for one in disco["identities"]])
        items = self.bridge.get("/rest/items/localhost").json()["items"]
        self.assertIn("conference.localhost", [item["jid"] for item in items])
        version = self.bridge.get("/rest/version/localhost").json()["version"]
        self.assertEqual(self.server.name, version["name"].lower())

    def testMessageAsXML(self) -> None:
        """
        A message posted as XML reaches the user who is logged in, its payload untouched.
        """
        alice = self.login("alice")
        answer = self._post(
            f"<message type='chat' to='{alice.jid}' id='x1'><body>Hello</body>"
            "<thing xmlns='urn:example:a'>1</thing></message>",
            XML,
        )
        self.assertEqual((202, b""), (answer.status, answer.body))
        message = alice.expect(isMessage)
        self.assertEqual(
            ("Hello", "chat", BOT_JID, "x1"),
            (body(message), message.get("type"), message.get("from"), message.get("id")),
        )
        self.assertEqual("1", message.findtext("{urn:example:a}thing"))

    def testMessageAsJSON(self) -> None:
        """
        A message posted as JSON reaches the user, with all of its fields.
        """
        alice = self.login("alice")
        answer = self.bridge.post(
            "/rest",
            '{"kind": "message", "type": "normal", "to": "alice@localhost", "id": "j1", "subject": "About",'
            ' "body": "Hello", "state": "active", "oob_url": "https://example.com/a.png"}',
        )
        self.assertEqual(202, answer.status)
        message = alice.expect(isMessage)
        self.assertEqual(("Hello", BOT_JID, "j1"), (body(message), message.get("from"), message.get("id")))
        self.assertEqual("About", message.findtext(f"{CLIENT}subject"))
        self.assertIsNotNone(message.find("{http://jabber.org/protocol/chatstates}active"))
        self.assertEqual("https://example.com/a.png", message.findtext("{jabber:x:oob}x/{jabber:x:oob}url"))

    def testMessageAsForm(self) -> None:
        """
        A message posted as a form reaches the user.
        """
        alice = self.login("alice")
        form = urlencode({"kind": "message", "type": "chat", "to": "alice@localhost", "body": TEXT})
        answer = self.bridge.post("/rest", form, "application/x-www-form-urlencoded")
        self.assertEqual(202, answer.status)
        self.assertEqual((TEXT, "chat"), self._got(alice))

    def testMessageAsText(self) -> None:
        """
        A text posted to a path that says the rest reaches the user, every character of it.
        """
        alice = self.login("alice", "a phone/\u00fc?")
        to = quote(alice.jid, safe="")
        answer = self.bridge.post(f"/rest/message/chat/{to}", TEXT, "text/plain; charset=utf-8")
        self.assertEqual(202, answer.status)
        self.assertEqual((TEXT, "chat"), self._got(alice))

    def testOrder(self) -> None:
        """
        Messages posted one after the other over one connection arrive once each, in that order.
        """
        alice = self.login("alice")
        connection = http.client.HTTPConnection(LOOPBACK, self.bridge.port, timeout=10)
        self.addCleanup(connection.close)
        headers = {"Content-Type": "text/plain", "Authorization": BOT}
        for number in range(30):
            answer = askOver(
                connection, "POST", "/rest/message/chat/alice@localhost", b"%d" % number, headers
            )
            self.assertEqual(202, answer.status)
        self.assertEqual(list(map(str, range(30))), [body(alice.expect(isMessage)) for _ in range(30)])
        self.assertEqual([], alice.mailbox.all(isMessage))

    def testPresence(self) -> None:
        """
        A presence goes out too, and is not answered.
        """
        alice = self.login("alice")
        answer = self.bridge.post(
            "/rest", f'{{"kind": "presence", "to": "{alice.jid}", "show": "away", "status": "lunch"}}'
        )
        self.assertEqual(202, answer.status)
        presence = alice.expect(lambda one: kind(one) == "presence" and one.get("from") == BOT_JID)
        self.assertEqual("away", presence.findtext(f"{CLIENT}show"))

    def testRequestToUser(self) -> None:
        """
        A request to a user's client waits for that client's answer: here an error, which is an answer too.
        """
        alice = self.login("alice")
        query = f"<iq type='get' to='{alice.jid}'><query xmlns='urn:example:unknown'/></iq>"
        answer = self._post(query, XML)
        self.assertEqual(200, answer.status)
        self.assertEqual(("error", ("cancel", "feature-not-implemented")), self._error(answer))

    def testTimeOut(self) -> None:
        """
        A request that is never answered ends after the seconds that its caller allows.
        """
        silent = self.server.attach("bridge2.localhost")
        self.addCleanup(silent.close)
        answer = self.bridge.post(
            "/rest",
            '{"kind": "iq", "type": "get", "ping": true, "to": "bridge2.localhost"}',
            headers={"Prosody-Rest-Timeout": "1"},
        )
        self.assertTrue(0.8 < answer.seconds < 2.5, f"answered after {answer.seconds} s")
        self.assertIn("remote-server-timeout", answer.text())
        self.assertIn(answer.status, (200, 504))

    def testManyAtOnce(self) -> None:
        """
        One request that waits does not hold up another, and each gets its own answer.
        """
        silent = self.server.attach("bridge2.localhost")
        self.addCleanup(silent.close)
        waiting = http.client.HTTPConnection(LOOPBACK, self.bridge.port, timeout=10)
        self.addCleanup(waiting.close)
        headers = {"Authorization": BOT, "Accept": JSON, "Prosody-Rest-Timeout": "5"}
        waiting.request("GET", "/rest/ping/bridge2.localhost", headers=headers)
        answer = self.bridge.get("/rest/ping/localhost")
        self.assertEqual("localhost", answer.json()["from"])
        self.assertLess(answer.seconds, 2)

    def testHealth(self) -> None:
        """
        A bridge that is attached says that it is alive and ready, to anyone.
        """
        self.assertEqual(200, self.bridge.get("/healthz", auth=None).status)
        self.assertEqual(200, self.bridge.get("/readyz", auth=None).status)

    def _post(self, content: str, contentType: str) -> Answer:
        return self.bridge.post("/rest", content, contentType)

    def _got(self, client: Client) -> tuple[str | None, str | None]:
        """
        Body and type of the next message.
        """
        message = client.expect(isMessage)
        return body(message), message.get("type")

    def _error(self, answer: Answer) -> tuple[str, tuple[str, str]]:
        """
        What an error stanza in JSON says.
        """
        stanza = answer.json()
        return stanza["type"], (stanza["error"]["type"], stanza["error"]["condition"])


class Entity(Promises):
    """
    What the bridge says of itself to XMPP users, when no callback takes it.
    """

    def testDisco(self) -> None:
        """
        The component's domain answers service discovery with an identity and its features.
        """
        info = self.login("alice").request(BRIDGE, f"<query xmlns='{DISCO}'/>")
        self.assertEqual("result", info.get("type"))
        self.assertIsNotNone(info.find(f"{{{DISCO}}}query/{{{DISCO}}}identity"))
        features = [feature.get("var") for feature in info.iter(f"{{{DISCO}}}feature")]
        self.assertLessEqual({DISCO, "urn:xmpp:ping", VERSION}, set(features))

    def testVersion(self) -> None:
        """
        The component's domain tells its name and version.
        """
        version = self.login("alice").request(BRIDGE, f"<query xmlns='{VERSION}'/>")
        self.assertIn("restbridge", (version.findtext(f"{{{VERSION}}}query/{{{VERSION}}}name") or "").lower())

    def testPing(self) -> None:
        """
        The component's domain answers a ping.
        """
        answer = self.login("alice").request(BRIDGE, "<ping xmlns='urn:xmpp:ping'/>")
        self.assertEqual("result", answer.get("type"))

    def testNobody(self) -> None:
        """
        A request to an address that nobody serves gets an error at once, instead of hanging at the client.
        """
        answer = self.login("alice").request(
            f"nobody@{BRIDGE}", "<query xmlns='urn:example:unknown'/>", timeout=3
        )
        self.assertEqual(("cancel", "service-unavailable"), condition(answer))


class RequestsOnProsody(Requests, LiveCase):
    """
    C{/rest} on Prosody.
    """

    makeServer = Prosody


class RequestsOnEjabberd(Requests, LiveCase):
    """
    C{/rest} on ejabberd.
    """

    makeServer = Ejabberd


class EntityOnProsody(Entity, LiveCase):
    """
    The bridge as an entity on Prosody.
    """

    makeServer = Prosody


class EntityOnEjabberd(Entity, LiveCase):
    """
    The bridge as an entity on ejabberd.
    """

    makeServer = Ejabberd
