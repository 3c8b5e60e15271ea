"""
Whether the server has taken a stanza.

XEP-0114 has no acknowledgements, and those of XEP-0198 may come before the error about what they cover
(L{restbridge.xmpp.management}). But a server reads a stream in order, and routes what is addressed to its
own end back to it: a stanza to an own address is a barrier. What is sent in one turn of the reactor shares
one, or a few, so that the server is at work meanwhile; and so does what is sent while as many as may be are
under way: the price is a round trip, not a stanza each.

::

    stanza, stanza, barrier 1 ->   <- error about a stanza     that stanza: answered with the error
            stanza, barrier 2 ->   <- barrier 1                the first two: taken
                                   <- barrier 2                the third: taken
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from secrets import token_urlsafe

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.words.xish.domish import Element

from restbridge.stanzas.errors import LinkDown
from restbridge.stanzas.xml import NS_CLIENT

DEADLINE = 20.0
"""Seconds in which a barrier comes back, or the stream is taken for dead."""

KEEPALIVE = 60.0
"""Seconds of silence after which a barrier is sent to see whether the stream lives."""

UNDER_WAY = 4
"""Barriers at once. The busier the server, the more stanzas share the next one."""

TOGETHER = 8
"""Stanzas of a turn of the reactor that are written at once, with a barrier. If all waited for the end of the
turn, bridge and server would take turns: each would wait for the other to have done all that there is."""

Key = tuple[str, str, str, str]
"""Kind, from, to and id of a stanza, as sent."""


@attrs.define(eq=False)
class _Waiting:
    key: Key
    deferred: Deferred[Element | None]


@attrs.define(eq=False)
class _Barrier:
    id: str
    covers: list[_Waiting]
    sent: float


class Confirmations:
    """
    The stanzas of one stream that are not known to have been taken.

    @ivar waiting: how many there are.
    """

    def __init__(
        self,
        *,
        address: str,
        clock: IReactorTime,
        send: Callable[[Element], object],
        flush: Callable[[], object],
        abort: Callable[[str], object],
    ) -> None:
        """
        @param address: a full address of one's own, that nobody else sends from.
        @param send: writes a stanza; may raise L{LinkDown}.
        @param flush: has what was written sent at once.
        @param abort: breaks the stream, with the reason.
        """
        self._address = address
        # What else goes from the address to itself is none of ours.
        self._token = f"barrier-{token_urlsafe(6)}-"
        self._clock = clock
        self._send = send
        self._flush = flush
        self._abort = abort
        self._byKey: dict[Key, _Waiting] = {}
        self._open: list[_Waiting] = []
        self._underWay: deque[_Barrier] = deque()
        self._number = 0
        self._heard = 0.0
        self._next: IDelayedCall | None = None
        self._timer: IDelayedCall | None = None

    @property
    def waiting(self) -> int:
        return len(self._open) + sum(len(barrier.covers) for barrier in self._underWay)

    def confirm(self, stanza: Element) -> Deferred[Element | None]:
        """
        Send a stanza with C{from}, C{to} and C{id}; see L{restbridge.boundaries.Link}.
        """
        self._send(stanza)
        to = stanza.attributes.get("to", "")
        waiting = _Waiting((stanza.name, stanza["from"], to, stanza["id"]), Deferred())
        self._byKey[waiting.key] = waiting
        self._open.append(waiting)
        self._cover()
        return waiting.deferred

    def take(self, stanza: Element) -> bool:
        """
        Take a barrier that came back, or the server's error about a stanza that waits.
        """
        kind = stanza.getAttribute("type")
        if kind == "error":
            return self._answered(stanza)
        identity = stanza.attributes.get("id", "")
        if stanza.getAttribute("from") != self._address or not identity.startswith(self._token):
            return False
        while self._underWay and identity in (barrier.id for barrier in self._underWay):
            self._barrierReturned(self._underWay.popleft())
        return True

    def linkUp(self) -> None:
        self._heard = self._clock.seconds()
        self._watch()

    def linkLost(self, reason: str) -> None:
        """
        Nobody knows what became of those that wait.
        """
        for call in (self._next, self._timer):
            if call is not None and call.active():
                call.cancel()
        self._next = self._timer = None
        lost = [waiting for barrier in self._underWay for waiting in barrier.covers] + self._open
        self._underWay.clear()
        self._open = []
        for waiting in lost:
            self._finish(waiting, LinkDown(reason))

    def _answered(self, stanza: Element) -> bool:
        attributes = stanza.attributes
        key = (stanza.name, attributes.get("to", ""), attributes.get("from", ""), attributes.get("id", ""))
        waiting = self._byKey.get(key)
        if waiting is None:
            return False
        self._finish(waiting, stanza)
        return True

    def _finish(self, waiting: _Waiting, result: Element | Exception | None) -> None:
        if self._byKey.get(waiting.key) is waiting:
            del self._byKey[waiting.key]
        if not waiting.deferred.called:
            if isinstance(result, Exception):
                waiting.deferred.errback(result)
            else:
                waiting.deferred.callback(result)

    def _cover(self) -> None:
        """
        Have a barrier behind what is not covered: now, if that is enough, or at the end of the turn.
        """
        if len(self._underWay) >= UNDER_WAY:
            return
        if len(self._open) >= TOGETHER:
            self._sendBarrier()
            self._flush()
        elif self._next is None:
            self._next = self._clock.callLater(0, self._coverRest)

    def _coverRest(self) -> None:
        self._next = None
        if self._open and len(self._underWay) < UNDER_WAY:
            self._sendBarrier()

    def _sendBarrier(self) -> None:
        self._number += 1
        barrier = _Barrier(f"{self._token}{self._number}", self._open, self._clock.seconds())
        self._open = []
        self._underWay.append(barrier)
        iq = Element((NS_CLIENT, "iq"))
        iq.attributes = {"type": "result", "from": self._address, "to": self._address, "id": barrier.id}
        self._send(iq)

    def _barrierReturned(self, barrier: _Barrier) -> None:
        self._heard = self._clock.seconds()
        if self._open:
            self._cover()
        for waiting in barrier.covers:
            self._finish(waiting, None)

    def _watch(self) -> None:
        """
        Look at the time again when something may be due. A timer that is moved, whenever something comes,
        would cost more than all the rest where thousands wait.
        """
        now = self._clock.seconds()
        if self._underWay:
            due = self._underWay[0].sent + DEADLINE
            if now >= due:
                self._abort(f"the server did not answer for {DEADLINE:g} s")
                return
        elif now >= self._heard + KEEPALIVE:
            self._sendBarrier()
            due = now + DEADLINE
        else:
            due = min(now + DEADLINE, self._heard + KEEPALIVE)
        self._timer = self._clock.callLater(due - now, self._watch)
