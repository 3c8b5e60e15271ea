"""
C{/rest} as an XMPP user: a login of the user's own, by which stanzas go out and answers come back.
"""

from __future__ import annotations

from typing import ClassVar
from urllib.parse import quote

from tests.live.bridge import BOT, PASSWORD
from tests.live.case import BRIDGE, LiveCase
from tests.live.client import Predicate, body, condition, kind
from tests.live.ejabberd import Ejabberd
from tests.live.process import eventually
from tests.live.prosody import Prosody
from tests.live.receiver import JSON, XML
from tests.live.servers import ROOMS, passwordOf
from tests.live.users import PING, WithUsers, numbers, saying
from tests.live.web import Answer, asUser, basic

ALICE = asUser("alice")
ALICE_JID = "alice@localhost"
MUC = "http://jabber.org/protocol/muc"
ROSTER = "jabber:iq:roster"


def presence(sender: str, presenceType: str | None = None) -> Predicate:
    """
    Presence from this address.
    """
    return lambda one: (kind(one), one.get("from"), one.get("type")) == ("presence", sender, presenceType)


class AsAlice(WithUsers):
    """
    What alice does, who is the user of most of these tests.
    """

    def send(self, content: str, contentType: str = XML, auth: str = ALICE, path: str = "/rest") -> Answer:
        """
        POST as a user.
        """
        return self.bridge.post(path, content, contentType, auth=auth)


