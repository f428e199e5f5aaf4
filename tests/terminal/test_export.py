"""`recado export`: what a file has is whole, in order, and the same however often the run was ended."""

from __future__ import annotations

import asyncio
import io
import json
import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from terminal_support import Server, soon

from recado.terminal.export import ExportRecord, encoded, last_seq_of, point
from recado.terminal.progress import Progress, bar
from recado.terminal.rest import Rest
from recado.terminal.server import Mistake

pytest_plugins = ["terminal_support"]

COUNT = 3000


def api(server: Server) -> Rest:
    return Rest(f"http://127.0.0.1:{server.ports['API_PORT']}")


async def fill(server: Server, topic: str, contents: list[Any], owner: str = "ana") -> None:
    async with api(server) as rest:
        await rest.ask("PUT", f"/api/v1/topics/{topic}", {"owner": owner})
        for start in range(0, len(contents), 500):
            items = [{"topic_name": topic, "content": each, "sender": "ana"} for each in contents[start : start + 500]]
            await rest.ask("POST", "/api/v1/messages/batch", items)


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_an_export_is_killed_again_and_again_and_is_the_same_in_the_end(server: Server, tmp_path: Path) -> None:
    await fill(server, "killed", [{"number": number, "text": "x" * (number % 700)} for number in range(COUNT)])
    whole, pieces = tmp_path / "whole.jsonl", tmp_path / "pieces.jsonl"
    code, _, error = await server.run("export", "killed", "-o", str(whole))
    assert (code, error) == (0, "")

    kills = 0
    for part in (1, 2, 3):
        process = await server.open("export", "killed", "-o", str(pieces))
        async with asyncio.timeout(30):
            while process.returncode is None and size_of(pieces) < part * size_of(whole) // 4:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        await process.communicate()
        # What a crash of the machine may leave: a line without its end.
        with pieces.open("ab") as file:
            file.write(whole.read_bytes()[size_of(pieces) : size_of(pieces) + 40].partition(b"\n")[0])
    assert kills
    code, _, _ = await server.run("export", "killed", "-o", str(pieces))

    assert code == 0
    assert pieces.read_bytes() == whole.read_bytes()
    found = lines_of(whole)
    assert [line["seq"] for line in found] == list(range(1, COUNT + 1))
    assert [line["content"]["number"] for line in found] == list(range(COUNT))


def size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


