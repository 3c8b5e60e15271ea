"""
A man in the middle, who would like to read what is said.
"""

from __future__ import annotations

import re

from tests.live.relay import Filter, Wiretap

OFFER = re.compile(rb"<starttls\b[^>]*(?:(?<=/)>|>.*?</starttls>)", re.DOTALL)
INCOMPLETE = re.compile(rb"<stream:features(?!.*</stream:features>).*|<[^>]*\Z", re.DOTALL)
"""Stream features, or a tag, whose end has not come yet."""


class Stripper(Wiretap):
    """
    A relay that takes the offer of STARTTLS (RFC 6120, section 13.9.3.1) out of what servers say.

    A client that cares for its secrets ends the connection; L{sent} holds what another one gives away.
    """

    def _fromServer(self) -> Filter:
        """
        One for each connection, as each waits for the rest of something else.
        """
        return Stripping().feed


class Stripping:
    """
    Passes on what comes; stream features and tags only when they are complete, so that nothing of an offer
    slips through in pieces.
    """

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """
        @return: what can be said of it by now.
        """
        seen = self._held + data
        incomplete = INCOMPLETE.search(seen)
        end = incomplete.start() if incomplete else len(seen)
        self._held = seen[end:]
        return OFFER.sub(b"", seen[:end])