class Sending(AsAlice):
    """
    What a user sends, and from whom it comes.

    @cvar roomsAnswerLate: whether rooms are served beside the rest of the server, and may refuse a message
        after the server has taken the next stanza.
    """

    roomsAnswerLate: ClassVar[bool] = False

    def testMessage(self) -> None:
        """
        A message arrives from the user's own address with the session's resource.
        """
        bob = self.login("bob")
        answer = self.send(
            "<message type='chat' to='bob@localhost' id='u1'><body>Hello</body>"
            "<thing xmlns='urn:example:a'>1</thing></message>"
        )
        self.assertEqual((202, b""), (answer.status, answer.body), answer.text())
        message = bob.expect(saying("Hello"))
        self.assertEqual(("chat", "u1"), (message.get("type"), message.get("id")))
        self.assertEqual("1", message.findtext("{urn:example:a}thing"))
        self.assertRegex(message.get("from", ""), r"^alice@localhost/.")
        self.assertEqual(self.fullJid("alice"), message.get("from"))

    def testJSONAndText(self) -> None:
        """
        Every way to write a message that an account has, a user has too.
        """
        bob = self.login("bob")
        self.assertEqual(202, self.send('{"to": "bob@localhost", "body": "as JSON"}', JSON).status)
        path = f"/rest/message/chat/{quote(bob.jid, safe='')}"
        self.assertEqual(202, self.send("as <text>", "text/plain", path=path).status)
        for text in ("as JSON", "as <text>"):
            self.assertEqual(self.fullJid("alice"), bob.expect(saying(text)).get("from"))

    def testOrder(self) -> None:
        """
        Messages sent one after the other arrive once each, in that order.
        """
        bob = self.login("bob")
        for number in range(30):
            answer = self.send(str(number), "text/plain", path="/rest/message/chat/bob@localhost")
            self.assertEqual(202, answer.status)
        full = self.fullJid("alice")
        said = [body(bob.expect(lambda one: one.get("from") == full)) for _ in range(30)]
        self.assertEqual(list(map(str, range(30))), said)

    def testOwnAddresses(self) -> None:
        """
        C{from} may name the own account, bare or with the session's resource; the echo shows it.
        """
        bob = self.login("bob")
        full = self.fullJid("alice")
        for number, sender in enumerate((ALICE_JID, full, "ALICE@localhost")):
            with self.part(sender):
                message = f"<message to='bob@localhost' from='{sender}'><body>own {number}</body></message>"
                self.assertEqual(202, self.send(message).status)
                arrived = bob.expect(saying(f"own {number}"))
                self.assertEqual(full, arrived.get("from"))
                echoed = self.bridge.post("/rest/echo", message, XML, auth=ALICE).json()["from"]
                self.assertIn(echoed, (ALICE_JID, full))

    def testForeignAddresses(self) -> None:
        """
        C{from} may name nobody else, and no other resource: 403, which says so.
        """
        self.login("bob")
        for sender in ("bob@localhost", f"{ALICE_JID}/another", f"bot@{BRIDGE}", "localhost", BRIDGE):
            message = f"<message to='bob@localhost' from='{sender}'><body>foreign</body></message>"
            for path in ("/rest", "/rest/echo"):
                with self.part(f"{sender} at {path}"):
                    answer = self.send(message, path=path)
                    self.assertEqual(403, answer.status, answer.text())
                    said = answer.json()["error"]["text"]
                    self.assertIn("from", said)
                    self.assertIn(ALICE_JID, said)

    def testRefusedAtOnce(self) -> None:
        """
        What the server answers to a message or a presence at once comes back, as with mod_rest.
        """
        refused = {
            "<message type='chat' to='nobody@localhost' id='r1'><body>x</body></message>": "nobody@localhost",
            f"<message type='groupchat' to='none@{ROOMS}' id='r2'><body>x</body></message>": f"none@{ROOMS}",
            "<message to='elsewhere.invalid' id='r3'><body>x</body></message>": "elsewhere.invalid",
            "<presence to='elsewhere.invalid' id='r4'/>": "elsewhere.invalid",
        }
        for stanza, to in refused.items():
            with self.part(stanza):
                answer = self.send(stanza)
                if answer.status == 202 and to.endswith(ROOMS) and self.roomsAnswerLate:
                    continue
                self.assertEqual((200, JSON), (answer.status, answer.type), answer.text())
                error = answer.json()
                self.assertEqual(("error", to), (error["type"], error["from"]))
                self.assertIn(f"id='{error['id']}'", stanza)
                self.assertTrue(error["error"]["condition"])

    def testRequestToUser(self) -> None:
        """
        A request to another user's client waits for that client's answer.
        """
        bob = self.login("bob")
        query = f"<iq type='get' to='{bob.jid}'><query xmlns='urn:example:unknown'/></iq>"
        answer = self.send(query)
        self.assertEqual(200, answer.status, answer.text())
        error = answer.json()
        self.assertEqual(
            ("error", bob.jid, self.fullJid("alice")), (error["type"], error["from"], error.get("to", ""))
        )
        self.assertEqual("feature-not-implemented", error["error"]["condition"])

    def testTimeOut(self) -> None:
        """
        A request that is never answered ends after the seconds that its caller allows, and costs no login.
        """
        bob = self.login("bob")
        bob.keepSilent()
        full = self.fullJid("alice")
        query = f"<iq type='get' to='{bob.jid}'>{PING}</iq>"
        answer = self.bridge.post("/rest", query, XML, auth=ALICE, headers={"Prosody-Rest-Timeout": "1"})
        self.assertTrue(0.8 < answer.seconds < 2.5, f"answered after {answer.seconds} s")
        self.assertEqual(504, answer.status)
        self.assertEqual(full, self.fullJid("alice"))

    def testRoom(self) -> None:
        """
        A user joins a room and speaks there; what the bridge's session hears meanwhile does no harm.
        """
        bob = self.login("bob")
        room = f"hall{next(numbers)}@{ROOMS}"
        bob.send(f"<presence to='{room}/bob'><x xmlns='{MUC}'/></presence>")
        bob.expect(presence(f"{room}/bob"))
        submit = f"<query xmlns='{MUC}#owner'><x xmlns='jabber:x:data' type='submit'/></query>"
        self.assertEqual("result", bob.request(room, submit, "set").get("type"))
        joined = self.send(f"<presence to='{room}/alice'><x xmlns='{MUC}'/></presence>")
        self.assertEqual(202, joined.status, joined.text())
        bob.expect(presence(f"{room}/alice"))
        said = self.send(f"<message type='groupchat' to='{room}'><body>here I am</body></message>")
        self.assertEqual(202, said.status, said.text())
        self.assertEqual(f"{room}/alice", bob.expect(saying("here I am")).get("from"))


