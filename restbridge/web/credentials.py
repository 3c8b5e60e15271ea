"""
Passwords and tokens against their hashes.

Argon2 takes tens of milliseconds by design: it runs on a thread, and what was verified is remembered
by a keyed hash, so that the next request with it costs microseconds.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b, sha256
from hmac import compare_digest
from secrets import token_bytes, token_urlsafe

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from restbridge.config import Account
from restbridge.workers import Workers


def tokenHash(token: str) -> str:
    """
    What is configured of a bearer token: C{sha256:} and 64 hexadecimal digits.
    """
    return "sha256:" + sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


class Credentials:
    """
    The configured accounts, and who may use them.
    """

    def __init__(self, *, accounts: Iterable[Account], workers: Workers) -> None:
        accounts = tuple(accounts)
        self._accounts = {account.name: account for account in accounts}
        # Found by its hash, a token's own digits are never compared one by one.
        self._byToken = {token.reveal(): account for account in accounts for token in account.tokens}
        self._workers = workers
        self._key = token_bytes(32)
        self._verified: dict[str, bytes] = {}
        # An unknown name must cost as much as a wrong password: any account's hash will do.
        hashes = [account.password.reveal() for account in accounts if account.password is not None]
        self._decoy = hashes[0] if hashes else PasswordHasher().hash(token_urlsafe(16))

    def byToken(self, token: str) -> Account | None:
        """
        The account that a bearer token opens.
        """
        return self._byToken.get(tokenHash(token))

    async def byPassword(self, name: str, password: str) -> Account | None:
        """
        The account of that name, if that is its password.
        """
        account = self._accounts.get(name)
        stored = self._decoy
        if account is not None and account.password is not None:
            stored = account.password.reveal()
        memory = blake2b(f"{stored}\0{password}".encode("utf-8", "surrogateescape"), key=self._key).digest()
        if compare_digest(self._verified.get(name, b""), memory):
            return account
        if not await self._verify(stored, password):
            return None
        if account is None or account.password is None:
            return None
        self._verified[name] = memory
        return account

    async def _verify(self, stored: str, password: str) -> bool:
        return await self._workers.run(lambda: _matches(stored, password))


def _matches(stored: str, password: str) -> bool:
    try:
        return PasswordHasher().verify(stored, password.encode("utf-8", "surrogateescape"))
    except (VerificationError, InvalidHashError):
        return False
