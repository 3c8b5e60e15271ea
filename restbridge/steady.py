"""
Timers by a clock that nobody sets: the reactor's own go by the system's, and wait an hour longer where that
is set back by one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from threading import Timer
from typing import Any


class Later:
    """
    What is called later, on the reactor's thread.
    """

    def __init__(self, reactor: Any, seconds: float, call: Callable[[], object]) -> None:
        self._call: Callable[[], object] | None = call
        self._timer = Timer(seconds, reactor.callFromThread, (self._run,))
        self._timer.daemon = True
        self._timer.start()

    def active(self) -> bool:
        return self._call is not None

    def cancel(self) -> None:
        self._call = None
        self._timer.cancel()

    def _run(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call()


class SteadyClock:
    """
    As much of L{twisted.internet.interfaces.IReactorTime} as one needs for that.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def seconds(self) -> float:
        return time.monotonic()

    def callLater(self, delay: float, call: Callable[..., object], *args: object, **kwargs: object) -> Later:
        return Later(self._reactor, delay, partial(call, *args, **kwargs))
