"""Authenticated encryption of what goes over a bus, where anybody may listen and speak. Pure.

A parcel is authenticated and encrypted with a key of the installation; its head (version, sender, number) is
authenticated with it. Each sender encrypts with a key derived for it alone (HKDF-Expand, RFC 5869), and its number is
the nonce: names are random and new at each start, numbers only rise, so no nonce comes twice under one key.
"""

from __future__ import annotations

import hmac
import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

VERSION = 1
_HEAD = struct.Struct(">B16sQ")
SEAL_BYTES = _HEAD.size + 16  # beside what is sealed


class Seal:
    """Seals as one sender, and opens what any of the installation has sealed."""

    def __init__(self, sender: str, secret: bytes) -> None:
        """``sender``: 16 random bytes in hex, this process's own; ``secret``: 32 random bytes, the installation's."""
        self.sender = sender
        self._name = bytes.fromhex(sender)
        self._secret = secret
        self._cipher = self._cipher_of(self._name)
        self._ciphers: dict[bytes, AESGCM] = {}  # of senders that have sealed something

    def close(self, number: int, body: bytes) -> bytes:
        """``number`` must not have been given before."""
        head = _HEAD.pack(VERSION, self._name, number)
        return head + self._cipher.encrypt(_nonce(number), body, head)

    def open(self, data: bytes) -> tuple[str, int, bytes] | None:
        """Sender, number and body; None of what is no parcel of this version and installation."""
        if len(data) < SEAL_BYTES or data[0] != VERSION:
            return None
        head = data[: _HEAD.size]
        _, name, number = _HEAD.unpack(head)
        cipher = self._ciphers.get(name) or self._cipher_of(name)
        try:
            body = cipher.decrypt(_nonce(number), data[_HEAD.size :], head)
        except InvalidTag:
            return None
        self._ciphers[name] = cipher
        return name.hex(), number, body

    def keep(self, senders: frozenset[str]) -> None:
        """Let go of what is known of all others."""
        self._ciphers = {name: cipher for name, cipher in self._ciphers.items() if name.hex() in senders}

    def _cipher_of(self, name: bytes) -> AESGCM:
        return AESGCM(hmac.digest(self._secret, b"recado bus" + name + b"\x01", "sha256"))


def _nonce(number: int) -> bytes:
    return number.to_bytes(12, "big")
