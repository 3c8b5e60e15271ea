"""
A stanza on its way to the server, and what the HTTP request gets for it.

::

    IQ                -> link.request -> the answer, result or error
    archive query     -> link.query   -> the messages that it brings, and the answer
    message, presence -> link.confirm -> nothing (taken), or the error that the server sent back at once
"""

from __future__ import annotations

from math import isfinite
from typing import TypeAlias

from twisted.words.xish.domish import Element

from restbridge.boundaries import Link
from restbridge.config import Rest
from restbridge.stanzas.errors import LinkDown, NoAnswer
from restbridge.stanzas.xml import StanzaTooLarge, XMLRefused
from restbridge.web.answer import Refusal, unavailable
from restbridge.xmpp.archive import isArchiveQuery
from restbridge.xmpp.exchange import DuplicateId

Reply: TypeAlias = Element | list[Element]
"""One stanza, or those of an archive."""


async def deliver(stanza: Element, link: Link, settings: Rest, timeout: str | None) -> Reply | None:
    """
    Send a stanza that has its addresses and id.

    @param timeout: the Prosody-Rest-Timeout header.
    @return: what answers it, or L{None} where the server took it and said nothing.
    @raise Refusal: it can't be sent (409, 413, 422), the link is down (503), nobody answers (504).
    """
    try:
        if stanza.name != "iq":
            return await link.confirm(stanza)
        _checkRequest(stanza)
        seconds = _seconds(timeout, settings)
        if isArchiveQuery(stanza):
            found = await link.query(stanza, seconds)
            # Even an empty archive answers in the form of a full one; an error comes by itself.
            return found[-1] if found[-1].getAttribute("type") == "error" else found
        return await link.request(stanza, seconds)
    except LinkDown as down:
        raise unavailable(str(down)) from None
    except NoAnswer as silence:
        raise Refusal(504, "wait", "remote-server-timeout", str(silence)) from None
    except DuplicateId as duplicate:
        raise Refusal(409, "cancel", "conflict", str(duplicate)) from None
    except StanzaTooLarge as large:
        sizes = {"size": large.size, "limit": large.limit}
        raise Refusal(413, "modify", "resource-constraint", str(large), sizes) from None
    except XMLRefused as refused:
        raise Refusal(422, "modify", "not-acceptable", str(refused)) from None


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
