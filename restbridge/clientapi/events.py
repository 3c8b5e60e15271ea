"""
C{/api/sse}: what is written to a user, as it happens.

::

    GET -> Feed: available, carbons on -> in the rooms -> Reader: what was missed -> Outlet
    message, carbon, in a room -> Feed                 -> Reader: (that first)    -> Outlet
    last Reader gone -> Feed: unavailable, carbons off
    connection broken -> all Readers gone -> (waits) -> GET, which has the login go on -> Reader: what waited
                                                     -> nobody                         -> unavailable

While somebody reads the shared login is available with priority 0 and gets carbons (XEP-0280), so that
what is for the user comes here as well as to the user's other clients. A stream brings no credential by which
a login could go on whose connection broke; its client does, when it comes back.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeAlias, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.words.xish.domish import Element

from restbridge.boundaries import UserLink
from restbridge.clientapi.event import NS_CARBONS, Event, EventId, received
from restbridge.clientapi.missed import Missed
from restbridge.clientapi.reader import Reader, Waiting
from restbridge.clientapi.replay import NoReplay
from restbridge.clientapi.sse import Outlet
from restbridge.stanzas.errors import LinkDown, NoAnswer
from restbridge.stanzas.replies import newId
from restbridge.stanzas.xml import NS_CLIENT
from restbridge.web.answer import Refusal
from restbridge.web.site import BridgeRequest

MAX_STREAMS = 100
"""Streams of one user at once."""

RETURN = 10.0
"""Seconds for a client to come back whose stream was ended because the connection broke."""

PATIENCE = 3.0
"""Seconds for the login to be in its rooms before the answer begins; it may take longer all the same."""

T = TypeVar("T")
Follow: TypeAlias = Callable[[UserLink], Coroutine[Any, Any, Missed | None]]


class Feed:
    """
    The events of one login, a L{restbridge.boundaries.Taker} of its messages.
    """

    def __init__(self, *, link: UserLink, clock: IReactorTime) -> None:
        self.link = link
        self._clock = clock
        self._readers: list[Reader] = []
        self._available = 0.0
        self._waiting: Waiting | None = None
        self._check: IDelayedCall | None = None
        link.offerTo([self])
        link.whenBroken(self._broken)

    @property
    def isOpen(self) -> bool:
        """
        Whether there is a stream, or one that was is waited for.
        """
        return bool(self._readers) or self._waiting is not None

    def join(self, reader: Reader) -> None:
        """
        Bring events to one more reader; the first makes the login available, or has what waits for one.

        @raise LinkDown: see L{restbridge.boundaries.Link.send}.
        @raise Refusal: 429, there are too many.
        """
        if len(self._readers) >= MAX_STREAMS:
            text = f"There are {MAX_STREAMS} event streams of this user; that is as many as may be"
            raise Refusal(429, text=text, headers=(("Retry-After", "30"),))
        if (reason := self.link.whyDown()) is not None:
            raise LinkDown(reason)
        if not self.isOpen:
            self._appear()
            self.link.hold()
            self._available = self._clock.seconds()
        reader.join(self._available, self._clock.seconds())
        self._readers.append(reader)
        for event in self._waitNoMore():
            reader.bring(event)

    def leave(self, reader: Reader) -> None:
        """
        Forget a reader; the last takes the login's presence along.
        """
        self._readers.remove(reader)
        if not self.isOpen:
            self._disappear()

    def _disappear(self) -> None:
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
        if self._waiting is not None:
            # What there is no room for is in the archives.
            self._waiting.add(event)

    def end(self) -> None:
        """
        No reader is waited for any more.
        """
        if self._waiting is not None:
            self._waitNoMore()
            if not self._readers:
                self._disappear()

    def _broken(self, _: str) -> None:
        """
        End the streams, whose clients come back and log in again. They find the login available still, if it
        goes on, and what has come to it meanwhile.
        """
        if self._readers and self._waiting is None:
            self._waiting = Waiting()
            self._wait()
        for reader in list(self._readers):
            reader.outlet.end()

    def _wait(self) -> None:
        self._check = self._clock.callLater(RETURN, self._waited)

    def _waited(self) -> None:
        """
        Nobody has come back; for nobody the login is not available.
        """
        if self.link.whyDown() is None:
            self.end()
        else:
            self._wait()

    def _waitNoMore(self) -> list[Event]:
        """
        What has come while there was no reader.
        """
        if self._check is not None and self._check.active():
            self._check.cancel()
        waiting, self._waiting = self._waiting or Waiting(), None
        return waiting.events


class Events:
    """
    The events of all users, and their streams.
    """

    log = Logger()

    def __init__(self, *, clock: IReactorTime) -> None:
        self._clock = clock
        self._feeds: dict[str, Feed] = {}

    def publish(self, user: str, event: Event) -> None:
        """
        Bring an event that is no one-to-one message to all streams of a user; nothing where there is none.

        @param user: a bare address.
        """
        feed = self._feeds.get(user)
        if feed is not None:
            feed.bring(event)

    def listener(self, user: str) -> UserLink | None:
        """
        The login of a user, by a bare address, to whom events are brought, now or soon.
        """
        feed = self._feeds.get(user)
        return feed.link if feed is not None and feed.isOpen else None

    async def serve(self, request: BridgeRequest, link: UserLink, follow: Follow) -> None:
        """
        Answer with the events of a user, for as long as client and login are there.

        @param follow: has more of them published, and finds those that were missed; it doesn't fail.
        @raise LinkDown: or a L{Refusal}; nothing is written yet.
        """
        outlet = Outlet(request=request, clock=self._clock)
        request.whenEnding(outlet.end)
        reader = Reader(outlet=outlet, since=_lastEventId(request))
        feed = self._feedOf(link)
        feed.join(reader)
        entering = Deferred.fromCoroutine(reader.enter(follow(link))).addErrback(self._unexpected)
        try:
            await _forked(entering).addTimeout(PATIENCE, self._clock, lambda _, __: None)
            outlet.open()
            await self._run(reader, link, entering)
        except Exception:
            # The client has left, and the request with it; or something failed that nobody has thought of.
            outlet.end()
            raise
        finally:
            feed.leave(reader)
        outlet.close()

    def _unexpected(self, failure: Failure) -> None:
        self.log.failure("A user's rooms are not followed", failure)

    async def _run(self, reader: Reader, link: UserLink, entering: Deferred[Missed | None]) -> None:
        try:
            await reader.catchUp(link)
            await reader.catchUpInRooms(_forked(entering))
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


def _forked(outcome: Deferred[T]) -> Deferred[T]:
    """
    What comes of something that is done to its end, also if nobody waits for it any more.
    """
    waiter: Deferred[T] = Deferred()

    def settle(result: T) -> T:
        if not waiter.called:
            waiter.callback(result)
        return result

    outcome.addCallback(settle)
    return waiter


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
