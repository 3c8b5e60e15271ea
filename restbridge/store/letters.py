"""
The journal as its operator sees it: the messages that wait, the dead letters, and what is done about them
while bridges go on with their work.

::

    waiting -> retried -> due at once, where it was postponed
    dead    -> retried -> waiting, at its old place in its conversation
    either  -> dropped -> gone
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from enum import Enum
from heapq import merge
from itertools import chain
from typing import TypeVar

import attrs

from restbridge.store.database import Connection
from restbridge.store.journal import Entry

T = TypeVar("T")

PAGE = 500
"""Messages that are read, or changed, at once."""

ATTEMPTS = 3
"""How often a transaction is tried: of two that wait for each other PostgreSQL undoes one."""

_WAITING = """
    SELECT m.number, c.callback, c.sender, c.recipient, m.webhook, m.received, m.failures, m.problem,
        m.stanza, CAST(NULL AS BIGINT) AS died, c.due, c.holder
    FROM messages m JOIN conversations c ON c.number = m.conversation
"""
_DEAD = """
    SELECT number, callback, sender, recipient, webhook, received, failures, problem, stanza,
        died, CAST(NULL AS BIGINT) AS due, CAST(NULL AS TEXT) AS holder
    FROM dead_letters
"""
_COLUMNS = "number, callback, sender, recipient, webhook, received, failures, problem, died, due, holder"
_REVIVED = "SELECT callback, sender, recipient, webhook, stanza FROM dead_letters WHERE number = ?"
_OPEN = """
    INSERT INTO conversations (key, callback, sender, recipient, due, holder) VALUES (?, ?, ?, ?, ?, NULL)
    ON CONFLICT (key) DO UPDATE SET due = CASE
        WHEN conversations.holder IS NULL AND conversations.due > excluded.due THEN excluded.due
        ELSE conversations.due
    END
    RETURNING number
"""
_WRITE = """
    INSERT INTO messages (number, conversation, webhook, received, stanza, failures, problem)
    VALUES (?, ?, ?, ?, ?, 0, '')
"""
_FORGET_DEAD = "DELETE FROM dead_letters WHERE number = ?"
_CONVERSATION = "SELECT conversation FROM messages WHERE number = ?"
_HASTEN = "UPDATE conversations SET due = ? WHERE number = ? AND holder IS NULL AND due >= ?"
_DROP = "DELETE FROM messages WHERE number = ? RETURNING conversation"
_UNHELD = "SELECT number FROM conversations WHERE number = ? AND holder IS NULL"
_CLOSE = """
    DELETE FROM conversations WHERE number = ?
        AND NOT EXISTS (SELECT 1 FROM messages WHERE conversation = conversations.number)
