"""
The place of an account in a room: taken, watched, and taken again.

::

    look -> enter -> stay: what the room says; after a silence, a ping to oneself (XEP-0410)
      |       |        |
      no room |        put out, or not in it
              refused  |
      '-------'--------'-> pause, longer each time -> look
                           the stream is there again -> look, at once
"""

from __future__ import annotations

from contextlib import suppress
from typing import Protocol

from twisted.internet.defer import Deferred, DeferredQueue
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.words.xish.domish import Element

from restbridge.stanzas.errors import LinkDown, NoAnswer, StanzaError, errorOf
from restbridge.stanzas.jid import JID
from restbridge.stanzas.muc import (
    BANNED,
    CLOSED,
    CREATED,
    DISMISSED,
    FAULTY,
    KICKED,
    NS_MUC_USER,
    RENAMED,
    SELF,
    SHUTDOWN,
    joining,
    leaving,
    statuses,
    subjectOf,
)
from restbridge.stanzas.replies import newId, resultFor
from restbridge.stanzas.xml import NS_CLIENT, firstOf
from restbridge.xmpp.entity import NS_INFO, NS_PING
from restbridge.xmpp.stream import Backoff

TIMEOUT = 30.0
"""Seconds for each answer of a room."""

SILENCE = 60.0
"""Seconds in which a room says nothing, after which it is asked whether the account is still in it."""

SETTLING = 10.0
"""Seconds after entering in which the room tells its subject."""

FIRST_PAUSE = 5.0
LONGEST_PAUSE = 300.0
"""Seconds until the next attempt."""

NICKNAMES = 3
"""Of these one must be free: the one that is wanted, and that with "_" behind it, once and twice."""

NS_DELAY = "urn:xmpp:delay"

_ABSENT = ("item-not-found", "gone")

_HERE = ("service-unavailable", "feature-not-implemented")
"""What those say about a ping who are there and know none (XEP-0410, section 3.2)."""

_DOUBTFUL = ("not-acceptable", *_ABSENT)
"""What a room says about a message of somebody who isn't in it, among others."""

_UNKNOWN = ("remote-server-not-found", "remote-server-timeout")

_NO_ROOM = "there is no such room, and none is made: make it, and have it kept while nobody is in it"

_REFUSALS = {
    **dict.fromkeys(_ABSENT, _NO_ROOM),
    "forbidden": "it is banned there",
    "registration-required": "the room is for members alone: make it one",
    "not-authorized": "the room asks for a password, and accounts have none",
    "service-unavailable": "the room is full, or takes nobody in now",
    "not-acceptable": "the room doesn't take the nickname",
}
"""Why a room lets nobody in (XEP-0045, section 7.2), in words for an operator."""

_ENDS = {
    BANNED: "it was banned",
    KICKED: "it was kicked",
    DISMISSED: "it is no member any more",
    CLOSED: "the room is for members alone now",
    SHUTDOWN: "the service ends",
    FAULTY: "the server has taken it out",
}


class NotIn(Exception):
    """
    The account is not in the room; says why.
    """


class Wire(Protocol):
    """
    The component's stream; see L{restbridge.xmpp.component.Component}.
    """

    def whenUp(self) -> Deferred[None]:
        """
        Fires as soon as stanzas can be sent.
        """

    def send(self, stanza: Element) -> None:
        """
        See L{restbridge.boundaries.Link}.
        """

    def request(self, iq: Element, timeout: float) -> Deferred[Element]:
        """
        See L{restbridge.boundaries.Link}.
        """


