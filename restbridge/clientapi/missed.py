"""
What a client has missed in the user's rooms, as one sequence, the earliest first.

::

    a room     -> what the client has had last -> Tale: its archive, page by page,    -> Chronicle -> events
                                                  and the store's changes in between ->
    a left one ->                                 Tale: the user's own changes       ->

Each room is told in its own order, and all of them side by side in that of time, so that an id needs to say
little of where each of them is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from heapq import heappop, heappush
from typing import Any, TypeVar

import attrs
from twisted.logger import Logger

from restbridge.boundaries import UserLink
from restbridge.clientapi.event import Event, changeKey, messageAlias, messageKey, ofChange, ofMessage
from restbridge.clientapi.groupchat import TIMEOUT, RoomService, severally
from restbridge.clientapi.history import Archived, Item, Query, newest
from restbridge.clientapi.ledger import MAX_MARKS, RECENT, TOLERANCE, Known, Ledger
from restbridge.clientapi.replay import NoReplay, Replay
from restbridge.clientapi.sse import MAX_BYTES
from restbridge.stanzas.errors import LinkDown, NoAnswer
from restbridge.stanzas.jid import JID
from restbridge.store.database import StoreFailed
from restbridge.store.rooms import Change
from restbridge.web.answer import Refusal

log = Logger()

MAX_CHANGES = 100
"""Changes of a room that are read at once."""

MAX_OWN = 1000
"""Changes of the user's own affiliations that are looked at."""

MAX_PASSED = 1000
"""Ids that a tale remembers, to tell what came after them."""

T = TypeVar("T")
Changed = tuple[JID, Change]


