"""
C{/api/rooms} on real servers with group chat (XEP-0045): what MongooseIM's own suite asks of rooms, and other
clients in the same room.
"""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar
from urllib.parse import quote
from xml.etree.ElementTree import Element, tostring

from tests.live.bridge import Bridge
from tests.live.case import LiveCase
from tests.live.client import Client, Predicate, kind
from tests.live.client_api import WithClientAPI, jid
from tests.live.ejabberd import Ejabberd
from tests.live.muclight import SERVICE, MucLightService
from tests.live.process import eventually
from tests.live.prosody import Prosody
from tests.live.servers import HOST, ROOMS, Server
from tests.live.users import numbers, saying
from tests.live.web import Answer

MUC = "http://jabber.org/protocol/muc"
ROOM = {"name": "The name", "subject": "The subject"}
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")

STRANGER = "Given user does not occupy this room"
NO_CONFIG = "Given user does not have permission to change config"
NO_AFFILIATIONS = "Given user does not have permission to change affiliations"


def fresh(prefix: str = "room") -> str:
    """
    The id of a room that there has never been.
    """
    return f"{prefix}{next(numbers)}"


class WithRooms(WithClientAPI):
    """
    What the tests of rooms do again and again.

    @cvar rooms: the domain of the rooms.
    """

    rooms: ClassVar[str] = ROOMS

    def address(self, room: str) -> str:
        """
        The address of a room.
        """
        return f"{room}@{self.rooms}"

    def invitation(self, room: str) -> Predicate:
        """
        Direct invitations (XEP-0249) to a room.
        """

        def fits(stanza: Element) -> bool:
            invited = stanza.find("{jabber:x:conference}x")
            return (
                kind(stanza) == "message" and invited is not None and invited.get("jid") == self.address(room)
            )

        return fits

    def made(self, *members: str, owner: str = "alice") -> str:
        """
        The id of a new room, with these members.
        """
        room = str(self.got("POST", "/rooms", ROOM, owner)["id"])
        for member in members:
            self.done("POST", f"/rooms/{room}/users", {"user": jid(member)}, owner)
        return room

    def say(self, room: str, text: str, user: str = "alice", **more: Any) -> str:
        """
        Say something in a room; the message's id.
        """
        return str(self.got("POST", f"/rooms/{room}/messages", {"body": text, **more}, user)["id"])

    def said(self, room: str, query: str = "", user: str = "alice") -> list[dict[str, Any]]:
        """
        The history of a room.
        """
        found = self.got("GET", f"/rooms/{room}/messages{query}", user=user)
        assert isinstance(found, list)
        return found

    def shown(self, room: str, user: str = "alice") -> dict[str, str]:
        """
        Roles of the participants, by their addresses.
        """
        found = self.got("GET", f"/rooms/{quote(room)}", user=user)
        self.assertEqual({"name", "subject", "participants"}, set(found))
        return {one["user"]: one["role"] for one in found["participants"]}

    def listed(self, user: str) -> list[str]:
        """
        The ids of a user's rooms.
        """
        return [room["id"] for room in self.got("GET", "/rooms", user=user)]

    def join(self, client: Client, room: str, nickname: str) -> None:
        """
        Have an ordinary client join a room.
        """
        client.send(f"<presence to='{self.address(room)}/{nickname}'><x xmlns='{MUC}'/></presence>")
        client.expect(
            lambda one: kind(one) == "presence" and one.get("from") == f"{self.address(room)}/{nickname}"
        )


