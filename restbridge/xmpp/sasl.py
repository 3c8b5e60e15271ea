"""
Proving to a server who a user is (RFC 6120, section 6): passwords by SCRAM or, inside TLS, PLAIN; OAuth
2.0 access tokens by OAUTHBEARER or ejabberd's X-OAUTH2.

::

    mechanisms offered -> mechanismFor -> <auth>       first message
                                       <- <challenge>
                                       -> <response>   answer, its hashes computed on a thread
                                       <- <success>    the server's own proof is verified
"""

from __future__ import annotations

from collections.abc import Collection
from stringprep import in_table_c12
from typing import Any, Literal, Protocol

import attrs
from scramp import ScramClient, ScramException
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.words.protocols.jabber.sasl import (
    SASLIncorrectEncodingError,
    SASLInitiatingInitializer,
    fromBase64,
    get_mechanisms,
)
from twisted.words.protocols.jabber.xmlstream import XmlStream
from twisted.words.protocols.jabber.xmpp_stringprep import (
    B_1,
    C_3,
    C_4,
    C_5,
    C_6,
    C_7,
    C_8,
    C_9,
    C_12,
    C_21,
    C_22,
    MappingTableFromFunction,
    Profile,
)
from twisted.words.xish.domish import Element

from restbridge.boundaries import Credential
from restbridge.stanzas.errors import LinkDown, LoginRefused
from restbridge.workers import Workers

SCRAM = ("SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1")
"""RFC 5802, RFC 7677. Those with channel binding (C{-PLUS}) would need what OpenSSL's wrapper hides."""

MAX_ITERATIONS = 1_000_000
"""Rounds of a hash that a server may ask for: half a second of a processor. Ten thousand are usual."""

REFUSALS = frozenset(
    ("account-disabled", "credentials-expired", "invalid-authzid", "malformed-request", "not-authorized")
)
"""What a server says to a wrong credential; any other failure says nothing about it (section 6.5)."""

_SEPARATORS = frozenset("\0\1")
"""What parts the fields of a message; no secret can hold it."""


class Mechanism(Protocol):
    """
    One way to prove it.

    @ivar name: SASL's.
    """

    name: str

    def getInitialResponse(self) -> bytes:
        """
        The first message.
        """

    async def answer(self, challenge: bytes) -> bytes:
        """
        The response to a challenge.

        @raise LinkDown: the server doesn't keep to the mechanism.
        """

    def finish(self, data: bytes) -> None:
        """
        The server has accepted, and said C{data}.

        @raise LinkDown: it did not prove that it knows the credential itself.
        """


class _OneMessage:
    """
    A mechanism whose first message says all.
    """

    def __init__(self, name: str, message: str, afterError: bytes = b"") -> None:
        self.name = name
        self._message = message
        self._afterError = afterError

    def getInitialResponse(self) -> bytes:
        return self._message.encode()

    async def answer(self, challenge: bytes) -> bytes:
        return self._afterError

    def finish(self, data: bytes) -> None:
        """
        PLAIN and bearer tokens prove nothing of the server; TLS did.
        """


_SASLPREP = Profile(
    mappings=[MappingTableFromFunction(lambda char: " " if in_table_c12(char) else char), B_1],
    prohibiteds=[C_12, C_21, C_22, C_3, C_4, C_5, C_6, C_7, C_8, C_9],
    # A query may hold what Unicode has assigned since version 3.2, as emoji (RFC 3454, section 7).
    check_unassigneds=False,
)
"""RFC 4013. scramp's own refuses what servers take."""


@attrs.frozen
class _Prepared:
    """
    A password as scramp asks for it.
    """

    text: str = attrs.field(repr=False)

    def __bytes__(self) -> bytes:
        return self.text.encode()


