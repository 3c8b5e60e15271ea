"""
What is kept of rooms whose server doesn't keep it: who found a place in them through the API, who has left
without the server's knowledge, and who was added and removed when.
"""

from __future__ import annotations

from sqlite3 import Connection

import attrs

from restbridge.stanzas.jid import JID
from restbridge.store.database import Store

END_OF_TIME = 2**63 - 1
"""Milliseconds; SQLite has no larger integers."""

_ERASE = (
    "DELETE FROM places WHERE room = ?",
    "DELETE FROM departures WHERE room = ?",
    "DELETE FROM affiliations WHERE room = ?",
)
_VACATE = (
    "DELETE FROM places WHERE room = ? AND user = ?",
    "DELETE FROM departures WHERE room = ? AND user = ?",
)
_RECORD = "INSERT INTO affiliations (room, time, user, affiliation, id, after) VALUES (?, ?, ?, ?, ?, ?)"
_CHANGES = """
    SELECT time, user, affiliation, id, after FROM affiliations
    WHERE room = ? AND (? IS NULL OR time <= ?) ORDER BY number DESC LIMIT ?
"""


@attrs.frozen(kw_only=True)
class Change:
    """
    Somebody's affiliation was changed.

    @ivar time: milliseconds since 1970.
    @ivar user: a bare address.
    @ivar affiliation: C{member}, C{owner} or C{none}.
    @ivar id: as shown.
    @ivar after: the archive's id of the message that came before it; empty where it was the first of all.
    """

    time: int
    user: str
    affiliation: str
    id: str
    after: str


class RoomStore:
    """
    The tables of rooms. Users and rooms are bare addresses.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def of(self, user: JID) -> list[JID]:
        """
        The rooms in which a user has found a place.
        """

        def work(connection: Connection) -> list[JID]:
            rows = connection.execute("SELECT room FROM places WHERE user = ?", (user.bare,))
            return [JID.parse(room) for (room,) in rows]

        return await self._store.run(work)

    async def begin(self, room: JID, owner: JID) -> None:
        """
        A room is made: nothing is known any more of an earlier one of that name.
        """

        def work(connection: Connection) -> None:
            _erase(connection, room)
            _place(connection, room, owner)

        await self._store.run(work)

    async def end(self, room: JID) -> None:
        """
        A room is no more.
        """
        await self._store.run(lambda connection: _erase(connection, room))

    async def record(self, room: JID, change: Change, *, departed: bool = False) -> None:
        """
        Somebody's affiliation was changed.

        @param departed: whether that somebody has left as far as this API goes, while the server has an
            affiliation still.
        """

        def work(connection: Connection) -> None:
            connection.execute(_RECORD, (room.bare, *attrs.astuple(change)))
            user = JID.parse(change.user)
            _vacate(connection, room, user)
            if change.affiliation != "none":
                _place(connection, room, user)
            elif departed:
                connection.execute("INSERT INTO departures VALUES (?, ?)", (room.bare, user.bare))

        await self._store.run(work)

    async def changes(self, room: JID, before: int | None, limit: int) -> list[Change]:
        """
        The newest changes, in their order.

        @param before: milliseconds since 1970; L{None} for up to now.
        """

        latest = None if before is None else max(0, min(before, END_OF_TIME))

        def work(connection: Connection) -> list[Change]:
            rows = connection.execute(_CHANGES, (room.bare, latest, latest, limit))
            fields = [field.name for field in attrs.fields(Change)]
            found = [Change(**dict(zip(fields, row, strict=True))) for row in rows]
            return found[::-1]

        return await self._store.run(work)

    async def departed(self, room: JID) -> set[str]:
        """
        The users who have left while the server has an affiliation still.
        """

        def work(connection: Connection) -> set[str]:
            rows = connection.execute("SELECT user FROM departures WHERE room = ?", (room.bare,))
            return {user for (user,) in rows}

        return await self._store.run(work)

    async def join(self, room: JID, user: JID) -> None:
        """
        A user has a place in a room.
        """
        await self._store.run(lambda connection: _place(connection, room, user))

    async def used(self, room: JID) -> bool:
        """
        Whether any user is known to have a place in a room.
        """

        def work(connection: Connection) -> bool:
            rows = connection.execute("SELECT 1 FROM places WHERE room = ? LIMIT 1", (room.bare,))
            return rows.fetchone() is not None

        return await self._store.run(work)

    async def leave(self, room: JID, user: JID) -> None:
        """
        A user has no place in a room any more, and the server knows.
        """
        await self._store.run(lambda connection: _vacate(connection, room, user))


def _erase(connection: Connection, room: JID) -> None:
    for statement in _ERASE:
        connection.execute(statement, (room.bare,))


def _place(connection: Connection, room: JID, user: JID) -> None:
    connection.execute("INSERT OR IGNORE INTO places (room, user) VALUES (?, ?)", (room.bare, user.bare))


def _vacate(connection: Connection, room: JID, user: JID) -> None:
    for statement in _VACATE:
        connection.execute(statement, (room.bare, user.bare))
