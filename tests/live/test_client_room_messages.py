"""
C{/api/rooms/ID/messages} on real servers with group chat (XEP-0045): what MongooseIM's own suite asks of it.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

from tests.live.case import LiveCase
from tests.live.client_api import jid
from tests.live.ejabberd import Ejabberd
from tests.live.prosody import Prosody
from tests.live.rooms import (
    ROOM,
    STRANGER,
    WithMucLight,
    WithRooms,
    fresh,
)
from tests.live.servers import Server

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


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


class OnProsody(Talking, LiveCase):
    """
    Talking on Prosody.
    """

    makeServer: ClassVar[type[Server]] = Prosody


class OnEjabberd(Talking, LiveCase):
    """
    Talking on ejabberd.
    """

    makeServer: ClassVar[type[Server]] = Ejabberd


class OnMucLight(Talking, WithMucLight, LiveCase):
    """
    Talking in rooms of MUC Light.
    """