class Making(WithRooms):
    """
    Rooms are made.
    """

    def testMade(self) -> None:
        """
        A room has its name and subject, and its maker is the owner and alone in it.
        """
        answer = self.api("POST", "/rooms", ROOM)
        self.assertEqual(201, answer.status, answer.text())
        self.assertEqual(["id"], list(answer.json()))
        room = answer.json()["id"]
        self.assertEqual(
            {**ROOM, "participants": [{"user": jid("alice"), "role": "owner"}]},
            self.got("GET", f"/rooms/{room}"),
        )

    def testNamed(self) -> None:
        """
        PUT makes a room of the id that is given, or of the address, in whatever case; once.
        """
        for number, given in enumerate(
            (fresh(), self.address(fresh()), fresh("RooM"), self.address(fresh()).upper())
        ):
            with self.part(given):
                room = given.partition("@")[0].lower()
                path = quote(given, safe="") if number % 2 else given
                answer = self.api("PUT", f"/rooms/{path}", ROOM)
                self.assertEqual((201, {"id": room}), (answer.status, answer.json()))
                self.assertEqual({jid("alice"): "owner"}, self.shown(room))
                self.assertEqual({jid("alice"): "owner"}, self.shown(self.address(room)))
                for user in ("alice", "bob"):
                    again = self.api("PUT", f"/rooms/{path}", ROOM, user)
                    self.assertRefused(403, "Room already exists", again)
                self.assertEqual({jid("alice"): "owner"}, self.shown(room))

    def testNames(self) -> None:
        """
        Names and subjects are any text.
        """
        for name, subject in (("two  words", "a\tb\nc"), ("Ünïcødé 🙂", "<&>'\""), ("x" * 200, "\U0010fffd")):
            with self.part(repr((name, subject))):
                room = self.got("POST", "/rooms", {"name": name, "subject": subject})["id"]
                found = self.got("GET", f"/rooms/{room}")
                self.assertEqual((name, subject), (found["name"], found["subject"]))

    def testMakingRefused(self) -> None:
        """
        What is missing or wrong is said, in the order of MongooseIM's checks.
        """
        path = f"/rooms/{fresh()}"
        self.refused(400, "Missing room ID", "PUT", "/rooms", ROOM)
        self.refused(400, "Missing room ID", "PUT", "/rooms/", ROOM)
        self.refused(400, "Invalid room ID", "PUT", "/rooms/@invalid", b"nonsense")
        self.refused(400, "Invalid MUC Light domain", "PUT", "/rooms/x%40elsewhere.localhost", ROOM)
        self.refused(400, "Invalid MUC Light domain", "PUT", "/rooms/a%20b", ROOM)
        for method, where in (("POST", "/rooms"), ("PUT", path)):
            self.refused(400, "Invalid request body", method, where, b"nonsense")
            self.refused(400, "Missing room name", method, where, {"subject": "x"})
            self.refused(400, "Missing room name", method, where, {})
            self.refused(400, "Missing room subject", method, where, {"name": 5})
            wrong = "Validation failed for key: {} with reason type_error"
            self.refused(400, wrong.format("roomname"), method, where, {"name": 5, "subject": 5})
            self.refused(400, wrong.format("subject"), method, where, {"name": "x", "subject": None})
        unwritable = "Validation failed for key: roomname: the character U+0001 can't stand in XML"
        self.refused(400, unwritable, "PUT", path, {"name": "\x01", "subject": ""})
        self.assertRefused(404, "Room not found", self.api("GET", path))

    def testLineEnds(self) -> None:
        """
        In names and subjects all ends of lines are line feeds, as XML reads them; also set once more.
        """
        room = self.got("POST", "/rooms", {"name": "x\ry", "subject": "\r"})["id"]
        for subject in ("\r", "\r\n", "a\r\nb", "a\rb", " \n ", " a "):
            with self.part(repr(subject)):
                document = {"name": "x\r\ny", "subject": subject}
                self.done("PUT", f"/rooms/{room}/config", document)
                self.done("PUT", f"/rooms/{room}/config", document)
                found = self.got("GET", f"/rooms/{room}")
                wanted = subject.replace("\r\n", "\n").replace("\r", "\n")
                self.assertEqual(("x\ny", wanted), (found["name"], found["subject"]))
        for text in ("\r", "a\r\nb"):
            with self.part(repr(text)):
                self.say(room, text)


