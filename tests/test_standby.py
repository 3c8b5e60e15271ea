"""
L{restbridge.standby}: several bridges for one component, over one store, with a server of the test's own.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from restbridge.standby import EVERY, MARGIN, Standby
from restbridge.store.lease import TERM, Lease
from restbridge.xmpp.component import Component
from restbridge.xmpp.entity import Entity
from restbridge.xmpp.stream import CLOSE_TIMEOUT
from tests.store.fakes import FakeStore
from tests.xmpp.fakes import Server
from tests.xmpp.test_component import Observer

DOMAIN = "bridge.localhost"


class DatabaseClock(FakeStore):
    """
    A store whose database goes by the test's clock.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        sqlite = self.connection._connection
        sqlite.create_function("testTime", 0, lambda: int(clock.seconds() * 1000))
        self.connection.now = "testTime()"


class Bridge:
    """
    A bridge, as far as it stands by.

    @ivar server: its way to the server, which takes whoever comes.
    """

    def __init__(self, name: str, store: FakeStore, clock: Clock) -> None:
        self.server = Server()
        self.component = Component(
            domain=DOMAIN,
            secret="secret",
            confirm=True,
            entity=Entity(domain=DOMAIN, accounts=()),
            endpoint=self.server,
            clock=clock,
            waits=True,
        )
        self.standby = Standby(
            lease=Lease(store=store, name=DOMAIN, holder=name),
            component=self.component,
            clock=clock,
        )

    def start(self) -> None:
        self.standby.startService()
        self.component.startService()

    def die(self) -> None:
        """
        Say and do nothing more.
        """
        self.standby._looking.stop()
        self.standby._disarm()
        self.server.drop()

    def stop(self) -> Deferred[None]:
        stopped = self.component.stopService()
        return stopped.addCallback(lambda _: self.standby.stopService())


class StandbyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_800_000_000)
        self.store = DatabaseClock(self.clock)
        self.one, self.other = (Bridge(name, self.store, self.clock) for name in ("one", "other"))
        self.logged: list[str] = []
        observer = Observer(self.logged)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def serve(self, bridge: Bridge) -> None:
        """
        Start it, and have the server accept it.
        """
        bridge.start()
        bridge.server.accept()
        self.assertIsNone(bridge.component.whyDown())

    def letPass(self, seconds: float) -> None:
        """
        Let time pass, in steps in which anything may happen.
        """
        self.clock.pump([0.25] * int(seconds * 4))

    def assertWaits(self, bridge: Bridge, why: str) -> None:
        """
        It is not connected, and says why.
        """
        self.assertFalse(bridge.server.connected)
        self.assertIn("waiting as a standby", bridge.component.whyDown() or "")
        self.assertIn(why, bridge.component.whyDown() or "")

    def test_alone(self) -> None:
        """
        The first is connected, and stays so.
        """
        self.serve(self.one)
        self.letPass(2 * TERM)
        self.assertIsNone(self.one.component.whyDown())
        self.assertEqual(1, self.one.server.attempts)
        self.assertEqual([], [line for line in self.logged if "Duplicate" in line])

    def test_waits(self) -> None:
        """
        The second doesn't even try, says why, and logs it once.
        """
        self.serve(self.one)
        self.other.start()
        self.letPass(2 * TERM)
        self.assertWaits(self.other, f"another bridge serves {DOMAIN}")
        self.assertEqual(0, self.other.server.attempts)
        self.assertEqual(1, sum("another bridge serves" in line for line in self.logged))
        self.assertEqual(1, sum("is that of one" in line for line in self.logged))

    def test_stopped(self) -> None:
        """
        When the first is stopped in order the second takes over at once, and not before the stream is closed.
        """
        self.serve(self.one)
        self.other.start()
        stopped = self.one.stop()
        self.letPass(EVERY)
        self.assertFalse(self.other.server.connected)
        self.letPass(CLOSE_TIMEOUT)
        self.successResultOf(stopped)
        self.letPass(EVERY)
        self.assertFalse(self.one.server.connected)
        self.other.server.accept()
        self.assertIsNone(self.other.component.whyDown())

    def test_died(self) -> None:
        """
        When the first dies the second takes over after the term, and not before.
        """
        self.serve(self.one)
        self.other.start()
        self.one.die()
        self.letPass(TERM - EVERY - 1)
        self.assertFalse(self.other.server.connected)
        self.letPass(2 * EVERY + 1)
        self.assertTrue(self.other.server.connected)

    def test_storeDown(self) -> None:
        """
        A database that is down for a moment costs nothing.
        """
        self.serve(self.one)
        self.other.start()
        self.store.broken = True
        self.letPass(TERM - MARGIN - EVERY - 1)
        self.store.broken = False
        self.letPass(2 * TERM)
        self.assertIsNone(self.one.component.whyDown())
        self.assertEqual((1, 0), (self.one.server.attempts, self.other.server.attempts))

    def test_storeGone(self) -> None:
        """
        One that is down for longer has the stream closed, before another bridge may have the lease; and when
        it is back one of them is connected.
        """
        self.serve(self.one)
        self.other.start()
        self.store.broken = True
        self.letPass(TERM - MARGIN)
        self.assertWaits(self.one, "")
        self.letPass(3 * TERM)
        self.assertWaits(self.one, "the store doesn't say")
        self.assertWaits(self.other, "the store doesn't say")
        self.store.broken = False
        self.letPass(EVERY)
        self.assertEqual(1, self.one.server.connected + self.other.server.connected)

    def test_storeHangs(self) -> None:
        """
        Likewise one that doesn't answer; what it has done at last, too late, is worth nothing.
        """
        self.serve(self.one)
        self.store.holds = True
        self.letPass(TERM - MARGIN + EVERY)
        self.assertWaits(self.one, "could not be renewed")
        self.store.work(1)
        self.assertFalse(self.one.server.connected)
        self.letPass(EVERY)
        self.store.work()
        self.assertTrue(self.one.server.connected)

    def test_neverTwo(self) -> None:
        """
        Whatever happens to the way from each to the store, no two are connected at any time.
        """
        stores = [DatabaseClock(self.clock), DatabaseClock(self.clock)]
        for store in stores:
            store.connection = self.store.connection
        bridges = [Bridge(str(number), store, self.clock) for number, store in enumerate(stores)]
        for bridge in bridges:
            bridge.start()
        seen = set()
        for number in range(2000):
            # Cuts of 0 to 28 seconds, at both, that overlap in any way.
            for store, period in zip(stores, (113, 149), strict=True):
                store.broken = number % period < (number // period * 29) % 112
            self.clock.advance(0.25)
            connected = [bridge.server.connected for bridge in bridges]
            seen.add(tuple(connected))
        self.assertEqual({(False, False), (True, False), (False, True)}, seen)

    def test_takenAway(self) -> None:
        """
        Who finds that another has the lease, as after a sleep, is disconnected at once.
        """
        self.serve(self.one)
        self.store.connection.execute("UPDATE leases SET holder = 'other'")
        self.letPass(EVERY)
        self.assertWaits(self.one, "another bridge serves")
        self.store.connection.execute("DELETE FROM leases")
        self.letPass(EVERY)
        self.assertTrue(self.one.server.connected)

    def test_storeDownAtStop(self) -> None:
        """
        A store that is down at the stop doesn't hold it up.
        """
        self.serve(self.one)
        self.store.broken = True
        stopped = self.one.stop()
        self.letPass(CLOSE_TIMEOUT)
        self.successResultOf(stopped)
        self.assertTrue(any("have to wait" in line for line in self.logged))
        self.assertEqual([], self.clock.getDelayedCalls())
