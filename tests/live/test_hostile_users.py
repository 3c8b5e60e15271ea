"""
Bad requests from XMPP users.

Servers end the stream of a client that sends nonsense, and with it what else the user has under way. So the
tests look whether the session has outlived each request.
"""

from __future__ import annotations

from typing import Any, ClassVar

from tests.live.badinput import MAX_BODY, notWellFormed, odd
from tests.live.case import LiveCase
from tests.live.ejabberd import Ejabberd
from tests.live.prosody import Prosody
from tests.live.receiver import JSON
from tests.live.users import WithUsers
from tests.live.web import ask, asUser

ALICE = asUser("alice")
LIMIT = 256 * 1024
"""Bytes of a stanza that servers take from a client."""
TO_BOB = "/rest/message/headline/bob@localhost"


class BadStanzas(WithUsers):
    """
    What must not end a user's session.
    """

    sections: ClassVar[dict[str, Any]] = {"http": {"max_body": MAX_BODY}}

    def testTooLarge(self) -> None:
        """
        What is too large once it is escaped gets 413; what is little smaller is sent.
        """
        statuses = []
        for size in (*range(LIMIT - 20_000, LIMIT + 40_000, 2_000), 2 * LIMIT):
            with self.part(f"{size} bytes"):
                logins = self._logins()
                text = "&" * (size // 5) + "x" * (size % 5)
                answer = self.bridge.post(TO_BOB, text, "text/plain", auth=ALICE)
                statuses.append(answer.status)
                self.assertEqual(logins, self._logins(), "the session ended")
        self.assertEqual({202, 413}, set(statuses))
        self.assertEqual(sorted(statuses), statuses)

    def testOdd(self) -> None:
        """
        What is merely odd is sent or refused, without harm to the session.
        """
        for bad in (*notWellFormed(), *odd()):
            with self.part(bad.name):
                logins = self._logins()
                headers = {"Accept": JSON, "Authorization": ALICE}
                headers |= {"Content-Type": bad.type} if bad.type else {}
                sent = bad.body.encode() if isinstance(bad.body, str) else bad.body
                answer = ask(self.bridge.port, bad.method, bad.path, sent, headers)
                self.assertIn(answer.status, bad.statuses, answer.text()[:500])
                self.assertEqual(logins, self._logins(), "the session ended")

    def _logins(self) -> tuple[int, str]:
        """
        How often alice logged in, and the address of her session, which is up.
        """
        self.assertEqual(200, self.bridge.get("/rest/ping/", auth=ALICE).status)
        return self.server.logins("alice"), self.fullJid("alice")


class OnProsody(BadStanzas, LiveCase):
    """
    Bad stanzas from users of Prosody.
    """

    makeServer = Prosody


class OnEjabberd(BadStanzas, LiveCase):
    """
    Bad stanzas from users of ejabberd.
    """

    makeServer = Ejabberd
