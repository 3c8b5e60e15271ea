"""
C{/rest}: the routes, and what becomes of a request.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from string import punctuation
from urllib.parse import parse_qsl, quote
from uuid import uuid5

import attrs
from klein import Klein
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from restbridge.config import Rest
from restbridge.rest.address import address
from restbridge.rest.batch import LINES, Batches, Queue, answered, isBatch, split
from restbridge.rest.deliver import Again, Reply, deliver, never
from restbridge.stanzas.errors import LinkDown
from restbridge.stanzas.mapping import Mapped, MappingRefused
from restbridge.stanzas.media import (
    JSON,
    QUERIES,
    UnknownMediaType,
    Unreadable,
    answerType,
    ask,
    decode,
    encode,
    essence,
)
from restbridge.stanzas.xml import XMLRefused
from restbridge.web.answer import Answer, Headers, Refusal, notFound, refusalAnswer, refusalFor
from restbridge.web.guard import Guard, Principal, guardedRoute
from restbridge.web.idempotency import Keyed, Once
from restbridge.web.quota import Places
from restbridge.web.site import BridgeRequest

_PLAIN = punctuation.replace(",", "").replace("%", "")


@attrs.frozen(kw_only=True)
class Call:
    """
    What a request says beside who sends it.

    @ivar mediaType: the Content-Type header; L{None} where there is none.
    @ivar timeout: the Prosody-Rest-Timeout header.
    """

    body: bytes = b""
    mediaType: str | None = None
    accept: str = ""
    timeout: str | None = None

    @classmethod
    def of(cls, request: BridgeRequest) -> Call:
        """
        What C{request} says.
        """
        return cls(
            body=request.content.read(),
            mediaType=_header(request, b"content-type"),
            accept=request.accept,
            timeout=_header(request, b"prosody-rest-timeout"),
        )


def _header(request: BridgeRequest, name: bytes) -> str | None:
    value = request.getHeader(name)
    return None if value is None else value.decode("latin-1")


class RestAPI:
    """
    mod_rest's routes, over the link of whoever calls.
    """

    app = Klein()
    app.url_map.merge_slashes = False

    def __init__(self, *, guard: Guard, settings: Rest, once: Once, clock: IReactorTime) -> None:
        self.guard = guard
        self._settings = settings
        self._once = once
        self._places = Places(settings.iqMaxPending)
        self._batches = Batches(clock=clock)

    @guardedRoute(app, "/rest", methods=["POST"])
    @guardedRoute(app, "/rest/<path:parameters>", methods=["POST"])
    async def post(
        self, request: BridgeRequest, principal: Principal, parameters: str | None = None
    ) -> Answer:
        """
        Send a stanza: C{POST /rest}, C{POST /rest/{kind}/{type}/{to}}; or several, by the former.
        """
        call = Call.of(request)

        async def sent(keyed: Keyed | None) -> Answer:
            if parameters is None and isBatch(call.mediaType, call.body):
                return await self._batch(request, call, principal, keyed)
            return await self.answer(_decoded(call, parameters), call, principal, keyed)

        return await self._once.answer(request, principal.keySpace, sent, partial(self.refuse, request))

    @guardedRoute(app, "/rest/<name>/", methods=["GET"])
    @guardedRoute(app, "/rest/<name>/<path:to>", methods=["GET"])
    async def get(self, request: BridgeRequest, principal: Principal, name: str, to: str = "") -> Answer:
        """
        Send a query: C{GET /rest/{query}/{to}}.
        """
        parameters = dict(parse_qsl(request.query.decode("utf-8", "replace"), keep_blank_values=True))
        return await self.answer(_queried(name, to, parameters), Call.of(request), principal)

    @guardedRoute(app, "/rest/echo", methods=["POST"])
    async def echo(self, request: BridgeRequest, principal: Principal) -> Answer:
        """
        Give back what would be sent, as mod_rest shows it.
        """
        call = Call.of(request)
        mapped = _decoded(call, None, asModRest=True)
        return _encoded(address(mapped.stanza, principal), call, mapped, asModRest=True)

    async def answer(
        self, mapped: Mapped, call: Call, principal: Principal, keyed: Keyed | None = None
    ) -> Answer:
        """
        The whole way from a stanza to its answer.
        """
        made = None if keyed is None else str(keyed.id)
        reply = await self._reply(mapped, call, principal, made, _again(principal, keyed))
        if reply is None:
            return Answer(202, headers=_ignored(mapped))
        return _encoded(reply, call, mapped)

    async def _reply(
        self, mapped: Mapped, call: Call, principal: Principal, made: str | None, again: Again
    ) -> Reply | None:
        stanza = address(mapped.stanza, principal, made)
        place = self._places.one(principal.address.bare) if stanza.name == "iq" else nullcontext()
        with place:
            return await deliver(stanza, principal.link, self._settings, call.timeout, again)

    async def _batch(
        self, request: BridgeRequest, call: Call, principal: Principal, keyed: Keyed | None
    ) -> Answer:
        lines = split(call.mediaType, call.body)
        reason = principal.link.whyDown()
        if reason is not None:
            raise LinkDown(reason)
        self.guard.countAs(principal, len(lines))
        queue = Queue(_again(principal, keyed))

        async def send(number: int, line: bytes) -> tuple[Reply | None, Sequence[str]]:
            mapped = _decoded(Call(body=line, mediaType=JSON), None)
            made = None if keyed is None else str(uuid5(keyed.id, str(number)))
            again = partial(queue.wait, number)
            if principal.link.whyDown() is not None:
                # Those before it wait to be sent again: what comes behind them is not given up.
                await again()
            return await self._reply(mapped, call, principal, made, again), mapped.ignored

        def refuse(failure: Failure) -> Refusal:
            if keyed is not None and failure.check(LinkDown):
                # Nobody knows which of them were taken. A 503 isn't kept: asked again, all have the same ids.
                failure.raiseException()
            return refusalFor(request, failure)

        results = await self._batches.results(lines, send, refuse)
        return answered(results, call.accept, call.mediaType)

    def refuse(self, request: BridgeRequest, failure: Failure) -> Answer:
        """
        Why it isn't answered, in the form that the caller reads.
        """
        accept = request.accept
        if essence(_header(request, b"content-type") or "") in LINES:
            # Who sends these reads JSON; mod_rest, who doesn't know them, would say it in HTML.
            accept = f"{accept},{JSON}"
        return refusalAnswer(refusalFor(request, failure), accept)


def _again(principal: Principal, keyed: Keyed | None) -> Again:
    return never if keyed is None else lambda: principal.restored(keyed.remaining())


def _decoded(call: Call, parameters: str | None, *, asModRest: bool = False) -> Mapped:
    """
    @raise Refusal: 400, 415 or 422, saying what is wrong.
    """
    context = {"type": call.mediaType} if call.mediaType is not None else {}
    try:
        return decode(call.mediaType, call.body, parameters, asModRest=asModRest)
    except UnknownMediaType:
        raise Refusal(415, "cancel", "bad-format", "Unsupported media type", context) from None
    except Unreadable as error:
        text = f"Failed to parse payload: {error}"
        raise Refusal(400, "modify", "not-well-formed", text, {**context, "error": str(error)}) from None
    except MappingRefused as error:
        raise _unmappable(error) from None


def _queried(name: str, to: str, parameters: dict[str, str]) -> Mapped:
    if name not in QUERIES:
        raise notFound("GET", f"/rest/{name}/{to}")
    try:
        return ask(name, to, parameters)
    except Unreadable as error:
        raise Refusal(400, "modify", "bad-request", f"Failed to parse parameters: {error}") from None
    except MappingRefused as error:
        raise _unmappable(error) from None


def _unmappable(error: MappingRefused) -> Refusal:
    return Refusal(422, "modify", "bad-request", str(error), {"key": error.path})


def _encoded(stanza: Reply, call: Call, mapped: Mapped, *, asModRest: bool = False) -> Answer:
    mediaType = answerType(call.accept, call.mediaType)
    try:
        body = encode(mediaType, stanza, asModRest=asModRest)
    except XMLRefused as error:
        raise Refusal(422, "modify", "not-acceptable", str(error)) from None
    return Answer(200, body, mediaType, _ignored(mapped))


def _ignored(mapped: Mapped) -> Headers:
    """
    Which keys of the request mean nothing, so that a typing error isn't lost in silence;
    percent-encoded, as a header holds ASCII alone.
    """
    names = ", ".join(quote(name, safe=_PLAIN, errors="replace") for name in mapped.ignored)[:500]
    return (("Restbridge-Ignored", names),) if names else ()
