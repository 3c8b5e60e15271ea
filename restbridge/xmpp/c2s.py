"""
Logging in as a user (RFC 6120): one attempt, from the domain's routes to a bound stream.

::

    routes -> endpoint -> GuardedXmlStream -> STARTTLS -> SASL -> resume -> the UserStream that there was
                                                               -> bind -> session -> enable -> UserStream
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from secrets import token_urlsafe
from typing import Any

import attrs
from OpenSSL.SSL import Error as TLSError
from service_identity import VerificationError
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError, ConnectionDone, ConnectionLost, DNSLookupError
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.words.protocols.jabber.client import (
    NS_XMPP_BIND,
    NS_XMPP_SESSION,
)
from twisted.words.protocols.jabber.error import StreamError
from twisted.words.protocols.jabber.xmlstream import (
    INIT_FAILED_EVENT,
    STREAM_AUTHD_EVENT,
    BaseFeatureInitiatingInitializer,
    ConnectAuthenticator,
    FeatureNotAdvertized,
    TLSFailed,
    TLSInitiatingInitializer,
    XmlStreamFactory,
)
from twisted.words.xish.domish import Element, ParserError
from twisted.words.xish.xmlstream import STREAM_END_EVENT, STREAM_ERROR_EVENT

from restbridge.boundaries import Credential
from restbridge.stanzas.errors import LinkDown, LoginRefused, errorOf
from restbridge.stanzas.jid import JID, InvalidJID
from restbridge.stanzas.replies import newId
from restbridge.stanzas.xml import NS_CLIENT, NS_XML, serialize
from restbridge.workers import Workers
from restbridge.xmpp.management import ENABLE, NS_SM, Ledger, countOf
from restbridge.xmpp.sasl import Authentication
from restbridge.xmpp.stream import SECURED_EVENT, GuardedXmlStream
from restbridge.xmpp.traffic import Traffic
from restbridge.xmpp.userstream import UserStream

ACKNOWLEDGE_AFTER = 0.001
"""
Seconds from TLS to an acknowledgement. Prosody's stream header waits for that of its session tickets (Nagle's
algorithm), which Linux would send after 40 ms; at once is too soon, before the tickets.
"""

_OUTCOMES = (STREAM_AUTHD_EVENT, INIT_FAILED_EVENT, STREAM_ERROR_EVENT, STREAM_END_EVENT)


@attrs.frozen(kw_only=True)
class Route:
    """
    A way to a server of a domain.

    @ivar startTLS: whether the stream goes on by STARTTLS. If not, the endpoint speaks TLS itself, or
        stays on this machine.
    """

    endpoint: IStreamClientEndpoint
    startTLS: bool


class StartTLS(TLSInitiatingInitializer):
    """
    No stream goes on without TLS, whatever the server, or whoever is in between, offers.
    """

    def initialize(self) -> Any:
        if self.feature not in self.xmlstream.features:
            raise LinkDown("the server offers no TLS (STARTTLS), or somebody on the way took the offer out")
        return super().initialize()


class Bind(BaseFeatureInitiatingInitializer):
    """
    Resource binding (RFC 6120, section 7).

    Twisted's own believes any address that the server names.
    """

    feature = (NS_XMPP_BIND, "bind")

    def __init__(self, stream: GuardedXmlStream, user: JID) -> None:
        super().__init__(stream, required=True)
        self._user = user

    def start(self) -> Deferred[None]:
        bind = Element((NS_XMPP_BIND, "bind"))
        # What nobody can guess, nobody can address before it has been told.
        bind.addElement("resource", content=f"restbridge-{token_urlsafe(6)}")
        return _ask(self.xmlstream, bind).addCallback(self._bound)

    def _bound(self, result: Element) -> None:
        try:
            bind = next(result.elements(NS_XMPP_BIND, "bind"))
            address = JID.parse(str(next(bind.elements(NS_XMPP_BIND, "jid"))))
        except (StopIteration, InvalidJID):
            raise LinkDown("the server bound no address") from None
        if address.resource is None:
            raise LinkDown("the server bound no address, but the bare one")
        if address.bare != self._user.bare:
            # Somebody's own token opens that somebody's account, whatever name comes with it.
            raise LoginRefused(f"the credential is {address.bare}'s")
        self.xmlstream.address = address


class Session(BaseFeatureInitiatingInitializer):
    """
    RFC 3921's session, which MongooseIM still needs and others mark as optional.
    """

    feature = (NS_XMPP_SESSION, "session")

    def start(self) -> Deferred[Element] | None:
        if any(child.name == "optional" for child in self.xmlstream.features[self.feature].elements()):
            return None
        return _ask(self.xmlstream, Element(self.feature))


class Enable(BaseFeatureInitiatingInitializer):
    """
    Stream management (XEP-0198), where the server has it.

    @ivar ledger: L{None} where it hasn't.
    """

    feature = (NS_SM, "sm")

    def __init__(self, stream: GuardedXmlStream) -> None:
        super().__init__(stream)
        self.ledger: Ledger | None = None

    def start(self) -> Deferred[None]:
        return _askManagement(self.xmlstream, ENABLE).addCallback(self._answered)

    def _answered(self, answer: Element) -> None:
        self.ledger = Ledger.of(answer)


class Resume(BaseFeatureInitiatingInitializer):
    """
    Going on with a login whose connection broke. No step comes after it then; where the server doesn't know
    the login any more, it is over.

    @ivar handled: how many stanzas the server has handled; L{None} where the login doesn't go on.
    """

    feature = (NS_SM, "sm")

    def __init__(self, stream: GuardedXmlStream, broken: UserStream) -> None:
        super().__init__(stream)
        self.handled: int | None = None
        self._broken = broken
        self._claimed = False

    def start(self) -> Deferred[None] | None:
        ledger = self._broken.claim()
        if ledger is None:
            return None
        self._claimed = True
        answered = _askManagement(self.xmlstream, ledger.resumption())
        return answered.addCallback(self._answered, ledger.name)

    def abandon(self) -> None:
        """
        The attempt to log in has failed.
        """
        if self._claimed:
            self._broken.unclaim()

    def _answered(self, answer: Element, name: str | None) -> None:
        if answer.name == "failed":
            self._broken.close()
            return
        self.handled = countOf(answer)
        if answer.name != "resumed" or answer.getAttribute("previd") != name or self.handled is None:
            raise LinkDown("the server says nothing sensible about a session to be resumed")
        del self.xmlstream.initializers[1:]


def _askManagement(stream: GuardedXmlStream, request: str) -> Deferred[Element]:
    answered: Deferred[Element] = Deferred()
    stream.addOnetimeObserver(f"/*[@xmlns='{NS_SM}']", answered.callback)
    stream.send(request)
    return answered


def _ask(stream: GuardedXmlStream, payload: Element) -> Deferred[Element]:
    """
    The server's result; Twisted's own IQ fails over errors that it doesn't know.
    """
    iq = Element((NS_CLIENT, "iq"))
    iq["type"], iq["id"] = "set", newId()
    iq.addChild(payload)
    answered: Deferred[Element] = Deferred()
    stream.addOnetimeObserver(f"/iq[@id='{iq['id']}']", answered.callback)
    stream.send(serialize(iq))

    def check(answer: Element) -> Element:
        if answer.getAttribute("type") != "result":
            error = errorOf(answer)
            raise LinkDown(f"the server refused the session: {error.condition if error else 'no reason'}")
        return answer

    return answered.addCallback(check)


class _Authenticator(ConnectAuthenticator):
    """
    @ivar steps: made for the stream when it is there, and let go: they know the credential.
    """

    namespace = NS_CLIENT

    def __init__(self, domain: str, steps: Callable[[GuardedXmlStream], list[Any]]) -> None:
        super().__init__(domain)
        self._steps = steps

    def associateWithStream(self, stream: GuardedXmlStream) -> None:
        super().associateWithStream(stream)
        stream.initializers = self._steps(stream)
        del self._steps

    def streamStarted(self, root: Element) -> None:
        # Twisted would take over any text as the server's address, and fail over most.
        root.attributes.pop("from", None)
        stream: Any = self.xmlstream
        stream.lang = root.getAttribute((NS_XML, "lang"))
        super().streamStarted(root)


class Logins:
    """
    Logs in users of one domain.

    @ivar traffic: what went over all their streams.
    """

    log = Logger()

    def __init__(
        self,
        *,
        domain: str,
        routes: Callable[[], Awaitable[Sequence[Route]]],
        options: Callable[[], IOpenSSLClientConnectionCreator],
        workers: Workers,
        clock: IReactorTime,
    ) -> None:
        """
        @param routes: finds the ways to the domain's servers, the best first.
        @param options: makes those of STARTTLS, which verify that the certificate is the domain's.
        @param workers: compute the hashes of SCRAM.
        """
        self._domain = domain
        self._routes = routes
        self._options = options
        self._workers = workers
        self._clock = clock
        self.traffic = Traffic()

    def login(
        self, user: JID, credential: Credential, broken: UserStream | None = None
    ) -> Deferred[UserStream]:
        """
        Log a user in. It takes as long as the server does: cancelling ends it.

        Fails with L{LoginRefused} where the server doesn't accept the credential; with L{LinkDown} where
        nothing can be said about it.

        @param broken: a login of the user whose connection is gone; it goes on if that is possible, and is
            what the deferred fires with then.
        """
        return Deferred.fromCoroutine(self._login(user, credential, broken)).addErrback(self._inWords)

    async def _login(self, user: JID, credential: Credential, broken: UserStream | None) -> UserStream:
        problem: Exception = LinkDown(f"no server of {self._domain} is known")
        for route in await self._routes():
            try:
                return await self._negotiate(route, user, credential, broken)
            except (ConnectError, DNSLookupError) as error:
                # Only what was never connected is tried elsewhere: a server's word counts for its domain.
                problem = error
        raise problem

    async def _negotiate(
        self, route: Route, user: JID, credential: Credential, broken: UserStream | None
    ) -> UserStream:
        enable: Enable
        resume: Resume | None = None

        def steps(stream: GuardedXmlStream) -> list[Any]:
            nonlocal enable, resume
            enable = Enable(stream)
            resume = None if broken is None else Resume(stream, broken)
            startTLS = [StartTLS(stream, configurationForTLS=self._options())] if route.startTLS else []
            return [
                *startTLS,
                Authentication(stream, user=user.local or "", credential=credential, workers=self._workers),
                *([] if resume is None else [resume]),
                Bind(stream, user),
                Session(stream, required=False),
                enable,
            ]

        try:
            stream = await self._initialized(route.endpoint, steps)
        except BaseException:
            if resume is not None:
                resume.abandon()
            raise
        if broken is not None and resume is not None and resume.handled is not None:
            broken.resume(stream, resume.handled)
            return broken
        return UserStream(
            stream=stream,
            address=stream.address,
            clock=self._clock,
            ledger=enable.ledger,
            traffic=self.traffic,
        )

    async def _initialized(
        self, endpoint: IStreamClientEndpoint, steps: Callable[[GuardedXmlStream], list[Any]]
    ) -> GuardedXmlStream:
        """
        A stream that has gone through all steps.
        """
        negotiated: Deferred[GuardedXmlStream] = Deferred()

        def settle(result: Any) -> None:
            if not negotiated.called:
                negotiated.callback(result)

        factory = XmlStreamFactory(_Authenticator(self._domain, steps))
        factory.protocol = GuardedXmlStream
        factory.noisy = False
        for event in _OUTCOMES:
            factory.addBootstrap(event, settle)
        factory.addBootstrap(SECURED_EVENT, self._hurry)
        stream: GuardedXmlStream = await _connected(endpoint, factory)
        try:
            await negotiated
        except BaseException:
            stream.transport.abortConnection()
            raise
        # What was needed to log in takes half as much memory as the login that is held.
        for event in _OUTCOMES:
            stream.removeObserver(event, settle)
        factory.bootstraps.clear()
        stream.features = {}
        return stream

    def _hurry(self, stream: GuardedXmlStream) -> None:
        self._clock.callLater(ACKNOWLEDGE_AFTER, stream.acknowledge)

    def _inWords(self, failure: Failure) -> Failure:
        """
        What ended a login, as L{LoginRefused} or L{LinkDown}.
        """
        if failure.check(LinkDown, LoginRefused, CancelledError):
            return failure
        reason = _reason(failure.value)
        if reason is None:
            self.log.failure("A login at {domain} failed", failure, domain=self._domain)
            reason = "the login failed; the log says why"
        return Failure(LinkDown(reason))


def _connected(endpoint: IStreamClientEndpoint, factory: XmlStreamFactory) -> Deferred[Any]:
    """
    What connecting comes to; cancelled, it is cancelled: Twisted would have it that the name is unknown, and
    the next route would be tried.
    """
    cancelled = False

    def cancel(_: object) -> None:
        nonlocal cancelled
        cancelled = True
        attempt.cancel()

    def failed(failure: Failure) -> None:
        if not cancelled:
            connected.errback(failure)

    connected: Deferred[Any] = Deferred(cancel)
    attempt = endpoint.connect(factory)
    attempt.addCallbacks(connected.callback, failed)
    return connected


_TLS_PROBLEM = "the server's certificate is not one that is trusted for the domain"
"""What docs/operating.md tells the operator to look for."""


def _reason(error: BaseException | None) -> str | None:
    """
    In words; L{None} for what nobody has thought of.
    """
    if isinstance(error, VerificationError):
        return f"{_TLS_PROBLEM}: it is for another name"
    if isinstance(error, TLSError):
        return f"TLS failed: {_openSSL(error)}"
    if isinstance(error, ParserError):
        return f"what answers does not speak XMPP: {error}"
    if isinstance(error, StreamError):
        return f"the server ended the login: {error.condition}"
    if isinstance(error, TLSFailed):
        return "the server offers STARTTLS and refuses it"
    if isinstance(error, FeatureNotAdvertized):
        return "the server lets nobody log in here"
    if isinstance(error, (ConnectionDone, ConnectionLost)):
        return "the server closed the connection during the login"
    if isinstance(error, (ConnectError, DNSLookupError)):
        return f"can't connect: {error}"
    return None


def _openSSL(error: TLSError) -> str:
    reasons = [part[-1] for part in error.args[0]] if error.args and isinstance(error.args[0], list) else []
    if "certificate verify failed" in reasons:
        return _TLS_PROBLEM
    return ", ".join(filter(None, reasons)) or "the server closed the connection"