class Changing(WithRooms):
    """
    Rooms are configured, and who is in them changes.
    """

    def testConfigured(self) -> None:
        """
        The owner changes name and subject; what else is set stays.
        """
        room = self.made("bob")
        self.done(
            "PUT", f"/rooms/{self.address(room)}/config", {"name": "new name", "subject": "new subject"}
        )
        for user in ("alice", "bob"):
            found = self.got("GET", f"/rooms/{room}", user=user)
            self.assertEqual(("new name", "new subject"), (found["name"], found["subject"]))
            self.assertEqual({jid("alice"): "owner", jid("bob"): "member"}, self.shown(room, user))
        self.assertRefused(403, STRANGER, self.api("GET", f"/rooms/{room}", user="kate"))
        self.assertEqual(["affiliation"], [one["type"] for one in self.said(room)])

    def testConfigRefused(self) -> None:
        """
        Nobody but the owner configures a room; what is wrong is said.
        """
        room = self.made("bob")
        path = f"/rooms/{room}/config"
        self.refused(403, NO_CONFIG, "PUT", path, ROOM, user="bob")
        self.refused(403, NO_CONFIG, "PUT", path, {**ROOM, "subject": "other"}, user="bob")
        self.refused(403, STRANGER, "PUT", path, ROOM, user="kate")
        self.refused(404, "Room not found", "PUT", "/rooms/badroom/config", ROOM)
        self.refused(400, "Invalid room ID", "PUT", "/rooms/@invalid/config", b"x")
        self.refused(400, "Invalid request body", "PUT", path, b"x")
        self.refused(400, "Missing room name", "PUT", path, {"subject": "x"})
        self.refused(400, "Missing room subject", "PUT", path, {"name": "x"})
        wrong = "Validation failed for key: subject with reason type_error"
        self.refused(400, wrong, "PUT", path, {"name": "x", "subject": 123})
        found = self.got("GET", f"/rooms/{room}", user="bob")
        self.assertEqual(ROOM, {key: found[key] for key in ROOM})

    def testAddedAndRemoved(self) -> None:
        """
        The owner adds users, once or more often, and removes them; others are no members, or don't exist.
        """
        room = self.made()
        for user in (
            jid("bob"),
            jid("BOB"),
            f"{jid('bob')}/phone",
            "nobody@localhost",
            "x@elsewhere.example",
        ):
            self.done("POST", f"/rooms/{room}/users", {"user": user})
        self.done("POST", f"/rooms/{room}/users", {"user": jid("alice")})
        members = {jid("bob"): "member", "nobody@localhost": "member", "x@elsewhere.example": "member"}
        self.assertEqual({jid("alice"): "owner", **members}, self.shown(room))
        participants = self.got("GET", f"/rooms/{room}")["participants"]
        self.assertEqual(sorted(one["user"] for one in participants), [one["user"] for one in participants])
        for user in ("x%40elsewhere.example", "nobody@localhost/x", jid("Bob"), jid("bob")):
            self.done("DELETE", f"/rooms/{self.address(room)}/users/{user}")
        self.assertEqual({jid("alice"): "owner"}, self.shown(room))
        self.refused(403, STRANGER, "GET", f"/rooms/{room}", user="bob")

    def testUsersRefused(self) -> None:
        """
        Members and strangers change nothing; what is wrong is said.
        """
        room = self.made("bob")
        path = f"/rooms/{room}/users"
        kate = {"user": jid("kate")}
        self.refused(403, NO_AFFILIATIONS, "POST", path, kate, user="bob")
        self.refused(403, NO_AFFILIATIONS, "DELETE", f"{path}/{jid('alice')}", user="bob")
        self.refused(403, STRANGER, "POST", path, kate, user="kate")
        self.refused(403, STRANGER, "DELETE", f"{path}/{jid('bob')}", user="kate")
        self.refused(403, STRANGER, "DELETE", f"{path}/{jid('kate')}", user="kate")
        self.refused(404, "Room not found", "POST", "/rooms/badroom/users", kate)
        self.refused(404, "Room not found", "DELETE", f"/rooms/badroom/users/{jid('bob')}")
        self.refused(400, "Invalid room ID", "POST", "/rooms/@invalid/users", b"x")
        self.refused(400, "Invalid request body", "POST", path, b"x")
        self.refused(400, "Missing JID", "POST", path, {"jid": jid("kate")})
        self.refused(400, "Invalid user JID: @invalid", "POST", path, {"user": "@invalid"})
        self.refused(400, "Invalid user JID", "POST", path, {"user": 5})
        self.refused(400, "Invalid user JID: @invalid", "DELETE", f"{path}/@invalid")
        for missing in (path, f"{path}/"):
            self.refused(400, "Missing JID", "DELETE", missing)
        self.assertEqual({jid("alice"): "owner", jid("bob"): "member"}, self.shown(room))

    def testListed(self) -> None:
        """
        A user's rooms are those that the user made or was added to, and has not left.
        """
        owner, member = self.newUser(), self.newUser()
        self.assertEqual([], self.got("GET", "/rooms", user=owner))
        room = self.made(member, owner=owner)
        for user in (owner, member):
            self.assertEqual([{"id": room, **ROOM}], self.got("GET", "/rooms", user=user))
        other = self.made(owner=owner)
        self.assertEqual({room, other}, set(self.listed(owner)))
        self.done("DELETE", f"/rooms/{room}/users/{jid(member)}", user=owner)
        self.assertEqual([], self.listed(member))
        self.done("DELETE", f"/rooms/{other}/users/{jid(owner)}", user=owner)
        self.assertEqual([room], self.listed(owner))

    def testMemberLeaves(self) -> None:
        """
        A member leaves: there is no way back but to be added again.
        """
        owner, member, third = self.newUser(), self.newUser(), self.newUser()
        room = self.made(member, third, owner=owner)
        self.say(room, "hello", member)
        self.done("DELETE", f"/rooms/{room}/users/{jid(member)}", user=member)
        for user in (third, owner, owner):
            self.assertEqual({jid(owner): "owner", jid(third): "member"}, self.shown(room, user))
        self.assertEqual([], self.listed(member))
        for method, document in (("GET", None), ("POST", {"body": "x"})):
            self.refused(403, STRANGER, method, f"/rooms/{room}/messages", document, user=member)
        self.done("POST", f"/rooms/{room}/users", {"user": jid(member)}, owner)
        self.assertEqual({jid(owner), jid(third), jid(member)}, set(self.shown(room, member)))
        self.say(room, "back", member)

    def testOwnerLeaves(self) -> None:
        """
        When the owner leaves another one gets the room; with the last one it ends, and its history with it.
        """
        owner, member = self.newUser(), self.newUser()
        room = self.made(member, owner=owner)
        self.say(room, "old", owner)
        self.done("DELETE", f"/rooms/{room}/users/{jid(owner)}", user=owner)
        self.assertEqual({jid(member): "owner"}, self.shown(room, member))
        self.refused(403, STRANGER, "GET", f"/rooms/{room}", user=owner)
        last = self.said(room, user=member)[-1]
        self.assertEqual(("owner", jid(member)), (last["affiliation"], last["user"]))
        self.server.endSession(member)
        eventually(
            lambda: self.api("GET", "/contacts", user=member).status == 200, "the login to be made anew"
        )
        self.done("DELETE", f"/rooms/{room}/users/{jid(member)}", user=member)
        for user in (owner, member):
            self.refused(404, "Room not found", "GET", f"/rooms/{room}", user=user)
            self.assertEqual([], self.listed(user))
        self.assertEqual(201, self.api("PUT", f"/rooms/{room}", ROOM, owner).status)
        self.assertEqual([], self.said(room, user=owner))