class Scram:
    """
    Salted Challenge Response (RFC 5802): the password stays here, and the server proves that it knows it.
    """

    def __init__(self, names: Collection[str], user: str, password: str, workers: Workers) -> None:
        """
        @raise LoginRefused: no account can have such a name or password (RFC 4013).
        """
        try:
            self._client = ScramClient(list(names), user, "")
            self._client.password = _Prepared(_SASLPREP.prepare(password))
        except (ScramException, UnicodeError):
            raise LoginRefused("not-authorized") from None
        self.name: str = self._client.mechanism_name
        self._workers = workers
        self._stage: Literal["begun", "proved", "verified"] = "begun"

    def getInitialResponse(self) -> bytes:
        return str(self._client.get_client_first()).encode()

    async def answer(self, challenge: bytes) -> bytes:
        if self._stage == "proved":
            # RFC 6120 sends the server's proof with its success; a server may still ask for an empty answer.
            self._verify(challenge)
            return b""
        try:
            # A challenge out of turn is scramp's to find out.
            self._client.set_server_first(challenge.decode())
            if int(self._client.iterations) > MAX_ITERATIONS:
                raise LinkDown(f"the server asks for {self._client.iterations} rounds of a hash")
            final = str(await self._workers.run(self._client.get_client_final))
        except (ScramException, UnicodeDecodeError) as error:
            raise LinkDown(f"the server does not keep to {self.name}: {error}") from None
        self._stage = "proved"
        return final.encode()

    def finish(self, data: bytes) -> None:
        if self._stage != "verified":
            self._verify(data)

    def _verify(self, data: bytes) -> None:
        if self._stage != "proved":
            raise LinkDown("the server did not wait for the proof of the login")
        try:
            self._client.set_server_final(data.decode())
        except (ScramException, UnicodeDecodeError) as error:
            raise LinkDown(f"the server did not prove that it knows the account: {error}") from None
        self._stage = "verified"


def mechanismFor(offered: Collection[str], user: str, credential: Credential, workers: Workers) -> Mechanism:
    """
    The best mechanism that the server offers, on a stream that nobody else can read along: inside TLS, or
    on this machine.

    @param user: the local part.
    @raise LinkDown: the server offers none that may be used.
    @raise LoginRefused: the credential is one that no account of the server can have.
    """
    if not _isSendable(credential.secret):
        raise LoginRefused("not-authorized")
    if credential.isToken:
        return _forToken(offered, user, credential.secret)
    names = [name for name in SCRAM if name in offered]
    if names:
        return Scram(names, user, credential.secret, workers)
    # Where any SCRAM is offered, a way that shows the password can only be somebody's wish to see it.
    if "PLAIN" in offered and not any(name.startswith("SCRAM-") for name in offered):
        return _OneMessage("PLAIN", f"\0{user}\0{credential.secret}")
    ways = ", ".join(offered)[:200] or "nothing"
    raise LinkDown(f"the server offers no way of logging in that may be used here, but {ways}")


def _forToken(offered: Collection[str], user: str, token: str) -> Mechanism:
    if "OAUTHBEARER" in offered:
        # RFC 7628, section 3.1; after an error the server waits for a message that says nothing (3.2.3).
        return _OneMessage("OAUTHBEARER", f"n,,\1auth=Bearer {token}\1\1", afterError=b"\1")
    if "X-OAUTH2" in offered:
        return _OneMessage("X-OAUTH2", f"\0{user}\0{token}")
    raise LoginRefused("the server takes no OAuth tokens")


def _isSendable(secret: str) -> bool:
    try:
        return bool(secret.encode()) and _SEPARATORS.isdisjoint(secret)
    except UnicodeEncodeError:
        return False


class Authentication(SASLInitiatingInitializer):
    """
    The step of a stream's start that proves who the user is.

    @ivar mechanism: the L{Mechanism} in use.
    """

    mechanism: Any
    _deferred: Any

    def __init__(self, stream: XmlStream, *, user: str, credential: Credential, workers: Workers) -> None:
        super().__init__(stream, required=True)
        self._user = user
        self._credential = credential
        self._workers = workers

    def setMechanism(self) -> None:
        self.mechanism = mechanismFor(
            sorted(get_mechanisms(self.xmlstream)), self._user, self._credential, self._workers
        )

    def onChallenge(self, element: Element) -> None:
        Deferred.fromCoroutine(self._respond(element)).addErrback(self._fail)

    async def _respond(self, element: Element) -> None:
        response = await self.mechanism.answer(_data(element))
        # Hashing takes its time; the server may have refused meanwhile.
        if not self._deferred.called:
            self.sendResponse(response)

    def onSuccess(self, success: Element) -> None:
        if self._deferred.called:
            return
        try:
            self.mechanism.finish(_data(success))
        except LinkDown:
            self._fail(Failure())
            return
        super().onSuccess(success)

    def _fail(self, failure: Failure) -> None:
        if not self._deferred.called:
            self._deferred.errback(failure)

    def onFailure(self, failure: Element) -> None:
        """
        RFC 6120, section 6.5.
        """
        try:
            condition = failure.firstChildElement().name
        except AttributeError:
            condition = "no reason"
        if condition in REFUSALS:
            self._fail(Failure(LoginRefused(condition)))
        else:
            self._fail(Failure(LinkDown(f"the server can't say who may log in: {condition}")))


def _data(element: Element) -> bytes:
    try:
        return bytes(fromBase64(str(element)))
    except SASLIncorrectEncodingError:
        raise LinkDown("the server's SASL data is not base64") from None
