"""
An authorization server on this machine: see L{tests.live.authlibserver}.
"""

from __future__ import annotations

import ssl
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from urllib.parse import urlencode

from tests.live.bridge import environment
from tests.live.process import LOOPBACK, Process, eventually, freePorts, temporaryFolder
from tests.live.servers import HOST, writeCertificate
from tests.live.web import Answer, askOver, basic

FORM = "application/x-www-form-urlencoded"


class Authorization:
    """
    The program, started.

    @ivar url: its issuer identifier.
    @ivar roots: the file that its certificate is in; L{None} without TLS.
    """

    def __init__(self, *, tls: bool = False) -> None:
        """
        @param tls: whether it serves by TLS, with a certificate that nobody else knows.
        """
        self._stack = ExitStack()
        folder = self._stack.enter_context(temporaryFolder("authorization"))
        (self.port,) = freePorts(1)
        self.url = f"http://{LOOPBACK}:{self.port}"
        self.roots: Path | None = None
        if tls:
            self.url = f"https://{HOST}:{self.port}"
            self.roots = folder / "roots.pem"
            writeCertificate(self.roots, HOST)
        certificate = [] if self.roots is None else [str(self.roots)]
        module = [sys.executable, "-m", "tests.live.authlibserver"]
        command = [*module, str(self.port), self.url, *certificate]
        self.process = Process(command, folder, {**environment(), "AUTHLIB_INSECURE_TRANSPORT": "1"})

    def start(self) -> Authorization:
        """
        Start, and wait until it serves.
        """
        self.process.start()
        eventually(self._serves, "the authorization server to serve")
        return self

    def close(self) -> None:
        """
        Stop, and leave nothing behind.
        """
        self.process.kill()
        self._stack.close()

    def token(self, client: str = "bot", scope: str = "restbridge:send restbridge:query") -> str:
        """
        The access token that a client gets by its own credentials (RFC 6749, section 4.4).
        """
        answer = self.post("/token", client, grant_type="client_credentials", scope=scope)
        assert answer.status == 200, answer.body
        return str(answer.json()["access_token"])

    def rotate(self) -> None:
        """
        Sign by a new key from now on, and forget the old one.
        """
        assert self.post("/rotate").status == 200

    def revoke(self, token: str, client: str = "opaque") -> None:
        """
        Take a token back (RFC 7009).
        """
        assert self.post("/revoke", client, token=token).status == 200

    def asked(self, path: str) -> int:
        """
        How often a path was asked for.
        """
        return self.process.log().count(f" {path} ")

    def post(self, path: str, client: str = "bot", **form: str) -> Answer:
        """
        Post a form as one of the clients.
        """
        headers = {"Authorization": basic(client, "secret"), "Content-Type": FORM}
        return self._ask("POST", path, urlencode(form).encode(), headers)

    def _serves(self) -> bool:
        self.process.mustRun()
        try:
            return self._ask("GET", "/jwks.json").status == 200
        except OSError:
            return False

    def _ask(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        connection = HTTPConnection(LOOPBACK, self.port, timeout=10)
        if self.roots is not None:
            trusting = ssl.create_default_context(cafile=self.roots)
            connection = HTTPSConnection(HOST, self.port, timeout=10, context=trusting)
        try:
            return askOver(connection, method, path, body, headers)
        finally:
            connection.close()
