"""
C{/metrics}, and the port that it is asked for on.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import IResource
from twisted.web.server import NOT_DONE_YET

from restbridge.config import HTTP
from restbridge.metrics.collector import Watched, registryOf
from restbridge.web.answer import Answer, ownFault, refusalAnswer
from restbridge.web.site import BridgeRequest, BridgeSite, NotFound
from restbridge.webhook.backlog import Backlog

HOME = b"<!DOCTYPE html><title>restbridge</title><a href='/metrics'>Metrics</a>\n"


class Page(NotFound):
    """
    What can be read at one path, and nowhere below it.
    """

    def __init__(self, path: bytes) -> None:
        super().__init__()
        self._path = path

    def isAsked(self, request: BridgeRequest) -> bool:
        """
        Whether it is this page that a request is for.
        """
        return request.path == self._path and request.method in (b"GET", b"HEAD")


class Home(Page):
    """
    Where people begin.
    """

    def __init__(self) -> None:
        super().__init__(b"/")

    def answer(self, request: BridgeRequest) -> Answer:
        if not self.isAsked(request):
            return super().answer(request)
        return Answer(200, HOME, "text/html; charset=utf-8")


class Metrics(Page):
    """
    The metrics, in the form that the scraper prefers: Prometheus' own, or OpenMetrics.
    """

    log = Logger()

    def __init__(self, *, registry: CollectorRegistry, backlog: Backlog) -> None:
        super().__init__(b"/metrics")
        self._registry = registry
        self._backlog = backlog

    def render(self, request: BridgeRequest) -> int:
        if not self.isAsked(request):
            return super().render(request)
        told = Deferred.fromCoroutine(self._told(request.accept)).addErrback(self._failed, request)
        told.addCallback(_finish, request)
        request.whenLeft(told.cancel)
        return NOT_DONE_YET

    async def _told(self, accept: str) -> Answer:
        await self._backlog.look()
        encode, mediaType = choose_encoder(accept)
        return Answer(200, encode(self._registry), mediaType)

    def _failed(self, failure: Failure, request: BridgeRequest) -> Answer:
        if not request.left:
            self.log.failure("The metrics could not be told", failure)
        return refusalAnswer(ownFault(), request.accept)


def _finish(answer: Answer, request: BridgeRequest) -> None:
    if not request.left:
        request.reply(answer)


class MetricsSite(BridgeSite):
    """
    Without a line in the log each time that Prometheus asks.
    """

    def log(self, request: BridgeRequest) -> None:  # type: ignore[override]  # as above
        pass


def siteOf(watched: Watched, clock: IReactorTime) -> MetricsSite:
    """
    What listens: the bridge's metrics, and nothing else.
    """
    metrics = Metrics(registry=registryOf(watched, clock), backlog=watched.backlog)
    mounts: dict[bytes, IResource] = {b"": Home(), b"metrics": metrics}
    return MetricsSite(settings=HTTP(), mounts=mounts)
