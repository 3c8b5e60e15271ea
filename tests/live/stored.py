"""
What is promised of the store, on a real PostgreSQL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from restbridge.store.database import Database
from restbridge.store.postgresql import postgresqlEngine
from tests.live.postgresql import postgresql

if TYPE_CHECKING:
    Promises = TestCase
else:
    Promises = object


class StoredInPostgreSQL(Promises):
    """
    Stands before a case of C{tests.store}, whose tests then run on a database of their own.
    """

    def setUp(self) -> None:
        self.url = postgresql().freshDatabase()
        super().setUp()

    def started(self) -> Database:
        """
        One more bridge's way to it.
        """
        store = Database(engine=postgresqlEngine(self.url), reactor=reactor)
        store.startService()
        self.addCleanup(lambda: store.stopService() if store.running else None)
        return store
