"""The subcommands, each as a process against a real server."""

import asyncio
import json
import signal
import sys
from importlib.metadata import EntryPoint

import pytest
from terminal_support import ROOT, Server, command, environment, soon

from messaging.auth.tokens import Tokens
from recado.client import Client
from recado.terminal import server
from recado.terminal.commands import main, make_parser
from recado.terminal.rest import Rest
from recado.terminal.server import find_server
from support.places import free_port
from support.waiting import until

pytest_plugins = ["terminal_support"]


def ws_url(server: Server) -> str:
    return f"ws://127.0.0.1:{server.ports['WS_PORT']}"


async def lines_of(process: asyncio.subprocess.Process, count: int) -> list[str]:
    assert process.stdout is not None
    return [(await soon(process.stdout.readline())).decode().rstrip("\n") for _ in range(count)]


async def error_of(process: asyncio.subprocess.Process, word: str) -> str:
    assert process.stderr is not None
    while word not in (line := (await soon(process.stderr.readline())).decode()):
        assert line, f"nothing about {word!r} on stderr"
    return line


async def join(server: Server, user: str, topic: str = "general") -> None:
    _, token, _ = await server.run("token", user)
    async with Client(ws_url(server), token.split()[1]) as client:
        await soon(client.subscribe(topic))


def test_without_a_command_the_server_is_meant() -> None:
    assert make_parser().parse_args([]).command is None
    assert make_parser().parse_args(["up"]).command == "up"


async def test_tokens_are_printed_with_the_line_for_wscat_and_work(server: Server) -> None:
    code, out, error = await server.run("token", "omar", "diego", "--days", "2")

    assert (code, error) == (0, "")
    user, token, wscat = out.splitlines()[:3]
    assert (user, wscat) == ("omar", f"  wscat -c {ws_url(server)}/{token.strip()}")
    async with Client(ws_url(server), token.strip()) as client:
        assert await soon(client.publish("@diego", "hi")) >= 1  # diego never connected, and is known


async def test_the_script_does_the_same_from_anywhere(server: Server) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(ROOT / "scripts" / "gen_tokens.py"), "--days", "1", "omar",
        cwd="/", env=server.environ, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await soon(process.communicate())

    assert process.returncode == 0
    assert f"wscat -c {ws_url(server)}/" in out.decode()


async def test_a_given_secret_signs_even_without_a_server() -> None:
    secret = "x" * 40
    process = await command(
        "-m", "recado", "token", "omar", environ=environment(JWT_SECRET=secret, API_PORT=str(free_port()))
    )
    out, error = await soon(process.communicate())

    assert (await Tokens(secret).verify(out.decode().split()[1])).user == "omar"
    assert "could not be told" in error.decode()


async def test_without_a_secret_the_api_is_asked(server: Server) -> None:
    api = f"http://127.0.0.1:{server.ports['API_PORT']}"
    code, out, _ = await server.run("token", "omar", "--api", api, "--ws", ws_url(server))

    assert code == 0
    async with Client(ws_url(server), out.split()[1]) as client:
        await soon(client.topics())


async def test_a_login_link_is_made_once_the_server_offers_it(server: Server) -> None:
    code, out, error = await server.run("token", "--link", "omar")

    api = f"http://127.0.0.1:{server.ports['API_PORT']}"
    assert out.startswith(f"{api}/#ticket=") if code == 0 else "without --link" in error


async def test_topics_are_listed_for_people_and_programs(server: Server) -> None:
    await join(server, "lister")
    _, out, _ = await server.run("topics", "--user", "lister")
    _, as_json, _ = await server.run("topics", "--user", "lister", "--json")

    assert out.startswith("general  public")
    assert [topic["topic_name"] for topic in json.loads(as_json)] == ["general"]
    assert "no topic" in (await server.run("topics", "--user", "stranger"))[1]


async def test_a_message_is_published_and_tailed(server: Server) -> None:
    await join(server, "writer")
    tail = await server.open("tail", "general", "--as", "reader", "--json", "--count", "2")
    await until_member(server, "reader")

    code, out, _ = await server.run("publish", "general", "hello \x1b[31m", "--as", "writer")
    assert code == 0
    assert out.startswith("stored in general as ")
    await server.run("publish", "general", '{"a": [1]}', "--json", "--ttl", "60")

    frames = [json.loads(line) for line in await lines_of(tail, 2)]
    assert [frame["content"] for frame in frames] == ["hello \x1b[31m", {"a": [1]}]
    assert [frame["user_source"] for frame in frames] == ["writer", "api"]
    assert await soon(tail.wait()) == 0


async def until_member(server: Server, user: str) -> None:
    async def joined() -> bool:
        return "general" in (await server.run("topics", "--user", user))[1]

    await until(joined)


async def test_tail_goes_on_where_it_ended_and_is_told_apart_by_device(server: Server) -> None:
    await join(server, "again")
    first = await server.open("tail", "--as", "again", "--device", "d1", "--count", "1")
    for text in ("one", "two", "three"):
        await server.run("publish", "general", text)
    assert (await lines_of(first, 1))[0].endswith("one")
    assert await soon(first.wait()) == 0

    second = await server.open("tail", "--as", "again", "--device", "d1")
    assert [line.split()[-1] for line in await lines_of(second, 2)] == ["two", "three"]
    second.send_signal(signal.SIGTERM)
    assert await soon(second.wait()) == 130

    _, out, _ = await server.run("tail", "--as", "again", "--count", "1")
    assert out.split()[-1] == "one"


