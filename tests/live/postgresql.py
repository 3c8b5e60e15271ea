"""
A throw-away PostgreSQL, as Debian packages it.

It neither needs nor starts the cluster that the package makes: each instance has a folder of its own and a
port of its own on the loopback address. What it writes is as safe as the machine allows (C{fsync} stays on),
since durability is what is tried here.
"""

from __future__ import annotations

import atexit
import itertools
import os
import pwd
import secrets
import shutil
import signal
import subprocess
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from tests.live.process import LOOPBACK, Process, eventually, freePorts, temporaryFolder
from tests.live.servers import ServerMissing

OWNER = "restbridge"
UNPRIVILEGED = "postgres"
"""Who runs it where the tests are run by root: PostgreSQL refuses to be root's."""

SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "shared_buffers": "16MB",
    "max_connections": "100",
}

numbers = itertools.count(1)


def _programs() -> Path:
    """
    The folder that holds the newest server's programs.
    """
    versions = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    if not versions:
        raise ServerMissing("postgresql", "postgres below /usr/lib/postgresql")
    return max(versions, key=lambda path: int(path.parent.name))


def _unprivileged() -> list[str]:
    """
    What to put before a command, so that it isn't root who runs it.
    """
    if os.geteuid() != 0:
        return []
    setpriv = shutil.which("setpriv")
    assert setpriv, "the program setpriv (util-linux) not found"
    # A process that changes its user slips the leash, unless it is put on again.
    return [
        setpriv,
        f"--reuid={UNPRIVILEGED}",
        f"--regid={UNPRIVILEGED}",
        "--init-groups",
        "--pdeathsig=KILL",
    ]


class PostgreSQL:
    """
    PostgreSQL in the foreground, with one role that may do everything and has to say its password (SCRAM).
    """

    def __init__(self) -> None:
        self._programs = _programs()
        self._stack = ExitStack()
        self.folder = self._stack.enter_context(temporaryFolder("postgresql"))
        (self.port,) = freePorts(1)
        self._password = secrets.token_urlsafe(16)
        self._data = self.folder / "data"
        postgres = [str(self._programs / "postgres"), "-D", str(self._data), "-p", str(self.port)]
        settings = [word for name, value in SETTINGS.items() for word in ("-c", f"{name}={value}")]
        self.process = Process([*_unprivileged(), *postgres, *settings], self.folder)

    def __enter__(self) -> PostgreSQL:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def url(self, database: str = "postgres") -> str:
        """
        How to reach a database, as a client library takes it.
        """
        return f"postgresql://{OWNER}:{self._password}@{LOOPBACK}:{self.port}/{database}"

    def freshDatabase(self) -> str:
        """
        Make an empty database.

        @return: its URL.
        """
        name = f"fresh{next(numbers)}"
        self.tell(f"CREATE DATABASE {name}")
        return self.url(name)

    def tell(self, statement: str) -> str:
        """
        Have a statement done, by PostgreSQL's own client.

        @return: the rows that came back: a line each, the columns parted by bars.
        """
        psql = [str(self._programs / "psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]
        return _run([*psql, "-c", statement, self.url()], self.folder)

    def start(self, timeout: float = 30.0) -> PostgreSQL:
        """
        Start, and wait until it takes connections.
        """
        if not self._data.exists():
            self._initialise()
        self.process.start()
        try:
            eventually(self._accepts, "PostgreSQL to take connections", timeout)
        except BaseException:
            self.process.kill()
            raise
        return self

    def stop(self) -> None:
        """
        End in good order, whoever is connected; the folder stays.
        """
        if (pid := self.process.pid) is not None:
            # SIGTERM would wait until the last client has gone.
            os.kill(pid, signal.SIGINT)
            eventually(lambda: self.process.pid is None, "PostgreSQL to end", 30)

    def kill(self) -> None:
        """
        End at once, as in a crash; the folder stays.
        """
        self.process.kill()
        # Its children notice by themselves, and until they have, nobody may start on the same folder.
        eventually(self._deserted, "PostgreSQL's processes to end", 30)

    def restart(self) -> None:
        """
        Stop, and start again.
        """
        self.stop()
        self.start()

    def close(self) -> None:
        """
        End for ever, and leave nothing behind.
        """
        self.kill()
        self._stack.close()

    def _initialise(self) -> None:
        """
        Make the folder with the data.
        """
        passwordFile = self.folder / "password"
        passwordFile.write_text(self._password)
        if os.geteuid() == 0:
            user = pwd.getpwnam(UNPRIVILEGED)
            for path in (self.folder, passwordFile):
                os.chown(path, user.pw_uid, user.pw_gid)
        initdb = [str(self._programs / "initdb"), "-D", str(self._data), "--no-sync", "--no-instructions"]
        access = ["--username", OWNER, "--pwfile", str(passwordFile), "--auth", "scram-sha-256"]
        _run([*_unprivileged(), *initdb, *access, "--encoding", "UTF8", "--no-locale"], self.folder)

    def _accepts(self) -> bool:
        """
        An open port is no sign yet: while it recovers from a crash it sends clients away.
        """
        self.process.mustRun()
        isReady = [str(self._programs / "pg_isready"), "-q", "-h", LOOPBACK, "-p", str(self.port)]
        return subprocess.run(isReady, check=False).returncode == 0

    def _deserted(self) -> bool:
        """
        Whether no process works in our folder.
        """
        return not any(_worksIn(self._data, process) for process in Path("/proc").glob("[0-9]*"))


def _worksIn(folder: Path, process: Path) -> bool:
    try:
        return (process / "cwd").samefile(folder)
    except OSError:
        return False


def _run(command: list[str], folder: Path) -> str:
    """
    Run a command to its end.

    @raise AssertionError: it failed; tells what it said.
    """
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise AssertionError(f"{Path(command[0]).name} failed: {done.stderr[-2000:]}")
    return done.stdout.strip()


_running: list[PostgreSQL] = []


def postgresql() -> PostgreSQL:
    """
    The one that all tests share; each makes a database of its own. Started when first asked for.
    """
    if not _running:
        server = PostgreSQL()
        atexit.register(server.close)
        _running.append(server.start())
    return _running[0]