async def test_what_came_meanwhile_is_added(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "grown.jsonl"
    await fill(server, "grown", [1, 2])
    await server.run("export", "grown", "-o", str(file))
    before = file.read_bytes()
    await fill(server, "grown", [3])
    await server.run("export", "grown", "-o", str(file))
    assert file.read_bytes().startswith(before)
    assert [line["content"] for line in lines_of(file)] == [1, 2, 3]


async def test_a_topic_made_again_is_not_added_to_the_file_of_the_old_one(server: Server, tmp_path: Path) -> None:
    """Two logs in one file would look like one. The file stays as it is, and the exit code says so."""
    file = tmp_path / "again.jsonl"
    await fill(server, "made-again", ["old 1"])
    code, _, _ = await server.run("export", "made-again", "-o", str(file))
    before = file.read_bytes()
    async with api(server) as rest:
        await rest.ask("DELETE", "/api/v1/topics/made-again")
    await fill(server, "made-again", ["new 1", "new 2", "new 3"])
    refused, _, error = await server.run("export", "made-again", "-o", str(file))

    assert (code, refused) == (0, 1)
    assert error.startswith("recado: ") and error.count("\n") == 1
    assert "made-again was made again" in error
    assert file.read_bytes() == before
    assert [line["content"] for line in await exported(server, tmp_path, "made-again")] == ["new 1", "new 2", "new 3"]


async def test_a_range_by_seq_and_by_time(server: Server, tmp_path: Path) -> None:
    await fill(server, "ranged", [1, 2, 3, 4])
    await asyncio.sleep(0.05)
    await fill(server, "ranged", [5, 6, 7])
    all_ = await exported(server, tmp_path, "ranged")
    early, late = (datetime.fromisoformat(all_[place]["sent_at"]) for place in (3, 4))
    between = (early + (late - early) / 2).isoformat()

    async def seqs(*options: str) -> list[int]:
        return [line["seq"] for line in await exported(server, tmp_path, "ranged", *options)]

    assert await seqs("--since", "3", "--until", "5") == [3, 4, 5]
    assert await seqs("--since", between) == [5, 6, 7]
    assert await seqs("--until", between) == [1, 2, 3, 4]
    assert await seqs("--since", late.isoformat(), "--until", "6") == [5, 6]
    assert await seqs("--since", "2100-01-01") == await seqs("--until", "2000-01-01") == []
    assert await seqs("--since", "0", "--until", "99") == [1, 2, 3, 4, 5, 6, 7]


async def exported(server: Server, folder: Path, topic: str, *options: str) -> list[dict[str, Any]]:
    file = folder / f"{topic}-{len(list(folder.iterdir()))}.jsonl"
    code, _, error = await server.run("export", topic, "-o", str(file), *options)
    assert (code, error) == (0, "")
    return lines_of(file)


async def test_without_a_file_the_lines_are_printed(server: Server) -> None:
    await fill(server, "printed", ["hello", 1.0])
    process = await server.open("export", "printed")
    out, error = await soon(process.communicate())
    assert process.returncode == 0
    assert error == b""  # no bar where there is no terminal
    assert [json.loads(line)["content"] for line in out.splitlines()] == ["hello", 1.0]


async def test_refusals_are_told_in_one_line(server: Server, tmp_path: Path) -> None:
    await fill(server, "private", [1])
    for arguments, word in (
        (("nowhere",), "not found"),
        (("private", "--as", "stranger", "-o", str(tmp_path / "none.jsonl")), "not a member"),
        (("private", "-o", str(tmp_path)), "can't be written"),
    ):
        code, _, error = await server.run("export", *arguments)
        assert code == 1
        assert error.startswith("recado: ")
        assert word in error
        assert error.count("\n") == 1


async def test_tail_of_all_topics_is_a_line_of_json_each(server: Server) -> None:
    for topic in ("one", "two"):
        await fill(server, topic, [], owner="tailer")
    tail = await server.open("tail", "--all", "--json", "--as", "tailer", "--count", "2")
    assert tail.stdout is not None
    async with api(server) as rest:
        for topic in ("one", "two"):
            await rest.ask("POST", f"/api/v1/topics/{topic}/messages", {"content": topic, "sender": "ana"})
    wanted = {"one", "two"}
    while wanted:
        frame = json.loads(await soon(tail.stdout.readline()))
        wanted.discard(frame["topic_name"])
        assert frame["action"] == "message"
    assert await soon(tail.wait()) == 0

    code, _, error = await server.run("tail", "--all", "one", "--as", "ana")
    assert (code, error.count("\n")) == (1, 1)
    assert "--all" in error


# --- the file --------------------------------------------------------------------------------------


def line(seq: int, content: str = "1", topic: str = "news") -> bytes:
    return encoded(
        ExportRecord(topic, seq, datetime(2026, 1, 1, tzinfo=UTC), "ana", msgspec.Raw(content.encode()), "e")
    )


class File(io.BytesIO):
    name = "news.jsonl"


@pytest.mark.parametrize("torn", [0, 1, 20, 60], ids=lambda torn: f"torn-{torn}")
def test_a_line_that_was_not_finished_is_cut_off(torn: int) -> None:
    whole = line(1) + line(7)
    file = File(whole + line(8)[:torn])
    assert last_seq_of(file, "news", "e") == 7
    assert file.getvalue() == whole
    assert file.tell() == len(whole)
    only = File(line(1)[:torn])
    assert last_seq_of(only, "news", "e") == 0
    assert only.getvalue() == b""


@pytest.mark.parametrize(
    "text",
    [b"my notes", b"my notes\n", b"{}\n", line(1, topic="other"), line(1, topic="other")[:30], line(3) + b"notes"],
    ids=["notes", "lines", "json", "other", "other-torn", "torn-notes"],
)
def test_a_file_that_is_no_export_is_left_as_it_is(text: bytes) -> None:
    file = File(text)
    with pytest.raises(Mistake, match=r"news\.jsonl"):
        last_seq_of(file, "news", "e")
    assert file.getvalue() == text


def test_the_longest_lines_are_found_again() -> None:
    big = '"' + "x" * 131070 + '"'
    file = File(line(1, big) + line(2, big) + line(3, big)[:-5])
    assert last_seq_of(file, "news", "e") == 2


def test_content_stays_in_its_line_byte_for_byte_else() -> None:
    raw = '{"a" :1.0,\r\n "b":\n"c\\nd", "big":12345678901234567890123}'
    text = line(1, raw)
    assert text.count(b"\n") == 1
    assert raw.replace("\r\n", "  ").replace("\n", " ").encode() in text


@pytest.mark.parametrize(
    ("text", "value"),
    [("17", 17), ("2026-05-01T12:00:00+02:00", datetime(2026, 5, 1, 10, tzinfo=UTC))],
)
def test_a_point_is_a_seq_or_a_time(text: str, value: object) -> None:
    assert point(text) == value
    zoned = point("2026-05-01")
    assert isinstance(zoned, datetime)
    assert zoned.utcoffset() is not None


# --- the bar ---------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_is_drawn_on_terminals_and_not_too_often() -> None:
    for stream in (Terminal(), io.StringIO()):
        seconds = iter([0.0, 0.0, 0.0, 0.01, 1.0, 1.0, 2.0, 2.0])
        progress = Progress(stream, 0, 200, lambda seconds=seconds: next(seconds, 2.0))  # type: ignore[misc]
        for at in (50, 60, 100):
            progress.show(at, 10)
        progress.end()
        drawn = stream.getvalue()
        assert drawn.count("\r") == (3 if stream.isatty() else 0)
        assert drawn.endswith("\n") is stream.isatty()
    assert bar(0.5, 1234, 99.6) == "█" * 15 + "░" * 15 + "  50%  1,234 messages, 100/s"
