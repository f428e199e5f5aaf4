"""Signatures of what is sent to platforms: Standard Webhooks 1.0.0, symmetric. Pure."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable

PREFIX = "whsec_"


def sign(secret: str, identity: str, timestamp: int, body: bytes) -> str:
    """``v1,…`` over exactly these bytes. ``timestamp``: Unix seconds of this try.

    Raises:
        ValueError: the secret is not ``whsec_`` and base64.
    """
    signed = f"{identity}.{timestamp}.".encode() + body
    digest = hmac.new(_key(secret), signed, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def signature_headers(secrets: Iterable[str], identity: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers. Each secret signs, so that a receiver may hold the new one or the one before it."""
    return {
        "webhook-id": identity,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(sign(secret, identity, timestamp, body) for secret in secrets),
    }


def _key(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except ValueError:
        raise ValueError("a secret is whsec_ and base64") from None
