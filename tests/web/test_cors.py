"""
L{restbridge.web.cors}, through the site.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from restbridge.config import HTTP
from restbridge.web.site import BridgeSite, Health
from tests.web.client import Client, Reply

PAGE = "https://app.example.com"
PREFLIGHT = {"Origin": PAGE, "Access-Control-Request-Method": "POST"}


class CORSTests(SynchronousTestCase):
    def ask(self, method: str, headers: dict[str, str], *origins: str) -> Reply:
        site = BridgeSite(settings=HTTP(corsOrigins=origins), mounts={b"healthz": Health(lambda: None)})
        return Client(site).request(method, "/healthz", headers)

    def test_off(self) -> None:
        """
        Where no origin is configured, no page is told anything.
        """
        for reply in (self.ask("GET", {"Origin": PAGE}), self.ask("OPTIONS", PREFLIGHT)):
            self.assertEqual([name for name in reply.headers if name.startswith("Access-Control")], [])
            self.assertNotIn("Vary", reply.headers)

    def test_named(self) -> None:
        """
        A page of a configured origin may read the answer; caches are told that it depends on whom asks.
        """
        reply = self.ask("GET", {"Origin": PAGE}, "https://other.example.com", PAGE)
        self.assertEqual(reply.headers["Access-Control-Allow-Origin"], PAGE)
        self.assertEqual(reply.headers["Vary"], "Origin")
        exposed = reply.headers["Access-Control-Expose-Headers"].split(", ")
        named = {"Idempotent-Replayed", "Restbridge-Ignored", "Retry-After", "X-Request-ID"}
        self.assertEqual(named, set(exposed))

    def test_others(self) -> None:
        """
        A page of another origin may not, nor one that only looks alike.
        """
        for origin in (
            *("https://evil.example.com", f"{PAGE}.evil.example.com", f"{PAGE}.", f"{PAGE}/", f"{PAGE}:443"),
            *(f"{PAGE}@evil.example.com", f"https://x.{PAGE[8:]}", f"https://x{PAGE[8:]}", PAGE[:-1]),
            *(PAGE.replace("https", "http"), PAGE.upper(), PAGE.replace("app", "App"), f"{PAGE} {PAGE}"),
            *(f"{PAGE}, https://evil.example.com", "null", "*", "", "https://", "file://", "\xff"),
        ):
            for method, headers in (("GET", {}), ("OPTIONS", PREFLIGHT)):
                reply = self.ask(method, {**headers, "Origin": origin}, PAGE, "https://another.example.com")
                self.assertNotIn("Access-Control-Allow-Origin", reply.headers, origin)
                self.assertEqual(reply.headers["Vary"], "Origin")

    def test_port(self) -> None:
        """
        A port that isn't the scheme's own is part of an origin.
        """
        page = f"{PAGE}:8443"
        allowed = self.ask("GET", {"Origin": page}, page).headers["Access-Control-Allow-Origin"]
        self.assertEqual(allowed, page)
        for origin in (PAGE, f"{PAGE}:443", f"{PAGE}:84430"):
            self.assertNotIn("Access-Control-Allow-Origin", self.ask("GET", {"Origin": origin}, page).headers)

    def test_notUTF8(self) -> None:
        """
        An origin that is no text is another one.
        """
        client = Client(BridgeSite(settings=HTTP(corsOrigins=(PAGE,)), mounts={}))
        client.send(b"GET / HTTP/1.1\r\nOrigin: \xff\r\n\r\n")
        self.assertNotIn("Access-Control-Allow-Origin", client.read("GET")[0].headers)

    def test_any(self) -> None:
        """
        C{*} lets every page read, and never with cookies.
        """
        reply = self.ask("GET", {"Origin": PAGE}, "*")
        self.assertEqual(reply.headers["Access-Control-Allow-Origin"], "*")
        self.assertNotIn("Access-Control-Allow-Credentials", reply.headers)

    def test_noPage(self) -> None:
        """
        Who is no page gets no permission.
        """
        self.assertNotIn("Access-Control-Allow-Origin", self.ask("GET", {}, PAGE).headers)

    def test_preflight(self) -> None:
        """
        A browser that asks first is answered before anyone asks for credentials.
        """
        reply = self.ask("OPTIONS", PREFLIGHT, PAGE)
        self.assertEqual((reply.status, reply.body), (204, b""))
        # RFC 9110, section 8.6.
        self.assertNotIn("Content-Length", reply.headers)
        self.assertIn("POST", reply.headers["Access-Control-Allow-Methods"])
        for header in ("Authorization", "Content-Type", "Prosody-Rest-Timeout", "Idempotency-Key"):
            self.assertIn(header, reply.headers["Access-Control-Allow-Headers"])

    def test_options(self) -> None:
        """
        OPTIONS from elsewhere is a method like others.
        """
        self.assertEqual(self.ask("OPTIONS", {"Origin": PAGE}, PAGE).status, 404)
