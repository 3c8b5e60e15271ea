"""
C{/api/sse}: what is written to a user, as it happens.

::

    GET -> Reader -> Feed: available, carbons on -> in the rooms
                                                 -> the archive, after Last-Event-ID -> Outlet
                     message, carbon -> Feed     -> (the archive first)              -> Outlet
    last Reader gone -> Feed: unavailable, carbons off

While somebody reads the shared login is available with priority 0 and gets carbons (XEP-0280), so that
what is for the user comes here as well as to the user's other clients. An event's id names the last
message before or at it in the user's archive (XEP-0313, by XEP-0359), from which the next stream goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from functools import partial
from typing import Any, TypeAlias

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.words.xish.domish import Element

from restbridge.boundaries import UserLink
from restbridge.clientapi.event import NS_CARBONS, Event, EventId, archived, received
from restbridge.clientapi.replay import NoReplay, Replay
from restbridge.clientapi.sse import MAX_BYTES, MAX_EVENTS, Outlet, written
from restbridge.stanzas.errors import LinkDown, NoAnswer
from restbridge.stanzas.replies import newId
from restbridge.stanzas.xml import NS_CLIENT
from restbridge.web.answer import Refusal
from restbridge.web.site import BridgeRequest

MAX_STREAMS = 100
"""Streams of one user at once."""

SETTLE = 2.5
"""
Seconds after which an archive holds all that came before: MongooseIM writes it every two seconds, and what
ejabberd sends while a login becomes available may be in the archive, and stored for later, a moment after
that.
"""

PATIENCE = 3.0
"""Seconds for the login to be in its rooms before the answer begins; it may take longer all the same."""

MAX_KEYS = 2 * MAX_EVENTS
"""Events that a stream remembers, so as not to bring them twice."""

Follow: TypeAlias = Callable[[UserLink], Coroutine[Any, Any, None]]


class Reader:
    """
    One stream of a user: first what the archive has, then what happens, each event once.
    """

    def __init__(self, *, outlet: Outlet, since: EventId | None) -> None:
        """
        @param since: the last event that the client knows; L{None} for from now on.
        """
        self.outlet = outlet
        self._since = since
        self._archived = None if since is None else since.archived
        self._number = 0 if since is None else since.number
        self._keys: dict[str, None] = {}
        self._held: list[Event] | None = None if since is None else []
        self._heldBytes = 0
        self._available = self._complete = 0

    def join(self, available: float) -> None:
        """
        Begin.

        @param available: since when the login is, in seconds since 1970.
        """
        self._available = int(available * 1_000_000)
        self._complete = int((available + SETTLE) * 1_000_000)

    def bring(self, event: Event) -> None:
        """
        Bring what happens now, after what was missed.
        """
        if self._held is None:
            self._bringNow(event)
            return
        self._held.append(event)
        self._heldBytes += len(event.data)
        if len(self._held) > MAX_EVENTS or self._heldBytes > MAX_BYTES:
            self._held = []
            self.outlet.abort()

    async def catchUp(self, link: UserLink) -> None:
        """
        Bring what the client has missed.

        @raise NoReplay: see L{Replay.page}, as for the others.
        """
        if self._since is None:
            return
        settled, self._complete = self._complete, self._since.complete
        await self.outlet.passed(settled / 1_000_000)
        replay = Replay(link=link, known=self._since.archived, moment=self._since.moment // 1000)
        own = link.address.bare
        while not (replay.done or self.outlet.over):
            for event in _once(archived(found, own) for found in await replay.page()):
                await self.outlet.drained()
                self._send(event)
        if not replay.found:
            self._complete = settled
        held, self._held = self._held or [], None
        for event in held:
            self._bringNow(event)

    def _bringNow(self, event: Event) -> None:
        """
        Bring an event, unless the client has it: what waited for the user, and was not replayed, was brought
        before that.
        """
        waited = event.delayed and event.archived is not None
        if not (waited and self._complete <= event.moment < self._available):
            self._send(event)

    def _send(self, event: Event) -> None:
        if event.key is not None:
            if event.key in self._keys:
                return
            self._remember(event.key)
        self.outlet.send(written(event.name, str(self._next(event)), event.data))

    def _next(self, event: Event) -> EventId:
        if event.archived is not None:
            self._archived, self._number = event.archived, 0
        else:
            self._number += 1
        return EventId(
            moment=event.moment, number=self._number, complete=self._complete, archived=self._archived
        )

    def _remember(self, key: str) -> None:
        self._keys[key] = None
        if len(self._keys) > MAX_KEYS:
            del self._keys[next(iter(self._keys))]


class Feed:
    """
    The events of one login, a L{restbridge.boundaries.Taker} of its messages.
    """

    def __init__(self, *, link: UserLink, clock: IReactorTime) -> None:
        self.link = link
        self._clock = clock
        self._readers: list[Reader] = []
        self._available = 0.0
        link.offerTo([self])

    @property
    def hasReaders(self) -> bool:
        """
        Whether there is a stream.
        """
        return bool(self._readers)

    def join(self, reader: Reader) -> None:
        """
        Bring events to one more reader; the first makes the login available.

        @raise LinkDown: see L{restbridge.boundaries.Link.send}.
        @raise Refusal: 429, there are too many.
        """
        if len(self._readers) >= MAX_STREAMS:
            text = f"There are {MAX_STREAMS} event streams of this user; that is as many as may be"
            raise Refusal(429, text=text, headers=(("Retry-After", "30"),))
        if not self._readers:
            self._appear()
            self.link.hold()
            self._available = self._clock.seconds()
        reader.join(self._available)
        self._readers.append(reader)

    def leave(self, reader: Reader) -> None:
        """
        Forget a reader; the last takes the login's presence along.
        """
        self._readers.remove(reader)
        if self._readers:
            return
        self.link.release()
        if self.link.whyDown() is None:
            self.link.send(_presence("unavailable"))
            self.link.send(_carbons("disable"))

    def _appear(self) -> None:
        """
        Become available, with what waits for the user: that comes to who wasn't, whatever the priority.
        """
        if self.link.available:
            self.link.send(_presence("unavailable"))
        # Before the presence, so that nothing goes past by another client's way.
        self.link.send(_carbons("enable"))
        self.link.send(_presence())

    def take(self, stanza: Element) -> bool:
        event = received(stanza, self.link.address.bare, int(self._clock.seconds() * 1_000_000))
        if event is None:
            return False
        self.bring(event)
        return True

    def bring(self, event: Event) -> None:
        """
        Bring an event to all readers.
        """
        for reader in list(self._readers):
            reader.bring(event)

    def end(self) -> None:
        """
        The login has ended: so do the streams, whose clients come back and log in again.
        """
        for reader in list(self._readers):
            reader.outlet.end()


class Events:
    """
    The events of all users, and their streams.
    """

    log = Logger()

    def __init__(self, *, clock: IReactorTime) -> None:
        self._clock = clock
        self._feeds: dict[str, Feed] = {}

    def publish(
        self, user: str, name: str, document: Mapping[str, Any], *, moment: int, key: str | None = None
    ) -> None:
        """
        Bring an event that is no one-to-one message to all streams of a user; nothing where there is none.

        @param user: a bare address.
        @param name: the type of the event.
        @param document: what is written of it in JSON.
        @param moment: when it happened, in microseconds since 1970.
        @param key: what tells it from others, if it may come again; each stream brings it once.
        """
        feed = self._feeds.get(user)
        if feed is not None:
            feed.bring(Event.of(name, document, moment, key))

    def listener(self, user: str) -> UserLink | None:
        """
        The login of a user, by a bare address, to whom events are brought.
        """
        feed = self._feeds.get(user)
        return feed.link if feed is not None and feed.hasReaders else None

    async def serve(self, request: BridgeRequest, link: UserLink, follow: Follow) -> bytes:
        """
        Answer with the events of a user, for as long as client and login are there.

        @param follow: has more of them published; it doesn't fail.
        @return: nothing that is still to be written.
        @raise LinkDown: or a L{Refusal}; nothing is written yet.
        """
        outlet = Outlet(request=request, clock=self._clock)
        reader = Reader(outlet=outlet, since=_lastEventId(request))
        feed = self._feedOf(link)
        feed.join(reader)
        try:
            await self._patiently(follow(link))
            outlet.open()
            await self._run(reader, link)
        except CancelledError:
            # The client has left, and the request with it.
            outlet.end()
            raise
        finally:
            feed.leave(reader)
        outlet.close()
        return b""

    async def _patiently(self, work: Coroutine[Any, Any, None]) -> None:
        """
        Wait until something is done, but not for long; it is done to its end.
        """
        waiter: Deferred[None] = Deferred()
        Deferred.fromCoroutine(work).addErrback(self._unexpected).chainDeferred(waiter)
        await waiter.addTimeout(PATIENCE, self._clock, lambda _, __: None)

    def _unexpected(self, failure: Failure) -> None:
        self.log.failure("A user's rooms are not followed", failure)

    async def _run(self, reader: Reader, link: UserLink) -> None:
        try:
            await reader.catchUp(link)
            await reader.outlet.ended()
        except (LinkDown, NoAnswer, NoReplay) as reason:
            self.log.warn(
                "An event stream of {user} is ended: {reason}", user=link.address.bare, reason=str(reason)
            )

    def _feedOf(self, link: UserLink) -> Feed:
        user = link.address.bare
        feed = self._feeds.get(user)
        if feed is None or feed.link is not link:
            feed = self._feeds[user] = Feed(link=link, clock=self._clock)
            link.whenEnded(partial(self._ended, user, feed))
        return feed

    def _ended(self, user: str, feed: Feed, reason: str) -> None:
        if self._feeds.get(user) is feed:
            del self._feeds[user]
        feed.end()


def _lastEventId(request: BridgeRequest) -> EventId | None:
    return EventId.parse((request.getHeader(b"last-event-id") or b"").decode("latin-1"))


def _presence(kind: str | None = None) -> Element:
    presence = Element((NS_CLIENT, "presence"))
    if kind is not None:
        presence["type"] = kind
    return presence


def _carbons(verb: str) -> Element:
    """
    A request whose answer changes nothing: without carbons (XEP-0280) there are still the messages that
    come here anyway.
    """
    iq = Element((NS_CLIENT, "iq"))
    iq["type"], iq["id"] = "set", newId()
    iq.addElement((NS_CARBONS, verb))
    return iq


def _once(found: Iterable[Event | None]) -> list[Event]:
    """
    The events of a page; the last of those that are the same, behind which a client may go on.
    """
    events = [event for event in found if event is not None]
    last = {event.key: event for event in events}
    return [event for event in events if last[event.key] is event]
