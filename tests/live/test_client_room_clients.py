"""
C{/api/rooms} on real servers, and other clients in the same rooms (XEP-0045).
"""

from __future__ import annotations

from typing import ClassVar
from urllib.parse import quote
from xml.etree.ElementTree import tostring

from tests.live.case import LiveCase
from tests.live.client import Client, kind
from tests.live.client_api import jid
from tests.live.ejabberd import Ejabberd
from tests.live.process import eventually
from tests.live.prosody import Prosody
from tests.live.rooms import (
    MUC,
    ROOM,
    STRANGER,
    WithRooms,
    fresh,
)
from tests.live.servers import Server
from tests.live.users import saying


class OtherClients(WithRooms):
    """
    Ordinary rooms, and ordinary clients in them.
    """

    def testWalk(self) -> None:
        """
        Who goes back from page to page sees each item once, however fast they came.
        """
        room = self.made("bob")
        for number in range(40):
            if number % 8 == 4:
                self.done("DELETE", f"/rooms/{room}/users/{jid('bob')}")
            elif number % 8 == 0 and number:
                self.done("POST", f"/rooms/{room}/users", {"user": jid("bob")})
            self.say(room, f"text {number}")
        everything = self.said(room, "?limit=500")
        self.assertEqual(50, len(everything))
        for limit in (1, 7):
            page = walked = self.said(room, f"?limit={limit}")
            while page:
                page = self.said(room, f"?limit={limit}&before={page[0]['timestamp']}")
                walked = page + walked
            self.assertEqual(everything, walked)

    def testEmpty(self) -> None:
        """
        Names and subjects may be empty.
        """
        room = self.got("POST", "/rooms", {"name": "", "subject": ""})["id"]
        for name, subject in (("", ""), ("x", "y"), ("", "y"), ("", "")):
            self.done("PUT", f"/rooms/{room}/config", {"name": name, "subject": subject})
            found = self.got("GET", f"/rooms/{room}")
            self.assertEqual((name, subject), (found["name"], found["subject"]))

    def testMalformed(self) -> None:
        """
        Ids and users that the server takes for no addresses are said to be invalid.
        """
        room, bad = self.made(), "\U000eec1d"
        path = f"/rooms/{quote(bad)}"
        for method, where, document in (
            ("PUT", path, ROOM),
            ("GET", path, None),
            ("PUT", f"{path}/config", ROOM),
            ("POST", f"{path}/users", {"user": jid("bob")}),
            ("DELETE", f"{path}/users/{jid('bob')}", None),
            ("POST", f"{path}/messages", {"body": "x"}),
            ("GET", f"{path}/messages", None),
        ):
            self.refused(400, "Invalid room ID", method, where, document)
        user = jid(bad)
        answer = self.api("POST", f"/rooms/{room}/users", {"user": user})
        # Prosody takes such a user, who may be on a server that knows him.
        if answer.status != 204:
            self.assertRefused(400, f"Invalid user JID: {user}", answer)

    def testKind(self) -> None:
        """
        A room stays when nobody is in it, is hidden from others, and lets nobody in who is no member.
        """
        room = self.made()
        bob = self.login("bob")
        info = bob.request(self.address(room), "<query xmlns='http://jabber.org/protocol/disco#info'/>")
        features = {one.get("var") for one in info.iter() if one.tag.endswith("feature")}
        wanted = {"muc_hidden", "muc_persistent", "muc_membersonly", "muc_nonanonymous", "muc_unmoderated"}
        self.assertEqual(wanted, wanted & features)
        bob.send(f"<presence to='{self.address(room)}/bob'><x xmlns='{MUC}'/></presence>")
        refused = bob.expect(lambda one: one.get("from") == f"{self.address(room)}/bob")
        self.assertEqual("error", refused.get("type"))

    def testInvited(self) -> None:
        """
        Who is added is invited (XEP-0249), and joins; both sides see what the other says, history shows both.
        """
        bob = self.login("bob")
        room = self.made("bob")
        invited = bob.expect(self.invitation(room))
        self.assertEqual(jid("alice"), (invited.get("from") or "").partition("/")[0])
        self.join(bob, room, "bob")
        used = self.say(room, "from the API", markable=True)
        heard = bob.expect(saying("from the API"))
        self.assertEqual((used, "groupchat"), (heard.get("id"), heard.get("type")))
        self.assertRegex(heard.get("from", ""), rf"^{self.address(room)}/alice-\w+$")
        self.assertIsNotNone(heard.find("{urn:xmpp:chat-markers:0}markable"))
        own = bob.message(self.address(room), "from a client", "groupchat")
        bob.expect(saying("from a client"))
        again = self.say(room, "and again")
        wanted = [(used, "alice"), (own, "bob"), (again, "alice")]
        for user in ("alice", "bob"):
            found = [(one["id"], one["from"]) for one in self.said(room, user=user)[1:]]
            self.assertEqual([(one, jid(who)) for one, who in wanted], found)

    def testInvitedLater(self) -> None:
        """
        Who is not online when added finds the invitation at the next login.
        """
        name = self.newUser()
        room = self.made(name)
        self.login(name).expect(self.invitation(room))

    def testOwnClientsUndisturbed(self) -> None:
        """
        The user's own client in the same room keeps its nickname, sees no presence but the room's, and hears
        each message once.
        """
        room = self.made("bob")
        phone = self.login("alice")
        self.join(phone, room, "alice")
        self.say(room, "one")
        phone.expect(saying("one"))
        self.say(room, "two", "bob")
        phone.expect(saying("two"))
        self.assertEqual([], phone.mailbox.all(saying("one")))
        strangers = [
            one.get("from")
            for one in phone.mailbox.all(lambda one: kind(one) == "presence")
            if not (one.get("from") or "").startswith((self.address(room), phone.jid))
        ]
        self.assertEqual([], strangers)

    def testSubjectChanged(self) -> None:
        """
        A subject that a client sets is the room's; the change is no message.
        """
        room = self.made()
        phone = self.login("alice")
        self.join(phone, room, "phone")
        phone.send(
            f"<message type='groupchat' to='{self.address(room)}'><subject>Another</subject></message>"
        )
        phone.expect(lambda one: one.findtext("{jabber:client}subject") == "Another")
        eventually(lambda: self.got("GET", f"/rooms/{room}")["subject"] == "Another", "the subject")
        self.assertEqual([], self.said(room))

    def testThrownOut(self) -> None:
        """
        Who is thrown out or banned by a client has no place any more, also where the session was in the room.
        """
        room = self.made("bob", "kate")
        phone = self.login("alice")
        for name, affiliation in (("bob", "none"), ("kate", "outcast")):
            self.say(room, "x", name)
            item = f"<item jid='{jid(name)}' affiliation='{affiliation}'/>"
            phone.request(self.address(room), f"<query xmlns='{MUC}#admin'>{item}</query>", "set")
            for method, path, document in (
                ("POST", "/messages", {"body": "y"}),
                ("GET", "/messages", None),
                ("GET", "", None),
                ("POST", "/users", {"user": jid("nobody")}),
            ):
                self.refused(403, STRANGER, method, f"/rooms/{room}{path}", document, user=name)
        self.assertEqual({jid("alice"): "owner"}, self.shown(room))

    def testDestroyed(self) -> None:
        """
        A room that a client has destroyed is none any more, and isn't made anew by who asks for it.
        """
        room = self.made("bob")
        self.say(room, "x", "bob")
        self.login("alice").request(
            self.address(room), f"<query xmlns='{MUC}#owner'><destroy/></query>", "set"
        )
        for user in ("alice", "bob"):
            self.refused(404, "Room not found", "POST", f"/rooms/{room}/messages", {"body": "y"}, user=user)
            self.refused(404, "Room not found", "GET", f"/rooms/{room}/messages", user=user)
            self.refused(404, "Room not found", "GET", f"/rooms/{room}", user=user)
            self.assertNotIn(room, self.listed(user))

    def testForgedSender(self) -> None:
        """
        What a client claims about the sender of its message is not believed.
        """
        room = self.made("bob")
        bob = self.login("bob")
        self.join(bob, room, "bob")
        claim = f"<x xmlns='{MUC}#user'><item jid='{jid('alice')}' affiliation='owner' role='moderator'/></x>"
        bob.send(
            f"<message type='groupchat' to='{self.address(room)}' id='f'><body>forged</body>{claim}</message>"
        )
        bob.expect(saying("forged"))
        (message,) = self.said(room)[1:]
        self.assertIn(message["from"], (jid("bob"), f"{self.address(room)}/bob"))

    def testBookmarked(self) -> None:
        """
        A room that a client made and bookmarked (XEP-0402) is listed; not one in which the user has no place.
        """
        name = self.newUser()
        phone = self.login(name)
        own, foreign = fresh(), self.made()
        self.join(phone, own, "me")
        form = f"<query xmlns='{MUC}#owner'><x xmlns='jabber:x:data' type='submit'/></query>"
        self.assertEqual("result", phone.request(self.address(own), form, "set").get("type"))
        options = "".join(
            f"<field var='pubsub#{option}'><value>{value}</value></field>"
            for option, value in (("max_items", "100"), ("persist_items", "1"), ("access_model", "whitelist"))
        )
        self.publish(
            phone,
            "<create node='urn:xmpp:bookmarks:1'/><configure><x xmlns='jabber:x:data' type='submit'>"
            "<field var='FORM_TYPE'><value>http://jabber.org/protocol/pubsub#node_config</value></field>"
            f"{options}</x></configure>",
        )
        for room in (own, foreign, "absent"):
            self.publish(
                phone,
                f"<publish node='urn:xmpp:bookmarks:1'><item id='{self.address(room)}'>"
                "<conference xmlns='urn:xmpp:bookmarks:1'/></item></publish>",
            )
        self.assertEqual([own], self.listed(name))

    def testSessionEnded(self) -> None:
        """
        A login that the server has ended is in the room again with the next request that needs it.
        """
        room = self.made("bob")
        bob = self.login("bob")
        self.join(bob, room, "bob")
        self.say(room, "one")
        self.server.endSession("alice")
        bob.expect(lambda one: kind(one) == "presence" and one.get("type") == "unavailable")
        eventually(lambda: self._says(room, "two"), "the session to be opened anew")
        bob.expect(saying("two"))

    def _says(self, room: str, text: str) -> bool:
        return self.api("POST", f"/rooms/{room}/messages", {"body": text}).status == 200

    def publish(self, client: Client, actions: str) -> None:
        """
        Do something with a client's own nodes (XEP-0163).
        """
        payload = f"<pubsub xmlns='http://jabber.org/protocol/pubsub'>{actions}</pubsub>"
        answer = client.request(client.jid.partition("/")[0], payload, "set")
        self.assertEqual("result", answer.get("type"), tostring(answer))


class OnProsody(OtherClients, LiveCase):
    """
    Other clients on Prosody.
    """

    makeServer: ClassVar[type[Server]] = Prosody


class OnEjabberd(OtherClients, LiveCase):
    """
    Other clients on ejabberd.
    """

    makeServer: ClassVar[type[Server]] = Ejabberd
