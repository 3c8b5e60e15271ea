"""
C{/api/sse}: L{restbridge.clientapi.events}, L{restbridge.clientapi.sse} and L{restbridge.clientapi.replay},
over a login that the test plays, and its archive.
"""

from __future__ import annotations

import json
from http.client import parse_headers
from io import BytesIO
from typing import Any
from xml.sax.saxutils import escape

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.words.xish.domish import Element

from restbridge.clientapi.api import ClientAPI
from restbridge.clientapi.discovery import RoomServices
from restbridge.clientapi.event import Event, EventId
from restbridge.clientapi.events import MAX_STREAMS, PATIENCE, RETURN, Events
from restbridge.clientapi.reader import MARKED, SETTLE
from restbridge.clientapi.rooms import Rooms
from restbridge.clientapi.sse import COMMENT_EVERY, MAX_BYTES, MAX_EVENTS
from restbridge.config import HTTP
from restbridge.stanzas.errors import NoAnswer, StanzaError, errorReply
from restbridge.stanzas.replies import resultFor
from restbridge.stanzas.xml import parseDocument
from restbridge.web.guard import Guard
from restbridge.web.site import BridgeSite
from tests.web.client import Client, FakeUserLink, FakeUsers, LoggingTestCase, basic
from tests.web.keys import once

OWN = "alice@example.com"
BOB = "bob@example.com"
NS_MAM = "urn:xmpp:mam:2"
NS_RSM = "http://jabber.org/protocol/rsm"
NOW = 1_700_000_000.25
"""Seconds."""


