"""
A newcomer's walk: from the clone to the first answer, and on to a bot on an XMPP server, by the README alone.
"""

from __future__ import annotations

import os
import shutil
import socket
import time
import unittest
from pathlib import Path

from tests.docs.snippets import ROOT
from tests.live.process import LOOPBACK, temporaryFolder
from tests.live.test_docs import BOT, PROSODY, sections
from tests.live.walk import PORTS, Walk

FIRST_ANSWER = 120.0
"""Seconds to the first answer."""
WORKING_BOT = 600.0
"""Seconds to a bot that answers."""


def clone(folder: Path) -> None:
    """
    Copy the checkout as it is now, without what git ignores.
    """
    ignored = [line.strip("/") for line in (ROOT / ".gitignore").read_text("utf-8").split()]
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(".git", *ignored), dirs_exist_ok=True)


def nextFree(port: int) -> int:
    """
    The port, or else the next one that nobody listens at, as the demo does.
    """
    for candidate in range(port, port + 100):
        with socket.socket() as attempt:
            if attempt.connect_ex((LOOPBACK, candidate)) != 0:
                return candidate
    raise AssertionError(f"no port from {port} on is free")


def own() -> dict[str, str]:
    """
    A new terminal's environment: nothing of the one that runs the tests.
    """
    outside = [each for each in os.environ["PATH"].split(":") if not (Path(each) / "../pyvenv.cfg").exists()]
    return {"PATH": ":".join(outside), "PYTHONPATH": "", "VIRTUAL_ENV": ""}


class Newcomer(unittest.TestCase):
    def testWalk(self) -> None:
        """
        Within two minutes the demo has answered, within ten a bot in Flask does, on a Prosody.
        """
        folder = self.enterContext(temporaryFolder("newcomer"))
        clone(folder)
        ports = {port: nextFree(port) for port in PORTS}
        began = time.monotonic()
        walk = self.enterContext(Walk(folder, ports, own()))
        walk.paste(sections("README.md", "", "The demo"))
        answered = time.monotonic() - began
        walk.interrupt()
        walk.paste(sections("README.md", PROSODY, BOT))
        worked = time.monotonic() - began
        print(f"first answer after {answered:.0f} s, a working bot after {worked:.0f} s", flush=True)
        self.assertLess(answered, FIRST_ANSWER)
        self.assertLess(worked, WORKING_BOT)
