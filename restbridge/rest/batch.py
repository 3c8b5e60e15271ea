"""
Batches: many stanzas in one C{POST /rest}, each with a result of its own.

::

    lines, or an array -> split -> sent in their order, some in each turn of the reactor
                                   -> a result each -> all of them, in the order of the lines

Each line is sent as if it had been posted alone, and what is wrong with it is its own result: so the whole is
200 (207 is WebDAV's, of XML). Nothing of a batch is sent that can't be split.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from operator import itemgetter

import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Cooperator, TaskFinished
from twisted.python.failure import Failure

from restbridge.rest.deliver import Again, Reply
from restbridge.stanzas.media import JSON, choose, encode, essence
from restbridge.web.answer import Answer, Refusal, errorDocument

NDJSON = "application/x-ndjson"
JSONL = "application/jsonl"
"""The same by another name."""

LINES = (NDJSON, JSONL)

MAX_STANZAS = 1000

SLICE = 0.005
"""Seconds for which all batches together hold the reactor, before it turns to other requests."""

MAX_ANSWERS = 8 * 1024 * 1024
"""
Bytes of what answers a batch: a small IQ may have half a megabyte of an answer, and all are kept until the
last one is there.
"""

_ARRAY = re.compile(rb"\s*\[")
_TAKEN = b'{"status":202}'

_decodeArray = msgspec.json.Decoder(list[msgspec.Raw]).decode

Send = Callable[[int, bytes], Awaitable[tuple[Reply | None, Sequence[str]]]]
"""Sends the stanza of a line, by its number; what answers it, and the keys that mean nothing."""

Refuse = Callable[[Failure], Refusal]


def isBatch(mediaType: str | None, body: bytes) -> bool:
    """
    Whether a request is for several stanzas.
    """
    kind = essence(mediaType or "")
    return kind in LINES or (kind == JSON and _ARRAY.match(body) is not None)


def split(mediaType: str | None, body: bytes) -> list[bytes]:
    """
    The stanzas of a batch, each in JSON of its own. Empty lines are none.

    @raise Refusal: 400, it is no array or holds nothing; 413, there are too many.
    """
    if essence(mediaType or "") in LINES:
        lines = [line for line in body.split(b"\n") if line.strip()]
    else:
        try:
            lines = [bytes(item) for item in _decodeArray(body)]
        except (msgspec.DecodeError, RecursionError) as error:
            raise _unreadable(mediaType, f"invalid-json: {error}") from None
    if not lines:
        raise _unreadable(mediaType, "invalid-json: a batch must hold at least one stanza")
    if len(lines) > MAX_STANZAS:
        text = f"a batch may hold {MAX_STANZAS} stanzas, this one has {len(lines)}: split it"
        sizes = {"size": len(lines), "limit": MAX_STANZAS}
        raise Refusal(413, "modify", "resource-constraint", text, sizes)
    return lines


def _unreadable(mediaType: str | None, reason: str) -> Refusal:
    text = f"Failed to parse payload: {reason}"
    return Refusal(400, "modify", "not-well-formed", text, {"type": mediaType, "error": reason})


class Batches:
    """
    Sends the stanzas of batches, however many there are at once, and leaves the reactor its turns.
    """

    def __init__(self, *, clock: IReactorTime) -> None:
        def slice_() -> Callable[[], bool]:
            end = clock.seconds() + SLICE
            return lambda: clock.seconds() >= end

        self._cooperator = Cooperator(
            terminationPredicateFactory=slice_, scheduler=partial(clock.callLater, 0)
        )

    async def results(self, lines: Sequence[bytes], send: Send, refuse: Refuse) -> list[bytes]:
        """
        Send each line, in their order.

        What C{refuse} raises, and cancelling, ends the whole: what was not sent by then is not sent, and
        nobody waits for the answers to the rest.

        @param refuse: what a failure of C{send} means to the caller.
        @return: a JSON object for each.
        """
        batch = _Batch(send, refuse)
        task = self._cooperator.cooperate(batch.begin(lines))
        try:
            await task.whenDone()
            return [await each for each in batch.begun]
        except Exception:
            with suppress(TaskFinished):
                task.stop()
            batch.abandon()
            raise


class _Batch:
    """
    One that is under way.

    @ivar begun: the results of what has been sent.
    """

    def __init__(self, send: Send, refuse: Refuse) -> None:
        self.begun: list[Deferred[bytes]] = []
        self._send = send
        self._refuse = refuse
        self._room = MAX_ANSWERS
        # Of the request that it is for: its lines are sent in turns of the reactor that belong to none.
        self._context = copy_context()

    def begin(self, lines: Sequence[bytes]) -> Iterator[None]:
        """
        Send a line with each step.
        """
        for number, line in enumerate(lines):
            self.begun.append(self._context.run(Deferred.fromCoroutine, self._result(number, line)))
            yield

    def abandon(self) -> None:
        for each in self.begun:
            each.addErrback(lambda _: None)
            each.cancel()

    async def _result(self, number: int, line: bytes) -> bytes:
        try:
            reply, ignored = await self._send(number, line)
            return self._written(reply, ignored)
        except CancelledError:
            raise
        except Exception:
            return _refused(self._refuse(Failure()))

    def _written(self, reply: Reply | None, ignored: Sequence[str]) -> bytes:
        if reply is None:
            return msgspec.json.encode({"status": 202, "ignored": ignored}) if ignored else _TAKEN
        # At once: as elements it is ten times as large.
        answer = encode(JSON, reply)
        self._room -= len(answer)
        if self._room < 0:
            text = f"it was answered, but all that answers a batch may have {MAX_ANSWERS} bytes: split it"
            raise Refusal(413, "modify", "resource-constraint", text, {"limit": MAX_ANSWERS})
        more = {"ignored": ignored} if ignored else {}
        return msgspec.json.encode({"status": 200, "answer": msgspec.Raw(answer), **more})


class Queue:
    """
    The stanzas of a batch that wait for another stream, to be sent by it in the order of their lines: the
    one that broke has told each kind of them by itself.
    """

    def __init__(self, again: Again) -> None:
        self._again = again
        self._waiting: list[tuple[int, Deferred[bool]]] = []

    async def wait(self, number: int) -> bool:
        """
        Whether the stanza can be sent again, as soon as it is its turn.
        """
        turn: Deferred[bool] = Deferred()
        self._waiting.append((number, turn))
        if len(self._waiting) == 1:
            Deferred.fromCoroutine(self._restored()).addBoth(self._call)
        return await turn

    async def _restored(self) -> bool:
        return await self._again()

    def _call(self, result: bool | Failure) -> None:
        waiting, self._waiting = sorted(self._waiting, key=itemgetter(0)), []
        for _, turn in waiting:
            turn.callback(result)


def _refused(refusal: Refusal) -> bytes:
    return msgspec.json.encode({"status": refusal.status, "error": errorDocument(refusal)})


def answered(results: Sequence[bytes], accept: str, mediaType: str | None) -> Answer:
    """
    The answer to a batch: lines to lines and an array to an array, if C{Accept} doesn't name the other.
    """
    # The one whose name holds the other's stands before it.
    form = choose(accept, mediaType, (NDJSON, JSONL, JSON))
    body = b"[" + b",".join(results) + b"]" if form == JSON else b"".join(line + b"\n" for line in results)
    return Answer(200, body, form)
