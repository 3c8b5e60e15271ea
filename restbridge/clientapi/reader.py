"""
One stream of a user: what the client has missed, then what happens, each event once.

::

    one-to-one message -> (waits) | the user's archive, behind what it has had last | what waited -> Outlet
    event of a room    -> (waits) | L{Missed}, behind what the L{Ledger} says       | what waited ->

An event's id says where the client is in both: the last message of the user's archive (XEP-0313, by
XEP-0359), and the ledger.
"""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine, Iterable
from typing import Any

import attrs

from restbridge.boundaries import UserLink
from restbridge.clientapi.event import Event, EventId, archived
from restbridge.clientapi.ledger import Known, Ledger
from restbridge.clientapi.missed import Missed
from restbridge.clientapi.replay import Replay
from restbridge.clientapi.sse import MAX_BYTES, MAX_EVENTS, Outlet, written

SETTLE = 2.5
"""
Seconds after which an archive holds all that came before: MongooseIM writes it every two seconds, and what
ejabberd sends while a login becomes available may be in the archive, and stored for later, a moment after
that.
"""

MARKED = 8
"""
One-to-one messages that an id names by marks: when a login ends servers deliver once more what is not yet
acknowledged to them.
"""

MAX_KEYS = 2 * MAX_EVENTS
"""Events that a stream remembers, so as not to bring them twice."""


@attrs.define(eq=False)
class Waiting:
    """
    What happens while there is nobody to bring it to, or something that was missed comes first.
    """

    events: list[Event] = attrs.field(factory=list)
    bytes: int = 0

    def add(self, event: Event) -> bool:
        """
        Keep an event, if there is room for it.

        @return: whether there was.
        """
        hasRoom = len(self.events) < MAX_EVENTS and self.bytes + len(event.data) <= MAX_BYTES
        if hasRoom:
            self.events.append(event)
            self.bytes += len(event.data)
        return hasRoom


class Reader:
    """
    The events for one client, in their order.
    """

    def __init__(self, *, outlet: Outlet, since: EventId | None) -> None:
        """
        @param since: the last event that the client knows; L{None} for from now on.
        """
        self.outlet = outlet
        self._since = since
        self._moment = 0 if since is None else since.moment
        self._archived = None if since is None else since.archived
        self._number = 0 if since is None else since.number
        self._known = None if since is None else since.known
        self._ledger = Ledger(self._known or Known(until=0))
        self._keys: dict[str, None] = {}
        self._own = None if since is None else Waiting()
        self._inRooms = None if self._known is None else Waiting()
        self._available = self._complete = self._marked = 0

    def join(self, available: float, now: float) -> None:
        """
        Begin.

        @param available: since when the login is, in seconds since 1970.
        @param now: likewise.
        """
        self._available = int(available * 1_000_000)
        self._complete = int((available + SETTLE) * 1_000_000)
        if self._known is None:
            self._ledger.passed(int(now * 1_000_000))

    async def enter(self, following: Coroutine[Any, Any, Missed | None]) -> Missed | None:
        """
        Wait until the login is in its rooms.

        @return: what C{following} returns.
        """
        missed = await following
        if missed is not None and self._known is None:
            await missed.suppose(self._ledger)
        return missed

    def bring(self, event: Event) -> None:
        """
        Bring what happens now, after what was missed.
        """
        waiting = self._own if event.slot is None else self._inRooms
        if waiting is None:
            self._bringNow(event)
        elif not (self.outlet.over or waiting.add(event)):
            self.outlet.abort()

    async def catchUp(self, link: UserLink) -> None:
        """
        Bring the one-to-one messages that the client has missed.

        @raise NoReplay: see L{Replay.page}, as for the others.
        """
        if self._since is None:
            return
        settled, self._complete = self._complete, self._since.complete
        await self.outlet.passed(settled / 1_000_000)
        replay = Replay.ofUser(link, self._since.archived, self._since.moment // 1000)
        own = link.address.bare
        while not (replay.done or self.outlet.over):
            for event in _once(archived(found, own) for found in await replay.page()):
                await self.outlet.drained()
                self._send(event, event.key)
        if not replay.found:
            self._complete = settled
        waiting, self._own = self._own or Waiting(), None
        for event in waiting.events:
            self._bringNow(event)

    async def catchUpInRooms(self, entering: Awaitable[Missed | None]) -> None:
        """
        Bring what the client has missed in rooms.

        @param entering: what L{Reader.enter} returns.
        """
        if self._known is None:
            return
        missed = await entering
        if missed is not None and not self.outlet.over:
            chronicle = await missed.since(self._known, self._ledger)
            while not self.outlet.over and (event := await chronicle.take()) is not None:
                await self.outlet.drained()
                self._send(event, event.key)
                self._remember(event.alias)
        waiting, self._inRooms = self._inRooms or Waiting(), None
        for event in waiting.events:
            # What the room tells has no key if the archive isn't the room's.
            self._send(event, event.key or event.alias)

    def _bringNow(self, event: Event) -> None:
        """
        Bring an event, unless the client has it: what waited for the user, and was not replayed, was brought
        before that.
        """
        waited = event.delayed and event.archived is not None
        if not (waited and self._complete <= event.moment < self._available):
            self._send(event, event.key)

    def _send(self, event: Event, key: str | None) -> None:
        if (key is not None and key in self._keys) or self._wasBrought(event):
            return
        self._remember(key)
        self.outlet.send(written(event.name, str(self._next(event)), event.data))

    def _wasBrought(self, event: Event) -> bool:
        """
        Whether a stream before this one has brought a one-to-one message a moment before its end.
        """
        return self._known is not None and event.archived is not None and self._known.has(event.archived)

    def _next(self, event: Event) -> EventId:
        self._moment = event.moment if event.slot is None else max(self._moment, event.moment)
        if event.archived is not None:
            self._archived, self._number = event.archived, 0
        else:
            self._number += 1
        self._book(event)
        return EventId(
            moment=self._moment,
            number=self._number,
            complete=self._complete,
            archived=self._archived,
            known=self._ledger.known,
        )

    def _book(self, event: Event) -> None:
        if event.archived is not None:
            self._ledger.note(f"\n{self._marked}", event.moment, event.archived)
            self._marked = (self._marked + 1) % MARKED
        name = event.key or event.alias
        if event.slot is not None and name is not None:
            self._ledger.note(event.slot, event.moment, name)
        if event.behind is not None:
            slot, before = event.behind
            self._ledger.note(slot, event.moment, before)
        if event.slot is not None or self._inRooms is None:
            self._ledger.passed(event.moment)

    def _remember(self, key: str | None) -> None:
        if key is None:
            return
        self._keys[key] = None
        if len(self._keys) > MAX_KEYS:
            del self._keys[next(iter(self._keys))]


def _once(found: Iterable[Event | None]) -> list[Event]:
    """
    The events of a page; the last of those that are the same, behind which a client may go on.
    """
    events = [event for event in found if event is not None]
    last = {event.key: event for event in events}
    return [event for event in events if last[event.key] is event]
