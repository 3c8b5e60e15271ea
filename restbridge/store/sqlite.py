"""
SQLite: a file of the bridge's own.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from restbridge.store.database import Engine, Rows
from restbridge.store.schema import STEPS

BUSY_TIMEOUT = 5.0
"""Seconds to wait for another program that holds the file, such as a backup."""

_WORDS = {"number": "INTEGER PRIMARY KEY AUTOINCREMENT", "bytes": "BLOB"}


def sqliteEngine(path: Path) -> Engine:
    """
    The database in a file, which is made when it isn't there.
    """
    return Engine(name=str(path), connect=partial(SQLiteConnection, path), failure=sqlite3.Error)


class SQLiteConnection:
    """
    A L{restbridge.store.database.Connection}.

    @raise sqlite3.Error: it can't be opened, or a later version of restbridge has written it.
    """

    # Whoever writes has the whole file.
    locking = claiming = ""
    now = "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"

    def __init__(self, path: Path | str) -> None:
        # With L{None} no statement begins a transaction by itself.
        self._connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None)
        try:
            self._connection.execute("PRAGMA journal_mode = WAL")
            # In this mode SQLite would leave out what holds when the power fails.
            self._connection.execute("PRAGMA synchronous = FULL")
            self._upgrade()
        except BaseException:
            self._connection.close()
            raise

    def execute(self, statement: str, parameters: Sequence[object] = ()) -> Rows:
        return self._connection.execute(statement, parameters)

    def executemany(self, statement: str, parameters: Iterable[Sequence[object]]) -> Rows:
        return self._connection.executemany(statement, parameters)

    def begin(self) -> None:
        # A transaction that reads first could find, when it writes, that another program has been faster.
        self._connection.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        self._connection.commit()

    def rollback(self) -> None:
        self._connection.rollback()

    def close(self) -> None:
        self._connection.close()

    def _upgrade(self) -> None:
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version > len(STEPS):
            raise sqlite3.DatabaseError(f"a later version of restbridge wrote this (schema {version})")
        for number, step in enumerate(STEPS[version:], version + 1):
            # One transaction a step: a start that is cut off leaves a whole version behind.
            script = f"BEGIN IMMEDIATE; {step.format(**_WORDS)}; PRAGMA user_version = {number}; COMMIT;"
            self._connection.executescript(script)