class Talking(WithRooms):
    """
    What is said in rooms.
    """

    def testSaid(self) -> None:
        """
        What one says all can read: with the id that was answered, sender and time, behind who was added.
        """
        room = self.made("bob")
        sent = [(self.say(room, f"text {user}", user), user) for user in ("alice", "bob", "alice")]
        for used, _ in sent:
            self.assertRegex(used, UUID)
        for user, where in (("alice", room), ("bob", self.address(room))):
            added, *messages = self.said(where, user=user)
            self.assertEqual(
                ("affiliation", self.address(room), jid("bob"), "member"),
                tuple(added[key] for key in ("type", "from", "user", "affiliation")),
            )
            self.assertEqual({"type", "id", "from", "timestamp", "user", "affiliation"}, set(added))
            found = [(one["id"], one["from"], one["body"], one["type"]) for one in messages]
            wanted = [(used, jid(sender), f"text {sender}", "message") for used, sender in sent]
            self.assertEqual(wanted, found)
            times = [one["timestamp"] for one in (added, *messages)]
            self.assertEqual(sorted(times), times)
            self.assertTrue(all(type(time) is int and time > 1_700_000_000_000 for time in times))

    def testMarkers(self) -> None:
        """
        Markers, and messages that ask for them, come out of the history as they were sent.
        """
        room = self.made("bob")
        sent: list[dict[str, Any]] = [
            {"chat_marker": {"type": kind, "id": "RagnarokIsComing"}}
            for kind in ("received", "displayed", "acknowledged")
        ]
        sent += [{"body": "Floor is lava!", "markable": True}, {"body": ""}, {"body": "x", "markable": 1}]
        for document in sent:
            self.got("POST", f"/rooms/{room}/messages", document, "bob")
        keys = ("body", "markable", "chat_marker")
        found = [{key: one[key] for key in keys if key in one} for one in self.said(room)[1:]]
        self.assertEqual([*sent[:4], {"body": ""}, {"body": "x"}], found)

    def testTexts(self) -> None:
        """
        Texts of all lengths and all planes arrive as they were sent.
        """
        room = self.made()
        texts = ["x", "ä🙂\U0010fffd\t<&>", "two\nlines", "€" * 1000, "z" * 65536]
        for text in texts:
            with self.part(f"{len(text)} {text[:20]!r}"):
                self.say(room, text)
        self.assertEqual(texts, [one["body"] for one in self.said(room)])

    def testTalkingRefused(self) -> None:
        """
        What can't be sent or read is refused.
        """
        room = self.made("bob")
        path = f"/rooms/{room}/messages"
        self.refused(400, "Invalid room ID", "POST", "/rooms/@invalid/messages", b"x")
        self.refused(400, "Invalid request body", "POST", path, b"This is not JSON object")
        self.refused(400, "Invalid request body", "POST", path, "text")
        self.refused(400, "Invalid message body", "POST", path, {"body": {"body": "Too nested"}})
        self.refused(400, "No valid message elements", "POST", path, {"no_body": "This should be in body"})
        self.refused(400, "No valid message elements", "POST", path, {"markable": True})
        for marker in (
            {"type": "bad", "id": "x"},
            {"type": "received"},
            {"id": "x"},
            5,
            {"type": [], "id": 1},
        ):
            self.refused(400, "Invalid chat marker", "POST", path, {"body": "x", "chat_marker": marker})
        self.refused(404, "Room not found", "POST", "/rooms/badroom/messages", {"body": "x"})
        self.refused(403, STRANGER, "POST", path, {"body": "Hello, I'm not member"}, user="kate")
        self.refused(400, "Invalid limit", "GET", f"{path}?limit=x")
        self.refused(400, "Invalid limit", "GET", f"{path}?limit=501")
        self.refused(400, "Invalid value of 'before'", "GET", f"{path}?before=x")
        self.refused(400, "Invalid query string", "GET", f"{path}?kuropatwa")
        self.refused(404, "Room not found", "GET", "/rooms/badroom/messages")
        self.refused(403, STRANGER, "GET", path, user="kate")
        self.assertEqual(["affiliation"], [one["type"] for one in self.said(room)])
        self.assertRefused(404, "Room not found", self.api("GET", "/rooms/badroom"))

    def testManyAtOnce(self) -> None:
        """
        What is said at the same time, and before anybody was in the room, is all said, each once.
        """
        room = self.made("bob", "kate")
        texts = [(f"text {number}", ("alice", "bob", "kate")[number % 3]) for number in range(60)]
        with ThreadPoolExecutor(12) as threads:
            ids = list(threads.map(lambda one: self.say(room, *one), texts))
        found = {one["id"]: (one["body"], one["from"]) for one in self.said(room, "?limit=500")[2:]}
        wanted = {used: (text, jid(user)) for used, (text, user) in zip(ids, texts, strict=True)}
        self.assertEqual(wanted, found)

    def testChangedAtOnce(self) -> None:
        """
        Changes at the same time are all made; of several requests for one room one makes it.
        """
        room = fresh()
        names = [f"many{number}" for number in range(12)]
        with ThreadPoolExecutor(12) as threads:
            answers = list(threads.map(lambda _: self.api("PUT", f"/rooms/{room}", ROOM).status, range(5)))
            self.assertEqual([201, 403, 403, 403, 403], sorted(answers))
            list(
                threads.map(
                    lambda name: self.done("POST", f"/rooms/{room}/users", {"user": jid(name)}), names
                )
            )
        self.assertEqual({jid("alice"), *map(jid, names)}, set(self.shown(room)))
        self.assertEqual({jid(name) for name in names}, {one["user"] for one in self.said(room)})

    def testPages(self) -> None:
        """
        C{limit} and C{before} choose what is read: the newest, in the order of time, affiliations among them.
        """
        room = self.made("bob")
        for number in range(60):
            self.say(room, f"text {number}", "alice" if number % 2 else "bob")
        self.done("DELETE", f"/rooms/{room}/users/{jid('bob')}")
        self.say(room, "last")
        everything = self.said(room, "?limit=500")
        bodies = [one.get("body", one.get("affiliation")) for one in everything]
        self.assertEqual(["member", *(f"text {number}" for number in range(60)), "none", "last"], bodies)
        self.assertEqual(everything[-50:], self.said(room))
        for limit in (0, 1, 2, 3, 10):
            self.assertEqual(everything[len(everything) - limit :], self.said(room, f"?limit={limit}"))
        times = [one["timestamp"] for one in everything]
        self.assertEqual(sorted(times), times)
        self.assertEqual(everything, self.said(room, f"?limit=500&before={times[-1] + 1000}"))
        self.assertEqual([], self.said(room, f"?before={times[0] - 60_000}"))
        self.assertEqual([], self.said(room, "?before=0"))


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


