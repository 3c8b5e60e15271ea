"""
C{/api}: the resources, and what becomes of a request.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from functools import partial
from uuid import uuid4

import msgspec
from klein import Klein
from twisted.python.failure import Failure
from werkzeug.exceptions import NotFound
from werkzeug.routing import PathConverter

from restbridge.clientapi import messages
from restbridge.clientapi.call import Call, Endpoint, allowed, checkMediaTypes, checkMethod
from restbridge.clientapi.contacts import Contacts
from restbridge.clientapi.events import Events
from restbridge.clientapi.rooms import Rooms
from restbridge.stanzas.media import JSON
from restbridge.stanzas.xml import XMLRefused
from restbridge.web.answer import Answer, Refusal, refusalFor
from restbridge.web.grants import QUERY, SEND
from restbridge.web.guard import Guard, Presented, UserPrincipal, permit, presentsCredentials
from restbridge.web.idempotency import Keyed, Once
from restbridge.web.routes import route
from restbridge.web.site import BridgeRequest

CHALLENGE = ("WWW-Authenticate", 'Basic realm="restbridge", charset="UTF-8"')


class _Rest(PathConverter):
    """
    The rest of a path, line feeds among it, which for Werkzeug's own end it.
    """

    regex = r"[^/][\s\S]*?"


Resource = Callable[["ClientAPI"], Mapping[str, Endpoint]]


def _resource(app: Klein, *urls: str) -> Callable[[Resource], Resource]:
    """
    The routes of a resource: a function that names its endpoints by their methods.
    """

    def decorate(resource: Resource) -> Resource:
        async def served(self: ClientAPI, request: BridgeRequest, **path: str) -> Answer:
            return await self.answer(request, resource(self), path)

        for url in urls:
            route(app, url, endpoint=url, strict_slashes=False)(served)
        return resource

    return decorate


class ClientAPI:
    """
    MongooseIM's resources, for XMPP users.
    """

    app = Klein()
    app.url_map.merge_slashes = False
    app.url_map.converters["path"] = _Rest

    def __init__(self, *, guard: Guard, events: Events, rooms: Rooms, once: Once) -> None:
        self._guard = guard
        self._once = once
        self._contacts = Contacts()
        self._rooms = rooms
        self._events = events

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
            "GET": self._contacts.listed,
            "POST": self._contacts.add,
            "PUT": self._contacts.manage,
            "DELETE": self._contacts.remove,
        }

    @_resource(app, "/api/rooms", "/api/rooms/<room>")
    def rooms(self) -> Mapping[str, Endpoint]:
        """
        Rooms for more than two.
        """
        rooms = self._rooms
        return {"GET": rooms.shown, "POST": rooms.create, "PUT": rooms.createNamed}

    @_resource(app, "/api/rooms/<room>/config")
    def roomConfig(self) -> Mapping[str, Endpoint]:
        """
        Name and subject of a room.
        """
        return {"PUT": self._rooms.configure}

    @_resource(app, "/api/rooms/<room>/users", "/api/rooms/<room>/users/<path:user>")
    def roomUsers(self) -> Mapping[str, Endpoint]:
        """
        Who is in a room.
        """
        return {"POST": self._rooms.add, "DELETE": self._rooms.remove}

    @_resource(app, "/api/rooms/<room>/messages")
    def roomMessages(self) -> Mapping[str, Endpoint]:
        """
        What is said in a room.
        """
        return {"GET": self._rooms.history, "POST": self._rooms.send}

    @route(app, "/api/sse", strict_slashes=False)
    async def sse(self, request: BridgeRequest) -> Answer | None:
        """
        What is written to the user, as it happens: an answer that stays open.
        """
        if request.method == b"OPTIONS":
            return _options(request, ("GET",))
        user = await self._user(request, ("GET",))
        await self._events.serve(request, user.link, self._rooms.follow)
        return None

    async def answer(
        self, request: BridgeRequest, endpoints: Mapping[str, Endpoint], path: Mapping[str, str]
    ) -> Answer:
        """
        The whole way from a request to its answer.
        """
        method = request.method.decode("latin-1")
        if method == "OPTIONS":
            return _options(request, endpoints)
        user = await self._user(request, endpoints)
        checkMediaTypes(request, method)
        # What takes slashes takes the trailing one, too.
        parts = {name: part.removesuffix("/") for name, part in path.items()}
        body = request.content.read()

        async def served(keyed: Keyed | None) -> Answer:
            used = uuid4() if keyed is None else keyed.id
            call = Call(link=user.link, path=parts, query=request.query, body=body, id=used)
            return await endpoints[method](call)

        return await self._once.answer(request, user.keySpace, served, partial(self.refuse, request))

    async def _user(self, request: BridgeRequest, methods: Container[str]) -> UserPrincipal:
        """
        Who asks for a resource that has these methods.

        @raise Refusal: 405 before 401; 403, the access token allows nothing of the kind.
        """
        checkMethod(request.method.decode("latin-1"), methods)
        user = await self._guard.user(Presented.by(request))
        if user is None:
            raise Refusal(401, headers=(CHALLENGE,))
        permit(user, QUERY if request.method == b"GET" else SEND)
        self._contacts.attend(user.link)
        return user

    def refuse(self, request: BridgeRequest, failure: Failure) -> Answer:
        """
        Why it isn't answered: in one JSON string, where HTTP's status doesn't say it all.
        """
        if failure.check(NotFound):
            return said(Refusal(404))
        if failure.check(XMLRefused):
            return said(Refusal(400, text=failure.getErrorMessage()))
        return said(refusalFor(request, failure))


def _options(request: BridgeRequest, methods: Container[str]) -> Answer:
    """
    What can be done with a resource: said to whoever has credentials, right or wrong.
    """
    if not presentsCredentials(Presented.by(request)):
        raise Refusal(401, headers=(CHALLENGE,))
    return Answer(200, headers=(("Allow", allowed(methods)),))


def said(refusal: Refusal) -> Answer:
    """
    A refusal as this API says it.
    """
    if refusal.text is None:
        return Answer(refusal.status, headers=refusal.headers)
    return Answer(refusal.status, msgspec.json.encode(refusal.text), JSON, refusal.headers)
