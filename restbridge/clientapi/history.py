"""
What was said, from a message archive (XEP-0313): the newest page is asked for first, then the one
before it, until there are as many messages as were wanted.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeAlias

import attrs
from twisted.words.xish.domish import Element

from restbridge.boundaries import UserLink
from restbridge.stanzas.errors import errorOf
from restbridge.stanzas.jid import JID
from restbridge.stanzas.replies import newId
from restbridge.stanzas.xml import NS_CLIENT
from restbridge.web.answer import Refusal
from restbridge.xmpp.archive import NS_MAM

NS_DATA = "jabber:x:data"
NS_DELAY = "urn:xmpp:delay"
NS_FORWARD = "urn:xmpp:forward:0"
NS_RSM = "http://jabber.org/protocol/rsm"

MAX_PAGES = 40
"""Pages that one request asks for: a server gives 50 to 250 messages on one, and most hold no text."""

END_OF_TIME = 253402300799999
"""Milliseconds, to the end of the year 9999; later dates can't be written (XEP-0082)."""

_ABSENT = ("service-unavailable", "feature-not-implemented")

Item: TypeAlias = dict[str, Any]


@attrs.frozen(kw_only=True)
class Archived:
    """
    A message of an archive.

    @ivar id: the archive's.
    @ivar timestamp: milliseconds since 1970.
    """

    id: str
    timestamp: int
    message: Element


@attrs.frozen(kw_only=True)
class Query:
    """
    Which messages are wanted.

    @ivar archive: whose; L{None} for the user's own.
    @ivar other: with whom they were exchanged; L{None} for all.
    @ivar before: milliseconds since 1970; L{None} for up to now.
    """

    archive: JID | None = None
    other: JID | None = None
    before: int | None = None
    limit: int


async def newest(
    link: UserLink, query: Query, item: Callable[[Archived], Item | None], timeout: float
) -> list[Item]:
    """
    The newest messages that fit, in the order of time.

    @param item: what is shown of a message; L{None} for nothing.
    @raise Refusal: 501, there is no archive; 403, 404 or 503 where it can't be read.
    """
    found: list[Item] = []
    end = ""
    if query.limit == 0 or (query.before is not None and query.before <= 0):
        return found
    for _ in range(MAX_PAGES):
        *messages, last = await link.query(_asked(query, end, query.limit - len(found)), timeout)
        _check(last)
        page = [shown for each in map(_archived, messages) if each and (shown := item(each)) is not None]
        found = [*page, *found]
        first = _first(last)
        if len(found) >= query.limit or first is None:
            break
        end = first
    return found[-query.limit :]


def _asked(query: Query, end: str, most: int) -> Element:
    iq = Element((NS_CLIENT, "iq"))
    iq["type"], iq["id"] = "set", newId()
    if query.archive is not None:
        iq["to"] = query.archive.full
    payload = iq.addElement((NS_MAM, "query"))
    payload["queryid"] = newId()
    form = payload.addElement((NS_DATA, "x"))
    form["type"] = "submit"
    _field(form, "FORM_TYPE", NS_MAM)["type"] = "hidden"
    if query.other is not None:
        _field(form, "with", query.other.full)
    if query.before is not None:
        _field(form, "end", _written(min(query.before, END_OF_TIME)))
    page = payload.addElement((NS_RSM, "set"))
    page.addElement("max", content=str(most))
    page.addElement("before", content=end)
    return iq


def _field(form: Element, name: str, value: str) -> Element:
    field: Element = form.addElement("field")
    field["var"] = name
    field.addElement("value", content=value)
    return field


def _written(milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:03}Z"


def _check(end: Element) -> None:
    error = errorOf(end)
    if error is None:
        return
    if error.condition in _ABSENT:
        raise Refusal(501, text="The server keeps no archive of messages (XEP-0313)")
    raise Refusal(503, text=f"The archive can't be read: {error.condition}")


def _first(end: Element) -> str | None:
    """
    The first message of a page, where there are earlier ones.
    """
    for fin in end.elements(NS_MAM, "fin"):
        if fin.getAttribute("complete") in ("true", "1"):
            return None
        for page in fin.elements(NS_RSM, "set"):
            for first in page.elements(NS_RSM, "first"):
                return str(first)
    return None


def _archived(message: Element) -> Archived | None:
    """
    What an archive forwards; L{None} for what it should not.
    """
    try:
        result = next(message.elements(NS_MAM, "result"))
        forwarded = next(result.elements(NS_FORWARD, "forwarded"))
        stamp = next(forwarded.elements(NS_DELAY, "delay"))["stamp"]
        inner = next(forwarded.elements(NS_CLIENT, "message"))
        moment = datetime.fromisoformat(stamp)
        return Archived(id=result["id"], timestamp=milliseconds(moment), message=inner)
    except (StopIteration, KeyError, ValueError):
        return None


def milliseconds(moment: datetime) -> int:
    """
    Since 1970. What names no time zone is UTC.
    """
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return int(aware.timestamp() * 1000)
