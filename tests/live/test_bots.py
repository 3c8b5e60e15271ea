"""
Accounts in rooms of real servers: they are there, speak and hear, and come back whatever happens.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote
from xml.etree.ElementTree import Element

from tests.live.bridge import Bridge, botTable, componentTable
from tests.live.case import LiveCase, Promises
from tests.live.client import Client, body, condition, kind
from tests.live.ejabberd import Ejabberd
from tests.live.process import eventually
from tests.live.prosody import Prosody
from tests.live.receiver import JSON, Reply
from tests.live.relay import Filter, Relay, Wiretap
from tests.live.servers import ROOMS
from tests.live.users import numbers

DOMAIN = "bridge2.localhost"
OCCUPANT = f"bot@{DOMAIN}/restbridge"
MUC = "http://jabber.org/protocol/muc"
STATUS = f"{{{MUC}#user}}x/{{{MUC}#user}}status"
STAYS = {"persistentroom": "1", "moderatedroom": "0"}
SILENCE = 60
"""Seconds after which the bridge asks a silent room."""

LONG = 45
"""Seconds in which it tries again, after the first few attempts."""


class Deafening(Relay):
    """
    A cable by which nothing comes from the server while C{deaf}.

    @ivar missed: what has not come.
    """

    deaf = False
    missed = b""

    def _fromServer(self) -> Filter:
        """
        What comes in one piece are whole stanzas.
        """

        def hear(data: bytes) -> bytes:
            if not self.deaf:
                return data
            self.missed += data
            return b""

        return hear


class Bots(Promises):
    """
    What accounts in rooms promise.
    """

    needsBridge = False

    def setUp(self) -> None:
        """
        A room of alice's, that stays while nobody is in it.
        """
        super().setUp()
        self.room = f"team{next(numbers)}@{ROOMS}"
        self.alice = self.login("alice")

    def testSpeaks(self) -> None:
        """
        What the account sends to the room is heard there, whether it names its address or not; it may also
        change the subject and speak to somebody in private.
        """
        self.make(self.room)
        bridge = self.bot()
        path = f"/rest/message/groupchat/{quote(self.room)}"
        self.assertEqual(202, bridge.post(path, '{"body": "hello all"}').status)
        self.hears("hello all")
        named = {"to": self.room, "type": "groupchat", "from": f"bot@{DOMAIN}", "body": "hello again"}
        self.assertEqual(202, bridge.post("/rest", json.dumps(named)).status)
        self.hears("hello again")
        private = {"to": f"{self.room}/alice", "type": "chat", "body": "psst"}
        self.assertEqual(202, bridge.post("/rest", json.dumps(private)).status)
        self.hears("psst", "chat")
        self.assertEqual([], self.alice.mailbox.all(lambda one: body(one) in ("hello all", "hello again")))

    def testHears(self) -> None:
        """
        What is said in the room reaches the callback once; what the account itself has said, its own presence
        and the past don't.
        """
        self.make(self.room)
        self.alice.message(self.room, "long ago", "groupchat")
        self.hears("long ago", sender="alice")
        bridge = self.bot()
        self.receiver.answer("/hook", Reply(204))
        bridge.post(f"/rest/message/groupchat/{quote(self.room)}", '{"body": "my own"}')
        self.hears("my own")
        for text in ("news", "end"):
            self.alice.message(self.room, text, "groupchat")
        news = self.called("news")
        self.assertEqual(
            (f"{self.room}/alice", OCCUPANT, "groupchat"), (news["from"], news["to"], news["type"])
        )
        self.called("end")
        rest = [json.loads(one.body) for one in self.receiver.requests.all(lambda one: True)]
        self.assertEqual([], [one for one in rest if one["kind"] == "message"])
        self.assertEqual([], [one for one in rest if one["from"] == f"{self.room}/bot"])
        self.assertIn(f"{self.room}/alice", [one["from"] for one in rest], "nobody's presence")

    def testAnswers(self) -> None:
        """
        What a callback answers is said in the room.
        """
        self.make(self.room)
        self.bot()
        self.receiver.answer("/hook/message", Reply(200, JSON, '{"type": "groupchat", "body": "pong"}'))
        self.alice.message(self.room, "ping", "groupchat")
        self.hears("pong")

    def testFaultyCallback(self) -> None:
        """
        A callback that fails, or says nothing, neither puts the account out of the room nor renames it.
        """
        self.make(self.room)
        bridge = self.bot()
        bob = self.login("bob")
        replies = (Reply(500), Reply(404), Reply(200), Reply(200, "text/html", "ok"), Reply(drop=True))
        for number, reply in enumerate(replies):
            self.receiver.answer("/hook", reply)
            self.alice.message(self.room, f"say {number}", "groupchat")
            self.alice.message(f"{self.room}/bot", f"private {number}")
            self.enter(bob, "bob")
            bob.send(f"<presence type='unavailable' to='{self.room}/bob'/>")
            for text in (f"say {number}", f"private {number}"):
                self.called(text)
            self.receiver.expect(lambda one: "/hook/presence/available" in one.path)
            self.receiver.expect(lambda one: "/hook/presence/unavailable" in one.path)
        self.receiver.answer("/hook", Reply(204))
        self.assertEqual(200, bridge.get("/rest/ping/localhost").status)
        self.assertSpeaks(bridge)
        self.assertEqual([], self.alice.mailbox.all(self.isPresence("bot", "unavailable")))
        self.assertNotIn("is not in the room", bridge.process.log())
        self.assertEqual([], self.receiver.requests.all(lambda one: "/message/error" in one.path))

    def testKicked(self) -> None:
        """
        Whoever is kicked comes back after a pause.
        """
        self.make(self.room)
        bridge = self.bot()
        self.admin("<item nick='bot' role='none'/>")
        self.alice.expect(self.isPresence("bot", "unavailable"))
        self.alice.expect(self.isPresence("bot"), 15)
        self.assertIn(f"bot@{DOMAIN} is not in the room {self.room}: it was kicked", bridge.process.log())
        self.assertSpeaks(bridge)

    def testBanned(self) -> None:
        """
        Who is banned comes when that is over.
        """
        self.make(self.room)
        self.admin(f"<item jid='bot@{DOMAIN}' affiliation='outcast'/>")
        self.refused("it is banned there")
        self.admin(f"<item jid='bot@{DOMAIN}' affiliation='none'/>")
        self.alice.expect(self.isPresence("bot"), LONG)

    def testMembersOnly(self) -> None:
        """
        Who is no member comes as soon as that has changed.
        """
        self.make(self.room, membersonly="1")
        self.refused("the room is for members alone")
        self.admin(f"<item jid='bot@{DOMAIN}' affiliation='member'/>")
        self.alice.expect(self.isPresence("bot"), LONG)

    def testPassword(self) -> None:
        """
        Who has no password comes when none is needed.
        """
        self.make(self.room, passwordprotectedroom="1", roomsecret="sesame")
        self.refused("the room asks for a password")
        self.configure(self.room, passwordprotectedroom="0", roomsecret="")
        self.alice.expect(self.isPresence("bot"), LONG)

    def testNickname(self) -> None:
        """
        Where somebody else has the nickname, the account has another one.
        """
        self.make(self.room)
        bob = self.login("bob")
        self.enter(bob, "The Bot")
        bridge = self.bot(enters=False, nickname="The Bot")
        self.alice.expect(self.isPresence("The Bot_"))
        said = f"is in the room {self.room} as The Bot_"
        eventually(lambda: said in bridge.process.log(), said)
        self.assertSpeaks(bridge)

    def testNoRoom(self) -> None:
        """
        A room that isn't there is not made; when somebody makes it, the account comes.
        """
        bridge = self.bot(enters=False)
        eventually(lambda: "there is no such room" in bridge.process.log(), "the log to say it")
        answer = self.alice.request(self.room, "<query xmlns='http://jabber.org/protocol/disco#info'/>")
        self.assertEqual("item-not-found", condition(answer)[1])
        self.make(self.room)
        self.alice.expect(self.isPresence("bot"), LONG)
        self.assertSpeaks(bridge)

    def testRestart(self) -> None:
        """
        After a restart of the server the account is there again.
        """
        self.make(self.room)
        bridge = self.bot()
        self.server.restart()
        bridge.waitFor("/readyz", 200, 40)
        eventually(lambda: bridge.process.log().count("is in the room") == 2, "the account to be back", 40)
        self.alice = self.login("alice")
        self.enter(self.alice, "alice")
        self.alice.expect(self.isPresence("bot"))
        self.assertSpeaks(bridge)

    def testCut(self) -> None:
        """
        A stream that breaks, of which rooms don't hear, costs neither the place nor the nickname.
        """
        self.make(self.room)
        relay = Relay(self.server.componentPort(DOMAIN))
        self.addCleanup(relay.close)
        bridge = self.bot(port=relay.port)
        relay.cut()
        eventually(lambda: bridge.process.log().count("is in the room") == 2, "the account to be back", 20)
        self.assertNotIn("as bot_", bridge.process.log())
        self.assertSpeaks(bridge)

    def testKilled(self) -> None:
        """
        So does the bridge itself that dies without a word.
        """
        self.make(self.room)
        bridge = self.bot()
        bridge.process.kill()
        bridge.start()
        eventually(lambda: bridge.process.log().count("is in the room") == 2, "the account to be back", 20)
        self.assertNotIn("as bot_", bridge.process.log())
        self.assertSpeaks(bridge)

    def testStopped(self) -> None:
        """
        A bridge that is stopped takes leave.
        """
        self.make(self.room)
        bridge = self.bot()
        bridge.process.stop()
        gone = self.alice.expect(self.isPresence("bot", "unavailable"), 5)
        self.assertEqual([], [one.get("code") for one in gone.findall(STATUS) if one.get("code") != "110"])

    def testForgotten(self) -> None:
        """
        A room that has put the account out, of which that didn't hear, is entered again as soon as it refuses
        a message.
        """
        bridge = self.forgotten()
        # ejabberd's rooms refuse it when the 202 is out.
        bridge.post(f"/rest/message/groupchat/{quote(self.room)}", '{"body": "lost"}')
        self.alice.expect(self.isPresence("bot"), 15)
        self.assertIn("the room doesn't know it any more", bridge.process.log())
        self.assertSpeaks(bridge)

    def testForgottenInSilence(self) -> None:
        """
        If there is no such message it is entered again after a minute's silence.
        """
        bridge = self.forgotten()
        self.alice.expect(self.isPresence("bot"), SILENCE + 30)
        self.assertIn("the room doesn't know it any more", bridge.process.log())
        self.assertSpeaks(bridge)

    def forgotten(self) -> Bridge:
        """
        A bridge whose account was put out of the room, and doesn't know it.
        """
        self.make(self.room)
        relay = Deafening(self.server.componentPort(DOMAIN))
        self.addCleanup(relay.close)
        bridge = self.bot(port=relay.port)
        relay.deaf = True
        self.admin("<item nick='bot' role='none'/>")
        self.alice.expect(self.isPresence("bot", "unavailable"))
        eventually(lambda: b"307" in relay.missed, "the account to be told")
        relay.deaf = False
        return bridge

    def refused(self, words: str) -> None:
        """
        A bridge whose account isn't let in says why, once, however often it tries.
        """
        relay = Wiretap(self.server.componentPort(DOMAIN))
        self.addCleanup(relay.close)
        bridge = self.bot(enters=False, port=relay.port)
        said = f"bot@{DOMAIN} is not in the room {self.room}: {words}"
        eventually(lambda: said in bridge.process.log(), said)
        eventually(lambda: relay.sent().count(b"maxstanzas") > 1, "another attempt", 15)
        self.assertEqual(1, bridge.process.log().count("is not in the room"))

    def bot(self, *, enters: bool = True, port: int | None = None, nickname: str = "bot") -> Bridge:
        """
        A bridge whose account is to be in the room; waits until alice sees it there, and the bridge knows it,
        if it C{enters}.
        """
        account = {**botTable(), "rooms": [self.room], "nickname": nickname}
        callback = {"url": self.receiver.url("/hook/{kind}/{type}"), "format": JSON}
        bridge = self.startBridge(
            componentTable(port or self.server.componentPort(DOMAIN), DOMAIN),
            accounts={"bot": account},
            callbacks=[callback],
        )
        if enters:
            self.alice.expect(self.isPresence("bot"))
            # The room tells alice first.
            eventually(lambda: "is in the room" in bridge.process.log(), "the bridge to be told")
        return bridge

    def make(self, room: str, **fields: str) -> None:
        """
        Have alice make the room, and be in it.
        """
        self.enter(self.alice, "alice")
        self.configure(room, **fields)

    def configure(self, room: str, **fields: str) -> None:
        """
        Configure the room, which stays while nobody is in it.
        """
        given = {f"muc#roomconfig_{name}": value for name, value in {**STAYS, **fields}.items()}
        given["FORM_TYPE"] = f"{MUC}#roomconfig"
        values = "".join(f"<field var='{var}'><value>{value}</value></field>" for var, value in given.items())
        answer = self.alice.request(
            room,
            f"<query xmlns='{MUC}#owner'><x xmlns='jabber:x:data' type='submit'>{values}</x></query>",
            "set",
        )
        self.assertEqual("result", answer.get("type"), condition(answer))

    def admin(self, item: str) -> None:
        """
        Have alice change who may do what.
        """
        answer = self.alice.request(self.room, f"<query xmlns='{MUC}#admin'>{item}</query>", "set")
        self.assertEqual("result", answer.get("type"), condition(answer))

    def enter(self, client: Client, nickname: str) -> None:
        """
        Have an ordinary client enter the room.
        """
        client.send(f"<presence to='{self.room}/{nickname}'><x xmlns='{MUC}'/></presence>")
        client.expect(self.isPresence(nickname))

    def isPresence(self, nickname: str, type_: str | None = None) -> Any:
        """
        Of somebody in the room.
        """

        def fits(one: Element) -> bool:
            return kind(one) == "presence" and (one.get("from"), one.get("type")) == (
                f"{self.room}/{nickname}",
                type_,
            )

        return fits

    def hears(self, text: str, type_: str = "groupchat", sender: str | None = None) -> Element:
        """
        Alice hears this in the room.
        """
        found = self.alice.expect(lambda one: kind(one) == "message" and body(one) == text)
        self.assertEqual(type_, found.get("type"))
        if sender is not None:
            self.assertEqual(f"{self.room}/{sender}", found.get("from"))
        return found

    def called(self, text: str) -> dict[str, Any]:
        """
        What the callback was called with for this message.
        """
        request = self.receiver.expect(lambda one: json.loads(one.body).get("body") == text)
        found: dict[str, Any] = json.loads(request.body)
        return found

    def assertSpeaks(self, bridge: Bridge) -> None:
        """
        What the account says is heard.
        """
        text = f"heard {next(numbers)}"
        answer = bridge.post(f"/rest/message/groupchat/{quote(self.room)}", json.dumps({"body": text}))
        self.assertEqual(202, answer.status, answer.text())
        self.hears(text)


class OnProsody(Bots, LiveCase):
    """
    Rooms of Prosody, which answers pings to oneself itself.
    """

    makeServer = Prosody


class OnEjabberd(Bots, LiveCase):
    """
    Rooms of ejabberd, which passes them on.
    """

    makeServer = Ejabberd
