"""
What durable callbacks cost: a real Prosody, the bridge, and a receiver that only counts, each a process of
its own, with direct calls and durable ones in turn; and deliveries out of a journal in which 100 messages
wait beside such in which 100,000 do.

    python -m benchmarks.durable [ROUNDS]

ROUNDS is 3 where it is left out. Needs Prosody (Debian: C{apt-get install prosody}) and restbridge in this
Python, installed from this checkout with its extra C{test}. Read the ratios; the absolute numbers are the
machine's.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from http.client import HTTPConnection
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

from tests.live.bridge import Bridge, componentTable, environment
from tests.live.process import LOOPBACK, eventually
from tests.live.prosody import Prosody
from tests.live.servers import Server, attach

MESSAGES = 5000
"""In one round."""

CHUNK = 250
"""That are sent at once."""

CONVERSATIONS = 100
"""That they belong to."""

PENDING = (100, 100_000)

MOST_GROWTH, LEAST_RATE = 1.1, 1000
"""What is promised: how much more a delivery may cost out of the long queue, and durable calls a second."""

RECEIVER = """
import asyncio, time

class Receiver(asyncio.Protocol):
    count, first, last = 0, 0.0, 0.0

    def connection_made(self, transport):
        self.transport, self.data = transport, b""

    def data_received(self, data):
        self.data += data
        while (end := self.data.find(b"\\r\\n\\r\\n")) >= 0:
            head = self.data[:end].lower()
            size = int(head.partition(b"content-length:")[2].partition(b"\\r\\n")[0] or 0)
            if len(self.data) < end + 4 + size:
                return
            self.data = self.data[end + 4 + size:]
            if head.startswith(b"post"):
                now = time.monotonic()
                Receiver.count += 1
                Receiver.first, Receiver.last = Receiver.first or now, now
                self.transport.write(b"HTTP/1.1 204 No Content\\r\\n\\r\\n")
            else:
                said = f"{Receiver.count} {Receiver.last - Receiver.first}".encode()
                if head.startswith(b"delete"):
                    Receiver.count, Receiver.first = 0, 0.0
                answer = b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n%b"
                self.transport.write(answer % (len(said), said))

async def main():
    server = await asyncio.get_running_loop().create_server(Receiver, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"""


class Receiver:
    """
    Counts calls.
    """

    def __init__(self) -> None:
        self._process = subprocess.Popen([sys.executable, "-c", RECEIVER], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self._port = int(self._process.stdout.readline())
        self.url = f"http://{LOOPBACK}:{self._port}/{{kind}}"

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def seen(self, method: str = "GET") -> tuple[int, float]:
        """
        How many calls came, and how many seconds lie between the first and the last; DELETE begins anew.
        """
        connection = HTTPConnection(LOOPBACK, self._port, timeout=10)
        connection.request(method, "/")
        number, seconds = connection.getresponse().read().split()
        connection.close()
        return int(number), float(seconds)

    def reach(self, calls: int) -> None:
        """
        Wait until there were so many.
        """
        eventually(lambda: self.seen()[0] >= calls, f"{calls} calls", timeout=300, pause=0.05)

    def rate(self, calls: int) -> float:
        """
        Calls a second, when there were so many.
        """
        self.reach(calls)
        number, seconds = self.seen("DELETE")
        return (number - 1) / seconds


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()
    try:
        yield receiver
    finally:
        receiver.close()


def flow(server: Server, receiver: Receiver, store: dict[str, Any], **callback: str) -> float:
    """
    Calls a second for messages that another component sends as fast as the server takes them.
    """
    component = componentTable(server.componentPort("bridge.localhost"))
    settings = {"url": receiver.url, "format": "json", **callback}
    receiver.seen("DELETE")
    with Bridge(component, [settings], store=store) as bridge, ExitStack() as stack:
        bridge.start()
        sender = stack.enter_context(attach(server.componentPort("bridge2.localhost"), "bridge2.localhost"))
        sender.settimeout(60)
        for number in range(0, MESSAGES, CHUNK):
            # Direct calls that wait are few: more would be refused.
            receiver.reach(number - 2 * CHUNK)
            sender.sendall("".join(map(message, range(number, number + CHUNK))).encode())
        rate = receiver.rate(MESSAGES)
    return rate


def message(number: int) -> str:
    conversation = number % CONVERSATIONS
    return (
        f"<message from='u{conversation}@bridge2.localhost/r' to='bot@bridge.localhost' id='m{number}'"
        f" type='headline'><body>message {number}</body></message>"
    )


def queue(pending: int, receiver: Receiver) -> float:
    """
    Seconds for each of L{MESSAGES} deliveries out of a queue that is kept at this length, in a process of its
    own.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "queue.sqlite")
        command = [sys.executable, "-m", "benchmarks.durable", "--queue", path, str(pending), receiver.url]
        done = subprocess.run(
            command, env=os.environ | environment(), text=True, capture_output=True, check=False
        )
    if done.returncode:
        raise SystemExit(done.stderr)
    return float(done.stdout)


