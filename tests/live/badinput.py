"""
Requests that no one should send, and what they are told.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.live.bridge import BOT
from tests.live.receiver import JSON, XML
from tests.live.web import basic

MAX_BODY = 2_000_000
"""What the bridge is configured to take, so that its parsers meet what is large and deep."""

TEXT = "text/plain"
TO_KATE = "/rest/message/chat/kate@localhost"
BOMB = "<!DOCTYPE a [<!ENTITY x 'xxxxxxxxxx'><!ENTITY y '&x;&x;&x;&x;'>]><message><body>&y;</body></message>"
ATTRIBUTES = " ".join(f"a{number}='{number}'" for number in range(10_000))


@dataclass(frozen=True)
class Bad:
    """
    A bad request.

    @ivar says: what its answer must name, as a pattern.
    @ivar statuses: those that will do.
    """

    name: str
    body: str | bytes = ""
    type: str | None = JSON
    statuses: tuple[int, ...] = (400, 413, 422)
    says: str = ""
    path: str = "/rest"
    method: str = "POST"
    auth: str | None = BOT


def _message(inside: str = "<body>x</body>", attributes: str = "to='kate@localhost'") -> str:
    """
    A message in XML.
    """
    return f"<message {attributes}>{inside}</message>"


def _nested(depth: int) -> str:
    """
    Elements in elements.
    """
    return "<a>" * depth + "</a>" * depth


def notWellFormed() -> Iterator[Bad]:
    """
    What isn't what its media type says, or more of it than is good.
    """
    says = r"(?i)parse|xml|json|form|utf|character|deep|depth|nest|large|many|attribute"
    for body in ('{"body": ', "[]", "5", '"x"', "", "nul", '{"body": "\\ud83d"}', '{"body": "a\\u0000b"}'):
        yield Bad(f"JSON {body}", body, says=says)
    yield Bad("JSON, not UTF-8", b'{"body": "\xff"}', says=says)
    yield Bad("JSON, 100,000 deep", "[" * 100_000, says=says)
    yield Bad("JSON, 50,000 deep inside", '{"body": ' + "[" * 50_000 + "]" * 50_000 + "}", says=says)
    for body in (
        "",
        "text",
        "<message>",
        "<message/><message/>",
        "<message>&undefined;</message>",
        "<a:message/>",
    ):
        yield Bad(f"XML {body}", body, XML, says=says)
    yield Bad("XML, DOCTYPE", BOMB, XML, says=r"(?i)doctype|parse|restricted")
    yield Bad("XML, comment", _message("<!-- c --><body>x</body>"), XML, says=says)
    yield Bad("XML, processing instruction", _message("<?pi x?><body>x</body>"), XML, says=says)
    yield Bad("XML, undeclared prefix", _message("<a:b/>"), XML, says=says)
    yield Bad("XML, not UTF-8", b"<message><body>\xff</body></message>", XML, says=says)
    yield Bad("XML, control character", _message("<body>\x01</body>"), XML, says=says)
    yield Bad("XML, character reference to none", _message("<body>&#0;&#xFFFF;</body>"), XML, says=says)
    yield Bad("XML, 100,000 deep", _message(_nested(100_000)), XML, says=says)
    yield Bad("text, not UTF-8", b"\xff\xfe", TEXT, says=says, path=TO_KATE)
    yield Bad("text, control characters", "a\x00b\x08", TEXT, says=says, path=TO_KATE)
    yield Bad("text, no character at all", "\ufffe", TEXT, says=says, path=TO_KATE)


def notAStanza() -> Iterator[Bad]:
    """
    Well-formed, and yet nothing that can be sent.
    """
    yield Bad("XML, another element", "<foo/>", XML, says=r"(?i)message|stanza")
    for attributes in ("type='result'", "", "type='nonsense'"):
        iq = f"<iq to='localhost' {attributes}><ping xmlns='urn:xmpp:ping'/></iq>"
        yield Bad(f"IQ {attributes}", iq, XML, says="(?i)type")
    two = "<iq to='localhost' type='get'><ping xmlns='urn:xmpp:ping'/><ping xmlns='urn:xmpp:ping'/></iq>"
    yield Bad("IQ with two children", two, XML, says="(?i)child|one")
    for jid in ("@", "@localhost", "bob@", "a@b/", "bob@local host", "a" * 1024 + "@localhost"):
        yield Bad(
            f"XML to {jid[:20]}", _message(attributes=f"to='{jid}'"), XML, says="(?i)jid|address|destination"
        )
        yield Bad(
            f"JSON to {jid[:20]}", f'{{"to": "{jid}", "body": "x"}}', says="(?i)jid|address|destination"
        )
    for sender in ("kate@localhost", "localhost", "other@bridge.localhost", "bot@sub.bridge.localhost"):
        foreign = _message(attributes=f"to='kate@localhost' from='{sender}'")
        yield Bad(f"from {sender}", foreign, XML, (403,), "(?i)from")
    yield Bad(
        "unknown kind in the path",
        "x",
        TEXT,
        says="(?i)path|kind|parse",
        path="/rest/foo/chat/kate@localhost",
    )


def tooLarge() -> Iterator[Bad]:
    """
    More than the bridge takes, or than a server's stream would bear.
    """
    says = "(?i)large|size|limit|long"
    yield Bad("body over the limit", "a" * (MAX_BODY + 1), TEXT, (413,), says, TO_KATE)
    yield Bad("text over what a stream bears", "a" * 600_000, TEXT, (413,), says, TO_KATE)
    yield Bad("text that grows when escaped", "&" * 120_000, TEXT, (413,), says, TO_KATE)


def notAllowed() -> Iterator[Bad]:
    """
    By whom, or in what way, one may not ask.
    """
    good = '{"body": "x", "to": "kate@localhost"}'
    says = "(?i)media type|content-type"
    for mediaType in (None, "application/xml", "image/png", "application/vnd.api+json", ";;;", "x"):
        yield Bad(f"media type {mediaType}", good, mediaType, (415,), says)
    says = "(?i)credentials|authori"
    yield Bad("no credentials", good, statuses=(401,), says=says, auth=None)
    yield Bad("wrong password", good, statuses=(403,), says=says, auth=basic("bot", "wrong"))
    yield Bad("unknown account", good, statuses=(403,), says=says, auth=basic("nobody", "x"))
    yield Bad("unknown token", good, statuses=(403,), says=says, auth="Bearer nonsense")
    yield Bad("no base64", good, statuses=(403,), says=says, auth="Basic !!!")
    yield Bad("unknown scheme", good, statuses=(403,), says=says, auth="Digest x")
    yield Bad("credentials before the body is looked at", "{", statuses=(401,), says=says, auth=None)
    for method in ("PUT", "DELETE", "PATCH"):
        yield Bad(f"method {method}", good, statuses=(404, 405), method=method)
    yield Bad("unknown path", good, statuses=(404,), path="/nope")
    yield Bad("unknown query", statuses=(404,), path="/rest/nonsense/localhost", method="GET")


def odd() -> Iterator[Bad]:
    """
    Odd, but not wrong in every eye: to be sent or refused, without harm.
    """
    either = (200, 202, 400, 403, 404, 413, 415, 422)
    yield Bad("100,000 newlines", "\n" * 100_000, TEXT, either, path=TO_KATE)
    yield Bad("100,000 newlines in XML", _message("<body>" + "\n" * 100_000 + "</body>"), XML, either)
    yield Bad(
        "100,000 newlines in JSON",
        '{"to": "kate@localhost", "body": "' + "\\n" * 100_000 + '"}',
        JSON,
        either,
    )
    yield Bad("jabber:client", _message(attributes="xmlns='jabber:client' to='kate@localhost'"), XML, either)
    yield Bad("jabber:server", _message(attributes="xmlns='jabber:server' to='kate@localhost'"), XML, either)
    yield Bad("no destination", _message(attributes=""), XML, either)
    yield Bad("a type unheard of", _message(attributes="type='weird' to='kate@localhost'"), XML, either)
    yield Bad(
        "numbers",
        '{"kind": "presence", "to": "kate@localhost", "priority": 1' + "0" * 5000 + "}",
        JSON,
        either,
    )
    yield Bad("not a text", '{"to": "kate@localhost", "body": {"a": [1, null, 1e999]}}', JSON, either)
    yield Bad("addresses that are no texts", '{"to": 5, "from": [], "id": {}, "type": null}', JSON, either)
    yield Bad("nothing", "{}", JSON, either)
    # A start tag of some KB may stall Prosody's side of the stream, if nothing follows it.
    yield Bad("10,000 attributes", _message(f"<a {ATTRIBUTES}/>"), XML, either)
    # mod_rest drops an address in the path that is none; the message goes to the sender's own account then.
    for address in ("@", "%ff%fe", "a%00b@localhost", "a%0Ab@localhost"):
        yield Bad(f"to {address} in the path", "x", TEXT, either, path=f"/rest/message/chat/{address}")
    yield Bad("1,000 deep", _message(_nested(1000)), XML, either)
    yield Bad("20,000 children", _message("<a/>" * 20_000), XML, either)
    yield Bad(
        "a form of broken escapes",
        "body=%ff%zz&to=kate@localhost",
        "application/x-www-form-urlencoded",
        either,
    )
    yield Bad(
        "another charset", '{"to": "kate@localhost", "body": "x"}', "application/json; charset=utf-16", either
    )
    yield Bad("a query for nobody", statuses=(200, 400, 404, 422), path="/rest/ping/%40", method="GET")