class Login(FakeUserLink):
    """
    A login with an archive.

    @ivar archive: ids and messages, as XML.
    @ivar pageSize: messages of an answer at most.
    @ivar refusal: in place of an answer.
    @ivar fails: raised in place of one.
    @ivar holding: whether answers wait for L{proceed}.
    @ivar silent: whether nobody says that there are no rooms.
    @ivar asked: after which messages, and from which time on, pages were asked for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.archive: list[tuple[str, str]] = []
        self.pageSize = 50
        self.refusal: StanzaError | None = None
        self.fails: Exception | None = None
        self.holding = False
        self.silent = False
        self.asked: list[tuple[str | None, str]] = []
        self._waiting: list[Deferred[None]] = []

    async def query(self, iq: Element, timeout: float) -> list[Element]:
        iq["from"], iq["to"] = self.address.full, OWN
        (payload,) = iq.elements(NS_MAM, "query")
        rsm = next(payload.elements(NS_RSM, "set"))
        after = None if rsm.after is None else str(rsm.after)
        fields = {each["var"]: str(each.value) for each in payload.x.elements()}
        self.asked.append((after, fields["start"]))
        if self.holding:
            self._waiting.append(Deferred())
            await self._waiting[-1]
        if self.fails is not None:
            raise self.fails
        return self._answer(iq, after, int(str(rsm.max)))

    def request(self, iq: Element, timeout: float) -> Deferred[Element]:
        if self.silent:
            return Deferred()
        # There are no rooms.
        return succeed(errorReply(iq, StanzaError.of("service-unavailable")))

    def proceed(self) -> None:
        """
        Answer what waits.
        """
        self._waiting.pop(0).callback(None)

    def _answer(self, iq: Element, after: str | None, most: int) -> list[Element]:
        if self.refusal is not None:
            return [errorReply(iq, self.refusal)]
        ids = [name for name, _ in self.archive]
        if after is not None and after not in ids:
            return [errorReply(iq, StanzaError.of("item-not-found"))]
        left = self.archive[0 if after is None else ids.index(after) + 1 :]
        page = left[: min(most, self.pageSize)]
        end = resultFor(iq)
        fin = end.addElement((NS_MAM, "fin"))
        if page == left:
            fin["complete"] = "true"
        if page:
            fin.addElement((NS_RSM, "set")).addElement("last", content=page[-1][0])
        return [*(_result(name, xml) for name, xml in page), end]

    @property
    def told(self) -> list[str]:
        """
        What was said about being there.
        """
        return [_short(each) for each in self.sent]


def _result(name: str, xml: str) -> Element:
    return parseDocument(
        f"<message from='{OWN}' to='{OWN}/r'><result xmlns='{NS_MAM}' id='{name}'>"
        "<forwarded xmlns='urn:xmpp:forward:0'><delay xmlns='urn:xmpp:delay' stamp='2023-11-14T22:13:00.5Z'/>"
        f"{xml}</forwarded></result></message>".encode()
    )


def _short(stanza: Element) -> str:
    if stanza.name == "presence":
        return str(stanza.getAttribute("type", "available")) + "".join(map(str, stanza.elements()))
    (payload,) = stanza.elements()
    return f"{payload.uri} {payload.name}"


HERE = ["urn:xmpp:carbons:2 enable", "available"]
GONE = ["unavailable", "urn:xmpp:carbons:2 disable"]


def message(
    text: str | None,
    archived: str | None = None,
    *,
    sender: str = f"{BOB}/desk",
    to: str = OWN,
    kind: str = "chat",
    more: str = "",
) -> str:
    """
    A message as XML.
    """
    body = "" if text is None else f"<body>{escape(text)}</body>"
    stanzaId = "" if archived is None else f"<stanza-id xmlns='urn:xmpp:sid:0' by='{OWN}' id='{archived}'/>"
    return (
        f"<message xmlns='jabber:client' type='{kind}' from='{sender}' to='{to}' id='m-{text}'>"
        f"{body}{more}{stanzaId}</message>"
    )


def delay(stamp: str, sender: str = "example.com") -> str:
    """
    What a server adds to a message that it has stored.
    """
    return f"<delay xmlns='urn:xmpp:delay' from='{sender}' stamp='{stamp}'/>"


def carbon(xml: str, sender: str = OWN, verb: str = "received") -> str:
    """
    A carbon copy of a message.
    """
    return (
        f"<message xmlns='jabber:client' from='{sender}' to='{OWN}/r' type='chat'>"
        f"<{verb} xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>{xml}</forwarded></{verb}>"
        "</message>"
    )


@attrs.frozen
class Read:
    """
    An event as the client reads it.
    """

    id: str
    name: str
    data: Any

    @property
    def text(self) -> str:
        return str(self.data["body"])


class Listener:
    """
    A client of one stream.
    """

    def __init__(self, site: BridgeSite, lastId: str | None = None) -> None:
        self.client = Client(site)
        headers = {**basic(OWN), **({} if lastId is None else {"Last-Event-ID": lastId})}
        self.client.begin("GET", "/api/sse", headers)
        head, _, self._rest = self.client.transport.value().partition(b"\r\n\r\n")
        line, _, fields = head.partition(b"\r\n")
        self.status = int(line.split()[1])
        self.headers = parse_headers(BytesIO(fields + b"\r\n\r\n"))
        self.client.transport.clear()
        self._body = b""

    @property
    def body(self) -> str:
        """
        All that has come.
        """
        self._rest += self.client.transport.value()
        self.client.transport.clear()
        while (size := self._rest.partition(b"\r\n")[0]) and size != b"0":
            start = len(size) + 2
            self._body += self._rest[start : start + int(size, 16)]
            self._rest = self._rest[start + int(size, 16) + 2 :]
        return self._body.decode()

    @property
    def ended(self) -> bool:
        """
        Whether the answer is complete.
        """
        return bool(self.body is not None and self._rest == b"0\r\n\r\n")

    @property
    def events(self) -> list[Read]:
        found = []
        for block in self.body.split("\n\n")[:-1]:
            if not block.startswith(":"):
                number, name, data = block.split("\n")
                found.append(
                    Read(
                        number.removeprefix("id: "),
                        name.removeprefix("event: "),
                        json.loads(data.removeprefix("data: ")),
                    )
                )
        return found

    @property
    def texts(self) -> list[str]:
        return [event.text for event in self.events]

    @property
    def lastId(self) -> str:
        return self.events[-1].id

    def pause(self) -> None:
        """
        Read no more.
        """
        self._producer.pauseProducing()

    def resume(self) -> None:
        self._producer.resumeProducing()

    @property
    def _producer(self) -> Any:
        return self.client.transport.producer


class EventsCase(LoggingTestCase):
    """
    A bridge, and alice's login.
    """

    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()
        self.clock.advance(NOW)
        self.login = Login()
        self.start()

    def start(self) -> None:
        """
        Start a bridge, with nothing of what another may have known.
        """
        self.users = FakeUsers(self.login)
        self.events = Events(clock=self.clock)
        api = ClientAPI(
            guard=Guard(accounts=None, users=self.users),
            events=self.events,
            rooms=Rooms(services=RoomServices(domains={}, kinds={})),
            once=once(),
        )
        self.site = BridgeSite(settings=HTTP(), mounts={b"api": api.app.resource()})

    def relogin(self) -> None:
        """
        The login ends; the next one finds the same archive.
        """
        ended, self.login = self.login, Login()
        self.login.archive = ended.archive
        self.users.link = self.login
        ended.end()

    def listen(self, lastId: str | None = None) -> Listener:
        """
        Open a stream.
        """
        listener = Listener(self.site, lastId)
        self.assertEqual(listener.status, 200)
        return listener

    def receive(self, *stanzas: str) -> None:
        for xml in stanzas:
            self.login.receive(parseDocument(xml.encode()))

    def say(self, *texts: str) -> None:
        """
        Messages come, and are in the archive with the beginnings of their texts as ids.
        """
        for text in texts:
            self.login.archive.append((text[:20], message(text)))
            self.receive(message(text, text[:20]))

    def miss(self, *texts: str) -> None:
        """
        Messages are in the archive, and don't come.
        """
        self.login.archive += [(text, message(text)) for text in texts]

    def settle(self) -> None:
        """
        Wait for longer than an archive takes.
        """
        self.clock.advance(SETTLE + 0.01)


class StreamTests(EventsCase):
    """
    The answer, and what is in it.
    """

    def test_answer(self) -> None:
        """
        It begins at once, and nothing else comes until something happens.
        """
        listener = self.listen()
        self.assertEqual(listener.headers["Content-Type"], "text/event-stream")
        self.assertEqual(listener.headers["Cache-Control"], "no-cache")
        self.assertEqual(listener.headers["X-Accel-Buffering"], "no")
        self.assertEqual(listener.body, "")
        self.assertFalse(listener.ended)

    def test_message(self) -> None:
        """
        A message is an event: id, name and data, one line each; its time is that of its coming.
        """
        listener = self.listen()
        self.receive(message("Hello\n\u2028\U0001f600", "a1"))
        (event,) = listener.events
        self.assertEqual(event.name, "message")
        expected = {"from": BOB, "to": OWN, "body": "Hello\n\u2028\U0001f600", "timestamp": int(NOW * 1e6)}
        self.assertEqual({**event.data, "id": ""}, {**expected, "id": ""})
        self.assertEqual(listener.body.count("\n"), 4)

    def test_carbon(self) -> None:
        """
        So is the carbon of one that another client got, and no carbon of one that was sent, nor one from
        anybody but the own account.
        """
        listener = self.listen()
        self.receive(
            carbon(message("got", "a1", to=f"{OWN}/phone")),
            carbon(message("sent", "a2", sender=f"{OWN}/phone", to=BOB), verb="sent"),
            carbon(message("forged", "a3"), sender=f"{BOB}/desk"),
            carbon("<nothing/>"),
            carbon(""),
        )
        self.assertEqual(listener.texts, ["got"])

    def test_noEvent(self) -> None:
        """
        What has no text, is no chat message, or is one's own to another is no event.
        """
        listener = self.listen()
        composing = "<composing xmlns='http://jabber.org/protocol/chatstates'/>"
        self.receive(
            message(None, more=composing),
            *(message("x", kind=kind) for kind in ("normal", "headline", "groupchat", "error")),
            message("own", sender=f"{OWN}/phone", to=BOB),
            f"<presence xmlns='jabber:client' from='{BOB}' to='{OWN}'/>",
            f"<iq xmlns='jabber:client' type='result' id='1' from='{OWN}' to='{OWN}/r'/>",
        )
        self.receive(message("text"))
        self.assertEqual(listener.texts, ["text"])

    def test_groupchat(self) -> None:
        """
        What is no event of this kind is left to other takers.
        """
        self.listen()
        groupchat = parseDocument(message("x", kind="groupchat").encode())
        self.assertFalse(self.login.receive(groupchat))

    def test_toOneself(self) -> None:
        """
        What one writes to oneself is an event, once, though it comes as sent and as received.
        """
        listener = self.listen()
        note = message("note", "a2", sender=f"{OWN}/phone")
        self.receive(carbon(message("note", "a1", sender=f"{OWN}/phone"), verb="sent"), note, carbon(note))
        self.assertEqual(listener.texts, ["note"])

    def test_once(self) -> None:
        """
        A message that comes twice is one event; two with the same text are two.
        """
        listener = self.listen()
        self.receive(
            message("x", "a1"), carbon(message("x", "a1")), message("x", "a2"), message("x"), message("x")
        )
        self.assertEqual(listener.texts, ["x"] * 4)
        self.assertEqual(len({event.id for event in listener.events}), 4)

    def test_early(self) -> None:
        """
        What comes before the answer has begun is in it, too.
        """
        self.login.silent = True
        client = Client(self.site)
        client.begin("GET", "/api/sse", basic(OWN))
        self.receive(message("early"))
        self.assertEqual(client.transport.value(), b"")
        self.clock.advance(PATIENCE)
        self.assertIn(b"text/event-stream", client.transport.value())
        self.assertEqual(client.transport.value().count(b"early"), 2)

    def test_delayed(self) -> None:
        """
        A message that waited at the user's server has the time at which it was sent, but none in the future.
        """
        listener = self.listen()
        for stamp in ("2023-11-14T22:00:00Z", "2123-11-14T22:00:00Z", "0001-01-01T00:00:00Z", "noon"):
            self.receive(message("x", more=delay(stamp)))
        self.receive(message("x", more=delay("2023-11-14T22:00:00Z", BOB)))
        now = int(NOW * 1e6)
        times = [event.data["timestamp"] for event in listener.events]
        self.assertEqual(times, [1_699_999_200_000_000, now, 0, now, now])

    def test_several(self) -> None:
        """
        Each stream of a user brings everything, until it is left.
        """
        first, second = self.listen(), self.listen()
        self.say("one")
        first.client.leave()
        self.say("two")
        self.assertEqual(first.texts, ["one"])
        self.assertEqual(second.texts, ["one", "two"])

    def test_tooMany(self) -> None:
        """
        There is an end to the number of a user's streams.
        """
        streams = [self.listen() for _ in range(MAX_STREAMS)]
        surplus = Listener(self.site)
        self.assertEqual((surplus.status, surplus.headers["Retry-After"]), (429, "30"))
        streams[0].client.leave()
        self.listen()

    def test_comments(self) -> None:
        """
        A comment comes every 30 seconds, while the client reads.
        """
        listener = self.listen()
        self.clock.advance(COMMENT_EVERY - 1)
        self.assertEqual(listener.body, "")
        self.clock.pump([1, COMMENT_EVERY])
        self.assertEqual(listener.body, ":\n\n" * 2)
        listener.pause()
        self.clock.advance(COMMENT_EVERY)
        self.assertEqual(listener.body, ":\n\n" * 2)

    def test_published(self) -> None:
        """
        Others hand in events, too: each stream of that user brings them, once for each key.
        """
        listener = self.listen()
        for key in ("k1", "k1", None, None):
            event = Event(name="room.message", data=b'{"body": "in a room"}', moment=7, key=key, slot="room")
            self.events.publish(OWN, event)
        self.events.publish("carol@example.com", event)
        self.assertEqual([event.name for event in listener.events], ["room.message"] * 3)
        self.assertEqual(len({event.id for event in listener.events}), 3)

    def test_refused(self) -> None:
        """
        405 before 401 before anything is written; a login that is down is 503.
        """
        client = Client(self.site)
        reply = client.request("POST", "/api/sse", basic(OWN))
        self.assertEqual((reply.status, reply.headers["Allow"]), (405, "OPTIONS, GET"))
        self.assertEqual(client.request("GET", "/api/sse", basic(OWN, "wrong")).status, 401)
        self.assertEqual(client.request("OPTIONS", "/api/sse", basic(OWN)).status, 200)
        self.login.end()
        self.assertEqual(client.request("GET", "/api/sse", basic(OWN)).status, 503)
        self.assertEqual(self.login.held, 0)


class PresenceTests(EventsCase):
    """
    When the login is available.
    """

    def test_available(self) -> None:
        """
        From the first stream to the last: carbons, then presence with priority 0; both are taken back.
        """
        first, second = self.listen(), self.listen()
        self.assertEqual(self.login.told, HERE)
        self.assertEqual(self.login.held, 1)
        first.client.leave()
        self.assertEqual(self.login.told, HERE)
        second.client.leave()
        self.assertEqual(self.login.told, HERE + GONE)
        self.assertEqual(self.login.held, 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.listen()
        self.assertEqual(self.login.told, HERE + GONE + HERE)

    def test_availableBefore(self) -> None:
        """
        A login that is available for another reason becomes it anew, to get what waits for the user.
        """
        presence = parseDocument(b"<presence><priority>-1</priority></presence>")
        self.login.send(presence)
        self.listen()
        self.assertEqual(self.login.told[1:], ["unavailable", *HERE])

    def test_loginEnds(self) -> None:
        """
        When the login ends so do the streams; the next one is of a new login.
        """
        listener, other = self.listen(), self.listen()
        ended = self.login
        self.relogin()
        self.assertTrue(listener.ended and other.ended)
        self.assertEqual((ended.told, ended.held), (HERE, 0))
        again = self.listen()
        self.say("hello")
        self.assertEqual(again.texts, ["hello"])

    def test_bridgeStops(self) -> None:
        """
        When the bridge stops the streams end in order, and the login is not seen any more: those that are
        being read, and those that catch up.
        """
        known = str(EventId(moment=1, number=0, complete=0, archived="one"))
        streams = [self.listen(), self.listen(known)]
        self.site.connections.end()
        self.assertEqual([each.ended for each in streams], [True, True])
        self.assertEqual((self.login.told, self.login.held), (HERE + GONE, 0))

    def test_waitedFor(self) -> None:
        """
        When the connection breaks the streams end, whose clients come back with their credentials. The login
        goes on as it was, and what has come to it meanwhile is for the first who does.
        """
        first, second = self.listen(), self.listen()
        self.say("before")
        self.login.lose()
        self.assertTrue(first.ended and second.ended)
        self.assertEqual((self.login.told, self.login.held), (HERE, 1))
        self.login.resume()
        self.say("archived")
        self.receive(message("not archived"))
        again = self.listen()
        self.assertEqual(again.texts, ["archived", "not archived"])
        other = self.listen(second.lastId)
        self.say("after")
        self.settle()
        self.assertEqual(again.texts, ["archived", "not archived", "after"])
        self.assertEqual(other.texts, ["archived", "after"])
        self.assertEqual((self.login.told, self.login.held), (HERE, 1))
        again.client.leave()
        other.client.leave()
        self.assertEqual((self.login.told, self.login.held), (HERE + GONE, 0))

    def test_waitedForOnce(self) -> None:
        """
        Who comes back with Last-Event-ID has it once.
        """
        listener = self.listen()
        self.say("before")
        self.settle()
        self.login.lose()
        self.miss("away")
        self.login.resume()
        self.receive(message("away", "away", more=delay("2023-11-14T22:13:23Z", OWN)))
        self.receive(message("not archived"))
        again = self.listen(listener.lastId)
        self.assertEqual(again.texts, ["away", "not archived"])

    def test_waitedInVain(self) -> None:
        """
        For nobody the login is not available: neither when nobody comes back in time, nor when it was only
        later that the login went on, for something else.
        """
        for down in (1, RETURN + 1):
            listener = self.listen()
            self.login.lose()
            self.clock.advance(down)
            self.assertEqual(self.login.told[-2:], HERE)
            self.login.resume()
            self.say("x")
            self.clock.advance(RETURN)
            self.assertEqual((self.login.told[-2:], self.login.held), (GONE, 0))
            self.assertTrue(listener.ended)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.listen().texts, [])

    def test_breaksAgain(self) -> None:
        """
        However often it breaks until the client is back.
        """
        listener = self.listen()
        for _ in range(3):
            self.login.lose()
            self.login.resume()
            self.say("x")
        again = self.listen()
        self.assertEqual((listener.texts, again.texts), ([], ["x"] * 1))
        self.login.lose()
        self.assertTrue(again.ended)
        ended = self.login
        self.relogin()
        self.assertEqual((ended.told, ended.held), (HERE, 0))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_manyWait(self) -> None:
        """
        Nothing is kept without measure for whoever may come back.
        """
        self.listen()
        self.login.lose()
        self.login.resume()
        self.receive(*(message(f"{number}") for number in range(2 * MAX_EVENTS)))
        self.assertEqual(len(self.listen().texts), MAX_EVENTS)

    def test_comesTooEarly(self) -> None:
        """
        Who comes while the connection is down is refused.
        """
        self.listen()
        self.login.lose()
        self.assertEqual(Listener(self.site).status, 503)

    def test_nobodyListens(self) -> None:
        """
        Without a stream nothing is kept of what comes.
        """
        self.listen().client.leave()
        self.receive(message("x", "a1"))
        self.assertEqual(self.listen().texts, [])


class ReplayTests(EventsCase):
    """
    Who comes back with Last-Event-ID.
    """

    def test_replay(self) -> None:
        """
        What came meanwhile is brought, page by page, before what comes now; each once.
        """
        listener = self.listen()
        self.say("one", "two")
        listener.client.leave()
        missed = [f"missed {n}" for n in range(120)]
        self.miss(*missed)
        again = self.listen(listener.lastId)
        self.say("live")
        self.settle()
        self.say("later")
        self.assertEqual(again.texts, [*missed, "live", "later"])
        self.assertEqual([after for after, _ in self.login.asked], ["two", "missed 49", "missed 99"])

    def test_fromEach(self) -> None:
        """
        Each event's id, replayed or not, brings what came after it, whatever bridge is asked.
        """
        listener = self.listen()
        self.say("one", "two")
        self.receive(message("not archived"))
        self.say("three")
        ids = [event.id for event in listener.events]
        self.start()
        for number, rest in zip(ids, (["two", "three"], ["three"], ["three"], []), strict=True):
            again = self.listen(number)
            self.settle()
            self.assertEqual(again.texts, rest)

    def test_filter(self) -> None:
        """
        The archive holds what was no event: that isn't brought.
        """
        self.login.archive = [
            ("0", message("known")),
            ("1", message(None, more="<received xmlns='urn:xmpp:receipts' id='1'/>")),
            ("2", message("own", sender=f"{OWN}/phone", to=BOB)),
            ("3", message("normal", kind="normal")),
            ("4", message("note", sender=f"{OWN}/phone")),
            ("5", message("last")),
            ("6", message("note", sender=f"{OWN}/phone")),
        ]
        listener = self.listen(str(EventId(moment=1, number=0, complete=0, archived="0")))
        self.settle()
        self.assertEqual(listener.texts, ["last", "note"])
        self.assertEqual(listener.events[0].data["timestamp"], 1_699_999_980_500_000)

    def test_settles(self) -> None:
        """
        A login that has just become available waits until the archive holds all that came before; one that
        has been it for long doesn't.
        """
        known = str(EventId(moment=1, number=0, complete=0, archived="one"))
        self.miss("one", "two")
        listener = self.listen(known)
        self.clock.advance(SETTLE - 0.1)
        self.assertEqual((listener.texts, self.login.asked), ([], []))
        self.clock.advance(0.1)
        self.assertEqual(listener.texts, ["two"])
        self.assertEqual(self.listen(known).texts, ["two"])

    def test_stored(self) -> None:
        """
        What was stored for the user comes once, though it is in the archive, too; also if the server has
        forgotten to bring it before.
        """
        listener = self.listen()
        self.say("one")
        self.settle()
        listener.client.leave()
        self.clock.advance(10)
        self.miss("two")
        stored = self._stored("two")
        again = self.listen(listener.lastId)
        self.receive(stored)
        self.settle()
        self.receive(stored)
        self.assertEqual(again.texts, ["two"])
        self.clock.advance(10)
        again.client.leave()
        third = self.listen(again.lastId)
        self.receive(stored, self._stored("not archived", None))
        self.settle()
        self.assertEqual(third.texts, ["not archived"])

    def _stored(self, text: str, archived: str | None = "") -> str:
        """
        A message that was sent ten seconds after the start.
        """
        return message(text, text if archived == "" else archived, more=delay("2023-11-14T22:13:33Z"))

    def test_onceMore(self) -> None:
        """
        What a server delivers once more, because the login ended before it knew that it had come, comes once.
        """
        listener = self.listen()
        texts = [f"{number}" for number in range(MARKED)]
        self.say(*texts)
        ended = listener.lastId
        self.relogin()
        again = self.listen(ended)
        self.receive(*(self._stored(text) for text in texts), self._stored("new"))
        self.settle()
        self.assertEqual(again.texts, ["new"])

    def test_unknown(self) -> None:
        """
        A message that the archive has forgotten is found by its time.
        """
        self.miss("one", "two")
        listener = self.listen(str(EventId(moment=int(NOW * 1e6), number=0, complete=0, archived="gone")))
        self.settle()
        self.assertEqual(listener.texts, ["one", "two"])
        self.assertEqual(
            self.login.asked, [("gone", "2023-11-13T22:13:20.250Z"), (None, "2023-11-14T22:12:20.250Z")]
        )

    def test_notArchivedYet(self) -> None:
        """
        So is an event before which there was nothing in the archive.
        """
        listener = self.listen()
        self.receive(message("not archived"))
        listener.client.leave()
        self.miss("one")
        again = self.listen(listener.lastId)
        self.settle()
        self.assertEqual(again.texts, ["one"])
        self.assertEqual(self.login.asked, [(None, "2023-11-14T22:12:20.250Z")])

    def test_noArchive(self) -> None:
        """
        Without an archive nothing is replayed, and what comes is brought.
        """
        self.login.refusal = StanzaError.of("service-unavailable")
        listener = self.listen(str(EventId(moment=1, number=0, complete=0, archived="one")))
        self.receive(message("live"), self._stored("stored", "two"))
        self.settle()
        self.assertEqual(listener.texts, ["live", "stored"])

    def test_archiveFails(self) -> None:
        """
        When the archive can't be read now the stream ends, and the next one asks again: nothing is lost.
        """
        known = str(EventId(moment=1, number=0, complete=0, archived="one"))
        self.miss("one", "two")
        for refusal, fails in ((StanzaError.of("resource-constraint"), None), (None, NoAnswer(30))):
            self.login.refusal, self.login.fails = refusal, fails
            listener = self.listen(known)
            self.settle()
            self.assertEqual((listener.texts, listener.ended), ([], True))
        self.assertEqual(self.login.held, 0)
        self.login.fails = None
        again = self.listen(known)
        self.settle()
        self.assertEqual(again.texts, ["two"])

    def test_endsMeanwhile(self) -> None:
        """
        A replay ends with the client, with the login, and with what comes beyond measure.
        """
        known = str(EventId(moment=1, number=0, complete=0, archived="one"))
        self.miss("one", "two")
        self.login.holding = True
        left = self.listen(known)
        self.settle()
        left.client.leave()
        self.assertEqual(self.login.told, HERE + GONE)
        flooded = self.listen(known)
        self.receive(*(message(f"{n}") for n in range(MAX_EVENTS + 1)))
        self.assertTrue(flooded.client.closed)
        self.assertEqual(self.login.told, (HERE + GONE) * 2)
        waiting = self.listen(known)
        self.relogin()
        self.assertTrue(waiting.ended)
        self.settle()

    def test_foreign(self) -> None:
        """
        An id that was written by somebody else is none.
        """
        self.miss("one")
        for foreign in ("", "1", "1-2-3", "1-2-3-%00", "1-2-3-a b", "x" * 3000, "9" * 17 + "-0-0-one"):
            self.listen(foreign)
        self.settle()
        self.assertEqual(self.login.asked, [])

    def test_ids(self) -> None:
        """
        An id is one word of ASCII, whatever the archive's ids are, and is read as it was written.
        """
        for archived in ("1795331911387461", "a-b_c.d~e", "50% \r\n\u00fc\U0001f600", None):
            number = EventId(moment=1, number=2, complete=3, archived=archived)
            self.assertRegex(str(number), r"^[!-~]+$")
            self.assertEqual(EventId.parse(str(number)), number)


class SlowTests(EventsCase):
    """
    A client that doesn't read.
    """

    def test_resumes(self) -> None:
        """
        What comes while it doesn't read comes when it does, in order.
        """
        listener = self.listen()
        self.say("one")
        listener.pause()
        self.say("two", "three")
        self.assertEqual(listener.texts, ["one"])
        listener.resume()
        self.say("four")
        self.assertEqual(listener.texts, ["one", "two", "three", "four"])

    def test_cutOff(self) -> None:
        """
        Past a number of events, or of bytes, it is cut off; others aren't, and it has lost nothing.
        """
        for number, text in ((MAX_EVENTS + 1, "x"), (20, "long" * (MAX_BYTES // 60))):
            listener, other = self.listen(), self.listen()
            self.say("known")
            listener.pause()
            texts = [f"{n} {text}" for n in range(number)]
            self.say(*texts[:-1])
            if text == "x":
                self.assertFalse(listener.client.closed)
            self.say(texts[-1])
            self.assertTrue(listener.client.closed)
            listener.client.leave()
            self.assertEqual(other.texts[-1], texts[-1])
            self.settle()
            again = self.listen(listener.lastId)
            self.assertEqual(again.texts, texts)
            for each in (other, again):
                each.client.leave()
            self.login.archive.clear()

    def test_replay(self) -> None:
        """
        A replay goes on as the client reads, and holds no more than a page.
        """
        self.miss("known", *(f"{n}" for n in range(200)))
        listener = self.listen(str(EventId(moment=1, number=0, complete=0, archived="known")))
        listener.pause()
        self.settle()
        self.assertEqual((listener.texts, len(self.login.asked)), ([], 1))
        listener.resume()
        self.assertEqual(listener.texts, [f"{n}" for n in range(200)])
