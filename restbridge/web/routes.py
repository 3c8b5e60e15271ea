"""
The way from a request to its Klein route, and back with what that returns.

::

    method, path -> the app's url_map (remembered) -> endpoint -> Answer                -> written
                                                               -> failure -> api.refuse -> written
    the client leaves -> what is under way is cancelled

Klein's own resource binds and matches each request anew, and takes it through several more Deferreds: by
itself that costs as much again as all that twisted.web does for a request (C{benchmarks}: "bare Klein
route").
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from functools import lru_cache
from typing import Any, Protocol, TypeAlias, TypeVar

from klein import Klein
from twisted.internet.defer import CancelledError, fail
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from werkzeug.exceptions import HTTPException, NotFound

from restbridge.logs import About
from restbridge.tally import NOWHERE
from restbridge.web.answer import Answer
from restbridge.web.site import BridgeRequest

REMEMBERED = 1024
"""Paths whose routes are remembered."""

LONG = 256
"""Characters of a method and path that are not."""

Match: TypeAlias = tuple[str, str, Mapping[str, str]]
"""A rule, its endpoint's name, and the variable segments of the path."""


Handler = TypeVar("Handler", bound=Callable[..., Coroutine[Any, Any, Answer | None]])


def route(app: Klein, url: str, **options: Any) -> Callable[[Handler], Handler]:
    """
    One of an L{API}'s routes.
    """
    # Klein's own type says what its resource can show, which is not asked here.
    decorate: Any = app.route(url, **options)
    return decorate  # type: ignore[no-any-return]  # as said


class API(Protocol):
    """
    What has routes: C{async} methods that return an L{Answer}, or L{None} where they have written all of it.
    """

    @property
    def app(self) -> Klein: ...

    def refuse(self, request: BridgeRequest, failure: Failure) -> Answer:
        """
        The answer to a request that could not be answered, or that no route takes
        (L{werkzeug.exceptions.HTTPException}); likewise.
        """


class Routed(Resource):
    """
    All that an API serves.
    """

    log = Logger()
    isLeaf = True

    def __init__(self, api: API) -> None:
        super().__init__()
        self._api = api
        self._app = api.app
        self._match = _matching(self._app)

    def render(self, request: BridgeRequest) -> int:
        try:
            request.route, endpoint, parts = self._match(request.method.decode("latin-1"), request.text or "")
        except HTTPException:
            request.route = NOWHERE
            work: Any = fail(Failure())
        else:
            work = self._app.execute_endpoint(endpoint, request, **parts)
        work.addCallbacks(_finish, self._refused, (request,), errbackArgs=(request,))
        work.addErrback(self._broken, request)
        request.whenLeft(work.cancel)
        return NOT_DONE_YET

    def _refused(self, failure: Failure, request: BridgeRequest) -> None:
        # It may be another request's work in which this one's came to its end.
        with About(request.id):
            if not request.left:
                request.reply(self._api.refuse(request, failure))
            elif failure.check(CancelledError) is None:
                self.log.failure("Something failed whose client has left", failure)

    def _broken(self, failure: Failure, request: BridgeRequest) -> None:
        with About(request.id):
            request.processingFailed(failure)


def _finish(answer: Answer | None, request: BridgeRequest) -> None:
    if request.left:
        return
    if answer is None:
        request.finish()
    else:
        request.reply(answer)


def _matching(app: Klein) -> Callable[[str, str], Match]:
    routes = app.url_map.bind("localhost")

    def match(method: str, path: str) -> Match:
        """
        @raise HTTPException: no route takes it.
        """
        rule, parts = routes.match(path, method, return_rule=True)
        if rule.methods is not None and method not in rule.methods:
            # Werkzeug takes "post" for POST; methods are case-sensitive (RFC 9110, section 9.1).
            raise NotFound
        return rule.rule, rule.endpoint, parts

    remembered = lru_cache(REMEMBERED)(match)
    return lambda method, path: (match if len(method) + len(path) > LONG else remembered)(method, path)
