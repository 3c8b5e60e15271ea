"""
What is kept of rooms whose server doesn't keep it: who found a place in them through the API, who has left
without the server's knowledge, and who was added and removed when.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs

from restbridge.stanzas.jid import JID
from restbridge.store.database import Store, Transaction

END_OF_TIME = 2**63 - 1
"""Milliseconds; databases have no larger integers."""

_ERASE = (
    "DELETE FROM places WHERE room = ?",
    "DELETE FROM departures WHERE room = ?",
    "DELETE FROM affiliations WHERE room = ?",
)
_VACATE = (
    'DELETE FROM places WHERE room = ? AND "user" = ?',
    'DELETE FROM departures WHERE room = ? AND "user" = ?',
)
_RECORD = 'INSERT INTO affiliations (room, time, "user", affiliation, id, after) VALUES (?, ?, ?, ?, ?, ?)'
_CHANGES = """
    SELECT time, "user", affiliation, id, after FROM affiliations
    WHERE room = ? AND time <= ? ORDER BY number DESC LIMIT ?
"""
_SINCE = """
    SELECT time, "user", affiliation, id, after FROM affiliations
    WHERE room = ? AND time >= ? ORDER BY number LIMIT ? OFFSET ?
"""
_SINCE_OF = """
    SELECT room, time, "user", affiliation, id, after FROM affiliations
    WHERE "user" = ? AND time >= ? ORDER BY number LIMIT ?
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

        def work(transaction: Transaction) -> list[JID]:
            rows = transaction.execute('SELECT room FROM places WHERE "user" = ?', (user.bare,))
            return [JID.parse(room) for (room,) in rows]

        return await self._store.run(work)

    async def begin(self, room: JID, owner: JID) -> None:
        """
        A room is made: nothing is known any more of an earlier one of that name.
        """

        def work(transaction: Transaction) -> None:
            _erase(transaction, room)
            _place(transaction, room, owner)

        await self._store.run(work)

    async def end(self, room: JID) -> None:
        """
        A room is no more.
        """
        await self._store.run(lambda transaction: _erase(transaction, room))

    async def record(self, room: JID, change: Change, *, departed: bool = False) -> None:
        """
        Somebody's affiliation was changed.

        @param departed: whether that somebody has left as far as this API goes, while the server has an
            affiliation still.
        """

        def work(transaction: Transaction) -> None:
            transaction.execute(_RECORD, (room.bare, *attrs.astuple(change)))
            user = JID.parse(change.user)
            _vacate(transaction, room, user)
            if change.affiliation != "none":
                _place(transaction, room, user)
            elif departed:
                transaction.execute(
                    "INSERT INTO departures VALUES (?, ?) ON CONFLICT DO NOTHING", (room.bare, user.bare)
                )

        await self._store.run(work)

    async def changes(self, room: JID, before: int | None, limit: int) -> list[Change]:
        """
        The newest changes, in their order.

        @param before: milliseconds since 1970; L{None} for up to now.
        """

        latest = END_OF_TIME if before is None else max(0, min(before, END_OF_TIME))

        def work(transaction: Transaction) -> list[Change]:
            rows = transaction.execute(_CHANGES, (room.bare, latest, limit))
            return [_change(row) for row in rows][::-1]

        return await self._store.run(work)

    async def since(self, room: JID, time: int, skipped: int, limit: int) -> list[Change]:
        """
        The changes from a time on, in their order.

        @param time: milliseconds since 1970.
        @param skipped: how many of those are left out.
        """

        def work(transaction: Transaction) -> list[Change]:
            rows = transaction.execute(_SINCE, (room.bare, time, limit, skipped))
            return [_change(row) for row in rows]

        return await self._store.run(work)

    async def sinceOf(self, user: JID, time: int, limit: int) -> list[tuple[JID, Change]]:
        """
        Likewise, of one user's affiliations, in whatever rooms.
        """

        def work(transaction: Transaction) -> list[tuple[JID, Change]]:
            rows = transaction.execute(_SINCE_OF, (user.bare, time, limit))
            return [(JID.parse(room), _change(row)) for room, *row in rows]

        return await self._store.run(work)

    async def departed(self, room: JID) -> set[str]:
        """
        The users who have left while the server has an affiliation still.
        """

        def work(transaction: Transaction) -> set[str]:
            rows = transaction.execute('SELECT "user" FROM departures WHERE room = ?', (room.bare,))
            return {user for (user,) in rows}

        return await self._store.run(work)

    async def join(self, room: JID, user: JID) -> None:
        """
        A user has a place in a room.
        """
        await self._store.run(lambda transaction: _place(transaction, room, user))

    async def used(self, room: JID) -> bool:
        """
        Whether any user is known to have a place in a room.
        """

        def work(transaction: Transaction) -> bool:
            rows = transaction.execute("SELECT 1 FROM places WHERE room = ? LIMIT 1", (room.bare,))
            return rows.fetchone() is not None

        return await self._store.run(work)

    async def leave(self, room: JID, user: JID) -> None:
        """
        A user has no place in a room any more, and the server knows.
        """
        await self._store.run(lambda transaction: _vacate(transaction, room, user))


def _change(row: Iterable[Any]) -> Change:
    fields = [field.name for field in attrs.fields(Change)]
    return Change(**dict(zip(fields, row, strict=True)))


def _erase(transaction: Transaction, room: JID) -> None:
    for statement in _ERASE:
        transaction.execute(statement, (room.bare,))


def _place(transaction: Transaction, room: JID, user: JID) -> None:
    transaction.execute(
        'INSERT INTO places (room, "user") VALUES (?, ?) ON CONFLICT DO NOTHING', (room.bare, user.bare)
    )


def _vacate(transaction: Transaction, room: JID, user: JID) -> None:
    for statement in _VACATE:
        transaction.execute(statement, (room.bare, user.bare))
