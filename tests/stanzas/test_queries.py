"""
C{GET /rest/{query}/{to}}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from restbridge.stanzas.mapping import MappingRefused
from restbridge.stanzas.media import Unreadable
from restbridge.stanzas.queries import QUERIES, ask
from restbridge.stanzas.xml import serialize


def asked(query: str, **parameters: str) -> str:
    """
    The question, without the IQ around it.
    """
    return serialize(next(iter(ask(query, "", parameters).stanza.elements())), "")


class QueryTests(SynchronousTestCase):
    """
    Questions without a body.
    """

    def test_bare(self) -> None:
        """
        Each can be asked without parameters: an IQ of one empty element, to whom the path names.
        """
        for query in QUERIES:
            iq = ask(query, "example.com", {}).stanza
            self.assertEqual((iq.name, iq["to"], len(iq.children)), ("iq", "example.com", 1))
            self.assertEqual(iq["type"], "set" if query == "archive" else "get")
            self.assertEqual((iq.children[0].children, iq.children[0].attributes), ([], {}))

    def test_parameters(self) -> None:
        """
        Parameters are members of the payload.
        """
        self.assertEqual(
            asked("upload_request", filename="f", size="12"),
            "<request xmlns='urn:xmpp:http:upload:0' filename='f' size='12'/>",
        )
        self.assertIn(" node='n'/>", asked("disco", node="n"))
        self.assertIn(" node='n'/>", asked("items", node="n"))
        self.assertIn(" type='turn'/>", asked("extdisco", type="turn"))
        self.assertIn("<stat name='users/online'/>", asked("stats", name="users/online"))
        self.assertIn("datatype='urn:x'>{\"a\":1}<", asked("payload", datatype="urn:x", data='{"a": 1}'))

    def test_archive(self) -> None:
        """
        The archive takes the convenience keys; ids are separated by commas.
        """
        xml = asked("archive", **{"with": "juliet@example.com", "ids": "1,2", "max": "5", "before": ""})
        self.assertIn("<field var='with'><value>juliet@example.com</value></field>", xml)
        self.assertIn("<field var='ids'><value>1</value><value>2</value></field>", xml)
        self.assertIn("<before/><max>5</max>", xml)

    def test_wrong(self) -> None:
        """
        What can't be understood is refused or, if unknown, named.
        """
        self.assertEqual(
            self.assertRaises(MappingRefused, ask, "upload_request", "", {"size": "x"}).path,
            "upload_request.size",
        )
        self.assertRaises(MappingRefused, ask, "archive", "", {"max": "x"})
        self.assertRaises(Unreadable, ask, "payload", "", {"data": "{"})
        self.assertRaises(Unreadable, ask, "roster", "", {})
        for query in ("ping", "version", "disco", "stats"):
            self.assertEqual(ask(query, "", {"z": "1"}).ignored, (f"{query}.z",))
