"""
L{restbridge.reload}: another configuration while the bridge runs.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path

from twisted.internet.testing import MemoryReactorClock

from restbridge.config import Configuration, ConfigurationRefused, Fault, parse
from restbridge.reload import Reload, attended
from tests.web.client import LoggingTestCase

COMPONENT = '[component]\ndomain = "rest.example.com"\nsecret = "change-me"\n'
ACCOUNT = f'[accounts.bot]\ntokens = ["sha256:{"0" * 64}"]\n'
FILE = Path("/etc/restbridge/restbridge.toml")


class FakeCertificate:
    """
    A certificate that was replaced, or can't be read.
    """

    description = "ssl:443"

    def __init__(self) -> None:
        self.another = self.broken = False
        self.shown = 0

    def read(self) -> Callable[[], bool]:
        if self.broken:
            raise ConfigurationRefused(Fault("http.listen[0]", "no certificate"))
        return self._show

    def _show(self) -> bool:
        self.shown += 1
        return self.another


class ReloadTests(LoggingTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.reactor = MemoryReactorClock()
        self.text = COMPONENT + ACCOUNT
        self.history: list[str] = []
        self.inForce = [self.load(FILE)]
        self.certificate = FakeCertificate()
        self.attended = False
        self.addCleanup(signal.signal, signal.SIGHUP, signal.getsignal(signal.SIGHUP))
        self.reload = Reload(
            file=FILE,
            load=self.load,
            running=self.inForce[0],
            change=self.inForce.append,
            certificates=[self.certificate],
            told=self,
            reactor=self.reactor,
            attended=lambda: self.attended,
        )

    def reloading(self) -> None:
        self.history.append("reloading")

    def reloaded(self) -> None:
        self.history.append("reloaded")

    def load(self, file: Path) -> Configuration:
        self.assertEqual(FILE, file)
        return parse(self.text, Path(), {})

    def hangUp(self, text: str) -> list[str]:
        """
        The file is changed, and the signal comes.

        @return: what the log says behind that it came.
        """
        self.text = text
        self.logged.clear()
        if not self.reload.running:
            self.reload.startService()
        self.reload.received()
        return self.logged[1:]

    def test_live(self) -> None:
        """
        Accounts and callbacks come into force, and are named; their secrets aren't.
        """
        other = ACCOUNT.replace("0" * 64, "1" * 64).replace("bot", "other")
        callback = '[[callbacks]]\nurl = "https://app.example.com/x?key=secret"\n'
        said = self.hangUp(COMPONENT + other + callback)
        path = 'callbacks."https://app.example.com/x"'
        self.assertEqual([f"In force now: accounts.bot removed, accounts.other added, {path} added"], said)
        self.assertEqual(["other"], [*self.inForce[1].accounts])

    def test_nothing(self) -> None:
        """
        Where nothing has changed nothing is done.
        """
        self.assertEqual(["In force now: what was"], self.hangUp(self.text))
        self.assertEqual(1, len(self.inForce))

    def test_rest(self) -> None:
        """
        What takes a restart is named, with each reload until then.
        """
        # The account comes into force.
        changed = (
            self.text.replace("bot", "other") + '[http]\nmax_body = 20000\n[metrics]\nlisten = "tcp:9117"\n'
        )
        for _ in range(2):
            said = self.hangUp(changed)
            self.assertEqual("Restart to change: http.max_body, metrics", said[-1])
        self.assertEqual(2, len(self.inForce))

    def test_domain(self) -> None:
        """
        Of another domain are all addresses: nothing comes into force before the restart.
        """
        said = self.hangUp(COMPONENT.replace("rest.", "other."))
        self.assertEqual("Restart to change: component.domain, accounts.bot", said[-1])
        self.assertEqual(1, len(self.inForce))

    def test_faults(self) -> None:
        """
        A faulty file changes nothing, and each fault is logged; the next file may be all right.
        """
        said = self.hangUp(COMPONENT + "[http]\nmax_bodi = 1\nlisten = 5\n")
        self.assertEqual(3, len(said))
        self.assertIn(f"{FILE}: http.listen: ", "\n".join(said))
        self.assertIn(f"{FILE}: http.max_bodi: unknown key", "\n".join(said))
        self.assertEqual((1, 0), (len(self.inForce), self.certificate.shown))
        self.hangUp(COMPONENT)
        self.assertEqual((2, 1), (len(self.inForce), self.certificate.shown))

    def test_certificate(self) -> None:
        """
        A certificate that was replaced is said to be; one that can't be shown is a fault like any, and
        nothing else comes into force.
        """
        self.certificate.another = True
        self.assertEqual(["In force now: the certificate of ssl:443 changed"], self.hangUp(self.text))
        self.certificate.broken = True
        said = self.hangUp(COMPONENT)
        self.assertEqual(f"{FILE}: http.listen[0]: no certificate", said[0])
        self.assertEqual((1, 1), (len(self.inForce), self.certificate.shown))

    def test_told(self) -> None:
        """
        A reload is told of before and behind it, whatever becomes of it.
        """
        self.hangUp(self.text)
        self.hangUp("[")
        self.patch(self, "load", lambda _: 1 / 0)
        self.reload._load = self.load
        self.assertRaises(ZeroDivisionError, self.hangUp, "")
        self.assertEqual(["reloading", "reloaded"] * 3, self.history)

    def test_stopped(self) -> None:
        """
        Once the bridge stops nothing is read again.
        """
        self.reload.startService()
        self.reload.stopService()
        self.reload.received()
        self.assertEqual(([], []), (self.history, self.logged))

    def test_terminal(self) -> None:
        """
        Where somebody has started it at a terminal, the bridge ends with that; the signal of somebody else is
        a reload there as well.
        """
        stops: list[None] = []
        self.reactor.stop = lambda: stops.append(None)  # type: ignore[method-assign]
        self.attended = True
        self.hangUp(self.text)
        self.assertEqual(([], 2), (stops, len(self.history)))
        self.attended = False
        self.hangUp(self.text)
        self.assertEqual(([None], 2), (stops, len(self.history)))

    def test_noTerminal(self) -> None:
        """
        Who starts it may have closed its standard input.
        """
        self.patch(sys, "stdin", None)
        self.assertFalse(attended())

    def test_signal(self) -> None:
        """
        The signal is handled from the start on, in the reactor's own time.
        """
        calls: list[Callable[[], object]] = []
        self.reactor.callFromThread = calls.append  # type: ignore[attr-defined]
        self.reload.startService()
        signal.raise_signal(signal.SIGHUP)
        self.assertEqual([self.reload.received], calls)
        self.assertEqual([], self.history)
