"""The list of readers is whole: whoever reads outside bytes in a new place says here by which harness it is proved."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from readers import READERS
from sites import OURS, SITES

import house
from api.routes import all_routes
from bridges.config import Config
from conftest import ROOT
from messaging.auth.issuers.keys import _KeySet
from messaging.frames import AnyCommand
from messaging.integrator.importing import _Users
from messaging.integrator.registry import Several as Platforms
from messaging.settings.issuers import Several as Issuers

READS = {
    "msgspec.json.decode", "msgspec.json.Decoder", "msgspec.msgpack.decode", "msgspec.msgpack.Decoder",
    "msgspec.convert", "msgspec.toml.decode", "json.loads", "json.load", "tomllib.loads", "tomllib.load", "parse_qs",
    "parse_qsl", "parsedate_to_datetime", "jwt.decode", "self._jwt.decode", "jwt.PyJWK", "pickle.loads",
    "yaml.safe_load",
}  # fmt: skip
RAW = (".unpack", ".unpack_from", ".iter_unpack")


def sites(module: str, source: str) -> Iterator[tuple[str, str]]:
    """Where bytes become values, or a pattern is made."""
    for top in ast.parse(source).body:
        for node in ast.walk(top):
            if isinstance(node, ast.Call):
                name = house.dotted(node.func)
                if name in READS or name.endswith(RAW) or (name.startswith("re.") and name != "re.escape"):
                    yield module, getattr(top, "name", "")


def test_every_reader_has_a_proof() -> None:
    files = [path for room in house.PRODUCT for path in (ROOT / room).rglob("*.py")]
    found = {site for path in files for site in sites(module_of(path), path.read_text())}
    assert found == SITES.keys()


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def test_every_proof_is_made() -> None:
    doors = {"routes", "frames", "handshakes", OURS}
    assert set(SITES.values()) <= {reader.name for reader in READERS} | doors


@pytest.mark.parametrize("line", ["x = json.loads(given)", "P = re.compile('a*')", "def f(): msgspec.json.decode(a)"])
def test_a_new_reader_is_seen(line: str) -> None:
    assert list(sites("api.new", line))


# --- a bound on every list that comes in -----------------------------------------------------------

SHAPES: list[Any] = [
    *(route.body for route in all_routes() if route.body is not None),
    *(route.query for route in all_routes() if route.query is not None),
    *get_args(AnyCommand), _Users, _KeySet, Config, Platforms, Issuers,
]  # fmt: skip


def unbounded(kind: Any) -> list[str]:
    """The lists and objects of a type that may have any number of items."""
    return [where for where, shape in parts(msgspec.inspect.type_info(kind), "") if shape.max_length is None]


def parts(shape: Any, where: str) -> Iterator[tuple[str, Any]]:
    match shape:
        case msgspec.inspect.Metadata(type=inner):
            yield from parts(inner, where)
        case msgspec.inspect.UnionType(types=types):
            for each in types:
                yield from parts(each, where)
        case msgspec.inspect.StructType(fields=fields):
            for field in fields:
                yield from parts(field.type, f"{where}.{field.encode_name}")
        case msgspec.inspect.DictType(value_type=inner):
            yield where, shape
            yield from parts(inner, where + "{}")
        case msgspec.inspect.ListType(item_type=inner) | msgspec.inspect.VarTupleType(item_type=inner):
            yield where, shape
            yield from parts(inner, where + "[]")
        case msgspec.inspect.SetType() | msgspec.inspect.FrozenSetType():
            yield where, shape


@pytest.mark.parametrize("shape", SHAPES, ids=repr)
def test_every_list_that_comes_in_is_bounded(shape: Any) -> None:
    assert unbounded(shape) == []


def test_a_list_without_a_bound_is_seen() -> None:
    assert unbounded(list[dict[str, list[int]]]) == ["", "[]", "[]{}"]
