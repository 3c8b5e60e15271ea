"""
What every process of the live tests is made of: a folder, a log, ports, and an end that comes whatever
happens.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

LEASH = Path(__file__).with_name("leash.py")
LOOPBACK = "127.0.0.1"

PORTS_VARIABLE = "LIVE_TESTS_PORTS"
"""Of the environment: the ports that servers may listen on, where several processes have theirs."""

PORTS = range(*map(int, os.environ.get(PORTS_VARIABLE, "10000-32000").split("-")))
"""Those of this one."""

_given: deque[int] = deque(maxlen=len(PORTS) // 2)


class NotInTime(AssertionError):
    """
    What was waited for did not happen before the deadline.
    """


def eventually(look: Callable[[], T | None], what: str, timeout: float = 10.0, pause: float = 0.02) -> T:
    """
    Look again and again, until there is something to see.

    @return: the first true value that C{look} returned.
    @raise NotInTime: there was none; says C{what} was waited for.
    """
    deadline = time.monotonic() + timeout
    while not (found := look()):
        if time.monotonic() > deadline:
            raise NotInTime(f"waited {timeout} s for {what}")
        time.sleep(pause)
    return found


def freePorts(count: int) -> list[int]:
    """
    Ports of the loopback address that nobody listens on.

    They lie below the range from which the kernel serves outgoing connections: a client that tries to reach a
    server that is down would otherwise connect, sooner or later, to itself. Those that were asked for a
    moment ago may be free still, and are somebody's.
    """
    with ExitStack() as held:
        ports: list[int] = []
        while len(ports) < count:
            port = random.choice(PORTS)
            if port in _given:
                continue
            attempt = held.enter_context(socket.socket())
            try:
                attempt.bind((LOOPBACK, port))
            except OSError:
                continue
            ports.append(port)
            _given.append(port)
        return ports


@contextmanager
def temporaryFolder(name: str) -> Iterator[Path]:
    """
    A folder that is gone afterwards, even if a dying process still writes to it.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"restbridge-{name}-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Process:
    """
    A command that may be started, stopped and started again, always writing to the same log.
    """

    def __init__(
        self,
        command: list[str],
        folder: Path,
        environment: Mapping[str, str] | None = None,
        workingFolder: Path | None = None,
    ) -> None:
        """
        @param folder: must exist; the log is a file in it.
        @param environment: added to our own.
        @param workingFolder: where the command runs, if not in C{folder}.
        """
        self.command = command
        self.workingFolder = workingFolder or folder
        self.environment = {**os.environ, **(environment or {})}
        self.logFile = folder / "output.log"
        self._running: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """
        The process id, or L{None} before the first start and after the end.
        """
        alive = self._running is not None and self._running.poll() is None
        return self._running.pid if alive and self._running else None

    def start(self) -> None:
        """
        Start the command, in a process group of its own.
        """
        assert self.pid is None, f"{self.command[0]} runs already"
        leash = [sys.executable, "-I", "-S", str(LEASH), str(os.getpid())]
        with self.logFile.open("ab") as log:
            self._running = subprocess.Popen(
                leash + self.command,
                cwd=self.workingFolder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def stop(self, patience: float = 15.0) -> int | None:
        """
        Ask the command to end, and see to it that it does.

        @return: the exit status, or L{None} when it did not run.
        """
        running = self._running
        if running is None or running.poll() is not None:
            return running.returncode if running else None
        running.terminate()
        try:
            running.wait(patience)
        except subprocess.TimeoutExpired:
            self.kill()
        return running.returncode

    def kill(self) -> None:
        """
        End the command and everything that it started, at once.
        """
        if self._running is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self._running.pid, signal.SIGKILL)
        self._running.wait()

    def log(self, since: int = 0) -> str:
        """
        What the command has written, from the byte C{since} on.
        """
        if not self.logFile.exists():
            return ""
        with self.logFile.open("rb") as log:
            log.seek(since)
            return log.read().decode("utf-8", "replace")

    def logSize(self) -> int:
        """
        How many bytes the command has written: a place to read on from.
        """
        return self.logFile.stat().st_size if self.logFile.exists() else 0

    def mustRun(self) -> None:
        """
        @raise AssertionError: the command has ended; tells its last words.
        """
        if self.pid is None:
            raise AssertionError(f"{self.command[0]} has ended:\n{self.log()[-4000:]}")
