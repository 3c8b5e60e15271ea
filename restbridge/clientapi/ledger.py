"""
What a stream has brought, above all of what happens in rooms, as the id of an event says it: a time, and
marks where that alone doesn't tell.

::

    a room where nothing was brought lately -> until: what is later is new
    another                                 -> until, and the mark of the last message that was brought
    a change of an affiliation, lately      -> until, and its mark
    one-to-one messages                     -> the marks of the last few

The time is the bridge's, what is later is asked of the rooms' server by its own: their clocks may differ by
less than TOLERANCE. So ids are as long as much has happened at once, however many rooms there are.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from hashlib import sha256

import attrs

TOLERANCE = 60_000_000
"""Microseconds by which clocks may differ, and for which a change may be on its way."""

RECENT = 2 * TOLERANCE
"""Microseconds within which what was brought is marked."""

MAX_MARKS = 300
"""Marks of an id. Of more the oldest are left out: what these stand for may be brought twice."""

_SIZE = 8


def markOf(key: str) -> str:
    """
    A few characters that stand for what tells an event from others.
    """
    return urlsafe_b64encode(sha256(key.encode()).digest()[: _SIZE * 6 // 8]).decode()


@attrs.frozen(kw_only=True)
class Known:
    """
    What a client knows of rooms.

    @ivar until: microseconds since 1970 up to which it knows all.
    @ivar marks: of what it knows around that time.
    """

    until: int
    marks: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, until: str, marks: str) -> Known:
        """
        Read what an id holds.
        """
        each = (marks[start : start + _SIZE] for start in range(0, len(marks), _SIZE))
        return cls(until=int(until), marks=frozenset(each))

    def __str__(self) -> str:
        return f"{self.until}:{''.join(sorted(self.marks))}"

    def has(self, key: str | None) -> bool:
        """
        Whether what the key stands for was brought.
        """
        return key is not None and markOf(key) in self.marks


class Ledger:
    """
    What one stream, and those before it, have brought.
    """

    def __init__(self, known: Known) -> None:
        self._until = known.until
        # Which room each of them is of turns out later, or never.
        self._entries = {mark: (known.until, mark) for mark in known.marks}

    @property
    def known(self) -> Known:
        """
        All of it.
        """
        self._forget()
        return Known(until=self._until, marks=frozenset(mark for _, mark in self._entries.values()))

    def passed(self, moment: int) -> None:
        """
        All up to a time was brought.
        """
        self._until = max(self._until, moment)

    def note(self, slot: str, moment: int, key: str) -> None:
        """
        Something was brought.

        @param slot: it takes the place of what was noted there before.
        @param key: what tells it from others.
        """
        mark = markOf(key)
        self._entries.pop(mark, None)
        self._entries.pop(slot, None)
        self._entries[slot] = (moment, mark)

    def suppose(self, slot: str, moment: int, key: str) -> None:
        """
        The client needs nothing up to this, unless there is something in its place, which is later.
        """
        if slot not in self._entries and moment >= self._until - RECENT - TOLERANCE:
            self.note(slot, moment, key)

    def _forget(self) -> None:
        while self._entries:
            slot, (moment, _) = next(iter(self._entries.items()))
            if moment >= self._until - RECENT and len(self._entries) <= MAX_MARKS:
                return
            del self._entries[slot]
