"""
What was answered to requests that carry a key, so that the same request is never done twice.

::

    begin -> nothing known     -> under way -> finish: its answer | forget: as if it had never been asked
          -> too old, or under way in a bridge that has died -> the same
          -> otherwise         -> the record of the first request
    renew -> what takes longer is under way still
"""

from __future__ import annotations

import json
from collections.abc import Iterable

import attrs

from restbridge.store.database import Store, Transaction

KEPT = 24 * 3600 * 1000
"""Milliseconds for which an answer is kept."""

HELD = 30 * 1000
"""Milliseconds after which a request that isn't renewed is taken for dead, with its bridge."""

MOST = 100_000
"""Records of one caller: of more the oldest go, though they are not a day old."""

PURGED = 10
"""Old records that go when a new one comes."""

COUNTED = 1000
"""Once in so many requests the records of whoever asks are counted, which takes a while."""

_PURGE = """
    DELETE FROM answers WHERE (caller, key) IN (
        SELECT caller, key FROM answers WHERE asked <= ? ORDER BY asked LIMIT ?{claiming}
    )
"""
_COUNT = "SELECT COUNT(*) FROM answers WHERE caller = ?"
_OUST = """
    DELETE FROM answers WHERE caller = ? AND key IN (
        SELECT key FROM answers WHERE caller = ? ORDER BY asked LIMIT ?
    )
"""
_BEGIN = """
    INSERT INTO answers (caller, key, fingerprint, asked, holder, held) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (caller, key) DO UPDATE SET fingerprint = excluded.fingerprint, asked = excluded.asked,
        holder = excluded.holder, held = excluded.held,
        status = NULL, headers = NULL, media_type = NULL, body = NULL
    WHERE answers.asked <= ?
        OR (answers.status IS NULL AND (answers.holder = excluded.holder OR answers.held <= ?))
"""
_FIND = "SELECT fingerprint, status, headers, media_type, body FROM answers WHERE caller = ? AND key = ?"
_MINE = "caller = ? AND key = ? AND asked = ? AND holder = ?"
_FINISH = f"""
    UPDATE answers SET status = ?, headers = ?, media_type = ?, body = ? WHERE {_MINE}
"""  # noqa: S608  # put together of constants
_FORGET = f"DELETE FROM answers WHERE {_MINE}"  # noqa: S608  # likewise
_RENEW = f"UPDATE answers SET held = ? WHERE {_MINE}"  # noqa: S608  # likewise


@attrs.frozen(kw_only=True)
class Asked:
    """
    A request that carries a key.

    @ivar caller: whose key it is.
    @ivar fingerprint: another request has another one.
    @ivar time: milliseconds since 1970.
    """

    caller: str
    key: str
    fingerprint: str
    time: int


@attrs.frozen(kw_only=True)
class Kept:
    """
    A whole HTTP answer.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    mediaType: str | None
    body: bytes


@attrs.frozen(kw_only=True)
class Record:
    """
    What is known of the first request with a key.

    @ivar answer: L{None} while it is under way.
    """

    fingerprint: str
    answer: Kept | None


class Answers:
    """
    The table of answers.
    """

    def __init__(self, store: Store, *, holder: str) -> None:
        """
        @param holder: this bridge: no two that are alive have the same. What it has left under way is begun
            again at once, if it has the same after a restart.
        """
        self._store = store
        self._holder = holder
        self._begun = 0

    async def begin(self, asked: Asked) -> Record | None:
        """
        Note that a request is under way; or, where there was one with its key, what is known of that.

        Whoever calls sees to it that no two with the same key are under way in this bridge.
        """
        self._begun += 1
        counts = self._begun % COUNTED == 0
        values = (asked.caller, asked.key, asked.fingerprint, asked.time, self._holder, asked.time + HELD)
        ends = (asked.time - KEPT, asked.time)

        def work(transaction: Transaction) -> Record | None:
            purge = _PURGE.format(claiming=transaction.claiming)
            transaction.execute(purge, (asked.time - KEPT, PURGED))
            begun = transaction.execute(_BEGIN, (*values, *ends)).rowcount > 0
            if counts:
                _oust(transaction, asked.caller)
            if begun:
                return None
            return _record(*transaction.execute(_FIND, (asked.caller, asked.key)).fetchone())

        return await self._store.run(work)

    async def renew(self, underWay: Iterable[Asked], time: int) -> None:
        """
        These requests, which were begun, are under way still.

        @param time: milliseconds since 1970.
        """
        rows = [(time + HELD, *self._mine(asked)) for asked in underWay]
        await self._store.run(lambda transaction: transaction.executemany(_RENEW, rows))

    async def finish(self, asked: Asked, answer: Kept) -> None:
        """
        Keep the answer to a request that was begun.
        """
        values = (answer.status, json.dumps(answer.headers), answer.mediaType, answer.body)
        await self._store.run(lambda transaction: _do(transaction, _FINISH, *values, *self._mine(asked)))

    async def forget(self, asked: Asked) -> None:
        """
        A request that was begun counts for nothing.
        """
        await self._store.run(lambda transaction: _do(transaction, _FORGET, *self._mine(asked)))

    def _mine(self, asked: Asked) -> tuple[str, str, int, str]:
        # Another bridge may have taken it over.
        return asked.caller, asked.key, asked.time, self._holder


def _do(transaction: Transaction, statement: str, *parameters: object) -> None:
    transaction.execute(statement, parameters)


def _oust(transaction: Transaction, caller: str) -> None:
    """
    Let the oldest records of a caller go, if there are too many.
    """
    (count,) = transaction.execute(_COUNT, (caller,)).fetchone()
    if count > MOST:
        transaction.execute(_OUST, (caller, caller, count - MOST))


def _record(fingerprint: str, status: int | None, headers: str, mediaType: str | None, body: bytes) -> Record:
    if status is None:
        return Record(fingerprint=fingerprint, answer=None)
    named = tuple((name, value) for name, value in json.loads(headers))
    answer = Kept(status=status, headers=named, mediaType=mediaType, body=body)
    return Record(fingerprint=fingerprint, answer=answer)
