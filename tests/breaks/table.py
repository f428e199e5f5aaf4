"""The table of breaks (breaks.toml), and whether it fits the code as it stands."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

RULES = range(1, 15)  # of the design


@dataclass(frozen=True, kw_only=True)
class Break:
    """``text``, which stands once in ``file``, becomes another; then ``test`` fails."""

    rule: int
    why: str
    file: str
    text: str
    becomes: str
    test: str

    def __str__(self) -> str:
        return f"rule {self.rule}, {self.file}: {self.why}"

    def broken(self, source: str) -> str:
        """Raises ValueError where there is nothing to break, or no saying which."""
        if (count := source.count(self.text)) != 1:
            raise ValueError(f"its text stands {count} times in the file")
        return source.replace(self.text, self.becomes)


def load() -> list[Break]:
    text = Path(__file__).with_name("breaks.toml").read_text()
    return [Break(**row) for row in tomllib.loads(text)["break"]]


def check(breaks: Iterable[Break], root: Path) -> Iterator[str]:
    """Complaints about what can be said without running anything."""
    seen = set()
    for each in breaks:
        if each.rule not in RULES:
            yield f"{each}: there is no such rule"
        if (each.file, each.text, each.becomes) in seen:
            yield f"{each}: stands there twice"
        seen.add((each.file, each.text, each.becomes))
        if _lines_changed(each) != 1:
            yield f"{each}: changes another number of lines than one"
        if complaint := _unfit(each, root):
            yield f"{each}: {complaint}"


def _lines_changed(each: Break) -> int:
    """More may stand in the text, as one line alone may stand in several places."""
    before, after = each.text.split("\n"), each.becomes.split("\n")
    if len(before) != len(after):
        return -1
    return sum(one != other for one, other in zip(before, after, strict=True))


def _unfit(each: Break, root: Path) -> str:
    try:
        broken = each.broken((root / each.file).read_text())
        if each.file.endswith(".py"):
            ast.parse(broken)
    except (OSError, ValueError, SyntaxError) as exc:
        return str(exc)
    return ""
