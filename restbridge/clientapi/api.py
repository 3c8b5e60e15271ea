"""
C{/api}: the resources, and what becomes of a request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
from klein import Klein
from twisted.python.failure import Failure

from restbridge.clientapi import contacts, messages
from restbridge.clientapi.call import Call, Endpoint, allowed, checkMediaTypes, checkMethod
from restbridge.stanzas.media import JSON
from restbridge.stanzas.xml import XMLRefused
from restbridge.web.answer import Answer, Refusal, refusalFor, write
from restbridge.web.guard import Guard, Presented
from restbridge.web.site import BridgeRequest

CHALLENGE = ("WWW-Authenticate", 'Basic realm="restbridge", charset="UTF-8"')

Resource = Callable[["ClientAPI"], Mapping[str, Endpoint]]


def _resource(app: Klein, *urls: str) -> Callable[[Resource], Resource]:
    """
    The routes of a resource: a function that names its endpoints by their methods.
    """

    def decorate(resource: Resource) -> Resource:
        async def route(self: ClientAPI, request: BridgeRequest, **path: str) -> bytes:
            return write(request, await self.answer(request, resource(self), path))

        for url in urls:
            app.route(url, endpoint=url, strict_slashes=False)(route)
        return resource

    return decorate


class ClientAPI:
    """
    MongooseIM's resources, for XMPP users.
    """

    app = Klein()
    app.url_map.merge_slashes = False

    def __init__(self, *, guard: Guard) -> None:
        self._guard = guard

    @_resource(app, "/api/messages", "/api/messages/<path:other>")
    def messages(self) -> Mapping[str, Endpoint]:
        """
        One-to-one messages.
        """
        return {"GET": messages.history, "POST": messages.send}

    @_resource(app, "/api/contacts", "/api/contacts/<path:contact>")
    def contacts(self) -> Mapping[str, Endpoint]:
        """
        The user's roster.
        """
        return {
            "GET": contacts.listed,
            "POST": contacts.add,
            "PUT": contacts.manage,
            "DELETE": contacts.remove,
        }

    async def answer(
        self, request: BridgeRequest, endpoints: Mapping[str, Endpoint], path: Mapping[str, str]
    ) -> Answer:
        """
        The whole way from a request to its answer.
        """
        method = request.method.decode("latin-1")
        checkMethod(method, endpoints)
        user = await self._guard.user(Presented.by(request))
        if user is None:
            raise Refusal(401, headers=(CHALLENGE,))
        if method == "OPTIONS":
            return Answer(200, headers=(("Allow", allowed(endpoints)),))
        checkMediaTypes(request, method)
        call = Call(link=user.link, path=path, query=request.query, body=request.content.read())
        return await endpoints[method](call)

    @app.handle_errors(Exception)  # type: ignore[arg-type]  # the site makes no other requests
    def refuse(self, request: BridgeRequest, failure: Failure) -> bytes:
        """
        Say why it isn't answered: in one JSON string, where HTTP's status doesn't say it all.
        """
        if failure.check(XMLRefused):
            return write(request, _said(Refusal(400, text=failure.getErrorMessage())))
        refusal = refusalFor(request, failure)
        if refusal.condition == "item-not-found":
            # Nothing is there, for anybody.
            refusal = Refusal(404)
        return write(request, _said(refusal))


def _said(refusal: Refusal) -> Answer:
    if refusal.text is None:
        return Answer(refusal.status, headers=refusal.headers)
    return Answer(refusal.status, msgspec.json.encode(refusal.text), JSON, refusal.headers)
