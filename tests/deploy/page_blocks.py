"""What stands in fenced blocks of a page of docs/, to be done as it is told."""

from __future__ import annotations

import re

from conftest import ROOT


def block(page: str, word: str) -> str:
    """The one block with this word."""
    text = (ROOT / "docs" / page).read_text()
    blocks = re.findall(r"^ *```\w*\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
    (found,) = (each for each in blocks if word in each)
    return str(found)
