"""Text for a terminal or a file that can't take every character, as the server's `messaging.runtime.plain_text`."""

from __future__ import annotations

import codecs
import sys

_PLAIN = {"…": "...", "→": "->", "–": "-", "·": "-", "×": "x", "≤": "<=", "≥": ">="}


def speak_plainly() -> None:
    """From here on nothing printed fails for its characters: what the stream's encoding has not is written in ASCII."""
    codecs.register_error("recado.plain", _in_ascii)
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):  # a test may have put something else there
            reconfigure(errors="recado.plain")


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(_PLAIN.get(sign) or sign.encode("ascii", "backslashreplace").decode() for sign in text), error.end
