"""
A town of rooms that the test plays: their archives, what is told of them to who is there, and a login that
may read it all later.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.words.xish.domish import Element

from restbridge.boundaries import UserLink
from restbridge.clientapi.event import ofChange, ofMessage, stanzaId
from restbridge.clientapi.events import Events
from restbridge.clientapi.groupchat import shownContent
from restbridge.clientapi.history import Archived, Item
from restbridge.stanzas.errors import LinkDown, StanzaError, errorReply
from restbridge.stanzas.jid import JID
from restbridge.stanzas.replies import resultFor
from restbridge.stanzas.xml import parseDocument
from restbridge.store.rooms import Change, RoomStore
from tests.clientapi.eventscase import NS_MAM, NS_RSM, OWN, Login
from tests.store.fakes import MemoryStore

DOMAIN = "rooms.example.com"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Town:
    """
    The rooms' server, and the bridge's store.

    @ivar skew: seconds by which the server's clock is ahead of the bridge's.
    @ivar wholeSeconds: whether its archives know no more than the second.
    @ivar tellsIds: whether messages carry the ids that the archive gives them.
    @ivar pageSize: messages of an answer at most.
    @ivar said: all that happened, in each room.
    """

    def __init__(self, clock: Clock, *rooms: str) -> None:
        self.skew = 0.0
        self.wholeSeconds = False
        self.tellsIds = True
        self.pageSize = 50
        self.rooms = [JID(room, DOMAIN, None) for room in rooms]
        self.said: dict[str, list[str]] = {room: [] for room in rooms}
        self.archives: dict[JID, list[tuple[str, str, str]]] = {room: [] for room in self.rooms}
        self.store = RoomStore(MemoryStore())
        self._clock = clock
        self._number = 0

    def say(self, room: str, *, archived: bool = True) -> str:
        """
        Somebody says something.

        @return: how it is told.
        """
        self._number += 1
        text, address = f"{room} {self._number}", JID(room, DOMAIN, None)
        name = f"{self._number:05}"
        known = f"<stanza-id xmlns='urn:xmpp:sid:0' by='{address.bare}' id='{name}'/>"
        xml = (
            f"<message xmlns='jabber:client' type='groupchat' from='{address.bare}/bob' id='m{self._number}'>"
            f"<body>{text}</body>{known if self.tellsIds and archived else ''}</message>"
        )
        if archived:
            self.archives[address].append((name, self._stamp(), xml))
        self.said[room].append(text)
        return xml

    def change(self, room: str, user: str = "kate@example.com", affiliation: str = "member") -> Change:
        """
        Somebody's affiliation is changed.
        """
        self._number += 1
        address = JID(room, DOMAIN, None)
        archive = self.archives[address]
        change = Change(
            time=int(self._clock.seconds() * 1000),
            user=user,
            affiliation=affiliation,
            id=f"c{self._number}",
            after=archive[-1][0] if archive else "",
        )
        Deferred.fromCoroutine(self.store.record(address, change))
        self.said[room].append(change.id)
        return change

    def page(self, iq: Element, room: JID) -> list[Element]:
        """
        What an archive answers.
        """
        (payload,) = iq.elements(NS_MAM, "query")
        rsm = next(payload.elements(NS_RSM, "set"))
        fields = {each["var"]: str(each.value) for each in payload.x.elements()}
        found = [entry for entry in self.archives[room] if entry[1] >= fields.get("start", "")]
        after = None if rsm.after is None else str(rsm.after)
        if after is not None and all(after != name for name, _, _ in self.archives[room]):
            return [errorReply(iq, StanzaError.of("item-not-found"))]
        left = [entry for entry in found if after is None or entry[0] > after]
        most = min(int(str(rsm.max)), self.pageSize)
        page = left[:most] if rsm.before is None else left[-most:]
        end = resultFor(iq)
        fin = end.addElement((NS_MAM, "fin"))
        if page == left:
            fin["complete"] = "true"
        if page:
            edges = fin.addElement((NS_RSM, "set"))
            edges.addElement("first", content=page[0][0])
            edges.addElement("last", content=page[-1][0])
        return [*(_result(room, *entry) for entry in page), end]

    def _stamp(self) -> str:
        moment = EPOCH + timedelta(seconds=self._clock.seconds() + self.skew)
        return f"{moment:%Y-%m-%dT%H:%M:%S}Z" if self.wholeSeconds else f"{moment:%Y-%m-%dT%H:%M:%S.%fZ}"


def _result(room: JID, name: str, stamp: str, xml: str) -> Element:
    return parseDocument(
        f"<message from='{room.bare}' to='{OWN}/r'><result xmlns='{NS_MAM}' id='{name}'>"
        f"<forwarded xmlns='urn:xmpp:forward:0'><delay xmlns='urn:xmpp:delay' stamp='{stamp}'/>"
        f"{xml}</forwarded></result></message>".encode()
    )


class Citizen(Login):
    """
    A login of somebody who lives there.

    @ivar pausing: whether rooms' answers wait for L{reply}.
    @ivar closed: rooms whose archives can't be read.
    @ivar queries: how often archives of rooms were asked.
    @ivar most: of these how many at once.
    """

    def __init__(self, town: Town) -> None:
        super().__init__()
        self.town = town
        self.pausing = False
        self.closed: set[JID] = set()
        self.queries = 0
        self.most = 0
        self._paused: list[Deferred[None]] = []

    async def query(self, iq: Element, timeout: float) -> list[Element]:
        if not iq.hasAttribute("to"):
            return await super().query(iq, timeout)
        room = JID.parse(iq["to"])
        iq["from"] = self.address.full
        self.queries += 1
        if self.pausing:
            self._paused.append(Deferred())
            self.most = max(self.most, len(self._paused))
            await self._paused[-1]
        if room in self.closed:
            return [errorReply(iq, StanzaError.of("resource-constraint"))]
        return self.town.page(iq, room)

    def end(self, reason: str = "the session was closed") -> None:
        super().end(reason)
        while self._paused:
            self._paused.pop().errback(LinkDown(reason))

    def reply(self) -> bool:
        """
        Answer the next question; whether there was one.
        """
        if self._paused:
            self._paused.pop(0).callback(None)
            return True
        return False


class Service:
    """
    A L{restbridge.clientapi.groupchat.RoomService}, as far as a listener needs it, in which one is at once.

    @ivar entered: in which rooms.
    """

    domain = DOMAIN

    def __init__(self, town: Town, events: Callable[[], Events], clock: Clock) -> None:
        self._town = town
        self._events = events
        self._clock = clock
        self.entered = list(town.rooms)

    def say(self, room: str, *, archived: bool = True) -> None:
        """
        Somebody says something, and the listener is told.
        """
        message = parseDocument(self._town.say(room, archived=archived).encode())
        where = JID(room, DOMAIN, None)
        item = self.shown(Archived(id="x", timestamp=0, message=message))
        assert item is not None
        archiveId = stanzaId(message, where.bare)
        self._events().publish(OWN, ofMessage(where, item, self._now(), message, archiveId))

    def change(self, room: str, user: str = "kate@example.com", affiliation: str = "member") -> None:
        """
        Likewise, somebody's affiliation is changed.
        """
        change = self._town.change(room, user, affiliation)
        self._events().publish(OWN, ofChange(JID(room, DOMAIN, None), change, self._now(), OWN))

    def _now(self) -> int:
        return int(self._clock.seconds() * 1_000_000)

    async def follow(self, link: UserLink) -> None:
        pass

    async def heard(self, link: UserLink) -> list[JID]:
        return self.entered

    def shown(self, archived: Archived) -> Item | None:
        content = shownContent(archived.message)
        used = archived.message["id"]
        return {"type": "message", "id": used, "from": "bob@example.com", **content} if content else None

    async def changes(self, room: JID, since: int, skipped: int, limit: int) -> list[Change]:
        return await self._town.store.since(room, since, skipped, limit)

    async def changesOf(self, user: JID, since: int, limit: int) -> list[tuple[JID, Change]]:
        return await self._town.store.sinceOf(user, since, limit)