class OwnAccount(AsAlice):
    """
    What a user asks the own account: a stanza without C{to}.
    """

    def testPing(self) -> None:
        """
        C{GET /rest/ping/} is answered by the own account.
        """
        answer = self.bridge.get("/rest/ping/", auth=ALICE)
        self.assertEqual((200, JSON), (answer.status, answer.type), answer.text())
        result = answer.json()
        self.assertEqual(("iq", "result"), (result["kind"], result["type"]))
        self.assertEqual(ALICE_JID, result["to"].partition("/")[0])
        self.assertIn(result.get("from", ALICE_JID), (ALICE_JID, self.fullJid("alice")))

    def testRoster(self) -> None:
        """
        The roster is changed, and then shows the change.
        """
        auth = asUser(self.newUser())
        item = "<item jid='kate@localhost' name='Kate &amp; Co'><group>Friends</group></item>"
        changed = self.send(f"<iq type='set'><query xmlns='{ROSTER}'>{item}</query></iq>", auth=auth)
        self.assertEqual((200, "result"), (changed.status, changed.json()["type"]))
        asked = f"<iq type='get'><query xmlns='{ROSTER}'/></iq>"
        roster = self.bridge.post("/rest", asked, XML, XML, auth=auth)
        self.assertEqual((200, XML), (roster.status, roster.type))
        (found,) = roster.xml().iter(f"{{{ROSTER}}}item")
        self.assertEqual(("kate@localhost", "Kate & Co"), (found.get("jid"), found.get("name")))
        self.assertEqual("Friends", found.findtext(f"{{{ROSTER}}}group"))

    def testArchive(self) -> None:
        """
        C{GET /rest/archive/} brings what the user wrote and was written, and the end of the results.
        """
        name = self.newUser()
        auth, own = asUser(name), f"{name}@localhost"
        bob, kate = self.login("bob"), self.login("kate")
        self.assertEqual(202, self._say(auth, "to bob"))
        bob.expect(saying("to bob"))
        bob.message(own, "from bob")
        bob.request("localhost", PING)
        kate.message(own, "from kate")
        kate.request("localhost", PING)
        self._eventually(auth, "", ["to bob", "from bob", "from kate"])
        self._eventually(auth, "?with=bob@localhost", ["to bob", "from bob"])
        self._eventually(auth, "?with=bob@localhost&max=1&before=", ["from bob"])
        self._eventually(auth, "?max=2&start=2020-01-01T00:00:00Z", ["to bob", "from bob"])
        *results, end = self.bridge.get("/rest/archive/?with=bob@localhost", auth=auth).json()["xmpp"]
        forwarded = [result["archive"]["forward"]["message"] for result in results]
        bares = [(one["from"].partition("/")[0], one["to"].partition("/")[0]) for one in forwarded]
        self.assertEqual([(own, "bob@localhost"), ("bob@localhost", own)], bares)
        ids = [result["archive"]["id"] for result in results]
        page = end["result"]["page"]
        self.assertEqual(("iq", "result"), (end["kind"], end["type"]))
        self.assertEqual((ids[0], ids[-1]), (page["first"], page["last"]))

    def testEmptyArchive(self) -> None:
        """
        An empty archive has the form of a full one.
        """
        answer = self.bridge.get("/rest/archive/", auth=asUser(self.newUser()))
        self.assertEqual(200, answer.status, answer.text())
        self.assertEqual([("iq", "result")], [(one["kind"], one["type"]) for one in answer.json()["xmpp"]])

    def testMessageToOneself(self) -> None:
        """
        A message to nobody is for the own account: the user's other client gets it.
        """
        alice = self.login("alice")
        answer = self.send('{"kind": "message", "type": "chat", "body": "to myself"}', JSON)
        self.assertEqual(202, answer.status, answer.text())
        alice.expect(saying("to myself"))

    def _say(self, auth: str, text: str) -> int:
        """
        To bob.
        """
        return self.send(text, "text/plain", auth, "/rest/message/chat/bob@localhost").status

    def _eventually(self, auth: str, parameters: str, texts: list[str]) -> None:
        """
        The archive holds these, as soon as the server has come to it.
        """

        def found() -> bool:
            answer = self.bridge.get(f"/rest/archive/{parameters}", auth=auth)
            self.assertEqual((200, JSON), (answer.status, answer.type), answer.text())
            *results, _ = answer.json()["xmpp"]
            said = [result["archive"]["forward"]["message"].get("body") for result in results]
            return said == texts

        with self.part(f"archive {parameters}"):
            eventually(found, f"the archive to hold {texts}")


