"""
L{restbridge.clientapi.call}, and what comes before it: the checks of a request, in their order.
"""

from __future__ import annotations

from typing import Any

from restbridge.stanzas.errors import LinkDown, NoAnswer
from restbridge.web.answer import Refusal
from tests.clientapi.case import JSON, PAGE, ClientAPITestCase
from tests.web.client import Reply, basic

WRONG = basic("alice@example.com", "wrong")

ALLOWED = {
    "/messages": "OPTIONS, GET, POST",
    "/messages/": "OPTIONS, GET, POST",
    "/messages/bob@example.com": "OPTIONS, GET, POST",
    "/contacts": "OPTIONS, GET, POST, PUT, DELETE",
    "/contacts/bob@example.com": "OPTIONS, GET, POST, PUT, DELETE",
    "/rooms": "OPTIONS, GET, POST, PUT",
    "/rooms/hall": "OPTIONS, GET, POST, PUT",
    "/rooms/hall/config": "OPTIONS, PUT",
    "/rooms/hall/users": "OPTIONS, POST, DELETE",
    "/rooms/hall/users/bob@example.com": "OPTIONS, POST, DELETE",
    "/rooms/hall/messages": "OPTIONS, GET, POST",
}


class MethodTests(ClientAPITestCase):
    def test_unknown(self) -> None:
        """
        A method that HTTP doesn't know is 501, whoever asks.
        """
        for method in ("BREW", "TRACE", "CONNECT", "get"):
            self.assertRefused(self.ask(method, "/messages", headers={"Authorization": "?"}), 501, None)

    def test_notAllowed(self) -> None:
        """
        One that a resource doesn't have is 405, before credentials are looked at; Allow has all of them.
        """
        for path, allowed in ALLOWED.items():
            for method in {"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"} - set(allowed.split(", ")):
                reply = self.client.request(method, f"/api{path}")
                self.assertRefused(reply, 405, None)
                self.assertEqual(reply.headers["Allow"], allowed)
        self.assertEqual(self.users.asked, [])

    def test_options(self) -> None:
        """
        OPTIONS says what there is, to whoever has credentials: whether they are right isn't looked at.
        """
        for path, allowed in ALLOWED.items():
            for credentials in (basic("alice@example.com"), WRONG):
                reply = self.ask("OPTIONS", path, headers=credentials)
                self.assertRefused(reply, 200, None)
                self.assertEqual(reply.headers["Allow"], allowed)
            self.assertRefused(self.client.request("OPTIONS", f"/api{path}"), 401, None)
            self.assertRefused(self.ask("OPTIONS", path, headers={"Authorization": "?"}), 400, None)
        self.assertEqual(self.users.asked, [])

    def test_noSuchPath(self) -> None:
        """
        Where nothing is there is nothing for anybody, with any method.
        """
        for path in ("", "/", "/message", "/rooms/hall/else", "/messages\\", "/sse/1", "//messages"):
            for method in ("GET", "POST", "OPTIONS"):
                self.assertRefused(self.client.request(method, f"/api{path}"), 404, None)


class CredentialsTests(ClientAPITestCase):
    def test_none(self) -> None:
        """
        Without credentials, or with wrong ones, nobody gets in, and is asked for those of HTTP Basic.
        """
        for headers in (
            {},
            WRONG,
            basic("alice@elsewhere.example", "secret"),
            basic("alice", "secret"),
            basic("a lice@example.com", "secret"),
            basic("alice@example.com", ""),
            {"Authorization": "Bearer wrong"},
            {"Authorization": 'Digest username="alice"'},
        ):
            reply = self.client.request("GET", "/api/messages", headers)
            self.assertRefused(reply, 401, None)
            self.assertTrue(reply.headers["WWW-Authenticate"].startswith("Basic realm="))

    def test_malformed(self) -> None:
        """
        Credentials that can't be read are a bad request.
        """
        for value in ("Basic", "Basic !", "Basic YWxpY2U=", "Negotiate YWxpY2U6eA==", "", "alice:secret"):
            self.assertRefused(self.ask("GET", "/messages", headers={"Authorization": value}), 400, None)

    def test_schemes(self) -> None:
        """
        The name of the scheme is read in any case.
        """
        for scheme in ("basic", "BASIC", "Basic"):
            value = basic("alice@example.com")["Authorization"].replace("Basic", scheme)
            self.assertEqual(self.ask("GET", "/messages", headers={"Authorization": value}).status, 200)

    def test_names(self) -> None:
        """
        A user's address is read in any case, and with a resource.
        """
        for name in ("ALICE@Example.com", "alice@example.com/phone"):
            self.assertEqual(self.ask("GET", "/messages", headers=basic(name)).status, 200)
        self.assertEqual({user for user, *_ in self.users.asked}, {"alice@example.com"})


