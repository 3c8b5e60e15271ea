"""
What a request costs: the bridge with its embedded server against a bare twisted.web Resource that
answers a constant, in the same run, in turn, with wrk.

    python benchmarks/requests.py [ROUNDS]

Needs wrk (Debian: C{apt-get install wrk}) and restbridge in this Python. Read the ratios; the absolute
numbers are the machine's.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from statistics import median

SECONDS = 3
CONNECTIONS = 16

BARE = """
import sys
from twisted.internet import reactor
from twisted.web.resource import Resource
from twisted.web.server import Site

class Bare(Resource):
    isLeaf = True
    def render(self, request):
        request.content.read()
        return b"{}"

port = reactor.listenTCP(0, Site(Bare()), interface="127.0.0.1")
print(f"http://127.0.0.1:{port.getHost().port}/", flush=True)
reactor.run()
"""

POST = """
wrk.method = "POST"
wrk.body = '{"to": "echo.localhost", "type": "headline", "subject": "Hello!"}'
wrk.headers["Content-Type"] = "application/json"
"""

AUTHORIZATION = "Authorization: Basic ZGVtbzpkZW1v"


def start(*command: str) -> tuple[subprocess.Popen[str], str]:
    """
    Start a server that prints its URL.
    """
    process = subprocess.Popen(command, text=True, stdout=subprocess.PIPE)
    assert process.stdout is not None
    for line in process.stdout:
        found = re.search(r"http://127\.0\.0\.1:\d+/", line)
        if found is not None:
            return process, found.group()
    raise SystemExit(f"{command} did not start")


def rate(url: str, script: Path | None = None) -> float:
    """
    Requests a second.
    """
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "-H", AUTHORIZATION, url]
    done = subprocess.run(
        [*command, *(["-s", str(script)] if script else [])], text=True, capture_output=True, check=True
    )
    if "Non-2xx" in done.stdout:
        raise SystemExit(done.stdout)
    return float(re.search(r"Requests/sec:\s*([\d.]+)", done.stdout).group(1))


def main() -> None:
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is missing: apt-get install wrk")
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "post.lua"
        script.write_text(textwrap.dedent(POST))
        twistd = str(Path(sys.executable).with_name("twistd"))
        demo, bridge = start(twistd, "-n", f"--logfile={folder}/log", "restbridge", "--demo")
        other, bare = start(sys.executable, "-c", BARE)
        try:
            rows = [
                (rate(bare, script), rate(f"{bridge}rest", script), rate(f"{bridge}rest/ping/echo.localhost"))
                for _ in range(rounds)
            ]
        finally:
            for process in (demo, other):
                process.send_signal(signal.SIGTERM)
                process.wait()
    posts = [post / bare for bare, post, _ in rows]
    pings = [ping / bare for bare, _, ping in rows]
    for name, ratios in (("POST message (JSON)", posts), ("GET ping (IQ round trip)", pings)):
        print(f"{name:<26} {median(ratios):.2f} of a bare Resource ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
