"""
L{restbridge.openapi.page}: what is served.
"""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from restbridge.config import HTTP
from restbridge.openapi.page import POLICY, openAPI, page
from restbridge.web.site import BridgeSite
from tests.web.client import Client, Reply


class PageTests(SynchronousTestCase):
    def setUp(self) -> None:
        mounts = {b"openapi.json": openAPI(), b"docs": page()}
        self.client = Client(BridgeSite(settings=HTTP(), mounts=mounts))

    def get(self, path: str, **headers: str) -> Reply:
        """
        @param headers: C{_} stands for C{-}.
        """
        return self.client.request(
            "GET", path, {key.replace("_", "-"): text for key, text in headers.items()}
        )

    def test_description(self) -> None:
        """
        The description is JSON.
        """
        reply = self.get("/openapi.json")
        self.assertEqual((reply.status, reply.type), (200, "application/json"))
        self.assertEqual(reply.json["openapi"], "3.1.0")

    def test_page(self) -> None:
        """
        The page and all that it refers to is there, each with its media type; no script and no style stands
        in the page itself.
        """
        html = self.get("/docs/")
        self.assertEqual((html.status, html.type), (200, "text/html; charset=utf-8"))
        types = {}
        for name in re.findall('(?:src|href)="([^".][^"]*)"', html.body.decode()):
            reply = self.get(f"/docs/{name}")
            self.assertEqual(reply.status, 200)
            types[name] = reply.type
        script = "text/javascript; charset=utf-8"
        self.assertEqual(
            types,
            {
                "favicon-32x32.png": "image/png",
                "start.js": script,
                "swagger-ui-bundle.js": script,
                "swagger-ui.css": "text/css; charset=utf-8",
            },
        )
        self.assertNotRegex(html.body.decode(), r"<style|style=|\son\w+=|<script[^>]*>[^<]")

    def test_policy(self) -> None:
        """
        The browser is told to keep the page to this server, and to its scripts and styles.
        """
        reply = self.get("/docs/")
        self.assertEqual(reply.headers["Content-Security-Policy"], POLICY)
        self.assertNotIn("unsafe", POLICY)
        self.assertNotIn("http", POLICY)
        self.assertEqual(reply.headers["X-Content-Type-Options"], "nosniff")

    def test_unchanged(self) -> None:
        """
        Who has a document already is told so, and sent nothing.
        """
        for path in ("/openapi.json", "/docs/", "/docs/swagger-ui.css"):
            first = self.get(path)
            self.assertEqual(first.headers["Cache-Control"], "no-cache")
            again = self.get(path, If_None_Match=first.headers["ETag"])
            self.assertEqual((again.status, again.body), (304, b""))
            self.assertEqual(again.headers["ETag"], first.headers["ETag"])
            self.assertEqual(self.get(path, If_None_Match='"another"').body, first.body)

    def test_head(self) -> None:
        """
        HEAD says how long it would be.
        """
        length = str(len(self.get("/openapi.json").body))
        reply = self.client.request("HEAD", "/openapi.json")
        self.assertEqual((reply.status, reply.headers["Content-Length"], reply.body), (200, length, b""))

    def test_slash(self) -> None:
        """
        Without its last slash the page says where it is, seen from where it was looked for.
        """
        reply = self.get("/docs")
        self.assertEqual((reply.status, reply.headers["Location"]), (301, "docs/"))

    def test_nothingElse(self) -> None:
        """
        There is nothing else: no other path, not the files beside those of the page, and no other method.
        """
        for path in (
            "/openapi.json/",
            "/docs/README.md",
            "/docs/index.html",
            "/docs//",
            "/docs/../openapi.json",
        ):
            self.assertEqual(self.get(path).status, 404, path)
        for path in ("/openapi.json", "/docs/"):
            self.assertEqual(self.client.request("POST", path, body=b"").status, 404)
