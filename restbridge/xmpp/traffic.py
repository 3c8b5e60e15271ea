"""
What goes over streams: counted, and told to who wants to follow single stanzas.

A line about a stanza names its kind, type, id and addresses, and the request that it is sent for, or that it
answers; never what is in it.
"""

from __future__ import annotations

from collections import OrderedDict

from twisted.logger import Logger, LogLevel
from twisted.words.xish.domish import Element

from restbridge.logs import requestId, wants

FOLLOWED = 10_000
"""Stanzas whose answers are known to belong to a request."""

LONGEST = 128
"""Characters of an id or type that are told."""


class Traffic:
    """
    What went over one stream, or over those of one domain's users.

    @ivar sent: how many stanzas, by their kinds.
    @ivar received: likewise.
    @ivar streams: how often a stream was made, or made again, and could be used.
    @ivar impostors: how many answers were dropped, because they came from somebody else than was asked.
    """

    log = Logger()

    def __init__(self) -> None:
        self.sent = dict.fromkeys(("message", "presence", "iq"), 0)
        self.received = self.sent.copy()
        self.streams = self.impostors = 0
        self._isFollowed = wants(self.log, LogLevel.debug)
        self._requests: OrderedDict[str, str] = OrderedDict()

    def out(self, stanza: Element) -> None:
        """
        A stanza was sent.
        """
        self.sent[stanza.name] += 1
        if self._isFollowed:
            request = requestId.get()
            if request is not None:
                self._follow(stanza.getAttribute("id", ""), request)
            self._tell("sent", stanza, request)

    def came(self, stanza: Element) -> None:
        """
        A stanza of one of the three kinds was received.
        """
        self.received[stanza.name] += 1
        if self._isFollowed:
            self._tell("received", stanza, self._requests.get(stanza.getAttribute("id", "")))

    def _follow(self, identity: str, request: str) -> None:
        if len(identity) > LONGEST:
            # As many of any length could fill the memory.
            return
        self._requests[identity] = request
        self._requests.move_to_end(identity)
        if len(self._requests) > FOLLOWED:
            self._requests.popitem(last=False)

    def _tell(self, way: str, stanza: Element, request: str | None) -> None:
        told = stanza.attributes
        self.log.debug(
            "{way} {kind} type={type} id={id} from={sender} to={recipient}",
            way=way,
            kind=stanza.name,
            type=told.get("type", "")[:LONGEST],
            id=told.get("id", "")[:LONGEST],
            sender=told.get("from", ""),
            recipient=told.get("to", ""),
            request=request,
        )
