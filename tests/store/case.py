"""
What the tests of store/ stand on: a database in a file of the test's own.
"""

from __future__ import annotations

from pathlib import Path

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from restbridge.store.database import Database
from restbridge.store.sqlite import sqliteEngine


class StoreTestCase(TestCase):
    """
    @ivar path: of the file; there is none yet.
    """

    def setUp(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        self.path = folder / "restbridge.sqlite"

    def started(self) -> Database:
        """
        A store that runs until the end of the test.
        """
        store = Database(engine=sqliteEngine(self.path), reactor=reactor)
        store.startService()
        self.addCleanup(lambda: store.stopService() if store.running else None)
        return store