class Restarting(WithRooms):
    """
    What outlives a restart of the bridge or of its sessions.
    """

    def testBridgeRestarted(self) -> None:
        """
        A restart loses no room, no membership and no entry of the history.
        """
        bridge = self.usersBridge()

        def call(method: str, path: str, document: Any = None, user: str = "alice") -> Answer:
            return self.api(method, path, document, user, bridge=bridge)

        owner, member, gone = self.newUser(), self.newUser(), self.newUser()
        room = call("POST", "/rooms", ROOM, owner).json()["id"]
        for user in (member, gone):
            self.assertEqual(204, call("POST", f"/rooms/{room}/users", {"user": jid(user)}, owner).status)
        self.assertEqual(200, call("POST", f"/rooms/{room}/messages", {"body": "one"}, member).status)
        self.assertEqual(204, call("DELETE", f"/rooms/{room}/users/{jid(gone)}", None, gone).status)
        self.assertEqual(200, call("POST", f"/rooms/{room}/messages", {"body": "two"}, owner).status)
        paths = ["/rooms", f"/rooms/{room}", f"/rooms/{room}/messages"]

        def seen() -> list[Any]:
            return [call("GET", path, None, user).json() for path in paths for user in (member, gone, owner)]

        before = seen()
        self._restart(bridge)
        self.assertEqual(before, seen())
        shown = [one.get("body") or (one["user"], one["affiliation"]) for one in before[-1]]
        added = [(jid(user), "member") for user in (member, gone)]
        self.assertEqual([*added, "one", (jid(gone), "none"), "two"], shown)

    def _restart(self, bridge: Bridge) -> None:
        bridge.process.stop()
        bridge.start()


