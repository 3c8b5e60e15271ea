"""
The probe: how long two bridges need for an answer, the one that is attacked and one that idles.

A machine that is busy, or a server that is, delays both; a reactor that is stalled delays its own. The probe
is a process of its own, C{python -m tests.live.abuse.probe PORT PORT}, as Python runs one thread at a time
and the attackers' would hold it up. It writes a line a probe: what was asked of whom, when (on the clock
that all processes of a machine share), and how many seconds the answer took.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import Any

from tests.live.bridge import CHECKOUT
from tests.live.process import LEASH, LOOPBACK
from tests.live.receiver import JSON
from tests.live.web import askOver

PAUSE = 0.03
PATIENCE = 20.0
TOKEN = "a-token-for-the-probe"
PING = b'{"kind": "iq", "type": "get", "to": "localhost", "ping": true}'
HEADERS = {"Authorization": f"Bearer {TOKEN}", "Content-Type": JSON, "Accept": JSON}
REQUESTS = {"health": ("GET", "/healthz", b""), "ping": ("POST", "/rest", PING)}
AROUND = 0.3
"""Seconds before and after in which the machine's own delays are looked for."""


@dataclass(frozen=True)
class Sample:
    """
    One probe.

    @ivar attacked: whether it was of the bridge that is attacked.
    @ivar status: the answer's, or 0 for none.
    """

    attacked: bool
    what: str
    began: float
    seconds: float
    status: int


def probeTable() -> dict[str, Any]:
    """
    The section C{[accounts]} with an account of the probe's own, so that what is counted by account isn't
    counted against it.
    """
    return {"probe": {"tokens": ["sha256:" + hashlib.sha256(TOKEN.encode()).hexdigest()]}}


class Probe:
    """
    The process, and what it has found so far.
    """

    def __init__(self, attacked: int, idle: int) -> None:
        """
        @param attacked: the port of the bridge that is attacked.
        """
        leash = [sys.executable, "-I", "-S", str(LEASH), str(os.getpid())]
        command = [*leash, sys.executable, "-m", "tests.live.abuse.probe", str(attacked), str(idle)]
        self._process = subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True)
        self._samples: list[Sample] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def close(self) -> None:
        """
        End the process.
        """
        self._process.terminate()
        self._process.wait(10)
        self._reader.join(5)

    def settle(self, since: float, timeout: float = PATIENCE) -> None:
        """
        Wait until every request has been answered once that was made after C{since}, so that no probe is
        under way that will tell of what happened before.
        """
        deadline = time.monotonic() + timeout
        wanted = {(attacked, what) for attacked in (True, False) for what in REQUESTS}
        while {(one.attacked, one.what) for one in self._after(since)} != wanted:
            assert time.monotonic() < deadline, f"no answer to a probe in {timeout} s"
            time.sleep(PAUSE)

    def excess(self, began: float, ended: float) -> tuple[float, str]:
        """
        By how many seconds the attacked bridge's worst answer was slower than the other's worst of the kind
        at the time; and in words.
        """
        worst = (-1.0, "no probe")
        for what in REQUESTS:
            own = self._worst(True, what, began, ended)
            other = self._worst(False, what, began - AROUND, ended + AROUND)
            told = f"{what}: {own * 1000:.0f} ms, on the idle bridge {other * 1000:.0f} ms"
            worst = max(worst, (own - other, told))
        return worst

    def failures(self, since: float) -> list[Sample]:
        """
        The probes that weren't answered with 200.
        """
        return [one for one in self._after(since) if one.attacked and one.status != 200]

    def _worst(self, attacked: bool, what: str, began: float, ended: float) -> float:
        times = [
            one.seconds
            for one in list(self._samples)
            if (one.attacked, one.what) == (attacked, what)
            and one.began < ended
            and one.began + one.seconds > began
        ]
        return max(times, default=0.0)

    def _after(self, since: float) -> list[Sample]:
        return [one for one in list(self._samples) if one.began > since]

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            attacked, what, began, seconds, status = line.split()
            self._samples.append(Sample(attacked == "True", what, float(began), float(seconds), int(status)))


def _ask(port: int, what: str, attacked: bool) -> None:
    """
    Ask over one connection, for ever.
    """
    method, path, body = REQUESTS[what]
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=PATIENCE)
    while True:
        began = time.monotonic()
        try:
            status = askOver(connection, method, path, body, HEADERS).status
        except (OSError, http.client.HTTPException):
            status = 0
            connection.close()
        sys.stdout.write(f"{attacked} {what} {began} {time.monotonic() - began} {status}\n")
        sys.stdout.flush()
        time.sleep(PAUSE)


def main() -> None:
    """
    Ask both bridges for all there is to ask.
    """
    attacked, idle = (int(port) for port in sys.argv[1:])
    threads = [
        threading.Thread(target=_ask, args=(port, what, port == attacked))
        for port in (attacked, idle)
        for what in REQUESTS
    ]
    for thread in threads:
        thread.start()


if __name__ == "__main__":
    main()
