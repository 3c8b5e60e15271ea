"""
What a client has missed, from an archive (XEP-0313): the messages after one that it knows, a page at a time,
in the order of the archive.
"""

from __future__ import annotations

from twisted.words.xish.domish import Element

from restbridge.boundaries import UserLink
from restbridge.clientapi.history import Archived, archiveQuery, edge, stamp, unpacked
from restbridge.stanzas.errors import errorOf
from restbridge.stanzas.jid import JID

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

    def __init__(
        self, *, link: UserLink, known: str | None, start: int, otherwise: int, archive: JID | None = None
    ) -> None:
        """
        @param known: the archive's id of the message; L{None} for one that isn't in it.
        @param start: which messages are asked for, as a time in milliseconds since 1970.
        @param otherwise: likewise, if the archive doesn't know the message.
        @param archive: whose; L{None} for the user's own.
        """
        self.done = self.found = False
        self._link = link
        self._archive = archive
        self._after = known
        self._start = start
        self._otherwise = otherwise

    @classmethod
    def ofUser(cls, link: UserLink, known: str | None, moment: int) -> Replay:
        """
        The pages of the user's own archive.

        @param moment: the time of the message, in milliseconds since 1970.
        """
        otherwise = moment - MINUTE
        return cls(
            link=link,
            known=known,
            start=otherwise if known is None else moment - DAY,
            otherwise=otherwise,
        )

    def goBackTo(self, known: str) -> None:
        """
        Have the next page begin behind a message of the last one.
        """
        self.done, self._after = False, known

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
            last = edge(end, "last")
            self.done = last is None or last == self._after
            self._after = last
            return [archived for archived in map(unpacked, messages) if archived is not None]
        if error.condition == "item-not-found" and self._after is not None:
            # The archive has forgotten it, and with it all that came before.
            self._after, self._start = None, self._otherwise
        elif error.condition in (*_ABSENT, "item-not-found"):
            self.done = True
        else:
            raise NoReplay(error.condition)
        return []

    def _asked(self) -> Element:
        page = {"max": str(PAGE)}
        if self._after is not None:
            page["after"] = self._after
        return archiveQuery({"start": stamp(max(0, self._start))}, page, archive=self._archive)
