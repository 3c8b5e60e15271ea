"""
Attacks over XMPP: what users may send to the component, as far as their server lets them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

NOTHING, ERROR, RESULT, CLOSED = "nothing", "error", "result", "closed"
ANY = frozenset({NOTHING, ERROR, RESULT, CLOSED})
FLOOD = 500
LATE = 100
"""Stanzas that come back where answers to earlier ones may, after their time-outs."""
DIRECT, DURABLE = "direct-bot@bridge.localhost", "durable-bot@bridge.localhost"
EMOJI = "\U0001f4a9"
CONDITIONS = "urn:ietf:params:xml:ns:xmpp-stanzas"
IQ = "<iq type='get' to='{to}' id='{id}'>{inside}</iq>"


@dataclass(frozen=True)
class Hostile:
    """
    Stanzas of a user's.

    @ivar sends: made when the attack is, as much of it is large.
    @ivar expects: what may come back; C{closed} is the user's own stream, which the server has ended.
    @ivar most: how many stanzas may come back.
    """

    name: str
    sends: Callable[[], str]
    expects: frozenset[str] = ANY
    most: int = 1


def _as(sent: str) -> Callable[[], str]:
    return lambda: sent


def _flood(stanza: str) -> Callable[[], str]:
    return lambda: "".join(stanza.replace("{n}", str(number)) for number in range(FLOOD))


def shapes() -> Iterator[Hostile]:
    """
    Payloads of odd shapes, each to a direct callback and to a durable one.
    """
    attributes = " ".join(f"a{number}='{number}'" for number in range(5_000))
    prefixes = " ".join(f"xmlns:p{number}='urn:{number}'" for number in range(2_000))
    insides = {
        "1,000 deep": "<a>" * 1_000 + "</a>" * 1_000,
        "10,000 children": "<a/>" * 10_000,
        "10,000 bodies": "<body/>" * 10_000,
        "5,000 attributes": f"<a {attributes}/>",
        "2,000 prefixes": f"<a {prefixes}/>",
        "a body of 200 KB": "<body>" + "x" * 200_000 + "</body>",
        "a body of 35,000 ampersands": "<body>" + "&amp;" * 35_000 + "</body>",
        "a body of newlines": "<body>" + "\n" * 100_000 + "</body>",
        "an attribute of 200 KB": f"<a b='{'x' * 200_000}'/>",
        "a name of 50 KB": f"<{'a' * 50_000}/>",
        "rare characters": "<body>\u0085\u2028\ufeff\u202e\ufffd\U0010ffff\U0001fffd</body>",
        "non-characters": "<body>\ufffe\uffff</body>",
        "a control character": "<body>&#1;</body>",
        "NUL": "<body>&#0;</body>",
        "a lone surrogate": "<body>&#xd800;</body>",
        "10,000 forms' fields": "<x xmlns='jabber:x:data' type='form'>"
        + "<field var='a'/>" * 10_000
        + "</x>",
        "errors of nonsense": f"<error code='1e999'><a xmlns='{CONDITIONS}'/></error>",
        "a delay past all": "<delay xmlns='urn:xmpp:delay' stamp='99999-99-99T99:99:99Z'/>",
        "numbers of 5,000 digits": f"<delay xmlns='urn:xmpp:delay'/><priority>{'9' * 5_000}</priority>",
        "a stanza in a stanza": "<a xmlns='urn:xmpp:forward:0'><message from='a@localhost'/></a>",
    }
    for name, inside in insides.items():
        for to in (DIRECT, DURABLE):
            sent = f"<message to='{to}' type='chat' id='x'>{inside}</message>"
            yield Hostile(f"{name}, to {to.partition('-')[0]}", _as(sent))


def addresses() -> Iterator[Hostile]:
    """
    Resources and local parts that servers pass on, whatever RFC 7622 says.
    """
    for name, address in (
        ("emoji", f"{DIRECT}/\U0001f4a9\U0001f469\u200d\U0001f680"),
        ("1,023 bytes", f"{DIRECT}/{'r' * 1023}"),
        ("1,023 bytes of emoji", f"{DIRECT}/{EMOJI * 255}"),
        ("bidi", f"{DIRECT}/\u202e\u05d0a\u05d0"),
        ("zero width", f"{DIRECT}/\u200b\u200d\ufeff"),
        ("unassigned", f"{DIRECT}/\u0378\u0379"),
        ("a local part of markup", "direct-\\26amp\\3b@bridge.localhost"),
        ("an unassigned local part", "direct-\u0378@bridge.localhost"),
        ("an emoji local part", "direct-\U0001f4a9@bridge.localhost"),
        ("slashes", f"{DIRECT}/../../%2f//"),
        ("an id of CR LF", f"{DIRECT}' id='a&#13;&#10;X-Evil: yes"),
        ("an id of 100 KB", f"{DIRECT}' id='{'i' * 100_000}"),
        ("a type of nonsense", f"{DIRECT}' type='{'t' * 1000}"),
        ("a language of nonsense", f"{DIRECT}' xml:lang='{'l' * 1000}"),
    ):
        sent = f"<message to='{address}'><body>x</body></message>"
        yield Hostile(f"to {name}", _as(sent))
    sent = f"<message to='{DIRECT}' from='admin@localhost'><body>x</body></message>"
    yield Hostile("from another user", lambda: sent)


def answers() -> Iterator[Hostile]:
    """
    Answers to what nobody asked; errors in reply to errors.
    """
    silent = frozenset({NOTHING})
    refusal = f"<error type='cancel'><item-not-found xmlns='{CONDITIONS}'/></error>"
    for name, stanza in {
        "forged results": "<iq type='result' to='bot@bridge.localhost' id='{n}'/>",
        "forged errors": "<iq type='error' to='bot@bridge.localhost' id='{n}'>" + refusal + "</iq>",
        "error messages": f"<message type='error' to='{DIRECT}' id='{{n}}'>" + refusal + "</message>",
        "error messages to a durable callback": f"<message type='error' to='{DURABLE}'>"
        + refusal
        + "</message>",
        "error presences": f"<presence type='error' to='{DIRECT}'>" + refusal + "</presence>",
        "errors of no kind": f"<message type='error' to='{DIRECT}'/>",
    }.items():
        yield Hostile(
            f"{name}, {FLOOD}",
            _flood(stanza),
            silent,
            0,
        )


def floods() -> Iterator[Hostile]:
    """
    Many at once.
    """
    ping = "<ping xmlns='urn:xmpp:ping'/>"
    for name, stanza, expects in (
        ("pings of the component", IQ.format(to="bridge.localhost", id="{n}", inside=ping), ANY),
        (
            "IQs that nobody knows",
            IQ.format(to="bridge.localhost", id="{n}", inside="<a xmlns='urn:a'/>"),
            ANY,
        ),
        ("IQs to a callback", IQ.format(to=DIRECT, id="{n}", inside="<a xmlns='urn:a'/>"), ANY),
        ("IQs of one id", IQ.format(to=DIRECT, id="same", inside="<a xmlns='urn:a'/>"), ANY),
        ("IQs without payload", IQ.format(to=DIRECT, id="{n}", inside=""), ANY),
        ("IQs without id", f"<iq type='get' to='{DIRECT}'>{ping}</iq>", ANY),
        ("presences", f"<presence to='{DIRECT}/{{n}}'/>", ANY),
        ("subscriptions", f"<presence type='subscribe' to='{DIRECT}'/>", ANY),
        ("messages", f"<message to='{DIRECT}'><body>{{n}}</body></message>", ANY),
        ("messages to a durable callback", f"<message to='{DURABLE}'><body>{{n}}</body></message>", ANY),
        (
            "messages to nobody",
            "<message to='nobody@bridge.localhost' id='{n}'><body>x</body></message>",
            ANY,
        ),
    ):
        yield Hostile(
            f"{FLOOD} {name}",
            _flood(stanza),
            expects,
            FLOOD,
        )


def receivers() -> Iterator[Hostile]:
    """
    To callbacks whose receivers misbehave; see C{test_abuse}.
    """
    for name in ("hang", "endless", "headers", "bomb", "loop"):
        sent = "".join(
            f"<message to='{name}-bot@bridge.localhost' type='chat' id='{name}{n}'><body>x</body></message>"
            for n in range(20)
        )
        yield Hostile(f"20 messages to a receiver that misbehaves: {name}", _as(sent), ANY | {"chat"}, LATE)
