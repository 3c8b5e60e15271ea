"""
C{/api/rooms} on real servers with group chat (XEP-0045): what MongooseIM's own suite asks of rooms.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar
from urllib.parse import quote

from tests.live.bridge import Bridge
from tests.live.case import LiveCase
from tests.live.client_api import jid
from tests.live.ejabberd import Ejabberd
from tests.live.process import eventually
from tests.live.prosody import Prosody
from tests.live.rooms import (
    ROOM,
    STRANGER,
    WithMucLight,
    WithRooms,
    fresh,
)
from tests.live.servers import HOST, Server
from tests.live.web import Answer

NO_CONFIG = "Given user does not have permission to change config"
NO_AFFILIATIONS = "Given user does not have permission to change affiliations"


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


class Everywhere(Making, Changing, Restarting, RoomsNamed):
    """
    What every kind of room promises.
    """


class OnProsody(Everywhere, LiveCase):
    """
    Rooms on Prosody.
    """

    makeServer: ClassVar[type[Server]] = Prosody


class OnEjabberd(Everywhere, LiveCase):
    """
    Rooms on ejabberd.
    """

    makeServer: ClassVar[type[Server]] = Ejabberd


class OnMucLight(Everywhere, WithMucLight, LiveCase):
    """
    Likewise, in rooms of MUC Light.
    """
