"""
What C{GET /rest/{query}/{to}} stands for in XMPP, and an answer to each.
"""

from __future__ import annotations

from typing import Any

import attrs

INFO = "http://jabber.org/protocol/disco#info"
ITEMS = "http://jabber.org/protocol/disco#items"
STATS = "http://jabber.org/protocol/stats"
SERVICES = "urn:xmpp:extdisco:2"
UPLOAD = "urn:xmpp:http:upload:0"


@attrs.frozen(kw_only=True)
class Question:
    """
    A question and an answer.

    @ivar asks: the payload that the query stands for.
    @ivar answer: the payload that answers it.
    @ivar json: the answer in JSON; L{None} for one that says nothing.
    @ivar key: where it stands in the stanza; by default under the query's name.
    """

    query: str
    parameters: str = ""
    asks: str
    answer: str
    json: Any
    key: str = attrs.field(default=attrs.Factory(lambda self: self.query, takes_self=True))

    @property
    def name(self) -> str:
        """
        For messages to people.
        """
        return self.query + self.parameters


QUESTIONS = [
    Question(query="ping", asks="<ping xmlns='urn:xmpp:ping'/>", answer="", json=None),
    Question(
        query="version",
        asks="<query xmlns='jabber:iq:version'/>",
        answer=(
            "<query xmlns='jabber:iq:version'><name>A &amp; B</name><version>1</version><os>Z</os></query>"
        ),
        json={"name": "A & B", "version": "1", "os": "Z"},
    ),
    Question(
        query="disco",
        asks=f"<query xmlns='{INFO}'/>",
        answer=(
            f"<query xmlns='{INFO}'><identity category='client' type='bot' name='B'/>"
            "<feature var='urn:xmpp:ping'/></query>"
        ),
        json={
            "identities": [{"category": "client", "type": "bot", "name": "B"}],
            "features": ["urn:xmpp:ping"],
        },
    ),
    Question(
        query="disco",
        parameters="?node=a%26b",
        asks=f"<query xmlns='{INFO}' node='a&amp;b'/>",
        answer=f"<query xmlns='{INFO}' node='a&amp;b'><feature var='x'/></query>",
        json={"identities": [], "features": ["x"], "node": "a&b"},
    ),
    Question(
        query="items",
        asks=f"<query xmlns='{ITEMS}'/>",
        answer=(
            f"<query xmlns='{ITEMS}'><item jid='a@localhost' node='n' name='N'/>"
            "<item jid='b@localhost'/></query>"
        ),
        json=[{"jid": "a@localhost", "node": "n", "name": "N"}, {"jid": "b@localhost"}],
    ),
    Question(
        query="lastactivity",
        asks="<query xmlns='jabber:iq:last'/>",
        answer="<query xmlns='jabber:iq:last' seconds='903'>Heading home</query>",
        json={"seconds": 903, "status": "Heading home"},
    ),
    Question(
        query="stats",
        asks=f"<query xmlns='{STATS}'/>",
        answer=(
            f"<query xmlns='{STATS}'><stat name='time/uptime' unit='s' value='3054'/>"
            "<stat name='users/online' unit='users' value='3.5'/></query>"
        ),
        json=[
            {"name": "time/uptime", "unit": "s", "value": 3054},
            {"name": "users/online", "unit": "users", "value": 3.5},
        ],
    ),
    Question(
        query="stats",
        parameters="?name=users/online",
        asks=f"<query xmlns='{STATS}'><stat name='users/online'/></query>",
        answer=f"<query xmlns='{STATS}'><stat name='users/online' value='5'/></query>",
        json=[{"name": "users/online", "value": 5}],
    ),
    Question(
        query="extdisco",
        asks=f"<services xmlns='{SERVICES}'/>",
        answer=(
            f"<services xmlns='{SERVICES}'><service type='turn' host='turn.example' port='3478'"
            " transport='udp' restricted='1'/></services>"
        ),
        json={
            "services": [
                {"type": "turn", "host": "turn.example", "port": 3478, "transport": "udp", "restricted": True}
            ]
        },
    ),
    Question(
        query="extdisco",
        parameters="?type=stun",
        asks=f"<services xmlns='{SERVICES}' type='stun'/>",
        answer=f"<services xmlns='{SERVICES}' type='stun'><service type='stun' host='s.example'/></services>",
        json={"type": "stun", "services": [{"type": "stun", "host": "s.example"}]},
    ),
    Question(
        query="upload_request",
        parameters="?filename=a%20b.jpg&size=23456&content-type=image/jpeg",
        asks=f"<request xmlns='{UPLOAD}' filename='a b.jpg' size='23456' content-type='image/jpeg'/>",
        answer=(
            f"<slot xmlns='{UPLOAD}'><put url='https://up.example/1'><header name='Cookie'>x=1</header></put>"
            "<get url='https://down.example/1'/></slot>"
        ),
        json={
            "put": {"url": "https://up.example/1", "headers": [{"name": "Cookie", "value": "x=1"}]},
            "get": {"url": "https://down.example/1"},
        },
        key="upload_slot",
    ),
]
