"""
Passwords and tokens against their hashes.

Argon2 takes tens of milliseconds by design: it runs on a thread, and what was verified is remembered
by a keyed hash, so that the next request with it costs microseconds.

::

    byPassword -> remembered                           -> the account, whatever others do meanwhile
               -> attempts -> Argon2, a place in line  -> right: remembered, the account
                                                       -> wrong, or no such account: None, later
                  (too many failed: 429)  (no place: 503)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from hashlib import blake2b, sha256
from hmac import compare_digest
from secrets import token_bytes, token_urlsafe

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from restbridge.config import Account
from restbridge.web.answer import unavailable
from restbridge.web.attempts import Attempts, TooManyAttempts
from restbridge.workers import Workers

MAX_CHECKS = 64
"""Passwords that are checked at once, or wait for it: some seconds of work. No address has more than ten."""


def tokenHash(token: str) -> str:
    """
    What is configured of a bearer token: C{sha256:} and 64 hexadecimal digits.
    """
    return "sha256:" + sha256(_bytes(token)).hexdigest()


class Credentials:
    """
    The configured accounts, and who may use them.
    """

    def __init__(self, *, accounts: Iterable[Account], workers: Workers, attempts: Attempts) -> None:
        self._workers = workers
        self._attempts = attempts
        self._checks = 0
        self._key = token_bytes(32)
        self._verified: dict[str, bytes] = {}
        self._accounts: dict[str, Account] = {}
        self._decoys: list[str] = []
        self.change(accounts)

    def change(self, accounts: Iterable[Account]) -> None:
        """
        From now on these are the accounts, and no others: also for a password that is being checked.
        """
        accounts = tuple(accounts)
        before, self._accounts = self._accounts, {account.name: account for account in accounts}
        for name, account in before.items():
            now = self._accounts.get(name)
            if now is None or now.password != account.password:
                self._verified.pop(f"{name}@", None)
        # Found by its hash, a token's own digits are never compared one by one.
        self._byToken = {token.reveal(): account for account in accounts for token in account.tokens}
        hashes = [account.password.reveal() for account in accounts if account.password is not None]
        self._decoys = hashes or self._decoys or [PasswordHasher().hash(token_urlsafe(16))]

    def byToken(self, token: str) -> Account | None:
        """
        The account that a bearer token opens.
        """
        return self._byToken.get(tokenHash(token))

    def named(self, name: str) -> Account | None:
        """
        The account of that name, for who has proved elsewhere to be its owner.
        """
        return self._accounts.get(name)

    async def byPassword(self, name: str, password: str, client: str) -> Account | None:
        """
        The account of that name, if that is its password.

        @param client: the network address that the request comes from.
        @raise Refusal: 429 after too many failures, 503 while too many others are being checked.
        """
        account = self._accounts.get(name)
        own = None if account is None else account.password
        stored = self._decoy(name) if own is None else own.reveal()

        async def verified() -> bool:
            # An account's own password on another name is as wrong as any.
            return await self._verify(stored, password) and own is not None

        isRight = await self._isRight(f"{name}@", stored, password, client, verified)
        now = self._accounts.get(name)
        # What was verified while the password was taken away is remembered, and may be what a decoy is now.
        return now if isRight and own is not None and now is not None and now.password == own else None

    async def isSecret(self, name: str, secret: str, given: str, client: str) -> bool:
        """
        Whether C{given} is a secret that is configured in clear; failures count as those of passwords do.

        @param name: whose secret it is.
        @raise Refusal: 429, as for C{byPassword}.
        """

        async def verified() -> bool:
            return compare_digest(_bytes(given), _bytes(secret))

        return await self._isRight(name, secret, given, client, verified)

    async def _isRight(
        self, key: str, stored: str, given: str, client: str, verified: Callable[[], Awaitable[bool]]
    ) -> bool:
        mark = self._hash(f"{stored}\0{given}")
        if self._remembers(key, mark):
            return True
        try:
            attempt = await self._attempts.begin(client, key)
        except TooManyAttempts as many:
            raise many.refusal() from None
        try:
            # While this one waited another request may have proved the same.
            if self._remembers(key, mark) or await verified():
                self._verified[key] = mark
                return True
            await attempt.failed()
            return False
        finally:
            attempt.succeeded()

    def _remembers(self, key: str, mark: bytes) -> bool:
        return compare_digest(self._verified.get(key, b""), mark)

    def _decoy(self, name: str) -> str:
        """
        The hash that stands for one that isn't there: an unknown name must cost as much as a wrong password,
        each time the same, also where hashes differ in what they cost.
        """
        return self._decoys[int.from_bytes(self._hash(name)) % len(self._decoys)]

    def _hash(self, text: str) -> bytes:
        return blake2b(_bytes(text), key=self._key).digest()

    async def _verify(self, stored: str, password: str) -> bool:
        if self._checks >= MAX_CHECKS:
            raise unavailable("too many passwords are being checked")
        self._checks += 1
        try:
            return await self._workers.run(lambda: _matches(stored, password))
        finally:
            self._checks -= 1


def _matches(stored: str, password: str) -> bool:
    try:
        return PasswordHasher().verify(stored, _bytes(password))
    except (VerificationError, InvalidHashError):
        return False


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
