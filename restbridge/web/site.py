"""
The web server: what is mounted where, and what holds for every request whatever it asks.

::

    bytes -> BridgeRequest (body bounded in memory) -> CORS -> the mount of the first path segment
                                                               Answer -> reply -> bytes
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property, lru_cache
from io import BytesIO
from string import punctuation
from time import monotonic, time
from types import MappingProxyType
from urllib.parse import quote, unquote_to_bytes

from twisted.internet.interfaces import IAddress
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure
from twisted.web.http import NO_BODY_CODES, RESPONSES, datetimeToString
from twisted.web.http_headers import Headers
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET, Request, Site, version

from restbridge.config import HTTP
from restbridge.logs import About, tell, wants
from restbridge.tally import NOWHERE, Requests
from restbridge.web.answer import Answer, Refusal, notFound, ownFault, refusalAnswer, unavailable
from restbridge.web.channel import closing
from restbridge.web.cors import allowOrigin, preflight
from restbridge.web.requestid import HEADER, requestIdOf
from restbridge.web.serving import Connection, Connections

DISCARDED = 8 * 1024 * 1024
"""Bytes past the limit that are read over, so that a client in the middle of its upload gets its 413."""


class BridgeRequest(Request):
    """
    A request whose body stays in memory, within the limit.

    Twisted writes larger bodies to a temporary file on the reactor's thread, reads forms into
    C{args}, and bounds neither (twisted#4898).

    @ivar left: whether the client has gone before its answer.
    @ivar id: what the log, and the answer, call it by.
    @ivar route: the rule by which it is answered, for whoever counts.
    """

    id = ""
    route = NOWHERE

    channel: Connection
    content: BytesIO
    query: bytes

    def __init__(self, channel: Connection, queued: object = False) -> None:
        super().__init__(channel, queued)
        self.site: BridgeSite = channel.site  # type: ignore[attr-defined]
        self.size = 0
        self.closed = False
        self.left = False
        self.started = monotonic()
        self._whenLeft: Callable[[], object] | None = None

    def gotLength(self, length: int | None) -> None:
        self.content = BytesIO()
        self.id = requestIdOf(self.getHeader(b"x-request-id"))

    def handleContentChunk(self, data: bytes) -> None:
        limit = self.site.settings.maxBody
        self.size += len(data)
        if self.size <= limit:
            self.content.write(data)
        elif self.size > limit + DISCARDED and not self.closed:
            # What the channel has read already still comes here, chunk by chunk.
            self.closed = True
            self.channel.write(closing(b"413 Content Too Large", self.id))
            self.channel.loseConnection()

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        if self.closed:
            # It has its answer, and no more time than that takes to be read.
            self.channel.setTimeout(self.site.settings.idleTimeout)
            return
        # Twisted's own runs an e-mail parser over each Content-Type and reads forms into args.
        self.content.seek(0)
        self.args: dict[bytes, list[bytes]] = {}
        self.method, self.uri, self.clientproto = command, path, version
        self.path, _, self.query = path.partition(b"?")
        self.process()

    def process(self) -> None:
        with About(self.id):
            self._process()

    def _process(self) -> None:
        allowOrigin(self, self.site.settings.corsOrigins)
        answer = preflight(self, self.site.settings.corsOrigins) or self._refused()
        if answer is not None:
            self.reply(answer)
        elif self.path == b"*":
            super().process()
        else:
            try:
                self.render(self.site.getResourceFor(self))
            except Exception:
                self.processingFailed(Failure())

    def reply(self, answer: Answer) -> None:
        """
        Send a whole answer, in one piece: what C{write} does for one that comes in several, in a fraction of
        the time. Where part of one has gone out the connection is broken: what is missing of it can't be told
        from what is all, unless the connection ends too early.
        """
        if self.startedWriting:
            self.site.log(self)
            self.channel.transport.abortConnection()
            return
        self.setResponseCode(answer.status)
        head = [_firstLines(self.clientproto, answer.status), _date(int(time())), self.id.encode()]
        if answer.mediaType is not None:
            head.append(_contentType(answer.mediaType))
        if answer.status not in NO_BODY_CODES:
            head.append(b"\r\nContent-Length: %d" % len(answer.body))
        if answer.headers:
            head += _lines(_headers(answer.headers))
        self._sayEnding()
        head += _lines(self.responseHeaders)
        head.append(b"\r\n\r\n")
        if self.method != b"HEAD" and answer.status not in NO_BODY_CODES:
            head.append(answer.body)
            self.sentLength = len(answer.body)
        self.startedWriting = 1
        self.channel.write(b"".join(head))
        self.finish()

    def write(self, data: bytes) -> None:
        if not self.startedWriting:
            self.setHeader(b"Server", version)
            self.setHeader(b"Date", datetimeToString())
            self.responseHeaders.addRawHeader(HEADER, self.id.encode())
            self._sayEnding()
        super().write(data)

    def _sayEnding(self) -> None:
        if self.channel.ending:
            self.responseHeaders.setRawHeaders(b"Connection", [b"close"])

    def processingFailed(self, reason: Failure) -> Failure:
        self.site.log_.failure("A request could not be answered", reason)
        if not (self.finished or self.left):
            self.reply(refusalAnswer(ownFault(), self.accept))
        return reason

    def _refused(self) -> Answer | None:
        limit = self.site.settings.maxBody
        if self.channel.ending:
            refusal = unavailable("restbridge is stopping")
        elif self.size > limit:
            sizes = {"size": self.size, "limit": limit}
            refusal = Refusal(413, "modify", "resource-constraint", "Payload too large", sizes)
        elif self.text is None:
            refusal = Refusal(400, "modify", "bad-request", "the path is not UTF-8")
        else:
            return None
        return self.site.refuse(self, refusal)

    @cached_property
    def text(self) -> str | None:
        """
        The path, percent-decoded; L{None} where it is not UTF-8, and the request is refused.
        """
        try:
            return unquote_to_bytes(self.path).decode()
        except UnicodeDecodeError:
            return None

    def whenLeft(self, call: Callable[[], object]) -> None:
        """
        Call C{call} when the client goes before its answer; the last such call counts.
        """
        self._whenLeft = call

    def connectionLost(self, reason: Failure) -> None:
        self.left = True
        call, self._whenLeft = self._whenLeft, None
        if call is not None:
            call()
        super().connectionLost(reason)

    def whenEnding(self, call: Callable[[], object]) -> None:
        """
        Call C{call} when the bridge stops: an answer that has no end of its own comes to one then.
        """
        self.channel.whenEnding(call)

    @property
    def accept(self) -> str:
        """
        The Accept headers as one, or an empty text.
        """
        return b",".join(self.requestHeaders.getRawHeaders(b"accept", [])).decode("latin-1")

    @property
    def origin(self) -> str:
        """
        See L{Connection.origin}.
        """
        return self.channel.origin(self.requestHeaders)

    def getRequestHostname(self) -> bytes:
        """
        No route depends on the Host header, which Klein would fail over when it is no host name.
        """
        return b"localhost"


@lru_cache(64)
def _firstLines(protocol: bytes, status: int) -> bytes:
    reason = RESPONSES.get(status, b"Unknown Status")
    return b"%s %d %s\r\nServer: %s\r\n" % (protocol, status, reason, version)


@lru_cache(1)
def _date(second: int) -> bytes:
    """
    The headers up to the request's id.
    """
    return b"Date: %s\r\n%s: " % (datetimeToString(second), HEADER)


@lru_cache(64)
def _contentType(mediaType: str) -> bytes:
    if not mediaType.isprintable():
        raise ValueError(f"{mediaType!r} is no media type")
    return b"\r\nContent-Type: " + mediaType.encode("ascii")


def _headers(given: Iterable[tuple[str, str]]) -> Headers:
    """
    Without what would end a line.
    """
    headers = Headers()
    for name, value in given:
        headers.addRawHeader(name, value)
    return headers


def _lines(headers: Headers) -> Iterator[bytes]:
    for name, values in headers.getAllRawHeaders():
        for value in values:
            yield b"\r\n%s: %s" % (name, value)


def _shown(data: bytes) -> str:
    """
    Bytes from a stranger in a line of a log: percent-encoded where they are not printable ASCII.
    """
    text = data.decode("latin-1")
    isPlain = text.isascii() and text.isprintable() and " " not in text
    return text if isPlain else quote(data, safe=punctuation)


class BridgeSite(Site):
    """
    Dispatches by the first segment of the path and leaves the whole path to what is mounted there.

    @ivar connections: those that are open.
    """

    protocol = Connection  # type: ignore[assignment]  # Twisted's chooses between this and HTTP/2
    log_ = Logger()
    displayTracebacks = False
    noisy = False

    def __init__(
        self,
        *,
        settings: HTTP,
        mounts: Mapping[bytes, IResource],
        refusals: Mapping[bytes, Callable[[Refusal], Answer]] = MappingProxyType({}),
        tally: Requests | None = None,
    ) -> None:
        """
        @param mounts: by the first segment of the path.
        @param refusals: the form in which a mount says no, where that is another than L{refusalAnswer}'s.
        @param tally: counts what is answered.
        """
        self._nothing = NotFound()
        super().__init__(self._nothing, requestFactory=BridgeRequest, timeout=settings.idleTimeout)
        self.settings = settings
        self._mounts = mounts
        self._names = {mount: mount.decode() for mount in mounts}
        self._refusals = refusals
        self._tally = tally
        self._told = wants(self.log_, LogLevel.info)
        self.connections = Connections(settings)

    def acceptableProtocols(self) -> list[bytes]:
        """
        HTTP/1.1, also where Twisted could do HTTP/2: only L{Connection} knows how to end.
        """
        return [b"http/1.1"]

    def buildProtocol(self, addr: IAddress | None) -> Connection:  # type: ignore[override]  # likewise
        connection: Connection = super().buildProtocol(addr)
        connection.connections = self.connections
        connection.bind(self.settings, self.reactor)
        return connection

    def getResourceFor(self, request: BridgeRequest) -> IResource:
        mount = _mount(request)
        resource = self._mounts.get(mount)
        if resource is None:
            return self._nothing
        request.route = f"/{self._names[mount]}"
        return resource

    def refuse(self, request: BridgeRequest, refusal: Refusal) -> Answer:
        """
        What is said to a request that doesn't get as far as its mount.
        """
        said = self._refusals.get(_mount(request))
        return refusalAnswer(refusal, request.accept) if said is None else said(refusal)

    def startFactory(self) -> None:
        """
        Twisted would open a log file of its own.
        """

    def stopFactory(self) -> None:
        pass

    def log(self, request: BridgeRequest) -> None:  # type: ignore[override]  # no other is made here
        """
        One line a request; the query stays out of it, since people put secrets there.
        """
        seconds = monotonic() - request.started
        if self._tally is not None:
            api = self._names.get(_mount(request), NOWHERE)
            self._tally.count(api, request.route, request.method, request.code, seconds)
        if self._told:
            tell(
                self.log_,
                "{client} {method} {path} {status} {size} {milliseconds:.1f}ms",
                client=request.origin,
                method=_shown(request.method),
                path=_shown(request.path),
                status=request.code,
                size=request.sentLength,
                milliseconds=seconds * 1000,
                request=request.id,
            )


def _mount(request: BridgeRequest) -> bytes:
    return request.path[1:].partition(b"/")[0]


class NotFound(Resource):
    """
    Where nothing is mounted.
    """

    isLeaf = True

    def render(self, request: BridgeRequest) -> int:
        request.reply(self.answer(request))
        return NOT_DONE_YET

    def answer(self, request: BridgeRequest) -> Answer:
        """
        What is said at once, without waiting for anything.
        """
        refusal = notFound(request.method.decode("latin-1"), request.path.decode("latin-1"))
        return refusalAnswer(refusal, request.accept)


class Health(NotFound):
    """
    C{/healthz} and C{/readyz}: 200, or 503 with the reason.
    """

    def __init__(self, whyDown: Callable[[], str | None]) -> None:
        super().__init__()
        self._whyDown = whyDown

    def answer(self, request: BridgeRequest) -> Answer:
        if request.method not in (b"GET", b"HEAD"):
            return super().answer(request)
        reason = self._whyDown()
        status, text = (200, "ok") if reason is None else (503, reason)
        return Answer(status, f"{text}\n".encode(), "text/plain; charset=utf-8")
