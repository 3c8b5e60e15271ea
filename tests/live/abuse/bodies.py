"""
Attacks on the readers of bodies: JSON, CBOR, XML, forms, texts.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from tests.live.abuse.attack import REFUSED, Attack, request
from tests.live.receiver import XML

CBOR = "application/cbor"
FORM = "application/x-www-form-urlencoded"
TEXT = "text/plain"
TO_KATE = "/rest/message/chat/kate@localhost"
SENT = frozenset({200, 202})
EITHER = REFUSED | SENT
"""Nothing is wrong with what is only odd; it must do no harm."""


def _attack(name: str, body: str | bytes, mediaType: str | None, expects: frozenset[int] = REFUSED) -> Attack:
    def sends() -> tuple[bytes]:
        content = body.encode() if isinstance(body, str) else body
        return (request(TO_KATE if mediaType == TEXT else "/rest", content, mediaType=mediaType),)

    return Attack(name, sends, expects)


def _message(inside: str, attributes: str = "") -> str:
    return f"<message to='kate@localhost' {attributes}>{inside}</message>"


def json() -> Iterator[Attack]:
    """
    In JSON.
    """
    media = "application/json"
    deep = "[" * 90_000
    for name, body, expects in (
        ("90,000 brackets", deep, REFUSED),
        ("90,000 brackets, closed", deep + "]" * 90_000, REFUSED),
        ("30,000 objects deep", '{"a":' * 30_000 + "1" + "}" * 30_000, REFUSED),
        (
            "60,000 brackets in a body",
            f'{{"to": "kate@localhost", "body": {"[" * 60_000}{"]" * 60_000}}}',
            REFUSED,
        ),
        (
            "60,000 brackets in an unknown key",
            f'{{"to": "kate@localhost", "x": {"[" * 60_000}{"]" * 60_000}}}',
            EITHER,
        ),
        ("a number past all", '{"to": "kate@localhost", "kind": "presence", "priority": 1e999999}', EITHER),
        (
            "a number of 100,000 digits",
            '{"to": "kate@localhost", "kind": "presence", "priority": 1' + "0" * 100_000 + "}",
            EITHER,
        ),
        (
            "a fraction of 100,000 digits",
            '{"to": "kate@localhost", "kind": "presence", "priority": 0.' + "1" * 100_000 + "}",
            EITHER,
        ),
        ("NaN", '{"to": "kate@localhost", "kind": "presence", "priority": NaN}', REFUSED),
        ("duplicate keys", '{"to": "kate@localhost", "body": "a", "body": "b", "to": "@"}', EITHER),
        ("a lone surrogate", '{"to": "kate@localhost", "body": "\\ud800"}', REFUSED),
        ("a surrogate in a key", '{"to": "kate@localhost", "\\udfff": "x", "body": "x"}', EITHER),
        ("NUL in a text", '{"to": "kate@localhost", "body": "a\\u0000"}', REFUSED),
        ("NUL in an address", '{"to": "kate\\u0000@localhost", "body": "x"}', REFUSED),
        ("UTF-7", b'{"body": "+ADw-"', REFUSED),
        ("UTF-16", '{"to": "kate@localhost"}'.encode("utf-16"), REFUSED),
        ("overlong UTF-8", b'{"to": "kate@localhost", "body": "\xc0\x80"}', REFUSED),
        ("a key of 150,000 letters", '{"to": "kate@localhost", "' + "k" * 150_000 + '": 1}', EITHER),
        ("15,000 unknown keys", "{" + ",".join(f'"k{number}":1' for number in range(15_000)) + "}", EITHER),
        ("90,000 elements", '{"to": "kate@localhost", "body": [' + "0," * 90_000 + "0]}", REFUSED),
        ("CR LF in an unknown key", '{"to": "kate@localhost", "a\\r\\nX-Evil: yes": 1, "body": "x"}', EITHER),
        ("CR LF in an id", '{"to": "kate@localhost", "id": "a\\r\\nX-Evil: yes", "body": "x"}', EITHER),
    ):
        yield _attack(f"JSON: {name}", body, media, expects)
    yield _attack("JSON: a byte order mark", b"\xef\xbb\xbf" + b'{"to": "@"}', media)
    for charset in ("utf-16", "utf-7", "x" * 5000, "\\", '"', "rot13", "zlib", "unicode_escape"):
        yield _attack(f"charset {charset[:20]}", b'{"to": "@"}', f"application/json; charset={charset}")


def cbor() -> Iterator[Attack]:
    """
    In CBOR (RFC 8949).
    """
    for name, body in (
        ("nothing", b""),
        ("an array of 2**64", b"\x9b" + b"\xff" * 8),
        ("a map of 2**64", b"\xbb" + b"\xff" * 8),
        ("a text of 2**63", b"\x7b\x7f" + b"\xff" * 7),
        ("bytes of 4 GB", b"\x5a\xff\xff\xff\xff"),
        ("100,000 arrays", b"\x81" * 100_000 + b"\x00"),
        ("100,000 arrays without end", b"\x9f" * 100_000),
        ("100,000 maps without end", b"\xbf\x00" * 50_000),
        ("100,000 tags", b"\xc1" * 100_000 + b"\x00"),
        ("a text without end", b"\x7f" + b"\x61a" * 50_000),
        ("a negative bignum of 100 KB", b"\xa1\x61a\xc3\x5a\x00\x01\x86\xa0" + b"\xff" * 100_000),
        ("a decimal fraction of 10**(2**63)", b"\xc4\x82\x1b\x7f" + b"\xff" * 7 + b"\x01"),
        ("a bigfloat of 2**(2**63)", b"\xc5\x82\x1b\x7f" + b"\xff" * 7 + b"\x01"),
        ("a rational by nothing", b"\xd8\x1e\x82\x01\x00"),
        ("a regular expression", b"\xd8\x23\x68(a+)+$xx"),
        ("a date past all", b"\xc1\xfb" + struct.pack(">d", 1e300)),
        ("a reference to itself", b"\xd8\x1c\x81\xd8\x1d\x00"),
        ("a map as a key", b"\xa1\xa0\x00"),
        ("not UTF-8", b"\xa1\x64body\x62\xff\xfe"),
        ("break alone", b"\xff"),
    ):
        yield _attack(f"CBOR: {name}", body, CBOR)


def xml() -> Iterator[Attack]:
    """
    In XML.
    """
    laughs = "".join(f"<!ENTITY l{n + 1} '{f'&l{n};' * 10}'>" for n in range(10))
    attributes = " ".join(f"a{n}='1'" for n in range(10_000))
    prefixes = " ".join(f"xmlns:p{n}='urn:{n}'" for n in range(5_000))
    for name, body, expects in (
        (
            "a billion laughs",
            f"<!DOCTYPE m [<!ENTITY l0 'lol'>{laughs}]>{_message('<body>&l9;</body>')}",
            REFUSED,
        ),
        (
            "an entity of 100 KB, 10,000 times",
            f"<!DOCTYPE m [<!ENTITY l '{'l' * 100_000}'>]>" + _message("&l;" * 10_000),
            REFUSED,
        ),
        (
            "an external entity",
            "<!DOCTYPE m [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>" + _message("<body>&x;</body>"),
            REFUSED,
        ),
        ("an external DTD", f"<!DOCTYPE m SYSTEM 'http://127.0.0.1:9/x.dtd'>{_message('<body/>')}", REFUSED),
        (
            "a parameter entity",
            f"<!DOCTYPE m [<!ENTITY % x SYSTEM 'file:///etc/passwd'> %x;]>{_message('')}",
            REFUSED,
        ),
        (
            "XInclude",
            _message(
                "<body><x:include xmlns:x='http://www.w3.org/2001/XInclude' href='/etc/passwd'/></body>"
            ),
            EITHER,
        ),
        ("a comment", _message(f"<!--{'c' * 100_000}--><body>x</body>"), REFUSED),
        ("20,000 processing instructions", _message("<?a b?>" * 20_000), REFUSED),
        ("25,000 deep", _message("<a>" * 25_000 + "</a>" * 25_000), REFUSED),
        ("60,000 deep without end", "<a>" * 60_000, REFUSED),
        ("40,000 children", _message("<a/>" * 40_000), EITHER),
        ("10,000 attributes", _message(f"<a {attributes}/>"), EITHER),
        ("an attribute twice", _message("<body a='1' a='2'/>"), REFUSED),
        ("10,000 namespaces", _message("".join(f"<a xmlns='urn:{n}'/>" for n in range(7_000))), EITHER),
        ("5,000 prefixes", _message(f"<a {prefixes}/>"), EITHER),
        (
            "prefixes, deep",
            _message("".join(f"<p:a xmlns:p='urn:{n}'>" for n in range(500)) + "</p:a>" * 500),
            EITHER,
        ),
        ("the prefix xmlns", _message("<xmlns:a/>"), REFUSED),
        ("xml bound to another", _message("<a xmlns:xml='urn:x'/>"), REFUSED),
        ("another namespace", "<message xmlns='urn:evil' to='kate@localhost'/>", REFUSED),
        (
            "the stream's own element",
            "<stream:stream xmlns:stream='http://etherx.jabber.org/streams'/>",
            REFUSED,
        ),
        ("the stream's end", "</stream:stream>", REFUSED),
        ("two stanzas", _message("") + _message(""), REFUSED),
        ("an attribute of 150 KB", _message(f"<a b='{'x' * 150_000}'/>"), EITHER),
        ("an element's name of 150 KB", _message(f"<{'a' * 75_000}/>"), EITHER),
        ("character references alone", _message(f"<body>{'&#60;' * 35_000}</body>"), EITHER),
        ("a reference to no character", _message("<body>&#x110000;</body>"), REFUSED),
        ("a reference to a surrogate", _message("<body>&#xD800;</body>"), REFUSED),
        ("CDATA that ends early", _message("<body><![CDATA[ ]]> ]]></body>"), REFUSED),
        ("UTF-16 declared", "<?xml version='1.0' encoding='utf-16'?><message/>", EITHER),
        ("an encoding unheard of", "<?xml version='1.0' encoding='x-evil'?><message/>", EITHER),
        ("version 1.1", "<?xml version='1.1'?><message to='@'/>", REFUSED),
        ("NUL", "<message>\0</message>", REFUSED),
    ):
        yield _attack(f"XML: {name}", body, XML, expects)


def others() -> Iterator[Attack]:
    """
    Forms, texts, and what is none of all.
    """
    for name, body, expects in (
        ("90,000 fields", "a&" * 90_000, EITHER),
        ("40,000 fields of one name", "to=x&" * 38_000, EITHER),
        ("a field of escapes", "to=kate@localhost&body=" + "%26" * 60_000, EITHER),
        ("escapes cut short", "to=%&body=%4&%", EITHER),
        ("NUL", "to=kate%00@localhost&body=x", REFUSED),
        ("not UTF-8", b"to=kate@localhost&body=\xff", REFUSED),
    ):
        yield _attack(f"form: {name}", body, FORM, expects)
    yield _attack("text: controls", bytes(range(32)), TEXT)
    yield _attack("text: non-characters", "\ufffe\uffff" * 10_000, TEXT)
    yield _attack("text: 60,000 combining marks", "a" + "\u0301" * 60_000, TEXT, EITHER)
    yield _attack("text: 30,000 bidi overrides", "\u202e" * 30_000, TEXT, EITHER)
    yield _attack("text: 190,000 ampersands", "&" * 190_000, TEXT)
    for media in (
        None,
        "",
        "image/svg+xml",
        "multipart/form-data",
        "*/*",
        "a" * 10_000,
        "application/json\x00",
        ";" * 5000,
    ):
        yield _attack(f"media type {(media or repr(media))[:20]!r}", b"{}", media)
