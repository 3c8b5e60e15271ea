"""
L{restbridge.xmpp.inbound}: what a stanza means that comes without addresses.
"""

from __future__ import annotations

from collections.abc import Mapping

from twisted.trial.unittest import SynchronousTestCase
from twisted.words.xish.domish import Element

from restbridge.stanzas.replies import resultFor
from restbridge.stanzas.xml import OversizedStanza
from restbridge.xmpp.inbound import Inbound
from tests.xmpp.fakes import Taking, stanza

ABSENT = {"from": "alice@localhost", "to": "alice@localhost/desk"}


class AbsentTests(SynchronousTestCase):
    def make(self, absent: Mapping[str, str] = ABSENT, *, takes: bool = True) -> Inbound:
        self.taker = Taking()
        self.sent: list[Element] = []
        takers = [self.taker] if takes else []
        return Inbound(takers=takers, answer=resultFor, send=self.sent.append, absent=absent)

    def addresses(self, inbound: Inbound, *attributes: str) -> list[tuple[str, str]]:
        """
        Sender and receiver of messages with these attributes, as the taker sees them.
        """
        for each in attributes:
            inbound.received(stanza(f"<message {each}/>"))
        return [(taken["from"], taken["to"]) for taken in self.taker.taken]

    def test_filledIn(self) -> None:
        """
        What isn't said, or is empty, is what it is by default.
        """
        self.assertEqual(
            self.addresses(self.make(), "", "from='' to=''", "from='bob@localhost'", "to='alice@localhost'"),
            [
                ("alice@localhost", "alice@localhost/desk"),
                ("alice@localhost", "alice@localhost/desk"),
                ("bob@localhost", "alice@localhost/desk"),
                ("alice@localhost", "alice@localhost"),
            ],
        )

    def test_kept(self) -> None:
        """
        What is said counts, prepared; what is no address is not made one.
        """
        self.assertEqual(
            self.addresses(self.make(), "from='BOB@localhost/X' to='Room@LOCALHOST'", "from='@'", "to='@'"),
            [("bob@localhost/X", "room@localhost")],
        )

    def test_noDefault(self) -> None:
        """
        Where a stream has no such addresses, nothing is made of what comes without.
        """
        said = ("", "from='' to='b@localhost'", "from='b@localhost'", "to='b@localhost'")
        self.assertEqual(self.addresses(self.make({}), *said), [])

    def test_answered(self) -> None:
        """
        An answer goes to whom the request is from by default.
        """
        self.make(takes=False).received(stanza("<iq type='get' id='1'/>"))
        (answer,) = self.sent
        self.assertEqual(
            answer.attributes,
            {"type": "result", "id": "1", "to": "alice@localhost", "from": "alice@localhost/desk"},
        )

    def test_oversized(self) -> None:
        """
        So does an error about what is too large.
        """
        self.make().oversized(OversizedStanza(stanza=stanza("<message id='1'/>"), reason="too large"))
        (answer,) = self.sent
        self.assertEqual((answer["type"], answer["to"]), ("error", "alice@localhost"))
        self.make({}).oversized(OversizedStanza(stanza=stanza("<message id='1'/>"), reason="too large"))
        self.assertEqual(self.sent, [])
