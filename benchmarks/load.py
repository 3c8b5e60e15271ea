"""
Requests as fast as they are answered, by wrk.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import attrs

from tests.live.process import LOOPBACK
from tests.live.web import ask

SCRIPT = """
local ours = %s
local next = 0
function init()
  for i, each in ipairs(ours) do
    ours[i] = wrk.format(each.method, each.path, each.headers, each.body)
  end
end
function request()
  next = next %% #ours + 1
  return ours[next]
end
function done(summary, latency)
  io.stderr:write(string.format(
    '{"requests": %%d, "microseconds": %%d, "refused": %%d, "broken": %%d, "p50": %%d, "p99": %%d}',
    summary.requests, summary.duration, summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
"""

PATIENCE = 30
"""Seconds that wrk waits for an answer."""

RECOVERY = 10
"""Seconds in which a contestant must be fit again."""


class Failed(Exception):
    """
    A contestant did not do the work, so that its time means nothing.
    """


@attrs.frozen(kw_only=True)
class Request:
    """
    What is asked for again and again.

    @ivar expects: the status that means that the work was done.
    @ivar pieces: of work that it is.
    @ivar holds: what is in the answer, and how often.
    """

    path: str
    method: str = "GET"
    headers: Mapping[str, str] = attrs.field(factory=dict)
    body: str = ""
    expects: int = 200
    pieces: int = 1
    holds: tuple[str, int] = ("", 1)

    def lua(self) -> str:
        """
        As a table in Lua.
        """
        headers = ", ".join(f"[{_quoted(name)}] = {_quoted(value)}" for name, value in self.headers.items())
        return (
            f"{{method = {_quoted(self.method)}, path = {_quoted(self.path)}, headers = {{{headers}}},"
            f" body = {_quoted(self.body) if self.body else 'nil'}}}"
        )


@attrs.frozen(kw_only=True)
class Measured:
    """
    What a contestant did in one turn.

    @ivar rate: pieces of work a second.
    @ivar p99: milliseconds that 99 % of them took at most.
    @ivar count: pieces that were done.
    @ivar cpu: microseconds of its own process for each, where that is looked at.
    """

    rate: float
    p99: float | None = None
    count: int = 0
    cpu: float | None = None

    @property
    def time(self) -> float:
        """
        Milliseconds for each, on the average of all that are done at once.
        """
        return 1e3 / self.rate


def check(port: int, request: Request) -> None:
    """
    See the work done once; what the turn before has broken may need a moment.

    @raise Failed: it is not done.
    """
    deadline = time.monotonic() + RECOVERY
    while True:
        answer = ask(port, request.method, request.path, request.body.encode(), request.headers)
        text, times = request.holds
        whole = not text or answer.text().replace(" ", "").count(text) == times
        if answer.status == request.expects and whole:
            return
        if time.monotonic() > deadline:
            raise Failed(f"{request.method} {request.path}: {answer.status} {answer.text()[:500]}")
        time.sleep(0.5)


def drive(
    port: int, requests: Sequence[Request], *, connections: int, seconds: float, pid: int | None = None
) -> Measured:
    """
    Ask in turn, over so many connections, one request at a time on each.

    @param pid: whose processor time is counted.
    @raise Failed: an answer was no success, or did not come.
    """
    check(port, requests[0])
    used = Meter(pid)
    with _script(requests) as script, used:
        found = _wrk(port, script, connections, seconds)
    if not found["requests"]:
        raise Failed(f"{requests[0].path}: nothing was answered within {seconds} s")
    if found["refused"] or found["broken"]:
        raise Failed(
            f"{requests[0].path}: of {found['requests']} requests {found['refused']} were refused,"
            f" and {found['broken']} met a broken connection"
        )
    pieces = found["requests"] * requests[0].pieces
    return Measured(
        rate=pieces / found["microseconds"] * 1e6, p99=found["p99"] / 1e3, count=pieces, cpu=used.each(pieces)
    )


class Meter(AbstractContextManager["Meter"]):
    """
    The processor time that a process takes meanwhile, threads included, and what the kernel does for it.

    @ivar seconds: of it.
    """

    def __init__(self, pid: int | None) -> None:
        self._pid = pid
        self.seconds = 0.0

    def __enter__(self) -> Meter:
        self._began = self._read()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = self._read() - self._began

    def each(self, count: int) -> float | None:
        """
        Microseconds for each of so many.
        """
        return None if self._pid is None else self.seconds / count * 1e6

    def _read(self) -> float:
        if self._pid is None:
            return 0.0
        fields = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
        user, system = int(fields[11]), int(fields[12])
        return (user + system) / os.sysconf("SC_CLK_TCK")


def residentKiB(pid: int | None) -> int:
    """
    What a process holds in memory.
    """
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(r"^Rss:\s*(\d+) kB", rollup, re.M)
    assert found is not None
    return int(found.group(1))


@contextmanager
def _script(requests: Sequence[Request]) -> Iterator[str]:
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(SCRIPT % ("{" + ", ".join(request.lua() for request in requests) + "}"))
        file.flush()
        yield file.name


def _wrk(port: int, script: str, connections: int, seconds: float) -> Any:
    wrk = shutil.which("wrk")
    if wrk is None:
        raise SystemExit("wrk is missing: apt-get install wrk")
    command = [wrk, "-t1", f"-c{connections}", f"-d{seconds:.0f}s", f"--timeout={PATIENCE}s"]
    done = subprocess.run(
        [*command, "-s", script, f"http://{LOOPBACK}:{port}/"],
        text=True,
        capture_output=True,
        check=False,
    )
    try:
        return json.loads(done.stderr)
    except ValueError:
        raise Failed(f"wrk: {done.stdout} {done.stderr}") from None


def _quoted(text: str) -> str:
    """
    A string in Lua, each byte by its number.
    """
    return '"' + "".join(f"\\{byte:03}" for byte in text.encode()) + '"'
