"""
What was said, from a message archive (XEP-0313): the newest page is asked for first, then the one
before it, until there are as many messages as were wanted.

::

    Query -> page -> what is to be shown, and told in time -> enough, or the archive's beginning -> items
             page before it                            <-  -> not yet

Clients go back by the time of the first message that they have, in milliseconds. Many messages may share
one, and an archive may tell no more than the second (Prosody's does). So each is told to be a little later
than the one before: nothing is shown whose time depends on messages that are not known yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Any, TypeAlias

import attrs
from twisted.words.xish.domish import Element

from restbridge.boundaries import UserLink
from restbridge.clientapi.dataforms import addForm
from restbridge.stanzas.errors import errorOf
from restbridge.stanzas.jid import JID
from restbridge.stanzas.replies import newId
from restbridge.stanzas.xml import NS_CLIENT, firstOf
from restbridge.web.answer import Refusal, unavailable
from restbridge.xmpp.archive import NS_MAM

NS_DELAY = "urn:xmpp:delay"
NS_FORWARD = "urn:xmpp:forward:0"
NS_RSM = "http://jabber.org/protocol/rsm"

MAX_PAGES = 100
"""Pages that one request asks for. Servers give 50 to 250 messages on one; it may be that none has a text."""

MARGIN = 10
"""Messages that are asked for beyond those that are wanted: some are not shown, others complete a second."""

PAGE = 100
"""Messages that are asked for when the first page was not enough."""

STEP = 2
"""Milliseconds between messages, so that one less than the time of one is still after the one before."""

MAX_DELAY = 999 - STEP
"""Milliseconds by which a message is told to be later than it was, at most: less than to the next second."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

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
    @ivar message: as it was sent or received, with C{from} and C{to}.
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


@attrs.frozen
class _Entry:
    """
    What is kept of an archived message.

    @ivar shown: what the API shows of it; L{None} for nothing.
    """

    timestamp: int
    shown: Item | None


async def newest(
    link: UserLink, query: Query, item: Callable[[Archived], Item | None], timeout: float
) -> list[Item]:
    """
    The newest messages that fit, in the order of time.

    @param item: what is shown of a message, its C{timestamp} among it; L{None} for nothing.
    @param timeout: seconds for each page.
    @raise Refusal: 501, there is no archive; 503, it can't be read, or too much of it isn't shown.
    """
    if query.limit == 0 or (query.before is not None and query.before <= 0):
        return []
    found: list[_Entry] = []
    end: str | None = None
    most = query.limit + MARGIN
    for _ in range(MAX_PAGES):
        page, end = await _page(link, _asked(query, end or "", most), timeout)
        found = [*(_Entry(each.timestamp, item(each)) for each in page), *found]
        told = _told(found, query.before, complete=end is None)
        if end is None or len(told) >= query.limit:
            return told[-query.limit :]
        most = PAGE
    if not told:
        raise Refusal(503, text=f"The newest {len(found)} entries of the archive hold nothing that is shown")
    return told[-query.limit :]


def _told(found: Iterable[_Entry], before: int | None, *, complete: bool) -> list[Item]:
    """
    What is shown of messages, with the time that is told of each, as far as that is known.

    @param found: in the order of the archive.
    @param complete: whether there are no earlier ones. If not, the first may be told later than they are.
    """
    told = []
    least, most = 0.0, 0.0 if complete else inf
    for entry in found:
        moment, latest = _moment(entry, least), _moment(entry, most)
        least, most = moment + STEP, latest + STEP
        if entry.shown is not None and moment == latest and (before is None or moment < before):
            told.append({**entry.shown, "timestamp": moment})
    return told


def _moment(entry: _Entry, earliest: float) -> int:
    """
    The time that is told of a message: its own, or one soon after that.
    """
    return int(min(max(entry.timestamp, earliest), entry.timestamp + MAX_DELAY))


async def _page(link: UserLink, iq: Element, timeout: float) -> tuple[list[Archived], str | None]:
    """
    A page, and the archive's id of its first message where there are earlier ones.
    """
    *messages, last = await link.query(iq, timeout)
    _check(last)
    return [each for each in map(unpacked, messages) if each is not None], edge(last, "first")


def _asked(query: Query, end: str, most: int) -> Element:
    fields = {}
    if query.other is not None:
        fields["with"] = query.other.full
    if query.before is not None:
        fields["end"] = stamp(min(query.before, END_OF_TIME))
    return archiveQuery(fields, {"max": str(most), "before": end}, archive=query.archive)


def archiveQuery(
    fields: Mapping[str, str], page: Mapping[str, str], *, archive: JID | None = None
) -> Element:
    """
    An IQ that asks for a page of an archive (XEP-0313, section 4; XEP-0059).

    @param fields: which messages are wanted.
    @param page: which of them, and how many.
    @param archive: whose; L{None} for the user's own.
    """
    iq = Element((NS_CLIENT, "iq"))
    iq["type"], iq["id"] = "set", newId()
    if archive is not None:
        iq["to"] = archive.full
    payload = iq.addElement((NS_MAM, "query"))
    payload["queryid"] = newId()
    addForm(payload, NS_MAM, fields)
    bounds = payload.addElement((NS_RSM, "set"))
    for name, value in page.items():
        bounds.addElement(name, content=value)
    return iq


def stamp(milliseconds: int) -> str:
    """
    A moment as XEP-0082 writes it, out of milliseconds since 1970.
    """
    seconds, rest = divmod(milliseconds, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:03}Z"


def _check(end: Element) -> None:
    error = errorOf(end)
    if error is None:
        return
    if error.condition in _ABSENT:
        raise Refusal(501, text="The server keeps no archive of messages (XEP-0313)")
    raise unavailable(f"The archive can't be read: {error.condition}")


def edge(end: Element, name: str) -> str | None:
    """
    The archive's id of the C{first} or C{last} message of a page, where there are more beyond it.
    """
    for fin in end.elements(NS_MAM, "fin"):
        if fin.getAttribute("complete") in ("true", "1"):
            return None
        for page in fin.elements(NS_RSM, "set"):
            for found in page.elements(NS_RSM, name):
                return str(found)
    return None


def unpacked(message: Element) -> Archived | None:
    """
    What an archive forwards; L{None} for what it should not.
    """
    result = firstOf(message, NS_MAM, "result")
    forwarded = None if result is None else firstOf(result, NS_FORWARD, "forwarded")
    if result is None or forwarded is None:
        return None
    delay, inner = firstOf(forwarded, NS_DELAY, "delay"), firstOf(forwarded, NS_CLIENT, "message")
    if delay is None or inner is None:
        return None
    try:
        time = milliseconds(datetime.fromisoformat(delay["stamp"]))
        found = Archived(id=result["id"], timestamp=time, message=inner)
    except (KeyError, ValueError, OverflowError):
        return None
    owner = message.getAttribute("from") or JID.parse(message["to"]).bare
    for end in ("from", "to"):
        # Left out, it is the archive's own (RFC 6120, sections 8.1.2.1 and 10.3.1).
        inner.attributes.setdefault(end, owner)
    return found


def milliseconds(moment: datetime) -> int:
    """
    Since 1970. What names no time zone is UTC.
    """
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(milliseconds=1)