class Discretion(AsAlice):
    """
    A session of the bridge is in nobody's way.
    """

    def testOtherClients(self) -> None:
        """
        What is sent to a user's bare address reaches the user's own client, not the bridge's session.
        """
        alice, bob = self.login("alice"), self.login("bob")
        self.fullJid("alice")
        for messageType in ("chat", "normal", "headline"):
            for number in range(3):
                bob.message(ALICE_JID, f"{messageType} {number}", messageType)
                alice.expect(saying(f"{messageType} {number}"))

    def testOffline(self) -> None:
        """
        What is sent to a user who has no client of their own waits for one, as without the bridge.
        """
        name = self.newUser()
        before, after = f"before {name}", f"after {name}"
        bob = self.login("bob")
        bob.message(f"{name}@localhost", before)
        self.fullJid(name)
        bob.message(f"{name}@localhost", after)
        bob.request("localhost", PING)
        self.assertEqual([], bob.mailbox.all(lambda one: one.get("type") == "error"))
        client = self.login(name)
        for text in (before, after):
            client.expect(saying(text))

    def testInvisible(self) -> None:
        """
        Contacts see the user's own clients come and go, and never the bridge's session.
        """
        user, contact = self.newUser(), self.newUser()
        seen = self.login(contact)
        client = self.login(user)
        # slixmpp grants what is asked for.
        seen.send(f"<presence type='subscribe' to='{user}@localhost'/>")
        seen.expect(presence(client.jid))
        full = self.fullJid(user)
        self.send(f"<message to='{seen.jid}'><body>hello</body></message>", auth=asUser(user))
        self.assertEqual(full, seen.expect(saying("hello")).get("from"))
        again = self.login(contact, "tablet")
        again.expect(presence(client.jid))
        client.send("<presence type='unavailable'/>")
        for watcher in (seen, again):
            watcher.expect(presence(client.jid, "unavailable"))
            watcher.request("localhost", PING)
            self.assertEqual([], watcher.mailbox.all(lambda one: one.get("from") == full))

    def testRequests(self) -> None:
        """
        A request to the bridge's session is answered at once: nothing is served there. The session stays.
        """
        bob = self.login("bob")
        self.assertEqual(202, self.send("<message to='bob@localhost'><body>me</body></message>").status)
        full = bob.expect(saying("me")).get("from", "")
        logins = self.server.logins("alice")
        for iqType in ("get", "set"):
            for payload in ("<query xmlns='urn:example:unknown'/>", PING, f"<query xmlns='{ROSTER}'/>"):
                with self.part(f"{iqType} {payload}"):
                    answer = bob.request(full, payload, iqType, timeout=3)
                    self.assertEqual(full, answer.get("from"))
                    self.assertEqual(("cancel", "service-unavailable"), condition(answer))
        self.assertEqual((full, logins), (self.fullJid("alice"), self.server.logins("alice")))

    def testUnasked(self) -> None:
        """
        What comes for the session and nobody waits for is dropped without harm.
        """
        bob = self.login("bob")
        full = self.fullJid("alice")
        for stanza in (
            f"<message type='chat' to='{full}'><body>hello?</body></message>",
            f"<message type='groupchat' to='{full}'><body>hello?</body></message>",
            f"<message type='error' to='{full}'><error type='cancel'/></message>",
            f"<presence to='{full}'/>",
            f"<presence type='subscribe' to='{full}'/>",
            f"<iq type='result' id='unasked' to='{full}'/>",
            f"<iq type='error' id='unasked' to='{full}'><error type='cancel'/></iq>",
        ):
            bob.send(stanza)
        bob.request(full, PING)
        self.assertEqual(full, self.fullJid("alice"))


