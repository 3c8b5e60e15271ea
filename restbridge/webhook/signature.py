"""
Signatures of calls: Standard Webhooks 1.0.0, symmetric (v1).
"""

from __future__ import annotations

import hmac
from base64 import b64decode, b64encode
from collections.abc import Iterable
from secrets import token_urlsafe


def newWebhookId() -> str:
    """
    By which a receiver knows a call that it has had already.
    """
    return f"msg_{token_urlsafe(18)}"


def signatureHeaders(secrets: Iterable[str], webhookId: str, timestamp: int, body: bytes) -> dict[str, str]:
    """
    The three headers of a signed call.

    @param secrets: each C{whsec_} and the key in base64. While one takes the place of another both sign, and
        the receiver needs only one of them.
    @param webhookId: the same with each attempt; without a full stop.
    @param timestamp: of this attempt, in seconds since the epoch.
    """
    signed = f"{webhookId}.{timestamp}.".encode() + body
    return {
        "webhook-id": webhookId,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{_signature(secret, signed)}" for secret in secrets),
    }


def _signature(secret: str, signed: bytes) -> str:
    key = b64decode(secret.removeprefix("whsec_"))
    return b64encode(hmac.digest(key, signed, "sha256")).decode()