async def test_tail_and_publish_outlast_a_restart(server: Server) -> None:
    await join(server, "outlasting")
    tail = await server.open("tail", "--as", "outlasting")
    await server.run("publish", "general", "before")
    assert (await lines_of(tail, 1))[0].endswith("before")

    await server.stop(signal.SIGKILL)
    assert "trying again" in await error_of(tail, "no connection")
    publishing = await server.open("publish", "general", "after", "--as", "outlasting")
    await error_of(publishing, "again in")
    await server.start()

    assert await soon(publishing.wait()) == 0
    assert (await lines_of(tail, 1))[0].endswith("after")
    tail.send_signal(signal.SIGINT)
    assert await soon(tail.wait()) == 130


async def test_a_reader_that_has_enough_ends_the_tail_in_silence(server: Server) -> None:
    await join(server, "piper")
    tail = await server.open("tail", "--as", "piper")
    await server.run("publish", "general", "x")
    await lines_of(tail, 1)
    tail._transport.get_pipe_transport(1).close()  # type: ignore[attr-defined]
    await server.run("publish", "general", "y")

    assert await soon(tail.wait()) == 0
    assert tail.stderr is not None
    assert await soon(tail.stderr.read()) == b""


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["publish", "nowhere/at/all", "x", "--as", "omar"], "recado topics"),
        (["publish", "general", "{", "--json"], "no JSON"),
        (["publish", "general", "x", "--as", "nobody.joined"], "recado chat"),
        (["tail"], "--as USER"),
        (["tail", "--as", "omar", "--ws", "http://x"], "--ws"),
        (["token", "no//name"], "name"),
        (["chat"], "--as USER"),
    ],
)
async def test_what_cannot_be_done_is_told_in_one_line(server: Server, arguments: list[str], word: str) -> None:
    code, out, error = await server.run(*arguments)

    assert (code, out) == (1, "")
    assert error.startswith("recado: ")
    assert word in error
    assert error.count("\n") == 1


async def test_no_server_is_told_with_how_to_start_one() -> None:
    nowhere = environment(API_PORT=str(free_port()), JWT_SECRET="x" * 40)
    process = await command("-m", "recado", "topics", "--user", "omar", environ=nowhere)
    _, error = await soon(process.communicate())

    assert process.returncode == 1
    assert "recado up" in error.decode()
    assert "Traceback" not in error.decode()


async def test_a_wrong_setting_is_named() -> None:
    process = await command("-m", "recado", "topics", "--user", "x", environ=environment(WS_PORT="many"))
    _, error = await soon(process.communicate())

    assert error.decode().startswith("recado: WS_PORT")


async def test_a_given_token_says_who_speaks(server: Server) -> None:
    _, out, _ = await server.run("token", "bearer")
    _, out, _ = await server.run("topics", "--json", RECADO_TOKEN=out.split()[1])

    assert json.loads(out) == []
    assert "is no token" in (await server.run("topics", RECADO_TOKEN="nonsense"))[2]


async def test_chat_takes_lines_from_a_pipe(server: Server) -> None:
    await server.run("token", "ana")
    typed = "from a pipe\n/dm ana hi\n/who\n/topics\n/help\n/what\n/new piped/topic\nthere\n/leave\nnowhere now"
    chat = await server.open("chat", "general", "--as", "piping")
    out, error = (data.decode() for data in await soon(chat.communicate(typed.encode())))

    assert (chat.returncode, error) == (0, "")
    for shown in (
        "── general ──", "[@ana] piping  hi", "· general: ", "your inbox", "/invite USER", "There is no /what",
        "── piped/topic ──", "you have left piped/topic", "You are in no topic",
    ):  # fmt: skip
        assert shown in out, shown
    async with Client(ws_url(server), (await server.run("token", "piping"))[1].split()[1]) as client:
        history = await soon(client.history("general"))
    assert [message.content for message in history.messages].count("from a pipe") == 1


async def test_after_a_restore_the_operator_gives_every_topic_another_epoch(server: Server) -> None:
    """With no door running: it starts the embedded database by itself."""
    async with Rest(f"http://127.0.0.1:{server.ports['API_PORT']}") as rest:
        before = (await rest.ask("GET", "/api/v1/topics/general"))["epoch"]
        await server.stop()
        try:
            code, out, error = await server.run("restored")
        finally:
            await server.start()
        after = (await rest.ask("GET", "/api/v1/topics/general"))["epoch"]
    assert (code, error) == (0, "")
    assert "The counter was 0 and is " in out
    assert after != before


def test_a_server_that_cannot_be_loaded_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find_server.cache_clear()
    monkeypatch.setattr(server, "entry_points", lambda group: [EntryPoint("server", "half_removed.entry", group)])
    assert 1 == main(["topics", "--help"])
    assert "half_removed" in (said := capsys.readouterr().err) and 1 == said.count("\n") and server.INSTALL in said
