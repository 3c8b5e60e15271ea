"""
Stream management (XEP-0198) on the stream of a user, L{restbridge.xmpp.userstream}, and its steps of a login,
L{restbridge.xmpp.c2s}, with a server that the test plays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.ssl import optionsForClientTLS
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.words.protocols.jabber.client import NS_XMPP_BIND

from restbridge.boundaries import Credential
from restbridge.stanzas.errors import LinkDown, LoginRefused
from restbridge.stanzas.xml import serialize
from restbridge.workers import Workers
from restbridge.xmpp.c2s import Logins
from restbridge.xmpp.confirmations import DEADLINE, KEEPALIVE
from restbridge.xmpp.management import ASK_AFTER, MAX_UNHANDLED, Ledger
from restbridge.xmpp.userstream import CLOSE_TIMEOUT, UserStream
from tests.web.client import Threads
from tests.xmpp.fakes import ALICE, PASSWORD, Move, Taking, UserServer, stanza, stanzas

NS = "urn:xmpp:sm:3"
ASK = f"<r xmlns='{NS}'/>"
MESSAGE = "<message to='bob@localhost' id='m1'><body>Hi</body></message>"
PING = "<iq type='get' to='bob@localhost/desk' id='1'><ping xmlns='urn:xmpp:ping'/></iq>"
PRESENCE = "<presence to='room@localhost/a'/>"


class ManagedServer(UserServer):
    """
    A server with stream management.

    @ivar enabled: what it says to the wish for it.
    """

    def __init__(self, *, startTLS: bool = False) -> None:
        super().__init__(startTLS=startTLS)
        self.features = f"<bind xmlns='{NS_XMPP_BIND}'/><sm xmlns='{NS}'/>"
        self.enabled = ""

    def moves(self) -> Sequence[Move]:
        return [*super().moves()[:-1], self.enable]

    def enable(self) -> None:
        """
        Manage the stream.
        """
        self.read()
        self.write(self.enabled)

    def acceptIdentity(self) -> str:
        """
        Log somebody in, up to the features that the stream has then.

        @return: what the client says to them.
        """
        for move in super().moves()[:-2]:
            move()
        return self.read()


class ManagedCase(SynchronousTestCase):
    """
    Is logged in as alice.

    @ivar enabled: what the server says to the wish for stream management.
    @ivar ends: the reasons that were given for the end of the login.
    """

    enabled = f"<enabled xmlns='{NS}' id='some id' resume='true' max='60'/>"

    def setUp(self) -> None:
        self.clock = Clock()
        self.server = ManagedServer()
        self.server.enabled = self.enabled
        login = self.login()
        self.server.accept()
        self.link = self.successResultOf(login)
        self.me = self.link.address.full
        self.ends: list[str] = []
        self.link.whenEnded(self.ends.append)
        self.taker = Taking()
        self.link.offerTo([self.taker])
        self.server.read()

    def login(self, broken: UserStream | None = None, password: str = PASSWORD) -> Deferred[UserStream]:
        logins = Logins(
            domain="localhost",
            routes=self.server.routes,
            options=lambda: optionsForClientTLS("localhost"),
            workers=Workers(Threads()),
            clock=self.clock,
        )
        return logins.login(ALICE, Credential(password), broken)

    def send(self, xml: str) -> None:
        self.link.send(stanza(xml))

    def acknowledge(self, handled: int) -> None:
        self.server.write(f"<a xmlns='{NS}' h='{handled}'/>")

    def handledHere(self) -> str:
        """
        What the client answers to a server that asks.
        """
        self.server.write(ASK)
        self.clock.advance(0)
        return str(stanzas(self.server.read())[-1]["h"])

    def resumed(self, handled: int, behind: str = "") -> str:
        """
        A login resumes the broken one.

        @param behind: what comes in the same bytes as the server's word.
        @return: what the client has sent again.
        """
        login = self.login(self.link)
        self.server.acceptIdentity()
        self.server.write(f"<resumed xmlns='{NS}' previd='some id' h='{handled}'/>{behind}")
        self.assertIs(self.successResultOf(login), self.link)
        return self.server.read()

    def assertEnded(self, words: str) -> None:
        """
        The login is over for that reason, and nothing is left of it.
        """
        self.assertEqual(self.ends, [self.link.whyDown()])
        self.assertIn(words, self.ends[0])
        self.assertFalse(self.server.connected)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertIsNone(self.link.claim())

    def assertKept(self) -> None:
        """
        The login is down, and can be resumed.
        """
        self.assertIsNotNone(self.link.whyDown())
        self.assertEqual(self.ends, [])
        self.assertIsNotNone(self.link.claim())
        self.link.unclaim()


class CountTests(ManagedCase):
    """
    What both sides say of what they have handled.
    """

    def test_enabled(self) -> None:
        """
        A login asks for a stream that is managed, and kept for no longer than a minute.
        """
        self.assertIn(f"<enable xmlns='{NS}' resume='true' max='60'/>", self.server.heard)

    def test_answer(self) -> None:
        """
        The server is told what has come since, of whatever size and kind, and nothing else is counted.
        """
        self.assertEqual(self.handledHere(), "0")
        self.server.write(f"<message/><presence/><a xmlns='{NS}' h='0'/><other/> <iq type='result' id='1'/>")
        self.assertEqual(self.handledHere(), "3")
        self.server.write(f"<message>{'<a>' * 200}{'</a>' * 200}</message>")
        self.assertEqual(self.handledHere(), "4")

    def test_unasked(self) -> None:
        """
        That a message has come the server is told at once: it would deliver it once more when the login ends.
        """
        self.server.write(f"<message/>{ASK}")
        self.assertEqual(self.server.read(), f"<a xmlns='{NS}' h='1'/>")
        self.clock.advance(0)
        self.assertEqual(self.server.read(), "")
        self.server.write("<message/><presence/><message/>" * 10)
        self.assertEqual(self.server.read(), f"<a xmlns='{NS}' h='2'/>")
        self.clock.advance(0)
        self.assertEqual(self.server.read(), f"<a xmlns='{NS}' h='31'/>")
        self.server.write("<presence/><iq type='result' id='1'/>")
        self.clock.advance(0)
        self.assertEqual(self.server.read(), "")

    def test_endlessQuestions(self) -> None:
        """
        A server that asks without end is answered, but not as often: what it doesn't read is not piled up.
        """
        self.server.write(ASK * 10_000)
        self.clock.advance(0)
        self.assertEqual(self.server.read(), f"<a xmlns='{NS}' h='0'/>")
        self.server.write(ASK)
        self.clock.advance(0)
        self.assertEqual(self.server.read(), f"<a xmlns='{NS}' h='0'/>")

    def test_asked(self) -> None:
        """
        The server is asked once for all that is in flight.
        """
        for _ in range(3 * ASK_AFTER):
            self.send(PRESENCE)
        self.assertEqual(self.server.read().count(ASK), 1)
        self.acknowledge(ASK_AFTER)
        self.assertEqual(self.server.read(), ASK)
        self.acknowledge(3 * ASK_AFTER)
        self.assertEqual(self.server.read(), "")

    def test_confirmed(self) -> None:
        """
        A server may acknowledge a stanza and refuse it then: it is the barrier behind it that confirms it.
        """
        waiting = self.link.confirm(stanza(MESSAGE))
        self.clock.advance(0)
        barrier = stanzas(self.server.read())[-1]
        self.acknowledge(2)
        self.assertNoResult(waiting)
        self.server.write(f"<message type='error' id='m1' from='bob@localhost' to='{self.me}'/>")
        answer: Any = self.successResultOf(waiting)
        self.assertEqual(answer["type"], "error")
        barrier["from"] = self.me
        self.server.write(serialize(barrier))
        self.assertFalse(self.link.busy)

    def test_tooMuch(self) -> None:
        """
        A server that has handled more than was sent doesn't keep to the protocol: it is told so, and the
        login is over.
        """
        self.send(PRESENCE)
        self.server.read()
        self.acknowledge(2)
        said = self.server.read()
        self.assertIn(f"<handled-count-too-high xmlns='{NS}' h='2' send-count='1'/></stream:error>", said)
        self.assertTrue(said.endswith("</stream:stream>"))
        self.assertTrue(self.server.closed)
        self.assertEnded("2 stanzas of 1")

    def test_tooMuchLingering(self) -> None:
        """
        Also one that doesn't close the connection then.
        """
        self.server.lingers = True
        self.acknowledge(7)
        self.assertIsNotNone(self.link.whyDown())
        self.clock.advance(CLOSE_TIMEOUT)
        self.assertEnded("7 stanzas of 0")

    def test_nonsense(self) -> None:
        """
        Other nonsense is passed over.
        """
        for attributes in ("", "h=''", "h='-1'", "h='x'", "h='99999999999'", "x='1'"):
            self.server.write(f"<a xmlns='{NS}' {attributes}/><r xmlns='{NS}' {attributes}/>")
        self.server.write(
            f"<enabled xmlns='{NS}' id='x'/><failed xmlns='{NS}'/><resumed xmlns='{NS}' h='9'/>"
        )
        self.clock.advance(0)
        self.assertIsNone(self.link.whyDown())
        self.assertEqual(self.taker.taken, [])
        self.server.drop()
        self.assertKept()

    def test_close(self) -> None:
        """
        The last word says what was handled: the server takes all else for lost.
        """
        self.server.write("<presence/>")
        self.link.close()
        self.assertEqual(self.server.read(), f"<a xmlns='{NS}' h='1'/></stream:stream>")
        self.assertEnded("the session was closed")

    def test_noAnswerWhenDown(self) -> None:
        """
        What the server has asked before the end is not answered after it.
        """
        self.server.write(f"{ASK}<presence/>")
        self.server.read()
        self.server.lingers = True
        self.link.close()
        self.server.read()
        self.server.write(ASK)
        self.clock.advance(0)
        self.assertEqual(self.server.read(), "")
        self.server.drop()
        self.assertEnded("the session was closed")

    def test_refused(self) -> None:
        """
        Without stream management a login is like any other.
        """
        for self.enabled in (f"<failed xmlns='{NS}'/>", f"<a xmlns='{NS}' h='1'/>"):
            self.setUp()
            self.server.write(f"{ASK}<a xmlns='{NS}' h='99'/>")
            self.clock.advance(0)
            self.assertEqual(self.server.read(), "")
            self.assertIsNone(self.link.whyDown())
            self.server.drop()
            self.assertEnded("the server closed the connection")

    def test_sameBytes(self) -> None:
        """
        What comes in the same bytes as the beginning counts.
        """
        self.enabled += "<message/><message/>"
        self.setUp()
        self.assertEqual(self.handledHere(), "2")


class BreakTests(ManagedCase):
    """
    A connection that breaks, and a login that goes on.
    """

    def test_inFlight(self) -> None:
        """
        Who waits for anything is told at once that nobody knows; what comes to be sent is refused.
        """
        waiting = [self.link.request(stanza(PING), 9), self.link.confirm(stanza(MESSAGE))]
        self.server.drop(ConnectionLost())
        for each in waiting:
            self.failureResultOf(each, LinkDown)
        self.assertRaises(LinkDown, self.link.send, stanza(PRESENCE))
        self.assertFalse(self.link.busy)
        self.assertKept()

    def test_whenBroken(self) -> None:
        """
        Who wants to know is told of each break, before anybody can go on with the login.
        """
        breaks: list[tuple[str, str | None, Ledger | None]] = []
        self.link.whenBroken(lambda reason: breaks.append((reason, self.link.whyDown(), self.link.claim())))
        reason = "the server closed the connection"
        for number in range(3):
            self.assertEqual(breaks, [(reason, reason, None)] * number)
            self.server.drop()
            self.assertEqual(self.ends, [])
            self.resumed(0)
        self.link.close()
        self.assertEqual(breaks[3:], [("the session was closed",) * 2 + (None,)])
        self.assertEnded("the session was closed")

    def test_resumed(self) -> None:
        """
        The next login goes on with it: no resource is bound, the address is what it was, and what comes is
        offered to who was there before.
        """
        self.server.write("<message id='before'/>")
        self.server.drop()
        self.server.heard = ""
        self.resumed(0, "<message id='meanwhile'/>")
        self.assertIn(f"<resume xmlns='{NS}' previd='some id' h='1'/>", self.server.heard)
        self.assertNotIn("<iq", self.server.heard)
        self.assertNotIn("<enable ", self.server.heard)
        self.assertEqual((self.link.address.full, self.link.whyDown()), (self.me, None))
        self.server.write("<message id='after'/>")
        self.assertEqual([each["id"] for each in self.taker.taken], ["before", "meanwhile", "after"])
        self.assertEqual(self.handledHere(), "3")
        self.assertEqual(self.ends, [])
        self.send(PRESENCE)
        self.assertEqual(self.server.read(), PRESENCE)

    def test_again(self) -> None:
        """
        As often as need be.
        """
        self.link.hold()
        for turn in range(3):
            self.server.write("<message/>")
            self.send("<presence/>")
            self.server.drop()
            self.assertEqual(self.resumed(turn), "<presence/>")
            self.acknowledge(turn + 1)
        self.assertEqual((self.handledHere(), len(self.taker.taken)), ("3", 3))
        self.assertTrue(self.link.available)

    def test_sentAgain(self) -> None:
        """
        What the server has not handled is sent again, but for what somebody waited for: that was said to be
        lost, and its sender may have sent another.
        """
        leaving = "<presence type='unavailable' to='room@localhost/a' id='{}'/>"
        self.send(leaving.format(1))
        self.link.request(stanza(PING), 9).addErrback(lambda _: None)
        self.send(leaving.format(2))
        self.link.confirm(stanza(MESSAGE)).addErrback(lambda _: None)
        self.send(PRESENCE)
        self.send("<message to='room@localhost' type='groupchat' id='m2'><body>Hi</body></message>")
        self.send("<iq type='result' id='7' to='bob@localhost'/>")
        self.server.read()
        self.server.drop()
        again = self.resumed(1)
        self.assertEqual(again, leaving.format(2) + "<iq type='result' id='7' to='bob@localhost'/>")
        self.acknowledge(3)
        self.assertIsNone(self.link.whyDown())
        self.acknowledge(4)
        self.assertEqual(self.ends, ["the server has handled 4 stanzas of 3"])

    def test_resumedTooMuch(self) -> None:
        """
        A server can't have handled what was not sent: the login is over, and the next one is new.
        """
        self.server.drop()
        login = self.login(self.link)
        self.server.acceptIdentity()
        self.server.write(f"<resumed xmlns='{NS}' previd='some id' h='1'/>")
        failure = self.failureResultOf(login, LinkDown)
        self.assertIn("1 stanzas of 0", str(failure.value))
        said = self.server.read()
        self.assertIn("handled-count-too-high", said)
        self.assertTrue(said.endswith("</stream:stream>"))
        self.clock.advance(CLOSE_TIMEOUT)
        self.assertEnded("the server closed the connection")

    def test_forgotten(self) -> None:
        """
        Where the server doesn't know it any more the login is over, and a new one takes its place at once.
        """
        self.server.drop()
        login = self.login(self.link)
        self.server.acceptIdentity()
        condition = "<item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>"
        self.server.write(f"<failed xmlns='{NS}' h='0'>{condition}</failed>")
        self.assertEqual(self.ends, ["the server closed the connection"])
        self.server.bind()
        self.server.enable()
        link = self.successResultOf(login)
        self.assertIsNot(link, self.link)
        self.assertNotEqual(link.address.full, self.me)
        self.assertIsNone(link.whyDown())

    def test_noMoreManagement(self) -> None:
        """
        So it is where the server has stream management no more; the old login is its holder's to close.
        """
        self.server.drop()
        self.server.features = f"<bind xmlns='{NS_XMPP_BIND}'/>"
        login = self.login(self.link)
        said = self.server.acceptIdentity()
        self.server.answer(stanza(said), f"<bind xmlns='{NS_XMPP_BIND}'><jid>{ALICE.bare}/x</jid></bind>")
        self.assertEqual(self.successResultOf(login).address.full, "alice@localhost/x")
        self.assertKept()
        self.successResultOf(self.link.close())
        self.assertEqual(self.ends, ["the server closed the connection"])

    def test_nonsense(self) -> None:
        """
        A server that says anything else lets nobody in; another try may be made.
        """
        for said in (
            f"<resumed xmlns='{NS}' previd='another' h='0'/>",
            f"<resumed xmlns='{NS}' h='0'/>",
            f"<resumed xmlns='{NS}' previd='some id'/>",
            f"<resumed xmlns='{NS}' previd='some id' h='x'/>",
            f"<enabled xmlns='{NS}' id='some id' resume='true'/>",
            ASK,
        ):
            self.server.drop()
            login = self.login(self.link)
            self.server.acceptIdentity()
            self.server.write(said)
            self.failureResultOf(login, LinkDown)
            self.assertKept()
        self.resumed(0)

    def test_failedAttempts(self) -> None:
        """
        Whatever ends an attempt to go on, another may be made in the time that is left.
        """
        self.server.drop()
        login = self.login(self.link, "wrong")
        self.server.header()
        self.server.offerMechanisms()
        self.server.fail("not-authorized")
        self.failureResultOf(login, LoginRefused)
        endings: Sequence[Callable[[Deferred[UserStream]], object]] = (
            lambda login: login.cancel(),
            lambda login: self.server.drop(),
            lambda login: self.server.error("reset"),
        )
        for step in range(len(self.server.moves())):
            for end in endings:
                login = self.login(self.link)
                for move in self.server.moves()[: min(step, 6)]:
                    move()
                end(login)
                self.failureResultOf(login, LinkDown, CancelledError)
                self.assertKept()
        self.clock.advance(59)
        self.assertKept()
        self.resumed(0)

    def test_together(self) -> None:
        """
        Of two logins at once one goes on with it.
        """
        self.server.drop()
        first, other = self.login(self.link), ManagedServer()
        said = self.server.acceptIdentity()
        self.assertIn("<resume", said)
        server, self.server = self.server, other
        second = self.login(self.link)
        self.assertIn("<bind", said := other.acceptIdentity())
        self.assertNotIn("<resume", said)
        self.assertNoResult(second)
        server.write(f"<resumed xmlns='{NS}' previd='some id' h='0'/>")
        self.assertIs(self.successResultOf(first), self.link)
        second.cancel()
        self.failureResultOf(second, CancelledError)
        self.assertIsNone(self.link.whyDown())

    def test_closedMeanwhile(self) -> None:
        """
        A login that was closed while another was to go on with it doesn't come back.
        """
        self.server.drop()
        login = self.login(self.link)
        self.server.acceptIdentity()
        self.link.close()
        self.server.write(f"<resumed xmlns='{NS}' previd='some id' h='0'/>")
        self.failureResultOf(login, LinkDown)
        self.assertEqual(self.server.read(), "</stream:stream>")
        self.clock.advance(CLOSE_TIMEOUT)
        self.assertEnded("the server closed the connection")

    def test_keepalive(self) -> None:
        """
        A server that says nothing any more is left, and its login kept.
        """
        self.clock.advance(KEEPALIVE)
        self.clock.advance(DEADLINE)
        self.assertTrue(self.server.aborted)
        self.assertKept()


class EndTests(ManagedCase):
    """
    What ends a login.
    """

    def test_time(self) -> None:
        """
        The time for which the server keeps it.
        """
        for seconds, kept in ((60, 60), (600, 60), (7, 7)):
            self.enabled = f"<enabled xmlns='{NS}' id='a' resume='true' max='{seconds}'/>"
            self.setUp()
            self.server.drop()
            self.clock.advance(kept - 0.5)
            self.assertKept()
            self.clock.advance(0.5)
            self.assertEnded("the server closed the connection")

    def test_timeOfAttempts(self) -> None:
        """
        Attempts don't prolong it.
        """
        self.server.drop()
        self.clock.advance(50)
        self.assertIsNotNone(self.link.claim())
        self.clock.advance(30)
        self.assertEqual(self.ends, [])
        self.link.unclaim()
        self.clock.advance(0)
        self.assertEnded("the server closed the connection")

    def test_available(self) -> None:
        """
        The same for one that is available, or that somebody holds, who may let it go meanwhile.
        """
        self.link.hold()
        self.send("<presence/>")
        self.server.drop()
        self.clock.advance(30)
        self.link.release()
        self.assertKept()
        self.resumed(1, "<message/>")
        self.assertEqual((len(self.taker.taken), self.link.available, self.link.busy), (1, True, False))
        self.server.drop()
        self.clock.advance(59.5)
        self.assertKept()
        self.clock.advance(0.5)
        self.assertEnded("the server closed the connection")

    def test_streamEnded(self) -> None:
        """
        A stream that the server ends is not resumed, however the connection ends; nor one that can't be read.
        """
        for end in (
            "<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>",
            "<stream:error/>",
            "</stream:stream>",
            "<message></iq>",
            "<message/>\0",
        ):
            self.setUp()
            self.server.lingers = True
            self.server.write(end)
            self.server.drop(ConnectionLost())
            self.assertEnded("")

    def test_connectionTimeout(self) -> None:
        """
        An error about the connection ends no more than that.
        """
        self.server.error("connection-timeout")
        self.assertKept()
        self.resumed(0)

    def test_closed(self) -> None:
        """
        Nor is one resumed that was closed here, also while it was broken.
        """
        self.server.lingers = True
        closed = self.link.close()
        self.server.drop(ConnectionLost())
        self.successResultOf(closed)
        self.assertEnded("the session was closed")
        self.setUp()
        self.server.drop()
        self.successResultOf(self.link.close())
        self.assertEnded("the server closed the connection")

    def test_neverAcknowledged(self) -> None:
        """
        Nor one whose server acknowledges nothing.
        """
        message = stanza("<message to='bob@localhost'/>")
        for _ in range(MAX_UNHANDLED + 1):
            self.link.send(message)
        self.server.drop()
        self.assertEnded("the server closed the connection")

    def test_notResumable(self) -> None:
        """
        Nor where the server keeps nothing.
        """
        self.enabled = f"<enabled xmlns='{NS}'/>"
        self.setUp()
        self.server.write("<message/>")
        self.assertEqual(self.handledHere(), "1")
        self.server.drop()
        self.assertEnded("the server closed the connection")
