"""
L{restbridge.xmpp.archive}: answers of many stanzas.
"""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase
from twisted.words.xish.domish import Element

from restbridge.stanzas.errors import NoAnswer
from restbridge.xmpp.archive import MAX_RESULTS, Archive, isArchiveQuery
from tests.xmpp.fakes import stanza

QUERY = (
    "<iq type='set' from='bot@bridge.localhost' to='room@localhost' id='1'>"
    "<query xmlns='urn:xmpp:mam:2'{}/></iq>"
)
RESULT = "<message from='{}' to='bot@bridge.localhost'><result xmlns='urn:xmpp:mam:2' id='{}'{}/></message>"


class ArchiveTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.sent: list[Deferred[Element]] = []
        self.archive = Archive(request=self.request)

    def request(self, iq: Element, timeout: float) -> Deferred[Element]:
        self.sent.append(Deferred())
        return self.sent[-1]

    def collect(self, queryid: str = "") -> Deferred[list[Element]]:
        return Deferred.fromCoroutine(self.archive.collect(stanza(QUERY.format(queryid)), 120))

    def result(self, number: int, queryid: str = "", sender: str = "room@localhost") -> bool:
        return self.archive.take(stanza(RESULT.format(sender, number, queryid)))

    def numbers(self, collected: Deferred[list[Element]]) -> list[str]:
        """
        The archive ids of what was collected, C{end} for the IQ.
        """
        return [
            "end" if found.name == "iq" else next(found.elements())["id"]
            for found in self.successResultOf(collected)
        ]

    def test_collected(self) -> None:
        """
        The results come in their order, and the IQ that ends them last.
        """
        collected = self.collect()
        self.assertTrue(self.result(1))
        self.assertTrue(self.result(2))
        self.sent[0].callback(stanza("<iq type='result'/>"))
        self.assertEqual(self.numbers(collected), ["1", "2", "end"])
        self.assertEqual(self.archive.running, 0)
        self.assertFalse(self.result(3))

    def test_others(self) -> None:
        """
        Results of another archive, of another query, and other messages are left to others.
        """
        self.collect(" queryid='a'")
        self.assertFalse(self.result(1, " queryid='b'"))
        self.assertFalse(self.result(1))
        self.assertFalse(self.result(1, " queryid='a'", "eve@localhost"))
        self.assertFalse(
            self.archive.take(stanza("<message from='room@localhost' to='bot@bridge.localhost'/>"))
        )

    def test_alike(self) -> None:
        """
        Of two queries that nothing tells apart, the first gets the results until it ends.
        """
        first, second = self.collect(), self.collect()
        self.result(1)
        self.sent[0].callback(stanza("<iq type='result'/>"))
        self.result(2)
        self.sent[1].callback(stanza("<iq type='result'/>"))
        self.assertEqual((self.numbers(first), self.numbers(second)), (["1", "end"], ["2", "end"]))

    def test_ends(self) -> None:
        """
        A query that fails or is cancelled leaves nothing behind.
        """
        failing, leaving = self.collect(), self.collect(" queryid='a'")
        self.sent[0].errback(NoAnswer(120))
        leaving.cancel()
        self.failureResultOf(failing, NoAnswer)
        self.failureResultOf(leaving, CancelledError)
        self.assertEqual(self.archive.running, 0)

    def test_bounded(self) -> None:
        """
        An archive that sends without end does not fill the memory.
        """
        collected = self.collect()
        for number in range(MAX_RESULTS + 1):
            self.assertTrue(self.result(number))
        self.sent[0].callback(stanza("<iq type='result'/>"))
        self.assertEqual(len(self.successResultOf(collected)), MAX_RESULTS + 1)

    def test_isArchiveQuery(self) -> None:
        """
        A query of an archive is told from others.
        """
        self.assertTrue(isArchiveQuery(stanza(QUERY.format(""))))
        self.assertFalse(isArchiveQuery(stanza("<iq><query xmlns='jabber:iq:version'/></iq>")))
