"""
What the answer of a durable callback means for the message.

::

    2xx                          Delivered: a stanza in the body goes back
    408, 425, 429, 3xx, 5xx      Failed: later again; Retry-After says when
    no connection, no answer     Failed
    all others, 410 among them   Refused: a stanza error goes back, and the message is a dead letter
"""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import TypeAlias

import attrs
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.web.http_headers import Headers
from twisted.words.xish.domish import Element

from restbridge.stanzas.errors import StanzaError, errorReply, takesError
from restbridge.webhook.post import Response, ResponseTooLarge
from restbridge.webhook.reply import replyTo

LONGEST_WAIT = 3600.0
"""Seconds that a receiver may ask for at most."""

MAX_WORDS = 200
"""Characters of a problem that are kept."""

_TEMPORARY = (408, 425, 429)
_ABSENT = (502, 503, 504)
"""Statuses of a receiver that isn't there now (RFC 9110, section 15.6)."""
_ASKING = (429, 503)
"""Statuses whose Retry-After is for all calls, not for this one."""


@attrs.frozen
class Delivered:
    """
    @ivar reply: what goes back; L{None} for nothing.
    """

    reply: Element | None


@attrs.frozen
class Refused:
    """
    It will never be taken.
    """

    problem: str
    reply: Element | None


@attrs.frozen
class Failed:
    """
    It may be taken later.

    @ivar after: seconds that the receiver asks for; L{None} where it doesn't.
    @ivar wholly: whether it can't be the message's fault: nobody is there to look at one.
    """

    problem: str
    after: float | None = None
    wholly: bool = False


Verdict: TypeAlias = Delivered | Refused | Failed


def verdictOn(stanza: Element, response: Response, now: float) -> Verdict:
    """
    @param now: seconds since 1970.
    """
    status = response.status
    if 200 <= status < 300:
        return Delivered(replyTo(stanza, response))
    problem = _words(f"{status} {response.phrase}")
    if status >= 500 or status < 400 or status in _TEMPORARY:
        after = retryAfter(response.headers, now) if status in _ASKING else None
        return Failed(problem, after, wholly=status in _ABSENT)
    return Refused(problem, replyTo(stanza, response))


def verdictOnFailure(stanza: Element, problem: Exception) -> Verdict:
    """
    @param problem: what a call has failed with.
    """
    words = _words(f"{type(problem).__name__}: {problem}")
    if isinstance(problem, ResponseTooLarge):
        # It has been taken, and would be again.
        return Refused(words, refusal(stanza, "undefined-condition"))
    return Failed(words, wholly=isinstance(problem, (ConnectError, DNSLookupError)))


def refusal(stanza: Element, condition: str) -> Element | None:
    """
    The error that goes back for a message, if any may.
    """
    return errorReply(stanza, StanzaError.of(condition)) if takesError(stanza) else None


def _words(text: str) -> str:
    """
    A problem for the operator, who reads it in the log and in the journal: a receiver may have said anything,
    and PostgreSQL keeps no NUL.
    """
    shown = (letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text[:MAX_WORDS])
    return "".join(shown)


def retryAfter(headers: Headers, now: float) -> float | None:
    """
    Seconds to wait (RFC 9110, section 10.2.3); L{None} where nothing, or nonsense, is said.
    """
    value = (headers.getRawHeaders(b"retry-after") or [b""])[-1].decode("latin-1").strip()
    try:
        seconds = float(value) if value.isdecimal() else _until(value, now)
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(seconds, 0.0), LONGEST_WAIT) if isfinite(seconds) else None


def _until(date: str, now: float) -> float:
    moment = parsedate_to_datetime(date)
    return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() - now
