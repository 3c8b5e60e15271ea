"""
The engine that C{store.url} names.
"""

from __future__ import annotations

from pathlib import Path

from restbridge.store.database import Engine
from restbridge.store.sqlite import sqliteEngine

SQLITE = "sqlite:"


def engineAt(url: str) -> Engine:
    """
    @param url: C{sqlite:PATH} or C{postgresql://…}.
    """
    if url.startswith(SQLITE):
        return sqliteEngine(Path(url.removeprefix(SQLITE)))
    # Whoever has no PostgreSQL needs no psycopg.
    from restbridge.store.postgresql import postgresqlEngine

    return postgresqlEngine(url)
