"""
What systemd is told of the bridge (sd_notify(3)): that it serves, how it does, that it lives, that it stops.

Ready is a bridge that serves HTTP, whether or not the XMPP server is up: the one may be started before the
other. Whether stanzas can be sent says the status, in the words of C{/readyz}.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from twisted.application.service import Service
from twisted.internet.task import LoopingCall

EVERY = 5.0
"""Seconds after which the status is looked at again, at the latest."""


def notify(address: str, *states: str) -> None:
    """
    Send a datagram, or let it be: who can't be told now will hear the next one.

    @param address: as in C{$NOTIFY_SOCKET}: a path, or behind an C{@} a name that is none (unix(7)).
    @param states: assignments, of one line each.
    """
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender, suppress(OSError):
        sender.setblocking(False)
        sender.sendto("\n".join(states).encode("utf-8", "replace"), address)


def interval(environment: Mapping[str, str]) -> float | None:
    """
    Seconds between two signs of life: half of what systemd waits for one (sd_watchdog_enabled(3)); L{None}
    where it waits for none.
    """
    microseconds = environment.get("WATCHDOG_USEC", "")
    meant = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    return int(microseconds) / 2_000_000 if meant and microseconds.isdecimal() and int(microseconds) else None


class Supervision(Service):
    """
    Tells systemd, where it asks to be told: from the reactor, so that one that stalls is silent.
    """

    def __init__(
        self, *, environment: Mapping[str, str], whyDown: Callable[[], str | None], reactor: Any
    ) -> None:
        """
        @param whyDown: the reason why nothing can be sent to the XMPP server now, if so.
        """
        self._address = environment.get("NOTIFY_SOCKET")
        self._interval = interval(environment)
        self._whyDown = whyDown
        self._reactor = reactor
        self._status: str | None = None
        self._beats = LoopingCall(self._beat)
        self._beats.clock = reactor

    def startService(self) -> None:
        super().startService()
        if self._address:
            # All that listens does so by then.
            self._reactor.callWhenRunning(self._begin)
            self._reactor.addSystemEventTrigger("before", "shutdown", self._tell, "STOPPING=1")

    def stopService(self) -> None:
        """
        Say no more. It is the last to stop: until then a stop that hangs is noticed, too.
        """
        super().stopService()
        if self._beats.running:
            self._beats.stop()

    def reloading(self) -> None:
        """
        Another configuration comes into force, or is refused.
        """
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def reloaded(self) -> None:
        """
        That is over.
        """
        self._tell("READY=1")

    def _begin(self) -> None:
        self._tell("READY=1")
        self._beats.start(min(EVERY, self._interval or EVERY))

    def _beat(self) -> None:
        if self._interval is not None:
            self._tell("WATCHDOG=1")
        status = " ".join((self._whyDown() or "ok").split())
        if status != self._status:
            self._status = status
            self._tell(f"STATUS={status}")

    def _tell(self, *states: str) -> None:
        if self._address:
            notify(self._address, *states)
