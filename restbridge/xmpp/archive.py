"""
Queries whose answer is more than one stanza: a message archive sends its results as messages, and an
IQ at their end (XEP-0313, section 4).

::

    collect -> IQ -> exchange             -> the IQ that ends it
                     messages  -> take    -> the results, in their order
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
from twisted.internet.defer import Deferred
from twisted.words.xish.domish import Element

from restbridge.stanzas.xml import firstOf

NS_MAM = "urn:xmpp:mam:2"

MAX_RESULTS = 1000
"""Messages of one answer. Servers end a page at 50 to 250."""

Key = tuple[str, str, str]
"""Own address, archive and query id; the latter empty where the query has none."""


def isArchiveQuery(iq: Element) -> bool:
    """
    Whether messages may come before the answer to this IQ.
    """
    return firstOf(iq, NS_MAM, "query") is not None


@attrs.define(eq=False)
class _Query:
    results: list[Element] = attrs.field(factory=list)


class Archive:
    """
    The archive queries of one stream. Two that nothing tells apart are answered one after the other:
    results belong to the one that was sent first.
    """

    def __init__(self, *, request: Callable[[Element, float], Deferred[Element]]) -> None:
        """
        @param request: sends an IQ; see L{restbridge.boundaries.Link.request}.
        """
        self._request = request
        self._queries: dict[Key, list[_Query]] = {}

    @property
    def running(self) -> int:
        """
        How many queries wait for their end.
        """
        return sum(map(len, self._queries.values()))

    async def collect(self, iq: Element, timeout: float) -> list[Element]:
        """
        Send an archive query; the messages that it brings, and last the IQ that answers it.
        """
        payload = next(iq.elements(NS_MAM, "query"))
        key = (iq["from"], iq["to"], payload.attributes.get("queryid", ""))
        query = _Query()
        self._queries.setdefault(key, []).append(query)
        try:
            end = await self._request(iq, timeout)
        finally:
            self._queries[key].remove(query)
            if not self._queries[key]:
                del self._queries[key]
        return [*query.results, end]

    def take(self, stanza: Element) -> bool:
        """
        Take a message that a query brings.
        """
        if stanza.name != "message" or not self._queries:
            return False
        result = firstOf(stanza, NS_MAM, "result")
        if result is None:
            return False
        queries = self._queries.get((stanza["to"], stanza["from"], result.attributes.get("queryid", "")))
        if queries is None:
            return False
        if len(queries[0].results) < MAX_RESULTS:
            queries[0].results.append(stanza)
        return True