class Place:
    """
    One account in one room.

    @ivar account: its full address, from which the room hears it.
    @ivar nickname: by which the room knows it, while it is there.
    @ivar wanted: by which it should.
    """

    log = Logger()

    def __init__(self, *, account: JID, room: JID, nickname: str, wire: Wire, clock: IReactorTime) -> None:
        """
        @param nickname: the one that is wanted.
        """
        self.account = account
        self.room = room
        self.nickname = nickname
        self.wanted = nickname
        self._wire = wire
        self._clock = clock
        self._backoff = Backoff(first=FIRST_PAUSE, longest=LONGEST_PAUSE)
        self._news: DeferredQueue[Element | LinkDown] = DeferredQueue()
        self._since: float | None = None
        self._heard = 0.0
        self._entering = ""
        self._settled = True
        self._doubted = False
        self._said = ""
        self._former: str | None = None

    @property
    def occupant(self) -> JID:
        """
        The account's address in the room.
        """
        return JID(self.room.local, self.room.domain, self.nickname)

    async def keep(self) -> None:
        """
        Be in the room, until this is cancelled.
        """
        while True:
            await self._wire.whenUp()
            with suppress(LinkDown):
                await self._attend()
            self._since = self._former = None
            self._backoff.reset()

    def follow(self, other: Place) -> None:
        """
        Take over from one that wanted another nickname, by which the account may be in the room still.
        """
        self._former = other._former if other._since is None else other.nickname

    def _leaveFormer(self) -> None:
        """
        Be there no more by the nickname of before, where the room doesn't take the new one.
        """
        if self._former is not None:
            self._send(leaving(JID(self.room.local, self.room.domain, self._former)))

    def leave(self) -> None:
        """
        Leave the room.
        """
        with suppress(LinkDown):
            self._leaveFormer()
        if self._since is not None:
            self._since = None
            # A server that is gone has no rooms either.
            with suppress(LinkDown):
                self._send(leaving(self.occupant))

    def broken(self, reason: str) -> None:
        """
        The stream is down: nobody knows what the room thinks.
        """
        self._news.put(LinkDown(reason))

    def take(self, stanza: Element) -> bool:
        """
        What comes from the room, or from somebody in it, to the account's full address.

        @return: whether it is about the place itself, or the account's own words.
        """
        nickname = JID.parse(stanza["from"]).resource
        if stanza.name == "iq":
            return nickname == self.nickname and self._answered(stanza)
        if stanza.getAttribute("type") == "error":
            return self._isRefusal(stanza)
        self._heard = self._clock.seconds()
        if stanza.name == "presence":
            return self._isOwn(stanza, nickname)
        return nickname in (self.nickname, self._former or self.nickname) or self._isOfEntering(stanza)

    def _answered(self, iq: Element) -> bool:
        """
        A ping to oneself comes back through the room where that doesn't answer it.
        """
        if iq.getAttribute("type") != "get" or firstOf(iq, NS_PING, "ping") is None:
            return False
        self._wire.send(resultFor(iq))
        return True

    def _isRefusal(self, stanza: Element) -> bool:
        """
        Whether it is the answer to the presence that was to enter. The error about a message is for whoever
        has sent that; but the account may not be in the room, and that is looked into.
        """
        if stanza.name == "presence":
            if stanza.getAttribute("id") != self._entering:
                return False
            self._news.put(stanza)
            return True
        error = errorOf(stanza)
        if error is not None and error.condition in _DOUBTFUL and not self._doubted:
            self._doubted = True
            self._news.put(stanza)
        return False

    def _isOwn(self, presence: Element, nickname: str | None) -> bool:
        codes = statuses(presence)
        if SELF not in codes and nickname != self.nickname:
            return False
        if presence.getAttribute("type") == "unavailable" and nickname != self.nickname:
            self._former = None
            return True
        if presence.getAttribute("type") is None and nickname is not None:
            # The room may have chosen another nickname (section 7.2.2), or somebody has for the account.
            self.nickname = nickname
        if RENAMED not in codes:
            self._news.put(presence)
        return True

    def _isOfEntering(self, message: Element) -> bool:
        """
        Whether it is the subject that a room tells whoever enters, or what was said before.
        """
        if message.getAttribute("type") != "groupchat" or self._settled:
            return False
        if self._since is None or self._clock.seconds() - self._since > SETTLING:
            return False
        if subjectOf(message) is not None:
            self._settled = True
            return True
        return firstOf(message, NS_DELAY, "delay") is not None

    async def _attend(self) -> None:
        """
        Be in the room, as long as the stream is up.
        """
        while True:
            try:
                await self._enter()
                await self._stay()
            except (NotIn, NoAnswer) as problem:
                self._out(str(problem))
                if self._since is not None and self._clock.seconds() - self._since >= LONGEST_PAUSE:
                    self._backoff.reset()
                self._since = None
                self._leaveFormer()
            await self._pause(self._backoff.delay(0))

    async def _enter(self) -> None:
        """
        @raise NotIn: it isn't to be.
        """
        self._news = DeferredQueue()
        self._doubted = False
        self.nickname = self.wanted
        await self._look()
        for _ in range(NICKNAMES):
            error = await self._join()
            if error is None:
                return
            if error.condition != "conflict":
                words = _REFUSALS.get(error.condition, "the room doesn't let it in")
                raise NotIn(f"{words} ({error.condition})")
            self.nickname += "_"
        raise NotIn(f"others have the nickname {self.wanted}, and those with _ behind it (conflict)")

    async def _look(self) -> None:
        """
        Whoever enters a room that isn't there makes it (section 10.1.1).

        @raise NotIn: it isn't there. Any other error is for the room to say to who enters.
        """
        query = Element((NS_INFO, "query"))
        error = errorOf(await self._ask(self.room, query))
        if error is not None and error.condition in _ABSENT:
            raise NotIn(f"{_NO_ROOM} ({error.condition})")

    async def _join(self) -> StanzaError | None:
        """
        @return: what the room has against it.
        """
        presence = joining(self.occupant)
        self._entering = presence["id"]
        self._since = self._clock.seconds()
        self._send(presence)
        while (news := await self._next(self._since + TIMEOUT - self._clock.seconds())) is not None:
            if news.name == "message":
                continue
            error = errorOf(news)
            if error is None:
                self._entered(news)
            return error
        raise NoAnswer(TIMEOUT)

    def _entered(self, presence: Element) -> None:
        self._raiseIfOut(presence)
        self._settled = False
        self._former = None
        if CREATED in statuses(presence):
            # It was there a moment ago; it is gone again as soon as nobody is in it.
            self.leave()
            raise NotIn(_NO_ROOM)
        self._said = ""
        self.log.info(
            "{account} is in the room {room} as {nickname}",
            account=self.account.bare,
            room=self.room,
            nickname=self.nickname,
        )

    async def _stay(self) -> None:
        """
        @raise NotIn: it is over.
        """
        while True:
            silence = self._clock.seconds() - self._heard
            news = await self._next(SILENCE - silence)
            if news is not None and news.name == "presence":
                self._raiseIfOut(news)
            elif news is not None or self._clock.seconds() - self._heard >= SILENCE:
                await self._ping()

    def _raiseIfOut(self, presence: Element) -> None:
        if presence.getAttribute("type") != "unavailable":
            return
        codes = statuses(presence)
        user = firstOf(presence, NS_MUC_USER, "x")
        if user is not None and firstOf(user, NS_MUC_USER, "destroy") is not None:
            raise NotIn("the room was destroyed")
        found = [words for code, words in _ENDS.items() if code in codes]
        raise NotIn(found[0] if found else "it has left")

    async def _ping(self) -> None:
        """
        Ask whether the room still knows the account (XEP-0410). Of a room that was made anew it may
        be that it doesn't have such an occupant, or that it isn't there.

        @raise NotIn: it doesn't.
        """
        try:
            error = errorOf(await self._ask(self.occupant, Element((NS_PING, "ping"))))
        except NoAnswer:
            error = StanzaError.of("remote-server-timeout")
        self._heard = self._clock.seconds()
        self._doubted = False
        if error is None or error.condition in _HERE:
            return
        if error.condition in _UNKNOWN:
            self.log.debug(
                "{room} doesn't say whether {account} is there", room=self.room, account=self.account
            )
            return
        raise NotIn(f"the room doesn't know it any more ({error.condition})")

    async def _pause(self, seconds: float) -> None:
        end = self._clock.seconds() + seconds
        while (left := end - self._clock.seconds()) > 0:
            await self._next(left)

    async def _next(self, seconds: float) -> Element | None:
        """
        The next news of the place; L{None} when there are none in time.

        @raise LinkDown: no more can come.
        """
        news = await self._news.get().addTimeout(max(seconds, 0.0), self._clock, lambda *_: None)
        if isinstance(news, LinkDown):
            raise news
        return news

    async def _ask(self, whom: JID, payload: Element) -> Element:
        iq = Element((NS_CLIENT, "iq"))
        iq.attributes = {"type": "get", "id": newId(), "from": self.account.full, "to": whom.full}
        iq.addChild(payload)
        return await self._wire.request(iq, TIMEOUT)

    def _send(self, presence: Element) -> None:
        presence["from"] = self.account.full
        self._wire.send(presence)

    def _out(self, reason: str) -> None:
        """
        Each reason once, not with every attempt.
        """
        if reason != self._said:
            self._said = reason
            self.log.warn(
                "{account} is not in the room {room}: {reason}; it tries again after a pause",
                account=self.account.bare,
                room=self.room,
                reason=reason,
            )
