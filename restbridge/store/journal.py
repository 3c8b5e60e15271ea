"""
The journal of durable callbacks: the messages that wait for one, in their conversations, and what became of
those that nobody took.

::

    accept -> messages, in order -> delivered -> gone                     -> replies -> sent
                                 -> buried    -> dead_letters             -> replies -> sent
                                 -> postponed -> due again later

A conversation is what one bare address writes to another by way of one callback. It is held by one bridge at
a time, for C{LEASE}, which is renewed; of a bridge that dies others take it over then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from typing import TypeVar

import attrs
from twisted.internet.interfaces import IReactorTime

from restbridge.store.database import Store, Transaction

T = TypeVar("T")

LEASE = 60.0
"""
Seconds for which a bridge holds a conversation. The clocks of bridges that share a database must be closer
to each other than that.
"""

PAGE = 50
"""Messages of a conversation that are read at once."""

KEPT = 30 * 24 * 3600
"""Seconds after which dead letters are deleted."""

_FIND = "SELECT number, holder FROM conversations WHERE key = ?"
_OPEN = """
    INSERT INTO conversations (key, callback, sender, recipient, due, holder) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (key) DO UPDATE SET key = excluded.key RETURNING number, holder
"""
_WRITE = """
    INSERT INTO messages (conversation, webhook, received, stanza, failures, problem)
    VALUES (?, ?, ?, ?, 0, '') RETURNING number
"""
_DUE = "SELECT number FROM conversations WHERE callback = ? AND due <= ? ORDER BY due LIMIT ?"
_HOLD = "UPDATE conversations SET holder = ?, due = ? WHERE number = ?"
_POSTPONE = "UPDATE conversations SET holder = NULL, due = ? WHERE number = ? AND holder = ?"
_PAGE = """
    SELECT number, conversation, webhook, received, stanza, failures FROM messages
    WHERE conversation = ? ORDER BY number LIMIT ?
"""
_BURY = """
    INSERT INTO dead_letters
        (number, callback, sender, recipient, webhook, received, stanza, failures, problem, died)
    SELECT m.number, c.callback, c.sender, c.recipient, m.webhook, m.received, m.stanza, m.failures, ?, ?
    FROM messages m JOIN conversations c ON c.number = m.conversation WHERE m.number = ?
"""
_FAILED = "UPDATE messages SET problem = ?, failures = failures + ? WHERE number = ?"
_RENEW = "UPDATE conversations SET due = ? WHERE holder = ?"
_RELEASE = "UPDATE conversations SET due = ?, holder = NULL WHERE holder = ?"
_LET_GO = "UPDATE conversations SET due = ?, holder = NULL WHERE holder = ? AND number = ?"
_LOCK = "UPDATE conversations SET due = due WHERE number = ?"
_FINISH = """
    DELETE FROM conversations WHERE number = ?
        AND NOT EXISTS (SELECT 1 FROM messages WHERE conversation = conversations.number)
