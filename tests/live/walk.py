"""
Somebody who follows the documents: pastes what they show, in a folder, as it stands.

Only the numbers of ports are changed, where others have to be used; and C{curl} is one that fails when a
request is refused, tries again while nobody listens yet, and leaves an endless stream after a while, as a
reader would.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path

from tests.docs.snippets import Snippet
from tests.live.process import LOOPBACK, Process, eventually, freePorts, temporaryFolder

PORTS = (8080, 15222, 5347, 5000, 5001, 5280, 9093, 443)
"""What the documents' servers listen at."""

CURL = """#!/bin/sh
case " $* " in
*" -N "*) {curl} --fail-with-body -sS --max-time 4 "$@"; [ $? = 28 ] ;;
*) exec {curl} --fail-with-body -sS --max-time 30 --retry 20 --retry-delay 1 --retry-connrefused "$@" ;;
esac
"""

PATIENCE = 120.0
"""Seconds for one block: it may install packages."""
REPEATED = 20.0
"""Seconds in which what is printed has to be what the page shows; an answer may be on its way still."""
QUIET = 3.0
"""Seconds until a command that listens at no port is at work."""
DONE = "\x01done"


class Walk:
    """
    A folder, a shell that goes from block to block, and further terminals.

    @ivar ports: which ports stand for those of the documents.
    """

    def __init__(self, folder: Path, ports: Mapping[int, int], environment: Mapping[str, str]) -> None:
        """
        @param folder: where the shell begins.
        @param environment: added to our own.
        """
        self.folder = folder
        self.ports = dict(ports)
        self.terminals: list[Process] = []
        self._stack = ExitStack()
        self._notes = self._stack.enter_context(temporaryFolder("walk"))
        self._environment = {**os.environ, **environment}
        self._shell = self._openShell()

    def __enter__(self) -> Walk:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def paste(self, snippets: Iterable[Snippet]) -> None:
        """
        Do all that the blocks say, from the first to the last.

        @raise AssertionError: one of them fails, or prints something else.
        """
        last = printed = ""
        for snippet in snippets:
            match snippet.mark or snippet.language:
                case "file":
                    self._save(snippet)
                case "terminal":
                    self._open(snippet)
                case "prints":
                    self._compare(last, printed, snippet)
                case "sh" | "as root":
                    if snippet.mark == "as root" and os.geteuid() != 0:
                        continue
                    for last in _commands(snippet.text):
                        printed = self._run(last, snippet)
                case "lua" | "yaml" | "nginx" | "haproxy":
                    raise AssertionError(f"{snippet} is pasted nowhere, and has no mark that says why")

    def interrupt(self, last: str = "") -> None:
        """
        Ctrl-C in every terminal, or in that with this last line.
        """
        for terminal in [each for each in self.terminals if each.command[-1].endswith(last)]:
            self.terminals.remove(terminal)
            _interrupt(terminal)

    def close(self) -> None:
        """
        End everything.
        """
        for terminal in reversed(self.terminals):
            terminal.stop(patience=5)
            terminal.kill()
        self._shell.kill()
        self._shell.wait()
        if self._shell.stdin:
            self._shell.stdin.close()
        self._stack.close()

    def logs(self) -> str:
        """
        What the terminals show.
        """
        return "\n".join(each.log()[-3000:] for each in self.terminals)

    def _curl(self) -> Path:
        real = subprocess.run(["which", "curl"], capture_output=True, text=True, check=True).stdout.strip()
        folder = self._notes / "bin"
        folder.mkdir()
        (folder / "curl").write_text(CURL.format(curl=real))
        (folder / "curl").chmod(0o755)
        return folder

    def _openShell(self) -> subprocess.Popen[bytes]:
        with (self._notes / "shell.log").open("wb") as log:
            return subprocess.Popen(
                ["bash", "-e"],
                cwd=self.folder,
                env={**self._environment, "PATH": f"{self._curl()}:{self._environment['PATH']}"},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def here(self, text: str) -> str:
        """
        A text with our ports instead of the documents'.
        """
        known = "|".join(map(str, self.ports))
        return re.sub(rf"(?<!\d)({known})(?!\d)", lambda match: str(self.ports[int(match[0])]), text)

    def _save(self, snippet: Snippet) -> None:
        file = self.folder / snippet.name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(self.here(snippet.text))

    def _open(self, snippet: Snippet) -> None:
        """
        Paste into a terminal of its own, once the same command has been interrupted that may run already; and
        wait until it listens at a port.
        """
        *first, last = self.here(snippet.text).strip().split("\n")
        self.interrupt(f"exec {last}")
        log = self._notes / f"terminal-{len(list(self._notes.iterdir()))}"
        log.mkdir()
        script = "\n".join([*first, f"exec {last}"])
        terminal = Process(["bash", "-ec", script], log, self._environment, self.folder)
        before = self._listening()
        terminal.start()
        self.terminals.append(terminal)
        if snippet.name == "quiet":
            time.sleep(QUIET)
            terminal.mustRun()
            return

        def listens() -> bool:
            terminal.mustRun()
            return bool(self._listening() - before)

        try:
            eventually(listens, f"{snippet} to listen", PATIENCE, 0.2)
        except AssertionError as error:
            raise AssertionError(f"{snippet}: {error}\n{terminal.log()[-3000:]}") from error

    def _listening(self) -> set[int]:
        found = set()
        for port in self.ports.values():
            with socket.socket() as attempt:
                attempt.settimeout(1)
                if attempt.connect_ex((LOOPBACK, port)) == 0:
                    found.add(port)
        return found

    def _run(self, command: str, snippet: Snippet) -> str:
        """
        Paste into the shell a command of a block.

        @return: what was printed.
        """
        log = self._notes / "shell.log"
        since = log.stat().st_size
        assert self._shell.stdin
        self._shell.stdin.write(f"{{\n{self.here(command)}\n}} </dev/null\nprintf '{DONE}'\n".encode())
        self._shell.stdin.flush()

        def printed() -> str:
            return log.read_bytes()[since:].decode("utf-8", "replace")

        eventually(lambda: DONE in printed() or self._shell.poll() is not None, f"{snippet} to end", PATIENCE)
        if DONE not in printed():
            raise AssertionError(f"{snippet} failed:\n{printed()}\n{self.logs()}")
        return printed().removesuffix(DONE)

    def _compare(self, last: str, printed: str, shown: Snippet) -> None:
        """
        Look whether the last command prints what the page shows; repeat it if not, for a while.
        """
        pattern = ".*".join(map(re.escape, self.here(shown.text).strip().split("...")))
        deadline = time.monotonic() + REPEATED
        while not re.fullmatch(pattern, printed.strip(), re.DOTALL):
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"{shown}: {last} prints\n{printed}\nand not\n{shown.text}\n{self.logs()}"
                )
            time.sleep(0.5)
            printed = self._run(last, shown)


def _commands(text: str) -> list[str]:
    """
    The commands of a block, one by one, unless there are documents between them.
    """
    return [text] if "<<" in text else text.replace("\\\n", " ").strip().split("\n")


def _interrupt(terminal: Process) -> None:
    if terminal.pid is not None:
        os.killpg(terminal.pid, signal.SIGINT)
    eventually(lambda: terminal.pid is None, f"{terminal.command} to end")


def otherPorts() -> dict[int, int]:
    """
    Free ports for all that the documents name.
    """
    return dict(zip(PORTS, freePorts(len(PORTS)), strict=True))
