"""
What a client has missed, from the user's archive (XEP-0313): the messages after one that it knows, a
page at a time, in the order of the archive.
"""

from __future__ import annotations

from twisted.words.xish.domish import Element

from restbridge.boundaries import UserLink
from restbridge.clientapi.history import NS_DATA, NS_RSM, Archived, _archived, _field, _written
from restbridge.stanzas.errors import errorOf
from restbridge.stanzas.replies import newId
from restbridge.stanzas.xml import NS_CLIENT
from restbridge.xmpp.archive import NS_MAM

PAGE = 50
"""Messages that are asked for at once."""

TIMEOUT = 30.0
"""Seconds for a page."""

DAY = 24 * 3600 * 1000
"""
Milliseconds before the known message from which on messages are asked for: a server that doesn't know
it would begin with the first of all (ejabberd), and the clocks of bridge and server may differ.
"""

MINUTE = 60 * 1000
"""Likewise, where the known message is found by its time alone: some may come twice then, none gets lost."""

_ABSENT = ("service-unavailable", "feature-not-implemented")


class NoReplay(Exception):
    """
    The archive can't be read now.
    """


class Replay:
    """
    The pages after a message.

    @ivar done: whether there are no more.
    @ivar found: whether there is an archive.
    """

    def __init__(self, *, link: UserLink, known: str | None, moment: int) -> None:
        """
        @param known: the archive's id of the message; L{None} for one that isn't in it.
        @param moment: its time, in milliseconds since 1970.
        """
        self.done = self.found = False
        self._link = link
        self._after = known
        self._moment = moment
        self._start = moment - (MINUTE if known is None else DAY)

    async def page(self) -> list[Archived]:
        """
        The next page; an empty one where there is no archive.

        @raise NoReplay: see there.
        @raise LinkDown: or L{NoAnswer}; see L{restbridge.boundaries.Link}.
        """
        *messages, end = await self._link.query(self._asked(), TIMEOUT)
        error = errorOf(end)
        if error is None:
            self.found = True
            last = _last(end)
            self.done = last is None or last == self._after
            self._after = last
            return [archived for archived in map(_archived, messages) if archived is not None]
        if error.condition == "item-not-found" and self._after is not None:
            # The archive has forgotten it, and with it all that came before.
            self._after, self._start = None, self._moment - MINUTE
        elif error.condition in (*_ABSENT, "item-not-found"):
            self.done = True
        else:
            raise NoReplay(error.condition)
        return []

    def _asked(self) -> Element:
        iq = Element((NS_CLIENT, "iq"))
        iq["type"], iq["id"] = "set", newId()
        payload = iq.addElement((NS_MAM, "query"))
        payload["queryid"] = newId()
        form = payload.addElement((NS_DATA, "x"))
        form["type"] = "submit"
        _field(form, "FORM_TYPE", NS_MAM)["type"] = "hidden"
        _field(form, "start", _written(max(0, self._start)))
        page = payload.addElement((NS_RSM, "set"))
        page.addElement("max", content=str(PAGE))
        if self._after is not None:
            page.addElement("after", content=self._after)
        return iq


def _last(end: Element) -> str | None:
    """
    The last message of a page, where there are later ones.
    """
    for fin in end.elements(NS_MAM, "fin"):
        if fin.getAttribute("complete") in ("true", "1"):
            return None
        for page in fin.elements(NS_RSM, "set"):
            for last in page.elements(NS_RSM, "last"):
                return str(last)
    return None
