"""
What the tests of C{/api/sse} stand on: a login that the test plays, its archive, and a client that reads.
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
from restbridge.clientapi.events import Events
from restbridge.clientapi.reader import SETTLE
from restbridge.clientapi.rooms import Rooms
from restbridge.config import HTTP
from restbridge.stanzas.errors import StanzaError, errorReply
from restbridge.stanzas.replies import resultFor
from restbridge.stanzas.xml import parseDocument
from restbridge.web.guard import Guard
from restbridge.web.routes import Routed
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
        self.site = BridgeSite(settings=HTTP(), mounts={b"api": Routed(api)})

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
