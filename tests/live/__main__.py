"""
All live tests, as many modules at once as there are processors: most of the time they wait for something.

::

    modules, the longest first -> one trial each, with ports of its own -> what it printed, when it ends;
    those that measure         -> one after the other, when all else is done    if it failed, at the end
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from tests.live.process import PORTS, PORTS_VARIABLE

FOLDER = Path(__file__).parent

AT_MOST = 8
"""At once, however many processors there are."""

ALONE = ("tests.live.abuse.test_abuse", "tests.live.test_newcomer")
"""Those that look at the bridge's processor time, and at a newcomer's, whose demo takes the port of any."""


def modules() -> list[str]:
    """
    The names of the test modules; those with the most to do first, so that none of these is begun last.
    """
    found = sorted(FOLDER.rglob("test_*.py"), key=lambda path: path.stat().st_size, reverse=True)
    return [".".join(path.relative_to(FOLDER.parents[1]).with_suffix("").parts) for path in found]


class Trials:
    """
    Several at once.

    @ivar failed: by the names of the modules that did, what they printed.
    """

    def __init__(self, atOnce: int) -> None:
        self.failed: dict[str, bytes] = {}
        self._atOnce = atOnce
        self._output: int | None = None
        self._printing = threading.Lock()
        self._ports: SimpleQueue[range] = SimpleQueue()
        share = len(PORTS) // atOnce
        for start in range(PORTS.start, PORTS.stop - share + 1, share):
            self._ports.put(range(start, start + share))

    def run(self, names: Sequence[str]) -> None:
        """
        Test these, and those that are to be alone behind the others.
        """
        if len(names) > 1:
            # Mixed with another's it would be no use.
            self._output = subprocess.PIPE
        with ThreadPoolExecutor(self._atOnce) as threads:
            list(threads.map(self._test, [name for name in names if name not in ALONE]))
        for name in ALONE:
            if name in names:
                self._test(name)

    def _test(self, name: str) -> None:
        ports = self._ports.get()
        try:
            with tempfile.TemporaryDirectory(prefix="restbridge-trial-") as folder:
                trial = subprocess.run(
                    [sys.executable, "-m", "twisted.trial", f"--temp-directory={folder}/trial", name],
                    env={**os.environ, PORTS_VARIABLE: f"{ports.start}-{ports.stop}"},
                    stdin=subprocess.DEVNULL,
                    stdout=self._output,
                    stderr=subprocess.STDOUT,
                    check=False,
                )
        finally:
            self._ports.put(ports)
        printed = trial.stdout or b""
        if trial.returncode != 0:
            self.failed[name] = printed
        else:
            with self._printing:
                _print(printed)


def _print(output: bytes) -> None:
    sys.stdout.buffer.write(output)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    trials = Trials(min(os.cpu_count() or 1, AT_MOST))
    tested = sys.argv[1:] or modules()
    trials.run(tested)
    for output in trials.failed.values():
        _print(output)
    names = ", ".join(trials.failed)
    sys.exit(f"{len(trials.failed)} of {len(tested)} modules failed: {names}" if names else 0)
