"""
Secrets: where they come from, and what each must look like. No fault repeats one.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable

from restbridge.config.reading import Place, Reader, sort, text
from restbridge.config.values import Secret

_SOURCES = '{ file = "PATH" } or { env = "NAME" }'
_ARGON2 = re.compile(
    r"\$argon2(?:id|i|d)\$v=[0-9]+\$m=[0-9]+,t=[0-9]+,p=[0-9]+\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+"
)
_SIGNING_KEY_BYTES = range(24, 65)
_TOKEN = re.compile(r"sha256:[0-9A-Fa-f]{64}")


def secret(expected: str, accepts: Callable[[str], object] = bool) -> Reader[Secret]:
    """
    A string, C{{ file = "PATH" }} or C{{ env = "NAME" }}.

    @param expected: what the text must be, for the fault.
    @param accepts: whether it is that.
    """

    def readSecret(value: object, place: Place) -> Secret:
        found = _sourced(value, place)
        if not accepts(found):
            raise place.refused(f"must be {expected}")
        return Secret(found)

    return readSecret


def _sourced(value: object, place: Place) -> str:
    if isinstance(value, str):
        return value
    if not isinstance(value, dict):
        raise place.refused(f"must be a string, {_SOURCES}, not {sort(value)}")
    if value.keys() == {"file"}:
        return _fromFile(text(value["file"], place.key("file")), place.key("file"))
    if value.keys() == {"env"}:
        return _fromEnvironment(text(value["env"], place.key("env")), place.key("env"))
    raise place.refused(f"must have exactly one key: {_SOURCES}")


def _fromFile(name: str, place: Place) -> str:
    path = place.folder / name
    try:
        return path.read_text("utf-8").removesuffix("\n")
    except OSError as error:
        raise place.refused(f"{path} can't be read: {error.strerror}") from None
    except ValueError:
        raise place.refused(f"{path} can't be read: it must be a file in UTF-8") from None


def _fromEnvironment(name: str, place: Place) -> str:
    found = place.environ.get(name)
    if found is None:
        raise place.refused(f"the environment has no variable {name}")
    if not _isText(found):
        raise place.refused(f"the environment variable {name} must be in UTF-8")
    return found


def _isText(found: str) -> bool:
    # What isn't UTF-8 in the environment comes as lone surrogates, which nothing can send.
    try:
        found.encode()
    except UnicodeEncodeError:
        return False
    return True


def _isSigningKey(found: str) -> bool:
    try:
        key = b64decode(found.removeprefix("whsec_"), validate=True)
    except ValueError:
        return False
    return found.startswith("whsec_") and len(key) in _SIGNING_KEY_BYTES


anySecret = secret("a text that isn't empty")

passwordHash = secret(
    "an Argon2 hash as 'restbridge hash-password' prints it, never the password itself", _ARGON2.fullmatch
)

signingKey = secret('"whsec_" and 24 to 64 bytes in base64', _isSigningKey)

storeURL = secret(
    '"sqlite:PATH" or "postgresql://USER:PASSWORD@HOST/DATABASE", with what is special percent-encoded',
    # A slash in a password would begin the name of the database, which is no secret.
    re.compile(
        r"sqlite:(?!//)[^\0]+|postgresql://(?:[^\s/?#%]|%[0-9A-Fa-f]{2})*(?:/[^\s/?#@]*)?(?:\?[^\s#]*)?"
    ).fullmatch,
)

_tokenHash = secret(
    "\"sha256:\" and 64 hexadecimal digits, as 'restbridge new-token' prints it, never the token itself",
    _TOKEN.fullmatch,
)


def tokenHash(value: object, place: Place) -> Secret:
    """
    The SHA-256 of a bearer token, in lower case whatever it was written in.
    """
    return Secret(_tokenHash(value, place).reveal().lower())
