"""
Another configuration while the bridge runs: SIGHUP, and nothing that is connected notices.

::

    SIGHUP -> the file is read -> faults: each is logged; all stays as it is
                               -> certificates, accounts, callbacks: in force from the next request,
                                                                     stanza, TLS connection on
                               -> the rest: named, for it takes a restart
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import attrs
from twisted.application.service import Service
from twisted.logger import Logger

from restbridge.config import Configuration, ConfigurationRefused
from restbridge.config.differences import Difference, differences

LIVE = ("accounts", "callbacks")
"""The sections that need no restart."""

_OF_ALL = ("component", "component.domain")
"""With another domain all addresses are others; until a restart they would belong to nobody."""


def attended() -> bool:
    """
    Whether somebody sits at a terminal, from which the bridge was started.
    """
    # Who starts it may have closed its standard input.
    return sys.stdin is not None and sys.stdin.isatty()


class Renewable(Protocol):
    """
    A certificate that is shown; see L{restbridge.web.certificates.Certificate}.
    """

    description: str

    def read(self) -> Callable[[], bool]:
        """
        Read it again; what is returned has it shown, and says whether it is another one.

        @raise ConfigurationRefused: it can't be shown.
        """


class Told(Protocol):
    """
    Who is told; see L{restbridge.systemd.Supervision}.
    """

    def reloading(self) -> None: ...

    def reloaded(self) -> None: ...


class Reload(Service):
    """
    Waits for the signal.
    """

    log = Logger()

    def __init__(
        self,
        *,
        file: Path,
        load: Callable[[Path], Configuration],
        running: Configuration,
        change: Callable[[Configuration], object],
        certificates: Sequence[Renewable],
        told: Told,
        reactor: Any,
        attended: Callable[[], bool] = attended,
    ) -> None:
        """
        @param running: what is in force.
        @param change: has the accounts and callbacks of a configuration come into force.
        @param attended: whether somebody sits at a terminal, whose end is told by the same signal.
        """
        self._file = file
        self._load = load
        self._running = running
        self._change = change
        self._certificates = certificates
        self._told = told
        self._reactor = reactor
        self._attended = attended
        self._wasAttended = False

    def startService(self) -> None:
        super().startService()
        self._wasAttended = self._attended()
        signal.signal(signal.SIGHUP, lambda *_: self._reactor.callFromThread(self.received))

    def received(self) -> None:
        """
        The signal came.
        """
        if not self.running:
            return
        if self._wasAttended and not self._attended():
            self.log.info("The terminal is gone")
            self._reactor.stop()
            return
        self.log.info("Received SIGHUP: reading {file} again", file=self._file)
        self._told.reloading()
        try:
            self._reload()
        except ConfigurationRefused as refused:
            for fault in refused.faults:
                self.log.error("{file}: {fault}", file=self._file, fault=str(fault))
            self.log.error("{file} is refused: all stays as it was", file=self._file)
        finally:
            self._told.reloaded()

    def _reload(self) -> None:
        wanted = self._load(self._file)
        certificates = [(certificate.description, certificate.read()) for certificate in self._certificates]
        # Nothing is refused from here on.
        found = differences(self._running, wanted)
        live = [] if _restarts(found) else [each for each in found if _section(each) in LIVE]
        if live:
            self._change(wanted)
            self._running = attrs.evolve(self._running, accounts=wanted.accounts, callbacks=wanted.callbacks)
        changes = [str(each) for each in live]
        changes += [
            f"the certificate of {description} changed" for description, show in certificates if show()
        ]
        self.log.info("In force now: {changes}", changes=", ".join(changes) or "what was")
        if rest := [each.path for each in found if each not in live]:
            self.log.warn("Restart to change: {paths}", paths=", ".join(rest))


def _restarts(found: Sequence[Difference]) -> bool:
    return any(each.path in _OF_ALL for each in found)


def _section(difference: Difference) -> str:
    return difference.path.partition(".")[0]
