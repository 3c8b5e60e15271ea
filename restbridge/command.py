"""
The console script C{restbridge}: the chores around a configuration. The bridge itself runs under twistd.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from getpass import getpass
from hashlib import sha256
from pathlib import Path
from secrets import token_urlsafe

from argon2 import PasswordHasher

from restbridge import outbox
from restbridge.config import ConfigurationRefused, load

TOKEN_BYTES = 32


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run one command.

    @param argv: the arguments; the process's own where none are given.
    @return: the exit status: 0, or 1 where the answer is no. Bad usage leaves with 2.
    """
    options = _usage().parse_args(argv)
    status: int = options.command(options)
    return status


def _usage() -> ArgumentParser:
    parser = ArgumentParser(
        prog="restbridge",
        description="The chores around a configuration. Start the bridge with: twistd restbridge",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    check = commands.add_parser(
        "check-config", help="say what is wrong with a configuration file, a line each"
    )
    check.add_argument("file", metavar="FILE", type=Path)
    check.set_defaults(command=checkConfig)
    hashing = commands.add_parser("hash-password", help="print the hash of a password from standard input")
    hashing.set_defaults(command=lambda _: hashPassword())
    token = commands.add_parser("new-token", help="print a fresh bearer token and the hash to configure")
    token.set_defaults(command=lambda _: newToken())
    words = "see what waits for durable callbacks, and the dead letters; retry or drop them"
    outbox.describe(commands.add_parser("outbox", help=words, description=f"{words.capitalize()}."))
    return parser


def checkConfig(options: Namespace) -> int:
    """
    Print every mistake of a configuration file, or that there is none.
    """
    try:
        load(options.file)
    except ConfigurationRefused as refused:
        print(refused)
        return 1
    print(f"{options.file}: all right")
    return 0


def hashPassword() -> int:
    """
    Print the Argon2id hash of the first line of standard input; on a terminal, ask for it twice.
    """
    try:
        password = _typed() if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")
        hashed = PasswordHasher().hash(password)
    except UnicodeError:
        return _refuse("the password must be in UTF-8")
    except EOFError:
        return _refuse("no password was typed")
    if not password:
        return _refuse("the password must not be empty")
    print(hashed)
    return 0


def _typed() -> str:
    while (password := getpass()) != getpass("Again: "):
        print("The two are not the same; once more.", file=sys.stderr)
    return password


def _refuse(problem: str) -> int:
    print(f"restbridge: {problem}", file=sys.stderr)
    return 1


def newToken() -> int:
    """
    Print a bearer token, and what the key C{tokens} of an account takes in its stead.
    """
    token = token_urlsafe(TOKEN_BYTES)
    print(f"token: {token}")
    print(f"hash:  sha256:{sha256(token.encode()).hexdigest()}")
    return 0
