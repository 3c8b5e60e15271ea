"""
Stanzas in, calls out: another component that writes to the bridge, and the receiver of its callbacks, in one
process, so that each stanza is known again when its call arrives.

    python -m benchmarks.deliveries DOMAIN

Prints the port of the receiver. Then, for each line C{COMPONENT-PORT ADDRESS OUTSTANDING SECONDS} on standard
input: attaches, keeps so many messages to that address on their way, a new one for each that arrives, and
prints what was measured.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import time
from typing import Any

from benchmarks.load import Failed, Measured, Meter
from tests.live.process import LOOPBACK
from tests.live.servers import attach

NUMBER = re.compile(rb"load-([0-9]+)\b")
LENGTH = re.compile(rb"content-length: *([0-9]+)", re.I)
ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"
LAST_ANSWER = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"
PATIENCE = 30.0
"""Seconds without an arrival after which something is wrong."""


class Deliveries:
    """
    The process that sends and receives.

    @ivar url: of the receiver.
    """

    def __init__(self, domain: str) -> None:
        command = [sys.executable, "-m", "benchmarks.deliveries", domain]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.url = f"http://{LOOPBACK}:{int(self._read())}/"

    def measure(
        self, port: int, address: str, *, outstanding: int, seconds: float, pid: int | None = None
    ) -> Measured:
        """
        Keep so many messages on their way.

        @param port: of the server, for components.
        @raise Failed: one did not arrive, or came back.
        """
        assert self._process.stdin is not None
        with Meter(pid) as used:
            print(port, address, outstanding, seconds, file=self._process.stdin, flush=True)
            found = json.loads(self._read())
        if "failed" in found:
            raise Failed(f"{address}: {found['failed']}")
        return Measured(rate=found["rate"], p99=found["p99"], cpu=used.each(found["count"]))

    def close(self) -> None:
        """
        End it.
        """
        self._process.kill()
        self._process.wait()

    def _read(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise Failed("the receiver has ended")
        return line


class Flow:
    """
    The messages of one measurement.
    """

    def __init__(self, write: Any, address: str, domain: str) -> None:
        self._write, self._address, self._domain = write, address, domain
        self._sent: dict[int, float] = {}
        self._open = True
        self.times: list[float] = []
        self.latest = time.monotonic()

    def send(self, number: int) -> None:
        """
        One more; each from a user of its own, so that no order has to be kept among them.
        """
        self._sent[number] = time.monotonic()
        stanza = (
            f"<message from='u{number % 1000}@{self._domain}/r' to='{self._address}' id='load-{number}'"
            " type='headline'><body>Hello, how are you today?</body></message>"
        )
        self._write(stanza.encode())

    def arrived(self, number: int) -> bool:
        """
        @return: whether another one is to be sent.
        """
        began = self._sent.pop(number, None)
        if began is None:
            return False
        self.latest = time.monotonic()
        self.times.append(self.latest - began)
        return self._open

    def stop(self) -> None:
        """
        Send no more.
        """
        self._open = False

    @property
    def waiting(self) -> int:
        """
        How many have not arrived.
        """
        return len(self._sent)


class Driver:
    """
    Both ends, and the flow between them.
    """

    def __init__(self, domain: str) -> None:
        self._domain = domain
        self._flow: Flow | None = None
        self._number = 0
        self.bounced = b""

    async def measure(self, port: int, address: str, outstanding: int, seconds: float) -> dict[str, Any]:
        """
        Attach, keep so many messages on their way for so long, and wait for the last of them.
        """
        connection = attach(port, self._domain)
        connection.settimeout(None)
        reader, writer = await asyncio.open_connection(sock=connection)
        reading = asyncio.create_task(self._read(reader))
        self._flow = Flow(writer.write, address, self._domain)
        try:
            return await self._measure(self._flow, outstanding, seconds)
        finally:
            reading.cancel()
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(1 << 16):
            if b"<error" in data:
                self.bounced = data
        self.bounced = b"the server has closed the stream"

    async def _measure(self, flow: Flow, outstanding: int, seconds: float) -> dict[str, Any]:
        self.bounced = b""
        began = time.monotonic()
        for _ in range(outstanding):
            self._next()
        while (now := time.monotonic()) < began + seconds and now < flow.latest + PATIENCE:
            await asyncio.sleep(0.05)
        count, lasted = len(flow.times), time.monotonic() - began
        flow.stop()
        while flow.waiting and time.monotonic() < flow.latest + PATIENCE:
            await asyncio.sleep(0.05)
        if self.bounced or flow.waiting:
            return {"failed": f"{flow.waiting} did not arrive; {self.bounced[:500].decode(errors='replace')}"}
        p99 = sorted(flow.times)[int(len(flow.times) * 0.99)] * 1e3
        return {"rate": count / lasted, "p99": p99, "count": len(flow.times)}

    def arrived(self, body: bytes) -> None:
        """
        Recognize a message in a call.
        """
        found = NUMBER.search(body)
        if found and self._flow and self._flow.arrived(int(found.group(1))):
            self._next()

    def _next(self) -> None:
        assert self._flow is not None
        self._number += 1
        self._flow.send(self._number)


class Receiver(asyncio.Protocol):
    """
    One connection of the receiver: just enough HTTP, answered 204.
    """

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._data = b""

    def connection_made(self, transport: Any) -> None:
        """
        Called by asyncio.
        """
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """
        Called by asyncio.
        """
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            head = self._data[:end]
            length = LENGTH.search(head)
            whole = end + 4 + (int(length.group(1)) if length else 0)
            if len(self._data) < whole:
                return
            body, self._data = self._data[end + 4 : whole], self._data[whole:]
            self._answer(head.lower())
            self._driver.arrived(body)

    def _answer(self, head: bytes) -> None:
        last = b"connection: close" in head
        self._transport.write(LAST_ANSWER if last else ANSWER)
        if last:
            self._transport.close()


async def main(domain: str) -> None:
    """
    Measure, line by line, until the end of standard input.
    """
    driver = Driver(domain)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Receiver(driver), LOOPBACK, 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        port, address, outstanding, seconds = line.split()
        found = await driver.measure(int(port), address, int(outstanding), float(seconds))
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