class Missed:
    """
    The rooms of one login, for a client that was away.
    """

    def __init__(self, *, link: UserLink, service: RoomService) -> None:
        self._link = link
        self._service = service

    async def suppose(self, ledger: Ledger) -> None:
        """
        For a client that begins with now: what there is in the rooms needs not be told.
        """
        with suppress(LinkDown):
            since = ledger.known.until - TOLERANCE
            await severally(await self._heard(), lambda room: self._supposeIn(room, ledger, since))
            for room, change in await self._ownChanges(since):
                ledger.suppose(changeKey(room, change), change.time * 1000, changeKey(room, change))

    async def since(self, known: Known, ledger: Ledger) -> Chronicle:
        """
        What came after that.

        @param ledger: of the stream that brings it.
        """
        rooms = await self._heard()
        own = [each for each in await self._ownChanges(known.until - TOLERANCE) if not _had(*each, known)]
        share = MAX_BYTES // max(1, len(rooms))

        async def tale(room: JID) -> Tale:
            mine = [change for where, change in own if where == room]
            place = _Place(room=room, known=known, ledger=ledger)
            return Tale(
                room=room,
                pages=await _tried(room, self._pages(place), None),
                passed=place.passed,
                changes=self._changes(room, known, ledger),
                shown=self._service.shown,
                user=self._link.address.bare,
                isOutside=bool(mine) and mine[0].affiliation == "member",
                share=share,
            )

        tales = await severally(rooms, tale)
        tales += [self._left(room, change) for room, change in own if room not in rooms]
        chronicle = Chronicle()
        await severally(tales, chronicle.add)
        return chronicle

    def _left(self, room: JID, change: Change) -> Tale:
        """
        Of a room that the user is no more in: what nobody else is told either.
        """

        async def read(skipped: int) -> list[Change]:
            return [change][skipped:]

        return Tale(
            room=room,
            pages=None,
            passed=Passed(),
            changes=Changes(read),
            shown=self._service.shown,
            user=self._link.address.bare,
            isOutside=False,
            share=MAX_BYTES,
        )

    def _changes(self, room: JID, known: Known, ledger: Ledger) -> Changes:
        since = (known.until - TOLERANCE) // 1000

        async def read(skipped: int) -> list[Change]:
            return await _tried(room, self._service.changes(room, since, skipped, MAX_CHANGES), [])

        def isNew(change: Change) -> bool:
            key = changeKey(room, change)
            if known.has(key):
                ledger.note(key, change.time * 1000, key)
            return not known.has(key)

        return Changes(read, isNew)

    async def _pages(self, place: _Place) -> Replay | None:
        """
        The room's archive behind what the client has had; L{None} where there is nothing.

        @raise NoReplay: see L{Replay.page}, as for the others.
        """
        room, start = place.room, (place.known.until - RECENT - TOLERANCE) // 1000
        pages = Replay(link=self._link, archive=room, known=None, start=start, otherwise=start)
        while not (pages.done or place.isBehind):
            for found in await pages.page():
                place.look(found)
        if place.isAtEnd:
            return None
        return Replay(link=self._link, archive=room, known=place.last, start=start, otherwise=start)

    async def _supposeIn(self, room: JID, ledger: Ledger, since: int) -> None:
        query = Query(archive=room, limit=1)
        for item in await _tried(room, newest(self._link, query, _named, TIMEOUT), []):
            ledger.suppose(room.bare, item["timestamp"] * 1000, messageKey(room, item["id"]))
        changes = self._service.changes(room, since // 1000, 0, MAX_MARKS)
        for change in await _tried(room, changes, []):
            ledger.suppose(changeKey(room, change), change.time * 1000, changeKey(room, change))

    async def _heard(self) -> list[JID]:
        return await _tried(self._link.address.toBare(), self._service.heard(self._link), [])

    async def _ownChanges(self, since: int) -> list[Changed]:
        own = self._link.address.toBare()
        return await _tried(own, self._service.changesOf(own, since // 1000, MAX_OWN), [])


class Chronicle:
    """
    What is told of several rooms, the earliest first.
    """

    def __init__(self) -> None:
        self._tales: list[tuple[int, int, Tale]] = []
        self._number = 0

    async def add(self, tale: Tale) -> None:
        """
        Tell this, too, as far as there is something.
        """
        moment = await tale.next()
        if moment is not None:
            # No two tales are compared.
            self._number += 1
            heappush(self._tales, (moment, self._number, tale))

    async def take(self) -> Event | None:
        """
        The next event; L{None} behind the last.
        """
        if not self._tales:
            return None
        tale = heappop(self._tales)[2]
        event = tale.take()
        await self.add(tale)
        return event


class Changes:
    """
    The changes of a room that the client has not had, a few at a time.
    """

    def __init__(
        self,
        read: Callable[[int], Coroutine[Any, Any, list[Change]]],
        isNew: Callable[[Change], bool] = lambda _: True,
    ) -> None:
        """
        @param read: those behind so many, none behind the last.
        """
        self._read = read
        self._isNew = isNew
        self._waiting: deque[Change] = deque()
        self._skipped = 0
        self._done = False

    async def first(self) -> Change | None:
        """
        The next one, which stays.
        """
        while not (self._waiting or self._done):
            found = await self._read(self._skipped)
            self._skipped += len(found)
            self._waiting += filter(self._isNew, found)
            self._done = not found
        return self._waiting[0] if self._waiting else None

    def drop(self) -> None:
        """
        Have the next one gone.
        """
        self._waiting.popleft()


class Passed:
    """
    The last ids of a sequence; in front of all there is an empty one.
    """

    def __init__(self) -> None:
        self._ids = {"": None}

    def __contains__(self, name: str) -> bool:
        return name in self._ids

    def add(self, name: str) -> None:
        """
        Add the next one.
        """
        self._ids[name] = None
        if len(self._ids) > MAX_PASSED:
            del self._ids[next(iter(self._ids))]


@attrs.define(eq=False, kw_only=True)
class Tale:
    """
    What is told of one room: messages, and changes in between.

    @ivar pages: of messages; L{None} for none.
    @ivar passed: the archive's ids of messages in front of them.
    @ivar shown: what is told of a message.
    @ivar user: whom it is told.
    @ivar isOutside: whether the user has no place in the room, at this point of the tale.
    @ivar share: bytes that may wait, beyond the first event.
    """

    room: JID
    pages: Replay | None
    passed: Passed
    changes: Changes
    shown: Callable[[Archived], Item | None]
    user: str
    isOutside: bool
    share: int
    _latest: int = 0
    _ready: deque[Event] = attrs.field(factory=deque)
    _bytes: int = 0

    async def next(self) -> int | None:
        """
        The time of the next event, which is no earlier than that of the one before; L{None} behind the last.
        """
        while not self._ready and await self._goOn():
            pass
        if not self._ready:
            return None
        self._latest = max(self._latest, self._ready[0].moment)
        return self._latest

    def take(self) -> Event:
        """
        The next event.
        """
        event = self._ready.popleft()
        self._bytes -= len(event.data)
        return event

    async def _goOn(self) -> bool:
        """
        Read on; whether there was anything.
        """
        if self.pages is not None:
            await self._read(self.pages)
            return True
        change = await self.changes.first()
        if change is not None:
            self._change(change)
        return change is not None

    async def _read(self, pages: Replay) -> None:
        page = await _tried(self.room, pages.page(), None)
        if page is None:
            self.pages = None
            return
        for number, found in enumerate(page):
            coming = {each.id for each in page[number:]}
            await self._changesBefore(found, coming, isLast=pages.done)
            self._message(found)
            if self._bytes > self.share and found is not page[-1]:
                # The rest is asked for again when this much was brought.
                pages.goBackTo(found.id)
                return
        if pages.done:
            self.pages = None

    async def _changesBefore(self, found: Archived, coming: set[str], *, isLast: bool) -> None:
        """
        Tell the changes that came before a message: behind the one that each came after. As long as that was
        not there, and may be on a later page, it is the time that tells.

        @param coming: the ids of this message and of those behind it on the page.
        @param isLast: whether there is no page behind that.
        """
        while (change := await self.changes.first()) is not None:
            isOld = change.after not in coming and (isLast or change.time <= found.timestamp)
            if not (isOld or change.after in self.passed):
                return
            self._change(change)

    def _change(self, change: Change) -> None:
        self.changes.drop()
        isOwn = change.user == self.user
        if isOwn or not self.isOutside:
            self._tell(ofChange(self.room, change, change.time * 1000, self.user))
        if isOwn:
            self.isOutside = change.affiliation == "none"

    def _message(self, found: Archived) -> None:
        self.passed.add(found.id)
        item = self.shown(found)
        if item is not None and not self.isOutside:
            self._tell(ofMessage(self.room, item, found.timestamp * 1000, found.message, found.id))

    def _tell(self, event: Event) -> None:
        self._ready.append(event)
        self._bytes += len(event.data)


@attrs.define(eq=False, kw_only=True)
class _Place:
    """
    Where a client is in the archive of a room: it has had what is marked, and what is in front of that; if
    nothing is, what is too old to be new.

    @ivar last: the archive's id of what it has had last.
    @ivar passed: of this, and of what is in front of it.
    @ivar isBehind: whether what follows is new.
    @ivar isAtEnd: whether nothing was there to follow.
    """

    room: JID
    known: Known
    ledger: Ledger
    last: str | None = None
    passed: Passed = attrs.field(factory=Passed)
    isBehind: bool = False
    isAtEnd: bool = True
    _isSure: bool = False
    _seen: deque[str] = attrs.field(factory=lambda: deque(maxlen=MAX_PASSED))

    def look(self, found: Archived) -> None:
        """
        Look at the next message.
        """
        moment = found.timestamp * 1000
        self.isBehind = self.isBehind or moment > self.known.until + TOLERANCE
        isHad = not self.isBehind and self._isMarked(found, moment)
        self._isSure = self._isSure or isHad
        self.isAtEnd = isHad or not (self._isSure or moment >= self.known.until - TOLERANCE)
        self._seen.append(found.id)
        if self.isAtEnd:
            self.last = found.id
            for name in self._seen:
                self.passed.add(name)
            self._seen.clear()

    def _isMarked(self, found: Archived, moment: int) -> bool:
        """
        Whether the client has had a message for sure; the stream goes on from there.
        """
        for slot, key in (
            (self.room.bare, messageKey(self.room, found.id)),
            (f"{self.room.bare}\n", messageAlias(found.message)),
        ):
            if key is not None and self.known.has(key):
                self.ledger.note(slot, moment, key)
                return True
        return False


async def _tried(where: JID, work: Coroutine[Any, Any, T], otherwise: T) -> T:
    """
    What C{work} returns, or something else: one room that can't be read is no end of the others.
    """
    try:
        return await work
    except Refusal as refusal:
        if refusal.status != 501:
            log.warn("What was missed in {room} isn't told: {why}", room=where.bare, why=refusal.text)
    except (NoAnswer, NoReplay, StoreFailed) as reason:
        log.warn("What was missed in {room} isn't told: {why}", room=where.bare, why=str(reason))
    return otherwise


def _had(room: JID, change: Change, known: Known) -> bool:
    return known.has(changeKey(room, change))


def _named(archived: Archived) -> Item:
    return {"id": archived.id, "timestamp": archived.timestamp}
