"""
What the documents show is done, block by block, on a real Prosody that is set up as the README says.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import socket
import subprocess
import sys
import time
import unittest
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import ClassVar

import attrs

from tests.docs.snippets import ROOT, Snippet, snippets
from tests.live.bridge import environment
from tests.live.ejabberd import Ejabberd
from tests.live.process import LOOPBACK, Process, eventually, freePorts, temporaryFolder
from tests.live.servers import attach, writeCertificate
from tests.live.walk import Walk, otherPorts

PROSODY = "Prosody, from nothing"
BOT = "A bot in Flask"
SCALING = "docs/scaling.md"
TOKEN = "a-token-for-the-documents"
ROBOT = f'[accounts.robot]\ntokens = ["sha256:{hashlib.sha256(TOKEN.encode()).hexdigest()}"]\n'
SYSTEM = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def sections(page: str, *names: str) -> list[Snippet]:
    """
    The blocks of some sections of a page.
    """
    return [each for each in snippets(page) if each.section in names]


def block(page: str, language: str) -> Snippet:
    """
    The first block of a page in a language that isn't excused.
    """
    return next(each for each in snippets(page) if each.language == language and each.mark != "not run")


@contextmanager
def ejabberd(shown: str) -> Iterator[list[int]]:
    """
    Run an ejabberd with listeners as they are shown, but at other ports.

    @return: those ports.
    """
    names = re.findall(r"port: (\d+)", shown)
    ports = freePorts(len(names))
    for name, port in zip(names, ports, strict=True):
        shown = shown.replace(f"port: {name}", f"port: {port}")

    class AsShown(Ejabberd):
        def _configuration(self) -> str:
            return super()._configuration().replace("\nlisten:\n", f"\n{shown}", 1)

    with AsShown() as server:
        server.start()
        yield ports


class DocumentCase(unittest.TestCase):
    """
    A test that follows a page, in a folder that looks like a clone in which the bridge has been installed.
    """

    def setUp(self) -> None:
        self.folder = self.enterContext(temporaryFolder("docs"))
        (self.folder / ".venv").symlink_to(sys.prefix)
        (self.folder / "etc").symlink_to(ROOT / "etc")
        path = f"{Path(sys.executable).parent}:{SYSTEM}"
        surroundings = {**environment(), "PATH": path, "TOKEN": TOKEN}
        self.walk = self.enterContext(Walk(self.folder, otherPorts(), surroundings))

    def attach(self, changed: tuple[str, str] = ("", "")) -> None:
        """
        Do what the README says of Prosody.

        @param changed: what stands otherwise in the bridge's configuration, and how.
        """
        for each in sections("README.md", PROSODY):
            text = each.text.replace(*changed) if "restbridge.toml <<" in each.text else each.text
            self.walk.paste([attrs.evolve(each, text=text)])

    def register(self, *users: str) -> None:
        """
        Make users, as the README does.
        """
        (line,) = (each for each in sections("README.md", PROSODY) if "prosodyctl" in each.text)
        for user in users:
            command = line.text.splitlines()[0].replace("juliet", user)
            self.walk.paste([attrs.evolve(line, mark="", text=command)])

    def follow(self, page: str) -> None:
        """
        Paste a whole page.
        """
        self.walk.paste(snippets(page))


class Readme(DocumentCase):
    def testPage(self) -> None:
        """
        What comes after the demo, on Prosody; the whole from the clone on is L{tests.live.test_newcomer}'s.
        """
        self.attach()
        self.walk.paste(
            sections("README.md", BOT, "Your users, by their own accounts", "Nothing lost"),
        )

    def testEjabberd(self) -> None:
        """
        The lines for ejabberd let the component in.
        """
        with ejabberd(block("README.md", "yaml").text) as (port,):
            attach(port, "rest.example.com", "change-me").close()


class Tutorials(DocumentCase):
    def testFlask(self) -> None:
        """
        Signed calls are answered, others refused, and the bot speaks first.
        """
        self.attach()
        self.follow("docs/tutorials/flask.md")

    def testAiohttp(self) -> None:
        """
        The bot asks a server before it answers; another follows the stream of events.
        """
        self.attach()
        self.follow("docs/tutorials/aiohttp.md")

    def testShell(self) -> None:
        """
        curl and jq send, ask and answer.
        """
        self.attach()
        self.follow("docs/tutorials/shell.md")


class HowTo(DocumentCase):
    def testRooms(self) -> None:
        """
        The bot is in a room, speaks there and answers.
        """
        self.attach()
        self.follow("docs/howto/rooms.md")

    def testAlerts(self) -> None:
        """
        What a real Alertmanager sends, and what Grafana would, arrives as a message.
        """
        self.attach()
        self.follow("docs/howto/alerts.md")

    def testModRest(self) -> None:
        """
        With the configuration moved, the component's own credentials open C{/rest}, at the old port.
        """
        page = "docs/howto/mod_rest.md"
        package, configuration, prosody, _, bridge, curl = sections("README.md", PROSODY)
        moved = configuration.text.partition("-- These two lines")[0] + block(page, "lua").text
        toml = attrs.evolve(block(page, "toml"), mark="file", name="try/restbridge.toml")
        self.walk.paste([package, attrs.evolve(configuration, text=moved), prosody, toml, bridge])
        asking = (
            "curl -u rest.example.com:dmVyeSBzZWNyZXQgdG9rZW4K http://127.0.0.1:5280/rest/ping/example.com"
        )
        self.walk.paste([attrs.evolve(curl, text=asking)])

    def testMongooseIM(self) -> None:
        """
        The calls of an app that was written for MongooseIM.
        """
        self.attach()
        self.follow("docs/howto/mongooseim.md")


class FrontCase(DocumentCase):
    """
    A test of what is in front of the bridge: HTTPS or HTTP, a request, and the client's address.

    @ivar port: where it listens.
    """

    page: ClassVar[str]

    def setUp(self) -> None:
        super().setUp()
        shown = block("docs/howto/proxy.md", "toml").text
        self.attach(('[http]\nlisten = "tcp:8080:interface=127.0.0.1"\n', shown))
        self.certificate = self.folder / "rest.pem"
        writeCertificate(self.certificate, "rest.example.com")
        self.key = self.certificate.with_suffix(".key")
        self.port = self.walk.ports[443]

    def shown(self, name: str) -> str:
        """
        The configuration that is shown for one of them, with our ports.
        """
        (found,) = (each for each in snippets(self.page) if each.name == name)
        return self.walk.here(found.text)

    def startNginx(self, site: str) -> None:
        """
        Start nginx with a site.
        """
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temporary = " ".join(f"{kind}_temp_path {self.folder}/{kind};" for kind in kinds)
        configuration = self.folder / "nginx.conf"
        configuration.write_text(
            f"daemon off; pid {self.folder}/nginx.pid; error_log stderr; events {{}}\n"
            f"http {{ access_log off; {temporary}\n{site}\n}}\n"
        )
        self.start("nginx", "-p", str(self.folder), "-e", "stderr", "-c", str(configuration))

    def start(self, *command: str) -> None:
        """
        Start one of them, and wait until it listens.
        """
        self.assertIsNotNone(shutil.which(command[0], path=SYSTEM), f"apt-get install {command[0]}")
        (self.folder / command[0]).mkdir()
        surroundings = {"HOME": str(self.folder), "XDG_DATA_HOME": str(self.folder), "PATH": SYSTEM}
        front = Process(list(command), self.folder / command[0], surroundings)
        self.addCleanup(front.stop)
        front.start()

        def listens() -> bool:
            front.mustRun()
            with socket.socket() as attempt:
                return attempt.connect_ex((LOOPBACK, self.port)) == 0

        eventually(listens, f"{command[0]} to listen")

    def curl(self, path: str, *arguments: str, scheme: str = "https") -> str:
        """
        Ask, from 127.0.0.2, for what is at the front; the client lies about its address.

        @return: the body, and the status behind it.
        """
        spoofed = ("-H", "X-Forwarded-For: 203.0.113.7", "-H", "Forwarded: for=203.0.113.7")
        where = ("--resolve", f"rest.example.com:{self.port}:{LOOPBACK}", "--interface", "127.0.0.2")
        command = ["curl", "-sS", "-w", "%{http_code}", "--cacert", str(self.certificate), *where, *spoofed]
        command += [*arguments, f"{scheme}://rest.example.com:{self.port}{path}"]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False).stdout


class Proxies(FrontCase):
    """
    What is in front: HTTPS to the bridge and back, for requests and for streams.
    """

    page = "docs/howto/proxy.md"

    def assertServes(self) -> None:
        """
        A request is answered, and logged with the address that it comes from; an event comes when it happens.
        """
        pong = self.curl("/rest/ping/example.com", "-u", "bot:secret")
        self.assertTrue(pong.endswith("200"), pong)
        self.assertRegex(self.walk.logs(), r"127\.0\.0\.2 GET /rest/ping/example\.com 200")
        heard: Queue[str] = Queue()

        def listen() -> None:
            heard.put(self.curl("/api/sse", "-N", "--max-time", "6", "-u", "juliet@example.com:secret"))

        listener = Thread(target=listen)
        listener.start()
        time.sleep(3)  # until the stream is open; curl says nothing of that
        text = ("-H", "Content-Type: text/plain", "-d", "O Romeo")
        self.curl("/rest/message/chat/juliet@example.com", "-u", "bot:secret", *text)
        listener.join(20)
        self.assertIn("O Romeo", heard.get(timeout=1))

    def testNginx(self) -> None:
        """
        nginx, with the site as it is shown.
        """
        site = self.shown("try/nginx/site")
        for name, file in (("fullchain", self.certificate), ("privkey", self.key)):
            site = site.replace(f"/etc/letsencrypt/live/rest.example.com/{name}.pem", str(file))
        self.startNginx(site)
        self.assertServes()

    def testCaddy(self) -> None:
        """
        Caddy, with the site as it is shown, but for the certificate, which it can't get here.
        """
        site = self.shown("try/caddy/Caddyfile")
        here = f"https://rest.example.com:{self.port} {{\n    tls {self.certificate} {self.key}\n"
        self.assertEqual(1, site.count("rest.example.com {\n"))
        file = self.folder / "Caddyfile"
        options = "{\n    admin off\n    auto_https disable_redirects\n}\n"
        file.write_text(options + site.replace("rest.example.com {\n", here))
        self.start("caddy", "run", "--adapter", "caddyfile", "--config", str(file))
        self.assertServes()


class Scaling(FrontCase):
    """
    More than one bridge: what stands in front of them.
    """

    page = SCALING

    def bridges(self, name: str) -> str:
        """
        The configuration of a load balancer, with our bridge and one that is down.
        """
        (down,) = freePorts(1)
        one, two = f"10.0.0.11:{self.walk.ports[8080]}", f"10.0.0.12:{self.walk.ports[8080]}"
        shown = self.shown(name)
        self.assertIn(one, shown)
        return shown.replace(one, f"{LOOPBACK}:{self.walk.ports[8080]}").replace(two, f"{LOOPBACK}:{down}")

    def assertBalances(self, scheme: str) -> None:
        """
        Every request is answered, though one bridge is down, and logged with the client's address.
        """
        for number in range(6):
            asked = self.curl("/rest/ping/example.com", "-u", "bot:secret", scheme=scheme)
            self.assertTrue(asked.endswith("200"), asked)
            keyed = ("-H", f"Idempotency-Key: k{number}", "-H", "Content-Type: text/plain", "-d", "Hi")
            path = "/rest/message/chat/juliet@example.com"
            told = self.curl(path, "-u", "bot:secret", *keyed, scheme=scheme)
            self.assertTrue(told.endswith("202"), told)
            read = self.curl("/api/messages", "-u", "juliet@example.com:secret", scheme=scheme)
            self.assertTrue(read.endswith("200"), read)
        self.assertRegex(self.walk.logs(), r"127\.0\.0\.2 GET /api/messages 200")

    def testHAProxy(self) -> None:
        """
        HAProxy, as it is shown.
        """
        both = self.folder / "both.pem"
        both.write_bytes(self.certificate.read_bytes() + self.key.read_bytes())
        shown = self.bridges("try/haproxy.cfg").replace("/etc/haproxy/rest.example.com.pem", str(both))
        file = self.folder / "haproxy.cfg"
        file.write_text(shown.replace("bind :8443", f"bind {LOOPBACK}:{self.port}"))
        self.start("haproxy", "-db", "-f", str(file))
        self.assertBalances("https")

    def testNginx(self) -> None:
        """
        nginx, as it is shown.
        """
        shown = self.bridges("try/nginx/bridges")
        self.startNginx(shown.replace("listen 8081", f"listen {LOOPBACK}:{self.port}"))
        self.assertBalances("http")


class Listeners(DocumentCase):
    """
    More than one bridge: how the servers let them in.
    """

    def testEjabberd(self) -> None:
        """
        The listeners let each bridge in.
        """
        with ejabberd(block(SCALING, "yaml").text) as ports:
            for number, port in enumerate(ports, 1):
                attach(port, f"rest{number}.example.com", "change-me").close()

    def testProsody(self) -> None:
        """
        The sections let each bridge in.
        """
        _, configuration, prosody, *_ = sections("README.md", PROSODY)
        shown = block(SCALING, "lua").text.replace("10.0.0.2", LOOPBACK)
        whole = configuration.text.replace("component_ports = { 5347 }\n", "").partition(
            "-- These two lines"
        )[0]
        globally, _, components = shown.partition("\n\n")
        whole = f"{globally}\n{whole}\n{components}"
        self.walk.paste([attrs.evolve(configuration, text=whole), prosody])
        for number in (1, 2):
            attach(self.walk.ports[5347], f"rest{number}.example.com", "change-me").close()


class Reference(DocumentCase):
    def testHTTP(self) -> None:
        """
        Whoever may call, calls.
        """
        robot = f"{ROBOT}\n[[callbacks]]"
        self.attach(changed=("[[callbacks]]", robot))
        self.follow("docs/http.md")

    def testClientAPI(self) -> None:
        """
        An app's calls, and its stream.
        """
        self.attach()
        self.register("alice")
        self.follow("docs/client-api.md")

    def testOthers(self) -> None:
        """
        What the pages about operating, about webhooks, about the configuration and about the calls show.
        """
        self.attach()
        for page in ("docs/api.md", "docs/configuration.md", "docs/operating.md", "docs/webhooks.md"):
            with self.subTest(page):
                self.follow(page)