"""


@attrs.frozen(kw_only=True)
class Letter:
    """
    A message of the journal, whatever has become of it. Times are in milliseconds since 1970.

    @ivar sender: a bare address, as C{recipient}.
    @ivar webhook: the id of all calls for it.
    @ivar failures: how often it has failed while the callback took others.
    @ivar problem: why it failed the last time.
    @ivar died: L{None} while it waits.
    @ivar due: when its conversation is, if nobody holds that; until when it is held, if somebody does.
    @ivar holder: the bridge that holds its conversation.
    """

    number: int
    callback: str
    sender: str
    recipient: str
    webhook: str
    received: int
    failures: int
    problem: str
    died: int | None
    due: int | None
    holder: str | None


@attrs.frozen(kw_only=True)
class Which:
    """
    Which messages are meant.

    @ivar callback: those of this one; L{None} for all.
    """

    waiting: bool = True
    dead: bool = True
    callback: str | None = None

    @property
    def sources(self) -> list[str]:
        """
        The queries that find them.
        """
        wanted = ((self.waiting, _WAITING), (self.dead, _DEAD))
        return [source for isWanted, source in wanted if isWanted]


class Retried(Enum):
    """
    What became of a message that is to be tried again.
    """

    REVIVED = "was dead, and waits again"
    HASTENED = "is due at once"
    IN_TURN = "is not postponed: it is called for in its turn"


class Letters:
    """
    The tables of durable callbacks, for whoever has no reactor. Bridges may be at work on them.
    """

    def __init__(self, connection: Connection, failure: type[Exception]) -> None:
        """
        @param failure: what the connection raises; so do the methods, and have changed nothing then.
        """
        self._connection = connection
        self._failure = failure

    def select(self, which: Which) -> Iterator[Letter]:
        """
        The messages, oldest first. They are read by and by: what changes meanwhile may be among them or not.
        """
        return merge(
            *(chain.from_iterable(self._pages(source, which)) for source in which.sources),
            key=lambda letter: letter.number,
        )

    def count(self, which: Which) -> int:
        """
        How many there are.
        """
        condition, values = _of(which)
        return sum(
            self._connection.execute(_select("count(*)", source, condition), values).fetchone()[0]
            for source in which.sources
        )

    def numbers(self, which: Which) -> Iterator[list[int]]:
        """
        The numbers of those that are there now, not too many at once. They may be retried or dropped
        meanwhile.
        """
        for source in which.sources:
            for page in self._pages(source, which):
                yield [letter.number for letter in page]

    def find(self, number: int) -> tuple[Letter, str] | None:
        """
        One message, and its stanza in XML.
        """
        for source in Which().sources:
            statement = _select(f"{_COLUMNS}, stanza", source, "number = ?")
            if row := self._connection.execute(statement, (number,)).fetchone():
                return _letter(row[:-1]), row[-1]
        return None

    def retry(self, numbers: Iterable[int], now: int) -> Mapping[int, Retried]:
        """
        Have messages tried again.

        @param now: in milliseconds since 1970.
        @return: what became of those that are there.
        """
        # Whoever locks rows in the same order as others doesn't get in their way.
        inOrder = sorted(numbers)

        def work() -> Mapping[int, Retried]:
            outcomes = ((number, self._retried(number, now)) for number in inOrder)
            return {number: outcome for number, outcome in outcomes if outcome is not None}

        return self._transact(work)

    def drop(self, numbers: Iterable[int], which: Which) -> set[int]:
        """
        Delete messages.

        @param which: those that have become others meanwhile are left alone.
        @return: those that were there.
        """
        inOrder = sorted(numbers)

        def work() -> set[int]:
            waiting = self._dropWaiting(inOrder) if which.waiting else set()
            rest = [number for number in inOrder if number not in waiting] if which.dead else []
            return waiting.union(number for number in rest if self._forgetDead(number))

        return self._transact(work)

    def _pages(self, source: str, which: Which) -> Iterator[list[Letter]]:
        condition, values = _of(which)
        statement = _select(_COLUMNS, source, f"number > ? AND number <= ? AND {condition}")
        statement += " ORDER BY number LIMIT ?"
        last = 0
        # What comes meanwhile is left out: else there might be no end.
        (newest,) = self._connection.execute(_select("max(number)", source)).fetchone()
        while rows := self._connection.execute(statement, (last, newest or 0, *values, PAGE)).fetchall():
            page = [_letter(row) for row in rows]
            yield page
            last = page[-1].number

    def _retried(self, number: int, now: int) -> Retried | None:
        dead = self._connection.execute(_REVIVED + self._connection.locking, (number,)).fetchone()
        if dead is not None:
            self._revive(number, dead, now)
            return Retried.REVIVED
        waiting = self._connection.execute(_CONVERSATION, (number,)).fetchone()
        if waiting is None:
            return None
        hastened = self._connection.execute(_HASTEN, (now, *waiting, now)).rowcount
        return Retried.HASTENED if hastened else Retried.IN_TURN

    def _revive(self, number: int, dead: tuple[str, str, str, str, str], now: int) -> None:
        callback, sender, recipient, webhook, stanza = dead
        # As if it came now: it is not to be given up with the first failure.
        entry = Entry(
            callback=callback,
            sender=sender,
            recipient=recipient,
            webhook=webhook,
            received=now,
            stanza=stanza,
        )
        opening = (entry.key, callback, sender, recipient, now)
        (conversation,) = self._connection.execute(_OPEN, opening).fetchone()
        self._connection.execute(_WRITE, (number, conversation, webhook, entry.received, stanza))
        self._forgetDead(number)

    def _dropWaiting(self, numbers: Iterable[int]) -> set[int]:
        dropped, conversations = set(), set()
        for number in numbers:
            if row := self._connection.execute(_DROP, (number,)).fetchone():
                dropped.add(number)
                conversations.update(row)
        for conversation in sorted(conversations):
            self._close(conversation)
        return dropped

    def _close(self, conversation: int) -> None:
        """
        Forget a conversation in which nothing is left. Of a callback that is configured no more, no bridge
        would.
        """
        unheld = _UNHELD + self._connection.claiming
        # Whoever writes to it in the same moment keeps it.
        if self._connection.execute(unheld, (conversation,)).fetchone() is not None:
            self._connection.execute(_CLOSE, (conversation,))

    def _forgetDead(self, number: int) -> bool:
        return self._connection.execute(_FORGET_DEAD, (number,)).rowcount > 0

    def _transact(self, work: Callable[[], T]) -> T:
        for _ in range(ATTEMPTS - 1):
            with suppress(self._failure):
                return self._attempt(work)
        return self._attempt(work)

    def _attempt(self, work: Callable[[], T]) -> T:
        self._connection.begin()
        try:
            result = work()
            self._connection.commit()
        except BaseException:
            with suppress(self._failure):
                self._connection.rollback()
            raise
        return result


def _select(what: str, source: str, condition: str = "1 = 1") -> str:
    return f"SELECT {what} FROM ({source}) AS letters WHERE {condition}"  # noqa: S608  # put together of constants


def _of(which: Which) -> tuple[str, tuple[str, ...]]:
    """
    The condition for the callback, and its parameters.
    """
    return ("1 = 1", ()) if which.callback is None else ("callback = ?", (which.callback,))


def _letter(row: tuple[object, ...]) -> Letter:
    names = _COLUMNS.split(", ")
    return Letter(**dict(zip(names, row, strict=True)))  # type: ignore[arg-type]
