"""The table, the application and its description say the same; a fuzzer finds no answer that is not described."""

import asyncio
import os
import sys
from pathlib import Path

import pytest
from openapi_spec_validator import validate

from api.openapi import describe
from api.routes import all_routes
from support.doors import Door

CHECKS = "not_a_server_error,response_schema_conformance,status_code_conformance,content_type_conformance"
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "6"))  # of an operation, random ones
PHASES = os.environ.get("FUZZ_PHASES", "examples,fuzzing")  # `coverage`, every boundary, takes a minute


async def test_what_is_in_the_table_is_served_and_nothing_else(door: Door) -> None:
    table = {(route.method, route.path) for route in all_routes()}
    assert len(table) == len(all_routes())
    from api.app import make_app
    from messaging.bus.contract import LocalBus
    from messaging.node import Node

    app = make_app(Node(door.settings, "", LocalBus()), door.tokens, door.settings)
    served = {(route.method, route.resource.canonical) for route in app.router.routes() if route.resource is not None}
    assert served == table | {("HEAD", path) for method, path in table if method == "GET"}


async def test_what_is_described_is_in_the_table(door: Door) -> None:
    description = await door.ask("GET", "/openapi.json")
    described = {(method.upper(), path) for path, methods in description["paths"].items() for method in methods}
    assert described == {(route.method, route.path) for route in all_routes() if route.group}


def test_the_description_is_valid_and_portable() -> None:
    description = describe(all_routes())
    validate(description)
    assert "\\Z" not in str(description)
    assert all(route.summary for route in all_routes() if route.group)


@pytest.mark.limit(400 + 10 * EXAMPLES)
@pytest.mark.no_cover  # thousands of requests; what they run through is counted by other tests
async def test_a_fuzzer_finds_nothing(door: Door) -> None:
    """In one process: a boundary of a pattern costs it seconds to reach, once for all operations that have it."""
    await door.ask("PUT", "/api/v1/topics/news", 201, json={"owner": "ana"})
    program = str(Path(sys.executable).with_name("schemathesis"))
    config = str(Path(__file__).with_name("fuzzer.toml"))
    fuzzer = await asyncio.create_subprocess_exec(
        program, "--config-file", config, "run", f"{door.url}/openapi.json", "--checks", CHECKS, "--max-examples",
        str(EXAMPLES), "--phases", PHASES, "--generation-database", "none", "--no-color", "--seed",
        "7", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await fuzzer.communicate()
    assert fuzzer.returncode == 0, output.decode()[-8000:]