class RoomsNamed(WithRooms):
    """
    Where the configuration says, or discovery finds, which service has the rooms.
    """

    def testServiceNamed(self) -> None:
        """
        The service may be named; rooms of another domain are none of it.
        """
        users = {HOST: {**self.users(self.server)[HOST], "rooms": self.rooms}}
        bridge = self.startBridge(None, users=users)
        self.assertEqual(201, self.api("POST", "/rooms", ROOM, bridge=bridge).status)

    def testServiceMissing(self) -> None:
        """
        Where there is no such service every request for rooms is answered 404.
        """
        users = {HOST: {**self.users(self.server)[HOST], "rooms": "localhost"}}
        bridge = self.startBridge(None, users=users)
        for method, path, document in (
            ("GET", "/rooms", None),
            ("GET", "/rooms/badroom", None),
            ("POST", "/rooms", b"x"),
            ("PUT", "/rooms/@invalid", b"x"),
            ("POST", "/rooms/x/messages", {"body": "x"}),
        ):
            with self.part(f"{method} {path}"):
                answer = self.api(method, path, document, bridge=bridge)
                self.assertRefused(404, "MUC Light server not found", answer)

    def testMethods(self) -> None:
        """
        Each path has its methods.
        """
        allowed = {
            "/rooms": "OPTIONS, GET, POST, PUT",
            "/rooms/x": "OPTIONS, GET, POST, PUT",
            "/rooms/x/config": "OPTIONS, PUT",
            "/rooms/x/users": "OPTIONS, POST, DELETE",
            "/rooms/x/users/y": "OPTIONS, POST, DELETE",
            "/rooms/x/messages": "OPTIONS, GET, POST",
        }
        for path, methods in allowed.items():
            with self.part(path):
                answer = self.api("PATCH", path)
                self.assertEqual((405, methods), (answer.status, answer.headers["allow"]))
                self.assertRefused(401, None, self.api(methods.split(", ")[-1], path, json.loads("{}"), None))
        self.assertRefused(404, None, self.api("GET", "/rooms/x/nothing"))


class Everywhere(Making, Changing, Talking, Restarting, RoomsNamed):
    """
    What every kind of room promises.
    """


class OnProsody(Everywhere, OtherClients, LiveCase):
    """
    On Prosody.
    """

    makeServer: ClassVar[type[Server]] = Prosody


class OnEjabberd(Everywhere, OtherClients, LiveCase):
    """
    On ejabberd.
    """

    makeServer: ClassVar[type[Server]] = Ejabberd


class OnMucLight(Everywhere, LiveCase):
    """
    On Prosody with a stub of MUC Light, which goes before its own rooms.
    """

    makeServer: ClassVar[type[Server]] = Prosody
    rooms: ClassVar[str] = SERVICE

    def setUp(self) -> None:
        """
        Attach the service, for this test.
        """
        super().setUp()
        self.service = MucLightService(self.server.componentPort(SERVICE))
        self.addCleanup(self.service.close)
