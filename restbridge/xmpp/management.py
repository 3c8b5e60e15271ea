"""
What each side of a user's stream has handled (XEP-0198, version 1.6): a login outlives its connection.

::

    <enable resume max/> ->  <- <enabled id max/>      from here on both count stanzas, modulo 2**32
    stanza, stanza, <r/> ->  <- <a h/>                 what h covers need not be kept
    <a h/>               ->  <- stanza, <r/>
     .  .  .  the connection breaks: all who wait are told; the next request brings a credential  .  .  .
    <resume previd h/>   ->  <- <resumed h/>           the login goes on as it was;
    stanza               ->  <- stanza                 each side sends what the other's h doesn't cover
                        or   <- <failed/>              it doesn't: a resource is bound

An C{<a/>} confirms no stanza to whoever has sent it; the barrier of L{restbridge.xmpp.confirmations} does,
with stream management as without. A server's answer to C{<r/>} says that it has taken the stanza, not that
it has nothing to say about it: ejabberd, which reads both in one go, acknowledged a message to nobody 18
times of 20 before it sent the error, and a presence each time. The barrier came behind the error each time,
as it did on Prosody. Since C{<resumed/>} counts, too, C{<r/>} only bounds what is kept.
"""

from __future__ import annotations

import re
from collections import deque

from twisted.words.xish.domish import Element

from restbridge.stanzas.xml import NS_CLIENT, serialize

NS_SM = "urn:xmpp:sm:3"

MAX_SECONDS = 60.0
"""For how long a server is asked to keep a login whose connection is gone, and the bridge keeps it."""

MAX_ID = 4000
"""Characters of what names a login to be resumed (section 5)."""

ASK_AFTER = 8
"""Stanzas that the server has not acknowledged when it is asked to, once for all of them."""

MAX_UNHANDLED = 10_000
"""Those of a server that doesn't; with more the login ends with its connection."""

MAX_KEPT = 256 * 1024
"""Bytes of them, likewise."""

ENABLE = f"<enable xmlns='{NS_SM}' resume='true' max='{MAX_SECONDS:g}'/>"
ASK = f"<r xmlns='{NS_SM}'/>"

_MODULUS = 2**32
_KINDS = frozenset(("message", "presence", "iq"))
_NUMBER = re.compile("[0-9]{1,10}")


class HandledTooMuch(Exception):
    """
    The server says that it has handled more than was sent (section 6).

    @ivar error: the stream error to end with.
    """

    def __init__(self, handled: int, sent: int) -> None:
        super().__init__(f"the server has handled {handled} stanzas of {sent}")
        self.error = (
            "<stream:error><undefined-condition xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"
            f"<handled-count-too-high xmlns='{NS_SM}' h='{handled}' send-count='{sent}'/></stream:error>"
        )


class Ledger:
    """
    The stanzas of one login, over all its connections.

    @ivar name: by which the login is resumed; L{None} where it can't be.
    @ivar seconds: for how long, after its connection is gone.
    """

    def __init__(self, *, name: str | None, seconds: float) -> None:
        self.name = name
        self.seconds = seconds
        self._received = 0
        self._handled = 0
        self._unhandled: deque[bytes | None] = deque()
        self._kept = 0
        self._asked = False

    @classmethod
    def of(cls, answer: Element) -> Ledger | None:
        """
        That of a login whose server answers so to L{ENABLE}; L{None} where it doesn't count.
        """
        if answer.name != "enabled":
            return None
        attributes = answer.attributes
        name = attributes.get("id", "")
        granted = _number(attributes.get("max", ""))
        seconds = MAX_SECONDS if granted is None else min(float(granted), MAX_SECONDS)
        resumable = attributes.get("resume") in ("true", "1") and 0 < len(name) <= MAX_ID and seconds > 0
        return cls(name=name if resumable else None, seconds=seconds)

    def received(self, element: Element) -> None:
        """
        Count what has come, if it is a stanza.
        """
        if element.uri == NS_CLIENT and element.name in _KINDS:
            self._received = (self._received + 1) % _MODULUS

    def sent(self, data: bytes | None) -> None:
        """
        Count a stanza.

        @param data: what is sent again if need be; L{None} for a stanza that isn't.
        """
        if self.name is None:
            return
        self._unhandled.append(data)
        self._kept += len(data or b"")
        if len(self._unhandled) > MAX_UNHANDLED or self._kept > MAX_KEPT:
            self.name = None
            self._forget()

    def asks(self) -> bool:
        """
        Whether the server is to be asked now what it has handled; one question is under way at a time.
        """
        asks = not self._asked and len(self._unhandled) >= ASK_AFTER
        self._asked = self._asked or asks
        return asks

    def handled(self, count: int) -> None:
        """
        The server has handled so many stanzas, modulo 2**32.

        @raise HandledTooMuch: it can't have.
        """
        if self.name is None:
            return
        self._asked = False
        more = (count - self._handled) % _MODULUS
        if more > len(self._unhandled):
            raise HandledTooMuch(count, (self._handled + len(self._unhandled)) % _MODULUS)
        for _ in range(more):
            self._kept -= len(self._unhandled.popleft() or b"")
        self._handled = count

    def resumed(self, count: int) -> list[bytes]:
        """
        The server goes on behind so many stanzas.

        @return: what is to be sent again, and counted again.
        @raise HandledTooMuch: see C{handled}.
        """
        self.handled(count)
        again = [data for data in self._unhandled if data is not None]
        self._forget()
        return again

    def acknowledgement(self) -> str:
        """
        What answers a server that asks.
        """
        return f"<a xmlns='{NS_SM}' h='{self._received}'/>"

    def resumption(self) -> str:
        """
        What asks a server to resume the login.
        """
        resume = Element((NS_SM, "resume"))
        resume["previd"], resume["h"] = self.name or "", str(self._received)
        return serialize(resume)

    def _forget(self) -> None:
        self._unhandled.clear()
        self._kept = 0


def countOf(element: Element) -> int | None:
    """
    The number of stanzas that an C{<a/>} or C{<resumed/>} names; L{None} for nonsense.
    """
    count = _number(element.attributes.get("h", ""))
    return count if count is not None and count < _MODULUS else None


def _number(text: str) -> int | None:
    return int(text) if _NUMBER.fullmatch(text) else None
