"""
L{restbridge.clientapi.event}, where no stream is needed.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from restbridge.clientapi.event import MAX_ARCHIVE_ID, archived, received
from restbridge.clientapi.history import Archived
from restbridge.stanzas.xml import parseDocument

OWN = "alice@example.com"
HELLO = b"<message from='bob@example.com/r' to='alice@example.com' type='chat'><body>Hi</body></message>"


class EventTests(SynchronousTestCase):
    def test_longId(self) -> None:
        """
        A message of the archive whose id is too long for the id of an event is none.
        """
        for length, isEvent in ((MAX_ARCHIVE_ID, True), (MAX_ARCHIVE_ID + 1, False)):
            found = Archived(id="x" * length, timestamp=1, message=parseDocument(HELLO))
            self.assertEqual(archived(found, OWN) is not None, isEvent)

    def test_emptyCarbon(self) -> None:
        """
        A carbon of nothing is no event; nor does it hide the next one.
        """
        empty = b"<received xmlns='urn:xmpp:carbons:2'/>"
        whole = (
            b"<received xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>"
            + HELLO.replace(b"<message ", b"<message xmlns='jabber:client' ")
            + b"</forwarded></received>"
        )
        start = f"<message from='{OWN}' to='{OWN}' type='chat'>".encode()
        self.assertIsNone(received(parseDocument(start + empty + b"</message>"), OWN, 1))
        event = received(parseDocument(start + empty + whole + b"</message>"), OWN, 1)
        assert event is not None
        self.assertIn(b"Hi", event.data)
