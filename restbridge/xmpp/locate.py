"""
Where a client of a domain connects to: SRV records, or else the domain itself (RFC 6120, section 3.2;
RFC 2782; XEP-0368).

::

    domain -> _xmpps-client, _xmpp-client -> usable records    -> by priority, then by weight
                                          -> none, no answer   -> the domain itself
                                          -> "." and no others -> LinkDown
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from itertools import accumulate, groupby
from operator import attrgetter
from random import Random, SystemRandom
from typing import Any

import attrs
import idna
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import CancelledError, Deferred, DeferredList, maybeDeferred
from twisted.internet.interfaces import IReactorTime, IResolver
from twisted.logger import Logger
from twisted.names.client import Resolver
from twisted.names.dns import Record_SRV
from twisted.python.failure import Failure

from restbridge.stanzas.errors import LinkDown

MAX_RECORDS = 10
"""Those of the best priority in an answer, which may hold hundreds."""

RETRIES = (0.5, 1.0)
"""Seconds that each name server has to answer, in a first round and in a second."""

DEADLINE = 1.5
"""Seconds for an answer in all: the retries add up over the name servers, and TCP has 10 s of its own."""


@attrs.frozen
class Candidate:
    """
    Where a server of a domain may be found.

    @ivar host: a name without its final dot, in ASCII, or an IP address.
    @ivar direct: whether TLS starts with the first byte (XEP-0368); else STARTTLS.
    """

    host: str
    port: int
    direct: bool


_STARTTLS = ("_xmpp-client._tcp", 5222, False)
_DIRECT = ("_xmpps-client._tcp", 5223, True)
_SERVICES = {"required": (_STARTTLS, _DIRECT), "direct": (_DIRECT,)}
"""What is asked for; the first decides what happens when there is nothing usable."""

_Found = tuple[Record_SRV, Candidate]


class PatientResolver(Resolver):
    """
    Twisted's resolver, but for one fault: where no socket could be opened it never looked that name up again.
    """

    def queryUDP(self, queries: Any, timeout: Any = None) -> Deferred[Any]:
        """
        Ask; a query that can't be sent fails like one without an answer.
        """
        return maybeDeferred(super().queryUDP, queries, timeout)


class Locator:
    """
    Finds the servers of domains.
    """

    log = Logger()

    def __init__(self, *, resolver: IResolver, clock: IReactorTime, order: Random | None = None) -> None:
        """
        @param order: chooses among servers of the same priority.
        """
        self._resolver = resolver
        self._clock = clock
        self._order = order or SystemRandom()

    async def candidates(self, domain: str, tls: str) -> list[Candidate]:
        """
        The servers of a domain, one at least, in the order in which to try them.

        @param tls: C{required} or C{direct}.
        @raise LinkDown: the domain says that there are none, or DNS can't know its name.
        """
        services = _SERVICES[tls]
        service, port, direct = services[0]
        host = domain.removeprefix("[").removesuffix("]")
        if not _isKnown(host):
            host = _inASCII(host)
            answers = await self._ask([f"{name}.{host}" for name, _, _ in services])
            found = [
                (record, Candidate(target, record.port, isDirect))
                for (_, _, isDirect), records in zip(services, answers, strict=True)
                for record in records
                if record.port and (target := _target(record))
            ]
            if found:
                return [candidate for _, candidate in self._inOrder(found)]
            if answers[0] and not any(record.target.name for record in answers[0]):
                raise LinkDown(
                    f'{service}.{host} says in DNS that nothing is offered there ("."): '
                    f'set users."{domain}".connect if there is a server all the same'
                )
        return [Candidate(host, port, direct)]

    async def _ask(self, names: list[str]) -> list[list[Record_SRV]]:
        answers: list[tuple[bool, Any]] = await DeferredList(
            [self._records(name) for name in names], consumeErrors=True
        )
        for succeeded, result in answers:
            if not succeeded:
                result.raiseException()
        return [records for _, records in answers]

    def _records(self, name: str) -> Deferred[list[Record_SRV]]:
        """
        The records of a name; none without an answer. Fails only when cancelled.
        """

        def failed(failure: Failure) -> list[Record_SRV] | Failure:
            if failure.check(CancelledError):
                return failure
            self.log.debug("No SRV records of {name}: {reason!r}", name=name, reason=failure.value)
            return []

        # IResolver speaks of whole seconds; any will do.
        lookupService: Callable[..., Deferred[Any]] = self._resolver.lookupService
        answer: Deferred[Any] = Deferred()
        # Who gives up must not end the query: the resolver asks once for all who want to know the same.
        maybeDeferred(lookupService, name, RETRIES).chainDeferred(answer)
        return answer.addTimeout(DEADLINE, self._clock).addCallbacks(_serviceRecords, failed)

    def _inOrder(self, found: list[_Found]) -> Iterator[_Found]:
        for _, group in groupby(sorted(found, key=_priority), _priority):
            peers = list(group)
            # Those of weight 0 come first (RFC 2782), or they would never be chosen.
            left = sorted(self._order.sample(peers, len(peers)), key=lambda found: _weight(found) > 0)
            while left:
                sums = list(accumulate(map(_weight, left)))
                yield left.pop(bisect_left(sums, self._order.randint(0, sums[-1])))


def _priority(found: _Found) -> int:
    return found[0].priority


def _weight(found: _Found) -> int:
    return found[0].weight


def _serviceRecords(answer: tuple[list[Any], object, object]) -> list[Record_SRV]:
    records = [header.payload for header in answer[0] if isinstance(header.payload, Record_SRV)]
    return sorted(records, key=attrgetter("priority"))[:MAX_RECORDS]


def _target(record: Record_SRV) -> str | None:
    """
    The host that a record names; L{None} if it is none that an endpoint can connect to.
    """
    try:
        return idna.encode(record.target.name).decode("ascii")
    except UnicodeError:
        return None


def _isKnown(host: str) -> bool:
    # localhost is none of the name servers' business (RFC 6761, section 6.3).
    return isIPAddress(host) or isIPv6Address(host) or f".{host}".endswith(".localhost")


def _inASCII(domain: str) -> str:
    if domain.isascii():
        return domain
    try:
        return idna.encode(domain, uts46=True).decode("ascii")
    except UnicodeError as error:
        raise LinkDown(f"{domain} can't be looked up in DNS: {error}") from None
