"""
A request that came whole and is plain, as nearly all are, read in one look.

::

    bytes -> request line, header lines, a body that ends where they end -> Whole
          -> anything else                                               -> None: for Twisted's parser

Line by line, as Twisted's parser works since a line may come in pieces, a request's head takes as long as
all else that is done before its route. What is taken here, it takes, too, and reads the same in it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import attrs

MAX_FIELDS = 100
"""Header lines that are read here."""

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_HEAD = re.compile(
    rb"(" + _TOKEN + rb") ([!-~]++) HTTP/1\.1\r\n"
    # A line that begins with a space goes on with the one before it: such a head is not plain.
    rb"((?:" + _TOKEN + rb":[^\0\r\n]*+\r\n)*+)\r\n"
)
_LENGTH = re.compile(rb"[0-9]{1,15}")


@attrs.frozen
class Whole:
    """
    A request of HTTP/1.1.

    @ivar fields: names and values of its headers, without the white space around them.
    """

    method: bytes
    target: bytes
    fields: Sequence[tuple[bytes, bytes]]
    body: bytes


def whole(data: bytes, most: int) -> Whole | None:
    """
    The request that is all of C{data}; L{None} where it isn't whole, isn't alone, or isn't plain.

    @param most: bytes that its head may have.
    """
    head = _HEAD.match(data, 0, most)
    if head is None:
        return None
    fields = []
    length = None
    for line in head[3].split(b"\r\n", MAX_FIELDS + 1)[:-1]:
        name, _, value = line.partition(b":")
        fields.append((name, value.strip(b" \t")))
        known = name.lower()
        if known == b"content-length":
            if length is not None:
                return None
            length = fields[-1][1]
        elif known == b"transfer-encoding":
            return None
    if length is None:
        length = b"0"
    if len(fields) > MAX_FIELDS or _LENGTH.fullmatch(length) is None:
        return None
    end = head.end()
    return Whole(head[1], head[2], fields, data[end:]) if len(data) - end == int(length) else None
