"""
The header Idempotency-Key (draft-ietf-httpapi-idempotency-key-header-07): what a request asks for is done
once, however often the request comes.

::

    no key                        -> done; nothing is kept
    key -> under way in this bridge or another one -> 409
        -> known, of another request               -> 422
        -> known                                   -> the answer that is kept, and Idempotent-Replayed: true
        -> new -> noted -> done -> an answer that holds -> kept -> the answer
                                -> another one          -> forgotten -> the answer

Whoever leaves doesn't end it: the answer is kept for when the request comes again.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Coroutine
from hashlib import blake2b
from typing import Any
from uuid import UUID, uuid5

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from restbridge.store.answers import HELD, Answers, Asked, Kept, Record
from restbridge.store.database import StoreFailed
from restbridge.web.answer import Answer, Refusal
from restbridge.web.site import BridgeRequest

HEADER = b"idempotency-key"
MAX_KEY = 255

REPLAYED = ("Idempotent-Replayed", "true")

PATIENCE = 30.0
"""Seconds for which a request that carries a key tries to get its stanza through a stream that breaks."""

RENEW = HELD / 3000
"""Seconds after which the store is told of a request that is under way still."""

MAX_BODY = 256 * 1024
"""Bytes of an answer that is kept."""

_QUOTED = re.compile(r'"((?:[!#-\[\]-~]|\\["\\])*)"')
_TOKEN = re.compile(r'[^",;\\\s]*')
_PASSING = (401, 408, 409, 429)
"""Of the answers below 500 those that say: not now."""

_NAMESPACE = UUID("c3b6e1a4-5d0f-4c6b-9d3a-0f4c2f7a9e61")


@attrs.frozen(kw_only=True)
class Keyed:
    """
    A request that carries a key, while it is done.

    @ivar id: for the stanza that it sends; the same whenever it is done again.
    """

    id: UUID
    _until: float
    _clock: IReactorTime

    def remaining(self) -> float:
        """
        The seconds for which it may still try.
        """
        return max(0.0, self._until - self._clock.seconds())


Work = Callable[[Keyed | None], Awaitable[Answer]]
Refuse = Callable[[Failure], Answer]


class Once:
    """
    Does what requests ask for, those of the same key once.
    """

    log = Logger()

    def __init__(self, *, answers: Answers, clock: IReactorTime) -> None:
        self._answers = answers
        self._clock = clock
        self._underWay: dict[tuple[str, str], str] = {}
        self._begun: set[Asked] = set()
        self._renewals = LoopingCall(self._renew)
        self._renewals.clock = clock

    async def answer(self, request: BridgeRequest, caller: str, work: Work, refuse: Refuse) -> Answer:
        """
        The answer to a request. Only a POST has a key: what other methods ask for is done once anyway.

        @param caller: who asks, wherever it is asked: keys of others are other keys.
        @param work: does it; given the key, if there is one.
        @param refuse: the answer that a failure of C{work} becomes.
        @raise Refusal: 400, the key can't be read; 409 or 422, see above.
        @raise StoreFailed: nothing was done.
        """
        key = _key(request)
        if key is None:
            return await work(None)
        time = int(self._clock.seconds() * 1000)
        asked = Asked(caller=caller, key=key, fingerprint=_fingerprint(request), time=time)
        underWay = self._underWay.get((caller, key))
        if underWay is not None:
            raise _refusal(asked, underWay)
        self._underWay[caller, key] = asked.fingerprint
        return await _toTheEnd(self._released(asked, work, refuse))

    async def _released(self, asked: Asked, work: Work, refuse: Refuse) -> Answer:
        try:
            record = await self._answers.begin(asked)
            return await self._first(asked, work, refuse) if record is None else _again(asked, record)
        finally:
            del self._underWay[asked.caller, asked.key]

    async def _first(self, asked: Asked, work: Work, refuse: Refuse) -> Answer:
        self._begun.add(asked)
        if not self._renewals.running:
            self._renewals.start(RENEW, now=False)
        try:
            answer = await work(self._keyed(asked))
        except Exception:
            answer = refuse(Failure())
        finally:
            self._begun.discard(asked)
        try:
            await self._settle(asked, answer)
        except StoreFailed as error:
            # What was done is done, and whoever waits shall hear of it.
            self.log.error(
                "The answer to a request with an Idempotency-Key of {caller} is not kept: {reason}",
                caller=asked.caller,
                reason=str(error),
            )
        return answer

    async def _renew(self) -> None:
        """
        Tell other bridges that this one lives, for as long as there is something that they could take over.
        """
        if not self._begun:
            self._renewals.stop()
            return
        now = int(self._clock.seconds() * 1000)
        long = [asked for asked in self._begun if now - asked.time >= int(RENEW * 1000)]
        try:
            if long:
                await self._answers.renew(long, now)
        except StoreFailed as error:
            self.log.error("Requests that are under way could not be renewed: {reason}", reason=str(error))

    async def _settle(self, asked: Asked, answer: Answer) -> None:
        if _passes(answer) or len(answer.body) > MAX_BODY:
            await self._answers.forget(asked)
        else:
            await self._answers.finish(asked, _kept(answer))

    def _keyed(self, asked: Asked) -> Keyed:
        named = uuid5(_NAMESPACE, " ".join((asked.caller, asked.key, asked.fingerprint)))
        return Keyed(id=named, until=self._clock.seconds() + PATIENCE, clock=self._clock)


async def _toTheEnd(work: Coroutine[Any, Any, Answer]) -> Answer:
    """
    What C{work} returns. It goes on, also if nobody waits for it any more.
    """
    outcome: Deferred[Answer] = Deferred()

    def settle(result: Answer | Failure) -> None:
        if not (outcome.called and isinstance(result, Failure)):
            outcome.callback(result)

    Deferred.fromCoroutine(work).addBoth(settle)
    return await outcome


def _passes(answer: Answer) -> bool:
    """
    Whether the same request may get another answer later, or with other credentials.
    """
    challenged = any(name == "WWW-Authenticate" for name, _ in answer.headers)
    return challenged or answer.status >= 500 or answer.status in _PASSING


def _key(request: BridgeRequest) -> str | None:
    """
    The key that a request carries.

    @raise Refusal: 400, it is none.
    """
    given = request.requestHeaders.getRawHeaders(HEADER)
    if given is None or request.method != b"POST":
        return None
    text = b", ".join(given).decode("latin-1").strip()
    quoted = _QUOTED.fullmatch(text)
    key = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else text
    if not (quoted or _TOKEN.fullmatch(text)) or not 0 < len(key) <= MAX_KEY or not _isVisible(key):
        raise Refusal(
            400,
            "modify",
            "bad-request",
            f"Idempotency-Key must be one string in quotes, of 1 to {MAX_KEY} visible ASCII characters",
        )
    return key


def _isVisible(text: str) -> bool:
    return all("!" <= character <= "~" for character in text)


def _fingerprint(request: BridgeRequest) -> str:
    digest = blake2b(digest_size=32)
    accept, mediaType = request.accept.encode("latin-1"), request.getHeader(b"content-type") or b""
    for part in (request.method, request.uri, accept, mediaType, request.content.getvalue()):
        digest.update(len(part).to_bytes(8) + part)
    return digest.hexdigest()


def _refusal(asked: Asked, fingerprint: str) -> Refusal:
    """
    Why a request is not answered while that of C{fingerprint} is under way.
    """
    if asked.fingerprint != fingerprint:
        return Refusal(422, "cancel", "conflict", "this Idempotency-Key was used for another request")
    text = "the first request with this Idempotency-Key is still under way"
    return Refusal(409, "wait", "conflict", text, headers=(("Retry-After", "1"),))


def _again(asked: Asked, record: Record) -> Answer:
    """
    What was answered before.

    @raise Refusal: 409 or 422.
    """
    kept = record.answer
    if kept is None or asked.fingerprint != record.fingerprint:
        raise _refusal(asked, record.fingerprint)
    return Answer(kept.status, kept.body, kept.mediaType, (*kept.headers, REPLAYED))


def _kept(answer: Answer) -> Kept:
    return Kept(status=answer.status, headers=answer.headers, mediaType=answer.mediaType, body=answer.body)
