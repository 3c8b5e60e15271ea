"""
C{/rest}: the routes, and what becomes of a request.
"""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from string import punctuation
from urllib.parse import parse_qsl, quote

import attrs
from klein import Klein
from twisted.python.failure import Failure

from restbridge.config import Rest
from restbridge.rest.address import address
from restbridge.rest.deliver import Reply, deliver, never
from restbridge.stanzas.mapping import Mapped, MappingRefused
from restbridge.stanzas.media import QUERIES, UnknownMediaType, Unreadable, answerType, ask, decode, encode
from restbridge.stanzas.xml import XMLRefused
from restbridge.web.answer import Answer, Headers, Refusal, notFound, refusalAnswer, refusalFor, write
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

    def __init__(self, *, guard: Guard, settings: Rest, once: Once) -> None:
        self.guard = guard
        self._settings = settings
        self._once = once
        self._places = Places(settings.iqMaxPending)

    @guardedRoute(app, "/rest", methods=["POST"])
    @guardedRoute(app, "/rest/<path:parameters>", methods=["POST"])
    async def post(
        self, request: BridgeRequest, principal: Principal, parameters: str | None = None
    ) -> Answer:
        """
        Send a stanza: C{POST /rest}, C{POST /rest/{kind}/{type}/{to}}.
        """
        call = Call.of(request)

        async def sent(keyed: Keyed | None) -> Answer:
            return await self.answer(_decoded(call, parameters), call, principal, keyed)

        return await self._once.answer(request, principal.address.bare, sent, partial(_refused, request))

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
        stanza = address(mapped.stanza, principal, None if keyed is None else str(keyed.id))
        again = never if keyed is None else lambda: principal.restored(keyed.remaining())
        place = self._places.one(principal.address.bare) if stanza.name == "iq" else nullcontext()
        with place:
            reply = await deliver(stanza, principal.link, self._settings, call.timeout, again)
        if reply is None:
            return Answer(202, headers=_ignored(mapped))
        return _encoded(reply, call, mapped)

    @app.handle_errors(Exception)  # type: ignore[arg-type]  # the site makes no other requests
    def refuse(self, request: BridgeRequest, failure: Failure) -> bytes:
        """
        Say why it isn't answered, in the form that the caller reads.
        """
        return write(request, _refused(request, failure))


def _refused(request: BridgeRequest, failure: Failure) -> Answer:
    return refusalAnswer(refusalFor(request, failure), request.accept)


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
