"""
Whether the server has taken a stanza.

XEP-0114 has no acknowledgements, and those of XEP-0198 may come before the error about what they cover
(L{restbridge.xmpp.management}). But a server reads a stream in order, and routes what is addressed to its
own end back to it: a stanza to an own address is a barrier. One is under way at a time; what is sent
meanwhile shares the next one, so the price is a round trip, not a stanza each.

::

    stanza, stanza, barrier 1 ->   <- error about a stanza     that stanza: answered with the error
            stanza            ->   <- barrier 1                the first two: taken
            barrier 2         ->   <- barrier 2                the third: taken
"""

from __future__ import annotations

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

Key = tuple[str, str, str, str]
"""Kind, from, to and id of a stanza, as sent."""


@attrs.frozen(eq=False)
class _Waiting:
    key: Key
    deferred: Deferred[Element | None]


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
        abort: Callable[[str], object],
    ) -> None:
        """
        @param address: a full address of one's own, that nobody else sends from.
        @param send: writes a stanza; may raise L{LinkDown}.
        @param abort: breaks the stream, with the reason.
        """
        self._address = address
        # What else goes from the address to itself is none of ours.
        self._token = f"barrier-{token_urlsafe(6)}-"
        self._clock = clock
        self._send = send
        self._abort = abort
        self._byKey: dict[Key, _Waiting] = {}
        self._open: list[_Waiting] = []
        self._covered: list[_Waiting] = []
        self._number = 0
        self._timer: IDelayedCall | None = None
        self._underWay = False

    @property
    def waiting(self) -> int:
        return len(self._open) + len(self._covered)

    def confirm(self, stanza: Element) -> Deferred[Element | None]:
        """
        Send a stanza with C{from}, C{to} and C{id}; see L{restbridge.boundaries.Link}.
        """
        self._send(stanza)
        to = stanza.attributes.get("to", "")
        waiting = _Waiting((stanza.name, stanza["from"], to, stanza["id"]), Deferred())
        self._byKey[waiting.key] = waiting
        self._open.append(waiting)
        if not self._underWay:
            self._sendBarrier()
        return waiting.deferred

    def take(self, stanza: Element) -> bool:
        """
        Take a barrier that came back, or the server's error about a stanza that waits.
        """
        kind = stanza.getAttribute("type")
        if kind == "error":
            return self._answered(stanza)
        number = stanza.attributes.get("id", "")
        if stanza.getAttribute("from") != self._address or not number.startswith(self._token):
            return False
        if number == f"{self._token}{self._number}" and self._underWay:
            self._barrierReturned()
        return True

    def linkUp(self) -> None:
        self._watch()

    def linkLost(self, reason: str) -> None:
        """
        Nobody knows what became of those that wait.
        """
        self._disarm()
        self._underWay = False
        self._number += 1
        lost, self._covered, self._open = self._covered + self._open, [], []
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

    def _sendBarrier(self) -> None:
        self._disarm()
        self._number += 1
        self._underWay = True
        self._covered, self._open = self._open, []
        self._timer = self._clock.callLater(DEADLINE, self._dead)
        barrier = Element((NS_CLIENT, "iq"))
        barrier["type"] = "result"
        barrier["from"] = barrier["to"] = self._address
        barrier["id"] = f"{self._token}{self._number}"
        self._send(barrier)

    def _barrierReturned(self) -> None:
        self._underWay = False
        self._watch()
        taken, self._covered = self._covered, []
        if self._open:
            self._sendBarrier()
        for waiting in taken:
            self._finish(waiting, None)

    def _watch(self) -> None:
        self._disarm()
        self._timer = self._clock.callLater(KEEPALIVE, self._sendBarrier)

    def _dead(self) -> None:
        self._abort(f"the server did not answer for {DEADLINE:g} s")

    def _disarm(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
