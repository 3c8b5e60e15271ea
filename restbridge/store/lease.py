"""
What one bridge at a time may do, of those that share a database.

::

    take     -> nobody's, ended or one's own -> one's own for another TERM
             -> somebody else's              -> whose
    giveBack -> nobody's
"""

from __future__ import annotations

from restbridge.store.database import Store, Transaction

TERM = 15.0
"""Seconds for which a lease is had, unless it is taken again before."""

_TAKE = """
    INSERT INTO leases (name, holder, ends) VALUES (?, ?, {now} + ?)
    ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, ends = excluded.ends
    WHERE leases.holder = excluded.holder OR leases.ends <= {now}
"""
_WHOSE = "SELECT holder FROM leases WHERE name = ?"
_GIVE_BACK = "DELETE FROM leases WHERE name = ? AND holder = ?"


class Lease:
    """
    A lease. When it ends says the database's clock: those of the bridges may differ.
    """

    def __init__(self, *, store: Store, name: str, holder: str) -> None:
        """
        @param name: what it is for.
        @param holder: this bridge. No two that are alive have the same.
        """
        self.name = name
        self._store = store
        self._holder = holder

    async def take(self) -> str | None:
        """
        Have it for C{TERM} seconds, which begin after the call.

        @return: who has it instead; L{None} where it is had.
        @raise StoreFailed: nobody knows. It may be had.
        """
        values = (self.name, self._holder, int(TERM * 1000))

        def work(transaction: Transaction) -> str | None:
            if transaction.execute(_TAKE.format(now=transaction.now), values).rowcount > 0:
                return None
            found = transaction.execute(_WHOSE, (self.name,)).fetchone()
            # It may have been given back this moment.
            return "nobody" if found is None else str(found[0])

        return await self._store.run(work)

    async def giveBack(self) -> None:
        """
        Others may have it at once.

        @raise StoreFailed: they have to wait until it ends.
        """
        values = (self.name, self._holder)
        await self._store.run(lambda transaction: transaction.execute(_GIVE_BACK, values))
