"""
L{restbridge.clientapi.rooms}: what the endpoints make of requests, whatever service is behind them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase
from twisted.words.xish.domish import Element

from restbridge.boundaries import UserLink
from restbridge.clientapi.call import Call
from restbridge.clientapi.discovery import RoomServices
from restbridge.clientapi.groupchat import Details, Window, shownContent, throughout, together
from restbridge.clientapi.history import Archived, Item
from restbridge.clientapi.rooms import Rooms
from restbridge.config import UserDomain
from restbridge.stanzas.jid import JID
from restbridge.stanzas.xml import NS_CLIENT, parseDocument
from restbridge.store.rooms import Change
from restbridge.web.answer import Answer, Refusal
from tests.clientapi.roomlink import RoomLink
from tests.web.client import LoggingTestCase

INFO = "http://jabber.org/protocol/disco#info"


class Service:
    """
    A L{restbridge.clientapi.groupchat.RoomService} that notes what it is asked.
    """

    def __init__(self, domain: str) -> None:
        self.domain = domain
        self.asked: list[tuple[Any, ...]] = []
        self.sent: list[Element] = []
        self.followed: Deferred[None] = Deferred()

    async def create(self, link: UserLink, room: JID, name: str, subject: str) -> None:
        self.asked.append(("create", room.full, name, subject))

    async def listed(self, link: UserLink) -> list[Details]:
        return [await self.details(link, JID("r", self.domain, None))]

    async def details(self, link: UserLink, room: JID) -> Details:
        self.asked.append(("details", room.full))
        participants = {"b@example.com": "member", "a@example.com": "owner"}
        return Details(address=room, name="N", subject="S", participants=participants)

    async def configure(self, link: UserLink, room: JID, name: str, subject: str) -> None:
        self.asked.append(("configure", room.full, name, subject))

    async def add(self, link: UserLink, room: JID, user: JID) -> None:
        self.asked.append(("add", room.full, user.full))

    async def remove(self, link: UserLink, room: JID, user: JID) -> None:
        self.asked.append(("remove", room.full, user.full))

    async def send(self, link: UserLink, room: JID, message: Element) -> None:
        self.sent.append(message)

    async def history(self, link: UserLink, room: JID, window: Window) -> list[Item]:
        self.asked.append(("history", room.full, window.before, window.limit))
        return []

    async def follow(self, link: UserLink) -> None:
        self.asked.append(("follow", link.address.full))
        await self.followed

    async def heard(self, link: UserLink) -> list[JID]:
        return []

    def shown(self, archived: Archived) -> Item | None:
        return None

    async def changes(self, room: JID, since: int, skipped: int, limit: int) -> list[Change]:
        return []

    async def changesOf(self, user: JID, since: int, limit: int) -> list[tuple[JID, Change]]:
        return []


class RoomsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.service = Service("rooms.example.com")
        self.link = RoomLink()
        self.link.says[INFO] = f"<query xmlns='{INFO}'><feature var='f'/></query>"
        domains = {"example.com": UserDomain(domain="example.com", rooms="rooms.example.com")}
        self.rooms = Rooms(services=RoomServices(domains=domains, kinds={"f": lambda _: self.service}))

    def call(
        self, endpoint: Callable[[Call], Any], body: bytes = b"", query: bytes = b"", **path: str
    ) -> Answer:
        running = Deferred.fromCoroutine(endpoint(Call(link=self.link, path=path, body=body, query=query)))
        answer: Answer = self.successResultOf(running)
        return answer

    def assertRefused(self, text: str, endpoint: Callable[[Call], Any], body: bytes, **path: str) -> None:
        running = Deferred.fromCoroutine(endpoint(Call(link=self.link, path=path, body=body)))
        refusal = self.failureResultOf(running, Refusal).value
        self.assertEqual((400, text), (refusal.status, refusal.text), body)

    def test_followedOnce(self) -> None:
        """
        Streams of a user that begin at once have the rooms followed once; one that begins later, again.
        """
        streams = [Deferred.fromCoroutine(self.rooms.follow(self.link)) for _ in range(3)]
        self.assertEqual(1, len(self.service.asked))
        left = streams.pop()
        left.cancel()
        self.failureResultOf(left, CancelledError)
        self.service.followed.callback(None)
        for stream in streams:
            self.successResultOf(stream)
        self.successResultOf(Deferred.fromCoroutine(self.rooms.follow(self.link)))
        self.assertEqual(2, len(self.service.asked))

    def test_ids(self) -> None:
        """
        A room is called by its id or its address, in any case.
        """
        for given in ("Room", "room@rooms.example.com", "ROOM@Rooms.Example.Com"):
            self.call(self.rooms.shown, room=given)
            self.assertEqual(("details", "room@rooms.example.com"), self.service.asked.pop())

    def test_wrongIds(self) -> None:
        """
        What is no room's address is refused as MongooseIM does.
        """
        for given, text in (
            ("@x", "Invalid room ID"),
            ("@", "Invalid room ID"),
            ("x" * 1024 + "@rooms.example.com", "Invalid room ID"),
            ("room@rooms.example.com/x", "Invalid room ID"),
            ("room@example.com", "Invalid MUC Light domain"),
            ("a b", "Invalid MUC Light domain"),
            ("x" * 1024, "Invalid MUC Light domain"),
        ):
            self.assertRefused(text, self.rooms.shown, b"", room=given)

    def test_shown(self) -> None:
        """
        Participants come by their addresses.
        """
        answer = self.call(self.rooms.shown, room="r")
        self.assertEqual(
            b'{"name":"N","subject":"S","participants":[{"user":"a@example.com","role":"owner"},'
            b'{"user":"b@example.com","role":"member"}]}',
            answer.body,
        )
        self.assertEqual(b'[{"id":"r","name":"N","subject":"S"}]', self.call(self.rooms.shown).body)

    def test_made(self) -> None:
        """
        A room without an id gets one that nobody guesses; an id in the path counts with PUT alone.
        """
        body = b'{"name": "N", "subject": "S", "more": 1}'
        answers = {self.call(self.rooms.create, body, room="x").body for _ in range(3)}
        self.assertEqual(3, len(answers))
        for answer in answers:
            self.assertRegex(answer.decode(), r'^\{"id":"[0-9a-f]{20}"\}$')
        self.assertEqual((201, b'{"id":"x"}'), self.seen(self.call(self.rooms.createNamed, body, room="X")))
        self.assertEqual(("create", "x@rooms.example.com", "N", "S"), self.service.asked[-1])

    def seen(self, answer: Answer) -> tuple[int, bytes]:
        return answer.status, answer.body

    def test_users(self) -> None:
        """
        Users are called by their bare addresses.
        """
        self.call(self.rooms.add, b'{"user": "BOB@example.com/phone"}', room="r")
        self.call(self.rooms.remove, room="r", user="bob@EXAMPLE.com/phone")
        wanted = [(what, "r@rooms.example.com", "bob@example.com") for what in ("add", "remove")]
        self.assertEqual(wanted, self.service.asked)
        long = "@" + "x" * 5000
        self.assertRefused(f"Invalid user JID: {long[:200]}", self.rooms.remove, b"", room="r", user=long)

    def test_messages(self) -> None:
        """
        What may be said goes out in the order body, marker, markable.
        """
        for body, content in (
            ('{"body": "x"}', ["body"]),
            ('{"body": "", "markable": true}', ["body", "markable"]),
            ('{"body": "x", "markable": "yes"}', ["body"]),
            ('{"chat_marker": {"type": "received", "id": ""}, "markable": true}', ["received"]),
            (
                '{"markable": true, "chat_marker": {"type": "displayed", "id": "i"}, "body": "x"}',
                ["body", "displayed", "markable"],
            ),
        ):
            answer = self.call(self.rooms.send, body.encode(), room="r")
            message = self.service.sent[-1]
            self.assertEqual(f'{{"id":"{message["id"]}"}}'.encode(), answer.body)
            self.assertEqual(content, [child.name for child in message.elements()])

    def test_wrongMessages(self) -> None:
        """
        What can't be said is refused, whatever its type.
        """
        for body, text in (
            (b'{"body": null}', "Invalid message body"),
            (b'{"body": 5, "chat_marker": 5}', "Invalid message body"),
            (b'{"body": "\\u0000"}', "Invalid message body: the character U+0000 can't stand in XML"),
            (b'{"body": "x", "chat_marker": null}', "Invalid chat marker"),
            (b'{"chat_marker": {"type": "markable", "id": "x"}}', "Invalid chat marker"),
            (b'{"chat_marker": {"type": "received", "id": 5}}', "Invalid chat marker"),
            (
                b'{"chat_marker": {"type": "received", "id": "\\u0007"}}',
                "Invalid chat marker: the character U+0007 can't stand in XML",
            ),
            (b"{}", "No valid message elements"),
        ):
            self.assertRefused(text, self.rooms.send, body, room="r")
        self.assertEqual([], self.service.sent)

    def test_history(self) -> None:
        """
        C{limit} and C{before} reach the service.
        """
        self.call(self.rooms.history, room="r")
        self.call(self.rooms.history, query=b"limit=500&before=123", room="r")
        room = "r@rooms.example.com"
        self.assertEqual([("history", room, None, 50), ("history", room, 123, 500)], self.service.asked)


class WorkTests(LoggingTestCase):
    def test_throughout(self) -> None:
        """
        Work that was begun is finished, though its client has left; what fails then is in the log.
        """
        for result in ("done", KeyError("x")):
            step: Deferred[Any] = Deferred()
            finished: list[bool] = []

            async def work(step: Deferred[Any] = step, finished: list[bool] = finished) -> None:
                try:
                    await step
                finally:
                    finished.append(True)

            waiting = Deferred.fromCoroutine(throughout(work()))
            waiting.cancel()
            self.failureResultOf(waiting)
            self.assertEqual([], finished)
            step.callback(result) if isinstance(result, str) else step.errback(result)
            self.assertEqual([True], finished)
        self.assertEqual([1], [line.count("'x'") for line in self.logged])

    def test_together(self) -> None:
        """
        What is done together brings all results in order, or the first error when all have ended.
        """
        slow: Deferred[int] = Deferred()

        async def wait() -> int:
            return await slow

        async def fail() -> int:
            raise KeyError("x")

        async def give() -> int:
            return 2

        running = Deferred.fromCoroutine(together([wait(), fail(), give()]))
        self.assertNoResult(running)
        slow.callback(1)
        self.failureResultOf(running, KeyError)
        self.assertEqual([2, 2], self.successResultOf(Deferred.fromCoroutine(together([give(), give()]))))


class ContentTests(SynchronousTestCase):
    def test_shown(self) -> None:
        """
        A marker hides that the message asks for one; what is neither text nor marker is nothing.
        """
        markers = "xmlns='urn:xmpp:chat-markers:0'"
        for xml, shown in (
            ("<body>x</body>", {"body": "x"}),
            ("<body/>", {"body": ""}),
            (f"<body>x</body><markable {markers}/>", {"body": "x", "markable": True}),
            (
                f"<markable {markers}/><received {markers} id='i'/>",
                {"chat_marker": {"type": "received", "id": "i"}},
            ),
            (f"<received {markers}/><other {markers} id='i'/><subject>x</subject>", {}),
            ("<received id='i'/><body xmlns='urn:example'>x</body>", {}),
        ):
            message = parseDocument(f"<message xmlns='{NS_CLIENT}'>{xml}</message>".encode())
            self.assertEqual(shown, shownContent(message), xml)