class MediaTypeTests(ClientAPITestCase):
    def test_accept(self) -> None:
        """
        JSON is what there is: for clients that take it, whatever parameters they name, and Java's own.
        """
        for accept in (
            "",
            "*/*",
            "*",
            "application/*",
            "application/json; charset=utf-8",
            "Application/JSON",
            "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2",
            'text/html;level="a,b", application/json;q=0.1',
        ):
            self.assertEqual(self.ask("GET", "/messages", headers={"Accept": accept}).status, 200, accept)

    def test_notAcceptable(self) -> None:
        """
        For others there is nothing.
        """
        for accept in ("text/html", "application/xml, text/*", "application/json;q=0, */*", "*/*;q=0"):
            self.assertRefused(self.ask("GET", "/messages", headers={"Accept": accept}), 406, None)

    def test_malformedAccept(self) -> None:
        """
        What is no list of media types is a bad request.
        """
        for accept in ("json", "application/json;q=high", "a/b/c"):
            self.assertRefused(self.ask("GET", "/messages", headers={"Accept": accept}), 400, None)

    def test_contentType(self) -> None:
        """
        A body is JSON, and says so; its parameters don't matter.
        """
        document = {"to": "bob@example.com", "body": "x"}
        for given in ("application/json", "APPLICATION/Json", "application/json; charset=latin-1"):
            reply = self.ask("POST", "/messages", document, {"Content-Type": given})
            self.assertEqual(reply.status, 200)
        for given in ("text/plain", "application/xml", "json", "", "application/json-patch+json"):
            reply = self.ask("POST", "/messages", document, {"Content-Type": given})
            self.assertRefused(reply, 415, None)

    def test_contentTypeOfOthers(self) -> None:
        """
        Methods that need no body don't look at its type.
        """
        self.assertEqual(self.ask("GET", "/messages", b"?", {"Content-Type": "text/plain"}).status, 200)
        body = b'{"to_delete": []}'
        self.assertEqual(self.ask("DELETE", "/contacts", body, {"Content-Type": "text/plain"}).status, 200)

    def test_preconditions(self) -> None:
        """
        A condition that no resource here can meet isn't met.
        """
        document = {"to": "bob@example.com", "body": "x"}
        self.assertRefused(self.ask("GET", "/messages", headers={"If-Match": '"1"'}), 412, None)
        self.assertRefused(self.ask("GET", "/messages", headers={"If-None-Match": "*"}), 304, None)
        self.assertRefused(self.ask("POST", "/messages", document, {"If-None-Match": "*"}), 412, None)
        self.assertEqual(self.ask("GET", "/messages", headers={"If-Match": "*"}).status, 200)
        self.assertEqual(self.ask("GET", "/messages", headers={"If-None-Match": '"1"'}).status, 200)

    def test_order(self) -> None:
        """
        Of several things that are wrong the first is said: credentials, Accept, conditions, type of the body.
        """
        wrong = {**WRONG, "Accept": "text/html", "If-Match": '"1"', "Content-Type": "text/plain"}
        for header, status in (("Authorization", 401), ("Accept", 406), ("If-Match", 412), ("", 415)):
            self.assertRefused(self.ask("POST", "/messages", b"?", wrong), status, None)
            wrong.pop(header, None)
        self.assertEqual(self.account.sent, [])


class BodyTests(ClientAPITestCase):
    def test_notAnObject(self) -> None:
        """
        A body that is no JSON object is refused, where MongooseIM fails.
        """
        for body in (
            b"",
            b"{",
            b"{} {}",
            b"[1]",
            b'"x"',
            b"null",
            b'{"to": "\xff"}',
            b'{"to": "\\ud800"}',
            b"\xef\xbb\xbf{}",
            b'{"to": NaN}',
            b"[" * 100_000,
            b'{"to":' * 30_000,
        ):
            for method, path in (("POST", "/messages"), ("POST", "/contacts"), ("DELETE", "/contacts")):
                self.refused(400, "Invalid request body", method, path, body)

    def test_keys(self) -> None:
        """
        Keys that mean nothing are ignored, and the last of several that are the same counts.
        """
        body = b'{"to": "x", "to": "bob@example.com", "body": "b", "unknown_key": {"deeper": [1]}}'
        self.assertEqual(self.ask("POST", "/messages", body).status, 200)
        self.assertEqual(self.account.sent[0]["to"], "bob@example.com")

    def test_tooLarge(self) -> None:
        """
        What is larger than the operator allows is 413, in words.
        """
        reply = self.ask("POST", "/messages", b"x" * (self.maxBody + 1))
        self.assertRefused(reply, 413, "Payload too large")

    def test_pathNotUTF8(self) -> None:
        """
        A path that is no text is a bad request, in words.
        """
        self.refused(400, "the path is not UTF-8", "GET", "/messages/%ff")