def keepQueue(path: str, pending: int, url: str) -> None:
    """
    What that process does: for each message that is delivered another one is accepted.
    """
    from twisted.internet import reactor
    from twisted.internet.defer import Deferred

    from restbridge.config import Callback
    from restbridge.stanzas.jid import JID
    from restbridge.stanzas.xml import parseDocument
    from restbridge.store.database import Database
    from restbridge.store.engines import engineAt
    from restbridge.store.journal import Entry, Journal
    from restbridge.webhook.outbox import Outbox
    from restbridge.webhook.post import Poster, Response
    from restbridge.webhook.receiver import Receiver as Callee

    clock: Any = reactor
    store = Database(engine=engineAt(f"sqlite:{path}"), reactor=reactor)
    journal = Journal(store=store, holder="benchmark", most=10**9, clock=clock)
    settings = Callback(url=url, format="application/json", delivery="durable")
    callee = Callee(settings=settings, domain="b", caller=Poster(reactor=reactor), clock=clock)
    numbers, delivered = count(), count(1)
    began: list[float] = []

    async def call(stanza: Any, webhookId: str) -> Response:
        response = await callee.call(stanza, webhookId)
        if next(delivered) == MESSAGES:
            print((time.perf_counter() - began[0]) / MESSAGES, flush=True)
            os._exit(0)
        Deferred.fromCoroutine(outbox.accept(stanzaOf(next(numbers))))
        return response

    outbox = Outbox(settings=settings, call=call, journal=journal, replied=lambda: None, clock=clock)

    def stanzaOf(number: int) -> Any:
        return parseDocument(message(number).encode())

    def entry(number: int) -> Entry:
        stanza = stanzaOf(number)
        sender, recipient = JID.parse(stanza["from"]).bare, stanza["to"]
        return Entry(
            callback=settings.outbox,
            sender=sender,
            recipient=recipient,
            webhook=f"msg_{number}",
            received=journal.now(),
            stanza=message(number),
        )

    async def run() -> None:
        for _ in range(0, pending, 100):
            entries = [entry(next(numbers)) for _ in range(100)]
            for accepted in [Deferred.fromCoroutine(journal.accept(each, hold=False)) for each in entries]:
                await accepted
        await journal.renew()
        began.append(time.perf_counter())
        outbox.start()

    store.startService()
    clock.callWhenRunning(lambda: Deferred.fromCoroutine(run()))
    clock.run()


def pairs(rounds: int, one: Callable[[], float], other: Callable[[], float]) -> list[tuple[float, float]]:
    """
    What the two measure, in turn.
    """
    return [(one(), other()) for _ in range(rounds)]


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    with receiving() as receiver:
        queues = pairs(rounds, partial(queue, PENDING[0], receiver), partial(queue, PENDING[1], receiver))
        growth = median(long / short for short, long in queues)
        rate = median(1 / short for short, _ in queues)
        print(f"accepted and delivered with {PENDING[0]} waiting: {rate:,.0f}/s, promised {LEAST_RATE}")
        print(f"with {PENDING[1]:,} waiting, a delivery costs {growth:.2f} of that, at most {MOST_GROWTH}")
        with Prosody() as server:
            server.start()
            call = partial(flow, server, receiver, {"url": "sqlite:restbridge.sqlite"})
            flows = pairs(rounds, call, partial(call, delivery="durable"))
    ratio = median(durable / direct for direct, durable in flows)
    direct, durable = (median(rates) for rates in zip(*flows, strict=True))
    print(f"from Prosody: durable {durable:,.0f}/s, {ratio:.2f} of direct calls ({direct:,.0f}/s)")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--queue"]:
        keepQueue(sys.argv[2], int(sys.argv[3]), sys.argv[4])
    else:
        main()
