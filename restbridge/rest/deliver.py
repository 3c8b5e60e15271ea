"""
A stanza on its way to the server, and what the HTTP request gets for it.

::

    IQ                -> link.request -> the answer, result or error
    archive query     -> link.query   -> the messages that it brings, and the answer
    message, presence -> link.confirm -> nothing (taken), or the error that the server sent back at once

When the stream breaks meanwhile nobody knows whether the server took it. A request that carries an
Idempotency-Key has it sent again, as it was.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from math import isfinite
from typing import TypeAlias, TypeVar

from twisted.words.xish.domish import Element

from restbridge.boundaries import Link
from restbridge.config import Rest
from restbridge.stanzas.errors import LinkDown
from restbridge.web.answer import Refusal
from restbridge.xmpp.archive import isArchiveQuery

Reply: TypeAlias = Element | list[Element]
"""One stanza, or those of an archive."""

Again: TypeAlias = Callable[[], Awaitable[bool]]

T = TypeVar("T")


async def never() -> bool:
    """
    What was sent once is not sent again.
    """
    return False


async def deliver(
    stanza: Element, link: Link, settings: Rest, timeout: str | None, again: Again = never
) -> Reply | None:
    """
    Send a stanza that has its addresses and id.

    @param timeout: the Prosody-Rest-Timeout header.
    @param again: called when the stream broke: waits until the stanza can be sent again, or says that it
        can't.
    @return: what answers it, or L{None} where the server took it and said nothing.
    @raise Refusal: it is no request (422), or the header no time (400). The link's own errors, which
        L{restbridge.web.answer.refusalFor} knows, come as they are.
    """
    if stanza.name != "iq":
        return await _sent(lambda: link.confirm(stanza), link, again)
    _checkRequest(stanza)
    seconds = _seconds(timeout, settings)
    if isArchiveQuery(stanza):
        found = await _sent(lambda: link.query(stanza, seconds), link, again)
        # Even an empty archive answers in the form of a full one; an error comes by itself.
        return found[-1] if found[-1].getAttribute("type") == "error" else found
    return await _sent(lambda: link.request(stanza, seconds), link, again)


async def _sent(send: Callable[[], Awaitable[T]], link: Link, again: Again) -> T:
    while True:
        wasUp = link.whyDown() is None
        try:
            return await send()
        except LinkDown:
            # What could not be written at all costs its caller less to try again than to wait for.
            if not (wasUp and await again()):
                raise


def _checkRequest(iq: Element) -> None:
    if iq.getAttribute("type") not in ("get", "set"):
        raise Refusal(422, "modify", "invalid-xml", "'iq' stanza must be of type 'get' or 'set'")
    if sum(1 for _ in iq.elements()) != 1:
        raise Refusal(422, "modify", "bad-format", "'iq' stanza must have exactly one child tag")


def _seconds(header: str | None, settings: Rest) -> float:
    if header is None:
        return settings.iqTimeout
    try:
        seconds = float(header)
    except ValueError:
        seconds = 0.0
    if not (isfinite(seconds) and seconds > 0):
        text = f"Prosody-Rest-Timeout must be a number of seconds above 0, not {header!r}"
        raise Refusal(400, "modify", "bad-request", text)
    return min(seconds, settings.iqMaxTimeout)