"""
_IS_THERE = "SELECT 1 FROM conversations WHERE number = ?"
_WAITING = "SELECT count(*) FROM messages"
_DEAD = "SELECT count(*) FROM dead_letters"
_OLDEST_DEAD = "SELECT number FROM dead_letters ORDER BY died LIMIT ?"


@attrs.frozen(kw_only=True)
class Entry:
    """
    A message that is to be delivered.

    @ivar callback: whose name it is.
    @ivar sender: a bare address, as C{recipient}.
    @ivar webhook: the id of all calls for it.
    @ivar received: milliseconds since 1970.
    @ivar stanza: in XML.
    """

    callback: str
    sender: str
    recipient: str
    webhook: str
    received: int
    stanza: str

    @property
    def key(self) -> str:
        """
        Of its conversation; short, whatever the addresses are.
        """
        text = "\0".join((self.callback, self.sender, self.recipient))
        return blake2b(text.encode(), digest_size=16).hexdigest()


@attrs.frozen(kw_only=True)
class Message:
    """
    A message that waits.

    @ivar conversation: its number.
    @ivar failures: how often it has failed while the callback took others.
    """

    number: int
    conversation: int
    webhook: str
    received: int
    stanza: str
    failures: int = 0


@attrs.frozen
class Accepted:
    """
    @ivar held: whether this bridge has the conversation.
    @ivar opened: whether it is the first message of it.
    """

    message: Message
    held: bool
    opened: bool


class JournalFull(Exception):
    """
    More messages wait than may.
    """


class Journal:
    """
    The tables of durable callbacks. What a method writes is committed when it returns, in the order of the
    calls.

    @ivar pending: how many messages wait, of all bridges.
    @ivar term: another number whenever all that was held is no more.
    """

    def __init__(self, *, store: Store, holder: str, most: int, clock: IReactorTime) -> None:
        """
        @param holder: this bridge: no two that are alive have the same. What it holds when it dies is its own
            again at once, if it has the same after a restart.
        @param most: how many messages may wait.
        """
        self.pending = self.term = 0
        self._most = most
        self._unsure = False
        self._heldUntil = clock.seconds() + LEASE
        self._store = store
        self._holder = holder
        self._clock = clock

    def now(self) -> int:
        """
        Milliseconds since 1970.
        """
        return int(self._clock.seconds() * 1000)

    @property
    def holds(self) -> bool:
        """
        Whether this bridge has still what it held.
        """
        return self._clock.seconds() < self._heldUntil

    async def accept(self, entry: Entry, *, hold: bool) -> Accepted:
        """
        Write a message down.

        @param hold: whether this bridge is to have the conversation, if it is a new one.
        @raise JournalFull: it isn't written.
        """
        if self.pending >= self._most:
            raise JournalFull(f"{self._most} messages wait for callbacks already")
        holder, due = (self._holder, self._leased()) if hold else (None, entry.received)
        opening = (entry.key, entry.callback, entry.sender, entry.recipient, due, holder)

        def work(transaction: Transaction) -> Accepted:
            found = transaction.execute(_FIND + transaction.locking, (entry.key,)).fetchone()
            number, by = found or transaction.execute(_OPEN, opening).fetchone()
            row = (number, entry.webhook, entry.received, entry.stanza)
            (written,) = transaction.execute(_WRITE, row).fetchone()
            message = Message(
                number=written,
                conversation=number,
                webhook=entry.webhook,
                received=entry.received,
                stanza=entry.stanza,
            )
            return Accepted(message, by == self._holder, found is None)

        self.pending += 1
        try:
            return await self._taking(work)
        except BaseException:
            self.pending -= 1
            raise

    async def claim(self, callback: str, limit: int) -> dict[int, list[Message]]:
        """
        Take conversations that are due, and that nobody has.

        @return: the first messages of each, by its number.
        """
        now, due = self.now(), self._leased()

        def work(transaction: Transaction) -> dict[int, list[Message]]:
            found = transaction.execute(_DUE + transaction.claiming, (callback, now, limit)).fetchall()
            claimed = {}
            for (number,) in found:
                claimed[number] = _page(transaction, number)
                if claimed[number]:
                    transaction.execute(_HOLD, (self._holder, due, number))
                else:
                    _end(transaction, number)
            return {number: page for number, page in claimed.items() if page}

        return await self._taking(work)

    async def page(self, conversation: int) -> list[Message]:
        """
        The first messages of a conversation.
        """
        return await self._store.run(lambda transaction: _page(transaction, conversation))

    async def finish(self, conversations: Iterable[int]) -> set[int]:
        """
        Forget conversations in which nothing is left.

        @return: those that have something after all, and are held as before.
        """
        numbers = sorted(conversations)

        def work(transaction: Transaction) -> set[int]:
            rows = [(number,) for number in numbers]
            # Nobody may write to them between the look and the deletion.
            transaction.executemany(_LOCK, rows)
            finished = transaction.executemany(_FINISH, rows).rowcount
            return set() if finished == len(numbers) else _there(transaction, numbers)

        return await self._store.run(work)

    async def delivered(self, message: Message, reply: Reply | None) -> None:
        """
        A message has been taken.

        @param reply: what is to be sent to its sender.
        """

        def work(transaction: Transaction) -> int:
            gone = _delete(transaction, message)
            # Whoever was faster, as this bridge's lease was over, has sent a reply.
            _reply(transaction, reply if gone else None)
            return gone

        gone = await self._store.run(work)
        self.pending -= gone

    async def buried(self, message: Message, problem: str, reply: Reply | None) -> None:
        """
        Nobody takes a message: it is a dead letter now.
        """
        died = self.now()

        def work(transaction: Transaction) -> int:
            if not transaction.execute(_BURY, (problem, died, message.number)).rowcount:
                return 0
            _reply(transaction, reply)
            return _delete(transaction, message)

        # What is pending may change until that is done.
        gone = await self._store.run(work)
        self.pending -= gone

    async def failed(self, message: Message, problem: str) -> None:
        """
        A message could not be delivered, as nothing can at the moment.
        """
        await self._store.run(lambda transaction: transaction.execute(_FAILED, (problem, 0, message.number)))

    async def postponed(self, message: Message, problem: str, delay: float) -> None:
        """
        A message could not be delivered, though others can: its conversation waits, and is held by nobody.

        @param delay: seconds.
        """
        due = self.now() + int(delay * 1000)

        def work(transaction: Transaction) -> None:
            transaction.execute(_FAILED, (problem, 1, message.number))
            transaction.execute(_POSTPONE, (due, message.conversation, self._holder))

        await self._store.run(work)

    async def renew(self) -> None:
        """
        Go on holding what is held, and see how much waits.
        """
        anew = self._unsure or not self.holds
        if anew:
            self._heldUntil = self._clock.seconds()
            await self.release()
        until, due = self._clock.seconds() + LEASE, self._leased()

        def work(transaction: Transaction) -> int:
            transaction.execute(_RENEW, (due, self._holder))
            return _count(transaction, _WAITING)

        self.pending = await self._store.run(work)
        if anew or self.holds:
            # Else others may have what was held: it took too long.
            self._heldUntil = until

    async def release(self) -> None:
        """
        Hold nothing any more: at the start, what this bridge held before it died; at the end, all.
        """
        now, self._unsure = self.now(), False
        await self._store.run(lambda transaction: transaction.execute(_RELEASE, (now, self._holder)))
        self.term += 1

    async def letGo(self, conversations: Iterable[int]) -> None:
        """
        Hold these no more.
        """
        rows = [(self.now(), self._holder, number) for number in conversations]
        await self._store.run(lambda transaction: transaction.executemany(_LET_GO, rows))

    async def purge(self) -> None:
        """
        Delete old dead letters, and those beyond as many as messages may wait.
        """
        oldest = self.now() - KEPT * 1000

        def work(transaction: Transaction) -> None:
            transaction.execute("DELETE FROM dead_letters WHERE died < ?", (oldest,))
            surplus = max(0, _count(transaction, _DEAD) - self._most)
            numbers = transaction.execute(_OLDEST_DEAD, (surplus,)).fetchall()
            transaction.executemany("DELETE FROM dead_letters WHERE number = ?", numbers)

        await self._store.run(work)

    async def replies(self, domain: str, limit: int) -> list[tuple[int, str]]:
        """
        The oldest replies that a domain has still to send: number and stanza.
        """
        statement = "SELECT number, stanza FROM replies WHERE domain = ? ORDER BY number LIMIT ?"
        return await self._store.run(
            lambda transaction: transaction.execute(statement, (domain, limit)).fetchall()
        )

    async def sent(self, numbers: Sequence[int]) -> None:
        """
        These replies have been sent.
        """
        rows = [(number,) for number in numbers]
        statement = "DELETE FROM replies WHERE number = ?"
        await self._store.run(lambda transaction: transaction.executemany(statement, rows))

    async def _taking(self, work: Callable[[Transaction], T]) -> T:
        """
        Do what makes this bridge hold more.
        """
        try:
            return await self._store.run(work)
        except BaseException:
            # It may have been committed all the same: what nobody knows of would be renewed for ever.
            self._unsure = True
            raise

    def _leased(self) -> int:
        return self.now() + int(LEASE * 1000)


@attrs.frozen
class Reply:
    """
    @ivar domain: of the component that sends it.
    @ivar stanza: in XML.
    """

    domain: str
    stanza: str


def _page(transaction: Transaction, conversation: int) -> list[Message]:
    names = [field.name for field in attrs.fields(Message)]
    rows = transaction.execute(_PAGE, (conversation, PAGE))
    return [Message(**dict(zip(names, row, strict=True))) for row in rows]


def _there(transaction: Transaction, conversations: Iterable[int]) -> set[int]:
    """
    Those of them that the journal has.
    """
    return {number for number in conversations if transaction.execute(_IS_THERE, (number,)).fetchone()}


def _end(transaction: Transaction, conversation: int) -> None:
    transaction.execute("DELETE FROM conversations WHERE number = ?", (conversation,))


def _delete(transaction: Transaction, message: Message) -> int:
    """
    @return: how many were there to be deleted.
    """
    return transaction.execute("DELETE FROM messages WHERE number = ?", (message.number,)).rowcount


def _reply(transaction: Transaction, reply: Reply | None) -> None:
    if reply is not None:
        transaction.execute("INSERT INTO replies (domain, stanza) VALUES (?, ?)", attrs.astuple(reply))


def _count(transaction: Transaction, statement: str) -> int:
    count: int = transaction.execute(statement).fetchone()[0]
    return count