class Company(AsAlice):
    """
    Users beside the accounts of a component, and without them.
    """

    def testAccountsToo(self) -> None:
        """
        The accounts of the component work as ever, each sender under an address of their own.
        """
        bob = self.login("bob")
        for auth, sender in ((BOT, f"bot@{BRIDGE}"), (ALICE, self.fullJid("alice"))):
            with self.part(sender):
                result = self.bridge.get("/rest/ping/localhost", auth=auth).json()
                self.assertEqual(("result", sender), (result["type"], result["to"]))
                message = f"<message to='bob@localhost'><body>from {sender}</body></message>"
                self.assertEqual(202, self.send(message, auth=auth).status)
                self.assertEqual(sender, bob.expect(saying(f"from {sender}")).get("from"))
        self.assertAttached()

    def testCredentials(self) -> None:
        """
        An account's credentials open no user's session, a user's no account's, nor another user's.
        """
        wrong = {
            "alice without her domain": basic("alice", passwordOf("alice")),
            "alice with bob's password": asUser("alice", passwordOf("bob")),
            "alice without a password": asUser("alice", ""),
            "an account at the users' domain": basic("bot@localhost", PASSWORD),
            "alice at the component": basic(f"alice@{BRIDGE}", passwordOf("alice")),
            "nobody": asUser("nobody"),
            "a domain that isn't served": basic("alice@elsewhere.invalid", passwordOf("alice")),
            "the domain alone": basic("localhost", passwordOf("alice")),
            "no address": basic("alice@@localhost", passwordOf("alice")),
        }
        for name, auth in wrong.items():
            with self.part(name):
                answer = self.bridge.get("/rest/ping/localhost", auth=auth)
                self.assertEqual((403, "error"), (answer.status, answer.json()["type"]))

    def testUsersAlone(self) -> None:
        """
        Without a component the bridge is ready at once, serves users, and knows no account.
        """
        bridge = self.usersBridge()
        self.assertEqual(200, bridge.get("/readyz", auth=None).status)
        self.assertEqual(403, bridge.get("/rest/ping/localhost").status)
        self.assertEqual(401, bridge.get("/rest/ping/localhost", auth=None).status)
        bob = self.login("bob")
        alone = "/rest/message/chat/bob@localhost"
        self.assertEqual(202, bridge.post(alone, "alone", "text/plain", auth=ALICE).status)
        message = bob.expect(saying("alone"))
        self.assertEqual(ALICE_JID, message.get("from", "").partition("/")[0])
        self.assertEqual("result", bridge.get("/rest/ping/localhost", auth=ALICE).json()["type"])


class OnProsody(Sending, OwnAccount, Discretion, Company, LiveCase):
    """
    Users of Prosody.
    """

    makeServer = Prosody


class OnEjabberd(Sending, OwnAccount, Discretion, Company, LiveCase):
    """
    Users of ejabberd.
    """

    makeServer = Ejabberd
    roomsAnswerLate = True
