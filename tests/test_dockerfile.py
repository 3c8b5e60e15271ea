"""
The container's image, as far as that can be said without making it.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from twisted.scripts.twistd import ServerOptions  # type: ignore[attr-defined]  # for others, too
from twisted.trial.unittest import SynchronousTestCase

import restbridge
from restbridge.config import HTTP
from restbridge.config.files import SYSTEM_WIDE

DOCKERFILE = Path(restbridge.__file__).parents[1] / "Dockerfile"
PORT = HTTP().listen[0].split(":")[1]


def stages() -> list[dict[str, list[str]]]:
    """
    The instructions of each stage: what they are given, by their names.
    """
    lines = [line for line in DOCKERFILE.read_text("utf-8").splitlines() if not line.startswith("#")]
    found: list[dict[str, list[str]]] = []
    for line in "\n".join(lines).replace("\\\n", "").splitlines():
        name, _, given = line.partition(" ")
        if name == "FROM":
            found.append({})
        if name:
            found[-1].setdefault(name, []).append(given)
    return found


@contextmanager
def serving(status: int) -> Iterator[int]:
    """
    Somebody who answers each request so.

    @return: the port.
    """

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, *arguments: object, **named: object) -> None:
            """
            Nobody reads it.
            """

    with HTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


class DockerfileTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.build, self.image = stages()

    def test_user(self) -> None:
        """
        It isn't root who runs it, which Kubernetes sees by the number; the folder that is written to is that
        user's.
        """
        (user,) = self.image["USER"]
        self.assertRegex(user, r"^[1-9]\d+:[1-9]\d+$")
        (folder,) = self.image["WORKDIR"]
        owner, group = user.split(":")
        self.assertIn(f"install -d -o {owner} -g {group} -m 0700 {folder}", " ".join(self.image["RUN"]))
        self.assertEqual([folder], json.loads(self.image["VOLUME"][0]))

    def test_small(self) -> None:
        """
        Of what it is built with comes along what was installed, and nothing is copied beside it.
        """
        (copied,) = self.image["COPY"]
        self.assertEqual("--from=build /opt/restbridge /opt/restbridge", copied)
        self.assertEqual(self.build["FROM"], [f"{each} AS build" for each in self.image["FROM"]])

    def test_pluginCache(self) -> None:
        """
        twistd has looked for plugins behind the installation, when it could still write down what it found.
        """
        commands = " ".join(self.build["RUN"])
        self.assertLess(commands.index("pip install"), commands.index("/opt/restbridge/bin/twistd --help"))

    def test_command(self) -> None:
        """
        What it starts stays in the foreground, writes no pidfile, and reads the configuration where that
        always is.
        """
        command, *arguments = json.loads(self.image["ENTRYPOINT"][0])
        options = ServerOptions()
        options.parseOptions(arguments[:-1])
        self.assertEqual(("twistd", "restbridge"), (command, arguments[-1]))
        self.assertEqual((1, ""), (options["nodaemon"], options["pidfile"]))
        self.assertEqual(["--config", str(SYSTEM_WIDE)], json.loads(self.image["CMD"][0]))

    def test_health(self) -> None:
        """
        The health check takes an answer of 200 for health, and no other, and none.
        """
        (check,) = self.image["HEALTHCHECK"]
        found = re.search(r" CMD (\[.*\])$", check)
        assert found is not None
        _, *arguments = json.loads(found[1])
        self.assertEqual([PORT], self.image["EXPOSE"])
        self.assertIn(f":{PORT}/healthz", arguments[-1])

        def healthy(port: int) -> bool:
            code = arguments[-1].replace(f":{PORT}/", f":{port}/")
            command = [sys.executable, *arguments[:-1], code]
            return subprocess.run(command, capture_output=True, check=False).returncode == 0

        with serving(200) as port:
            self.assertTrue(healthy(port))
        self.assertFalse(healthy(port))
        with serving(503) as port:
            self.assertFalse(healthy(port))
