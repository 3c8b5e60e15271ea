"""
L{restbridge.stanzas.muc}
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from restbridge.stanzas.jid import JID
from restbridge.stanzas.muc import (
    NS_MUC,
    NS_MUC_USER,
    isFromRoom,
    joining,
    leaving,
    statuses,
    subjectOf,
)
from restbridge.stanzas.xml import parseDocument, serialize

OCCUPANT = JID.parse("room@rooms.localhost/bot")
USER = f"<x xmlns='{NS_MUC_USER}'/>"


class MucTests(SynchronousTestCase):
    def test_presence(self) -> None:
        """
        Presence enters a room without asking for its history, and leaves it.
        """
        presence = joining(OCCUPANT)
        self.assertEqual(
            f"<presence to='room@rooms.localhost/bot' id='{presence['id']}'>"
            f"<x xmlns='{NS_MUC}'><history maxstanzas='0'/></x></presence>",
            serialize(presence),
        )
        presence = leaving(OCCUPANT)
        self.assertEqual(("unavailable", OCCUPANT.full), (presence["type"], presence["to"]))

    def test_statuses(self) -> None:
        """
        Codes are those of the room, wherever else there is something that looks like them.
        """
        presence = parseDocument(
            f"<presence><status>500</status><x xmlns='{NS_MUC_USER}'><status code='110'/><status/>"
            "<status xmlns='urn:x' code='301'/><status code='210'/></x>"
            "<x xmlns='urn:x'><status code='307'/></x></presence>".encode()
        )
        self.assertEqual({"110", "210", ""}, statuses(presence))
        self.assertEqual(frozenset(), statuses(parseDocument(b"<presence/>")))

    def test_subject(self) -> None:
        """
        A subject is set by a message to all that has no body.
        """
        for xml, subject in (
            ("<message type='groupchat'><subject>Tea</subject></message>", "Tea"),
            ("<message type='groupchat'><subject/></message>", ""),
            ("<message type='groupchat'><subject>Tea</subject><body>x</body></message>", None),
            ("<message type='groupchat'><body>x</body></message>", None),
            ("<message type='chat'><subject>Tea</subject></message>", None),
            ("<presence><subject>Tea</subject></presence>", None),
        ):
            self.assertEqual(subject, subjectOf(parseDocument(xml.encode())), xml)

    def test_fromRoom(self) -> None:
        """
        What a room passes on is known by the mark of rooms; messages to all are, too, if they are to one of
        those in it, whom the room knows by full addresses.
        """
        for xml, found in (
            ("<message type='groupchat' to='bot@a/r'/>", True),
            ("<message type='groupchat' to='bot@a'/>", False),
            ("<message type='groupchat'/>", False),
            (f"<message type='chat' to='bot@a/r'>{USER}</message>", True),
            (f"<message to='bot@a'>{USER}</message>", True),
            ("<message type='chat' to='bot@a/r'/>", False),
            (f"<presence to='bot@a/r'>{USER}</presence>", True),
            ("<presence to='bot@a/r'/>", False),
            (f"<iq type='get' to='bot@a/r'>{USER}</iq>", False),
        ):
            self.assertEqual(found, isFromRoom(parseDocument(xml.encode())), xml)
