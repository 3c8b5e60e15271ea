"""
The program itself, as an operator runs it: C{twistd -n restbridge --config FILE} in a folder of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from argon2 import PasswordHasher

from tests.live.process import LOOPBACK, Process, eventually, freePorts, temporaryFolder
from tests.live.servers import SECRET
from tests.live.web import Answer, ask, basic

CHECKOUT = Path(__file__).resolve().parents[2]
PASSWORD = "bot's own"
TOKEN = "a-token-for-the-live-tests"
BOT = basic("bot", PASSWORD)
BEARER = f"Bearer {TOKEN}"

FAULTS = re.compile(r"^.*(?:Traceback|Unhandled|\[critical\]|#critical).*$", re.MULTILINE)
"""What no log may hold."""


def twistd() -> str:
    """
    The C{twistd} of the environment that runs the tests.
    """
    beside = Path(sys.executable).with_name("twistd")
    found = str(beside) if beside.exists() else shutil.which("twistd")
    assert found, f"no twistd beside {sys.executable}: install the project's dependencies there"
    return found


def environment() -> dict[str, str]:
    """
    The checkout first, so that it is this code that runs.
    """
    paths = [str(CHECKOUT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}


def componentTable(port: int, domain: str = "bridge.localhost", secret: str = SECRET) -> dict[str, Any]:
    """
    The section C{[component]} for a server on this machine.
    """
    return {"domain": domain, "secret": secret, "connect": f"tcp:{LOOPBACK}:{port}"}


def usersTable(port: int, **more: Any) -> dict[str, Any]:
    """
    A section C{[users."DOMAIN"]} for a server on this machine; without TLS, unless C{more} says otherwise.
    """
    return {"connect": f"tcp:{LOOPBACK}:{port}", "tls": "off", **more}


def botTable() -> dict[str, Any]:
    """
    The section C{[accounts.bot]}; its password is hashed as cheaply as Argon2 allows.
    """
    hashed = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
    return {"password": hashed, "tokens": ["sha256:" + hashlib.sha256(TOKEN.encode()).hexdigest()]}


def toml(table: Mapping[str, Any], path: str = "") -> str:
    """
    Write TOML: values first, then tables, then arrays of tables.
    """
    lines = [f"{json.dumps(key)} = {_value(value)}" for key, value in table.items() if not _isTable(value)]
    for key, value in table.items():
        inner = f"{path}.{json.dumps(key)}" if path else json.dumps(key)
        if isinstance(value, Mapping):
            lines += [f"[{inner}]", toml(value, inner)]
        elif _isTable(value):
            lines += [line for each in value for line in (f"[[{inner}]]", toml(each, inner))]
    return "\n".join(lines)


def _isTable(value: object) -> bool:
    """
    Whether a value is written under a header of its own.
    """
    return isinstance(value, Mapping) or (
        isinstance(value, list) and bool(value) and all(isinstance(each, Mapping) for each in value)
    )


def _value(value: object) -> str:
    """
    Strings, numbers, booleans and lists of them look in TOML as in JSON.
    """
    return json.dumps(value, ensure_ascii=False)


class Bridge:
    """
    A bridge and its HTTP side. Where it has a component, there is one account, C{bot}.

    @ivar port: where it serves HTTP.
    @ivar file: its configuration.
    """

    def __init__(
        self,
        component: Mapping[str, Any] | None,
        callbacks: list[dict[str, Any]] | None = None,
        **sections: Any,
    ) -> None:
        """
        @param component: the section C{[component]}, see L{componentTable}; L{None} to serve users alone.
        @param callbacks: the sections C{[[callbacks]]}.
        @param sections: further sections by their names.
        """
        self._stack = ExitStack()
        folder = self._stack.enter_context(temporaryFolder("bridge"))
        (self.port,) = freePorts(1)
        listen = {"listen": f"tcp:{self.port}:interface={LOOPBACK}"}
        configuration = {**sections, "http": {**listen, **sections.get("http", {})}}
        if component is not None:
            accounts = sections.get("accounts", {"bot": botTable()})
            configuration |= {"component": component, "accounts": accounts, "callbacks": callbacks or []}
        self.file = folder / "restbridge.toml"
        self._configuration = configuration
        self.configure()
        command = [twistd(), "-n", "--pidfile=", "restbridge", "--config", str(self.file)]
        self.process = Process(command, folder, environment())

    def __enter__(self) -> Bridge:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self, ready: bool = True, timeout: float = 20.0) -> Bridge:
        """
        Start, and wait until it is attached to its server; or, unless C{ready}, until it serves HTTP.
        """
        self.process.start()
        self.waitFor("/readyz" if ready else "/healthz", 200, timeout)
        return self

    def configure(self, **sections: Any) -> None:
        """
        Write the configuration, with these sections instead of those that it had.
        """
        self._configuration = {**self._configuration, **sections}
        written = self.file.with_suffix(".new")
        written.write_text(toml(self._configuration))
        written.rename(self.file)

    def reload(self, said: str = "In force now") -> str:
        """
        Have the configuration read again; wait until the log says so.

        @return: what the log says meanwhile.
        """
        assert self.process.pid is not None
        since = self.process.logSize()
        os.kill(self.process.pid, signal.SIGHUP)
        eventually(lambda: said in self.process.log(since), f"the log to say: {said}")
        return self.process.log(since)

    def waitFor(self, path: str, status: int, timeout: float = 15.0) -> Answer:
        """
        Wait until a path is answered with this status.
        """
        return eventually(lambda: self._answered(path, status), f"{path} to answer {status}", timeout)

    def close(self) -> None:
        """
        Stop as an operator would, and leave nothing behind.
        """
        self.process.stop(patience=5)
        self.process.kill()
        self._stack.close()

    def faults(self, since: int = 0) -> list[str]:
        """
        The lines of the log that no log may hold, each with what follows it.
        """
        log = self.process.log(since)
        return [log[match.start() : match.start() + 2000] for match in FAULTS.finditer(log)]

    def get(self, path: str, accept: str | None = "application/json", auth: str | None = BOT) -> Answer:
        """
        GET with the bot's credentials, unless told otherwise.
        """
        return ask(self.port, "GET", path, headers=_headers(accept, auth))

    def post(
        self,
        path: str,
        body: str | bytes,
        contentType: str | None = "application/json",
        accept: str | None = "application/json",
        *,
        auth: str | None = BOT,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """
        POST with the bot's credentials, unless told otherwise.
        """
        sent = {**_headers(accept, auth, contentType), **(headers or {})}
        return ask(self.port, "POST", path, body.encode() if isinstance(body, str) else body, sent)

    def _answered(self, path: str, status: int) -> Answer | None:
        """
        The answer, if it is the one hoped for.
        """
        self.process.mustRun()
        try:
            answer = ask(self.port, "GET", path, timeout=5)
        except OSError:
            return None
        return answer if answer.status == status else None


def _headers(accept: str | None, auth: str | None, contentType: str | None = None) -> dict[str, str]:
    """
    Those that are there.
    """
    named = {"Accept": accept, "Authorization": auth, "Content-Type": contentType}
    return {name: value for name, value in named.items() if value is not None}