class FailureTests(ClientAPITestCase):
    def test_refusals(self) -> None:
        """
        What stops a login is said in one JSON string, with its headers.
        """
        headers = (("Retry-After", "7"),)
        for status, text in ((429, "too many attempts"), (503, "example.com: no route")):
            self.users.refusal = Refusal(status, "wait", "policy-violation", text, headers=headers)
            reply = self.ask("GET", "/messages")
            self.assertRefused(reply, status, text)
            self.assertEqual(reply.headers["Retry-After"], "7")

    def test_link(self) -> None:
        """
        So is what stops a request.
        """
        faults: list[tuple[Exception, int, str]] = [
            (LinkDown("the server closed the session"), 503, "the server closed the session"),
            (NoAnswer(30), 504, "no answer within 30 seconds"),
        ]
        for fault, status, text in faults:
            self.account.fault = fault
            for method, path in (("GET", "/messages"), ("GET", "/contacts")):
                self.refused(status, text, method, path)
            self.refused(status, text, "POST", "/messages", {"to": "bob@example.com", "body": "x"})

    def test_ownFault(self) -> None:
        """
        A fault of ours goes into the log, and the client learns where to look.
        """
        self.account.fault = ZeroDivisionError("secret detail")
        self.refused(500, "restbridge failed; its log says why", "GET", "/messages")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class CORSTests(ClientAPITestCase):
    def browse(self, method: str, path: str, **headers: str) -> Reply:
        """
        Ask as a page of a configured origin does.
        """
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.request(method, f"/api{path}", {"Origin": PAGE, **given})

    def test_preflight(self) -> None:
        """
        A browser may ask first, without credentials, for every resource and method.
        """
        for path, allowed in ALLOWED.items():
            for method in set(allowed.split(", ")) - {"OPTIONS"}:
                reply = self.browse("OPTIONS", path, Access_Control_Request_Method=method)
                self.assertEqual((reply.status, reply.body), (204, b""))
                self.assertEqual(reply.headers["Access-Control-Allow-Origin"], PAGE)
                self.assertIn(method, reply.headers["Access-Control-Allow-Methods"])

    def test_answers(self) -> None:
        """
        A page may read every answer, refusals too.
        """
        self.assertEqual(self.browse("GET", "/messages").headers["Access-Control-Allow-Origin"], PAGE)
        reply = self.browse("GET", "/messages", **basic("alice@example.com"))
        self.assertEqual((reply.status, reply.type), (200, JSON))
        self.assertEqual(reply.headers["Access-Control-Allow-Origin"], PAGE)


class ParameterTests(ClientAPITestCase):
    def test_malformed(self) -> None:
        """
        A query that can't be read, or holds what means nothing, is refused.
        """
        for query in ("kuropatwa", "kuropatwa=1", "limit=%zz", "limit=%ff", "lim%zzit=1", "=1", "limit=1&x"):
            self.refused(400, "Invalid query string", "GET", f"/messages?{query}")

    def test_limit(self) -> None:
        """
        C{limit} is a number from 0 on; the last one counts.
        """
        for limit in ("", "-1", "abc", "1.5", "0x1", "1e1", "%D9%A1", "1_0", "x" * 2000):
            self.refused(400, "Invalid limit", "GET", f"/messages?limit={limit}")
        self.refused(400, "Invalid limit", "GET", "/messages?limit")
        self.refused(400, "Invalid limit", "GET", "/messages?limit=1&limit=x")
        for query in ("limit=0", "limit=+2", "limit=%2B2", f"limit={'9' * 900}", "limit=x&limit=3", "", "&"):
            self.assertEqual(self.got("GET", f"/messages?{query}"), [])

    def test_before(self) -> None:
        """
        C{before} is a number, with or without a sign, however large.
        """
        for before in ("", "abc", "1.5", "--1", "%00"):
            self.refused(400, "Invalid value of 'before'", "GET", f"/messages?before={before}")
        for before in ("0", "-1", "+5", "%2B5", "1795333015521", "9" * 900, f"-{'9' * 900}"):
            self.assertEqual(self.got("GET", f"/messages?before={before}"), [])

    def test_order(self) -> None:
        """
        Of several things that are wrong the first is said: address, query, limit, before.
        """
        cases: list[tuple[str, str]] = [
            ("/messages/@invalid?zzz&limit=x&before=x", "Invalid interlocutor JID"),
            ("/messages/bob@example.com?limit=x&before=x&zzz", "Invalid query string"),
            ("/messages/bob@example.com?before=x&limit=x", "Invalid limit"),
            ("/messages/bob@example.com?before=x&limit=1", "Invalid value of 'before'"),
        ]
        for path, text in cases:
            self.refused(400, text, "GET", path)

    def test_wrongTypes(self) -> None:
        """
        Whatever JSON holds where a text belongs is refused in words.
        """
        values: list[Any] = [None, 1, 1.5, True, [], {}, ["x"], {"a": 1}]
        for value in values:
            self.refused(400, "Invalid recipient JID", "POST", "/messages", {"to": value, "body": "x"})
            document = {"to": "bob@example.com", "body": value}
            self.refused(400, "Invalid message body", "POST", "/messages", document)
            for path in ("/contacts/bob@example.com",):
                text = "Missing action" if value is None else "Invalid action"
                self.refused(400, text, "PUT", path, {"action": value})
        self.assertEqual(self.account.sent, [])
