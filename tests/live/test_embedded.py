"""
C{twistd -n restbridge --demo}: the bridge for a newcomer without an XMPP server.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import unittest
from pathlib import Path

from tests.live.bridge import FAULTS, environment, twistd
from tests.live.process import Process, eventually, temporaryFolder
from tests.live.web import ask, basic

COMMAND = re.compile(r"\bcurl (?:\\\n|.)+")
PORT = re.compile(r"http://(?:127\.0\.0\.1|localhost):(\d+)")
COMMANDS = 3
DEMO = basic("demo", "demo")


class Demo:
    """
    A demo that runs in an empty folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "empty"
        self.temporary = folder / "temporary"
        self.folder.mkdir()
        self.temporary.mkdir()
        command = [twistd(), "-n", "--pidfile=", "restbridge", "--demo"]
        surroundings = {**environment(), "TMPDIR": str(self.temporary)}
        self.process = Process(command, folder, surroundings, self.folder)

    def start(self) -> None:
        """
        Start, and wait until it has printed its commands and serves.
        """
        self.process.start()
        eventually(self._serves, "the demo to start", 20)

    def commands(self) -> list[str]:
        """
        The curl commands that it printed, as one would paste them.
        """
        return [match.group().strip() for match in COMMAND.finditer(self.process.log())]

    @property
    def port(self) -> int:
        """
        The port that the first command names.
        """
        found = PORT.search(self.commands()[0])
        assert found, self.commands()
        return int(found.group(1))

    def _serves(self) -> bool:
        self.process.mustRun()
        try:
            return len(self.commands()) >= COMMANDS and ask(self.port, "GET", "/readyz").status == 200
        except OSError:
            return False


class Embedded(unittest.TestCase):
    """
    What C{--demo} promises.
    """

    def demo(self) -> Demo:
        """
        A demo that runs.
        """
        folder = self.enterContext(temporaryFolder("demo"))
        demo = Demo(folder)
        self.addCleanup(demo.process.kill)
        self.addCleanup(lambda: self.assertIsNone(FAULTS.search(demo.process.log()), demo.process.log()))
        demo.start()
        return demo

    def testCommands(self) -> None:
        """
        Each command that it prints works when pasted; the first asks for a ping of C{echo.localhost}.
        """
        self.assertIsNotNone(shutil.which("curl"), "curl not found; this test needs it: apt-get install curl")
        commands = self.demo().commands()
        self.assertEqual(COMMANDS, len(commands), commands)
        self.assertIn("/rest/ping/echo.localhost", commands[0])
        self.assertEqual(200, self._paste(commands[0]))
        for command in commands[1:]:
            with self.subTest(command):
                self.assertIn(self._paste(command), (200, 202))

    def testTwoAtOnce(self) -> None:
        """
        A second demo takes the next free port, and says so in words.
        """
        first, second = self.demo(), self.demo()
        self.assertGreater(second.port, first.port)
        self.assertRegex(second.process.log(), rf"(?i)\b{first.port}\b.*\b(in use|taken|busy|occupied)\b")
        for demo in (first, second):
            answer = ask(demo.port, "GET", "/rest/ping/echo.localhost", headers={"Authorization": DEMO})
            self.assertEqual(200, answer.status)

    def testLeavesNothing(self) -> None:
        """
        It writes nothing in its working folder, and takes its temporary files along when it ends.
        """
        demo = self.demo()
        self.assertEqual(200, self._paste(demo.commands()[0]))
        given = {"Authorization": DEMO, "Content-Type": "text/plain", "Idempotency-Key": "k1"}
        for _ in range(2):
            answer = ask(demo.port, "POST", "/rest/message/chat/echo@echo.localhost", b"x", given)
            self.assertEqual(202, answer.status)
        self.assertEqual("true", answer.headers["idempotent-replayed"])
        demo.process.stop()
        self.assertEqual(([], []), (list(demo.folder.iterdir()), list(demo.temporary.iterdir())))

    def testToItself(self) -> None:
        """
        It listens on 127.0.0.1 alone, and its account has a password.
        """
        demo = self.demo()
        with self.assertRaises(OSError):
            ask(demo.port, "GET", "/healthz", host="127.0.0.2")
        wrong = {"Authorization": basic("demo", "wrong")}
        self.assertEqual(403, ask(demo.port, "GET", "/rest/ping/echo.localhost", headers=wrong).status)

    def _paste(self, command: str) -> int:
        """
        Run a curl command in a shell.

        @return: the status of the answer.
        """
        silent = command.replace("curl ", "curl -sS -o /dev/null -w '%{http_code}' --max-time 10 ", 1)
        ran = subprocess.run(["sh", "-c", silent], capture_output=True, text=True, timeout=20, check=False)
        self.assertEqual(0, ran.returncode, ran.stderr)
        return int(ran.stdout)
