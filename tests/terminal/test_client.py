"""The client against a real door: whatever happens to the line, everything comes, in order, once."""

import asyncio
import json

import pytest
from terminal_support import States, soon, take

from messaging.permissions import BACKEND
from recado.client import Client, Closed, Gap, Invited, Message, Refused, Removed, SentAway, State, TokenRefused
from recado.client.connection import until_silent
from support.lines import Line, line_to
from support.places import free_port
from support.waiting import until
from support.ws import Running, running


def url_of(line: Line) -> str:
    return f"ws://127.0.0.1:{line.port}"


def contents(messages: list[Message]) -> list[object]:
    return [message.content for message in messages]


async def backlog(recado: Running, user: str, count: int, topic: str = "news") -> None:
    async with Client(recado.url, recado.token(user)) as client:
        await asyncio.gather(*(client.publish(topic, number) for number in range(count)))


async def test_everything_that_a_client_can_ask_for(database: str) -> None:
    async with running(database) as recado:
        await recado.topic("news", "omar")
        await recado.node.actions.know("diego")
        async with Client(recado.url, recado.token("omar")) as omar:
            assert await omar.publish("news", {"first": [1, None, "é"]}) == 1
            assert await omar.publish("news", "second", ttl=60) == 2
            assert contents(await take(omar, 2)) == [{"first": [1, None, "é"]}, "second"]
            states = States()
            async with Client(recado.url, recado.token("diego"), on_state=states) as diego:
                await states.until("connected")  # who comes after an invitation finds the topic, and is not told
                await omar.invite("news", "diego")
                assert await soon(diego.next()) == Invited("news", "omar")
                await omar.publish("@diego", "psst")
                assert (await take(diego, 1))[0].topic == "@diego"
                await diego.subscribe("news")
                await diego.unsubscribe("news")
                await diego.subscribe("news")
                await omar.publish("news", "third")
                assert contents(await take(diego, 1)) == ["third"]
                await recado.node.actions.unsubscribe(BACKEND, await recado.node.actions.user("diego"), "news")
                assert await soon(diego.next()) == Removed("news")
            history = await omar.history("news", limit=1)
            assert (contents(history.messages), history.more) == (["third"], True)
            assert contents((await omar.history("news", before=2)).messages) == [{"first": [1, None, "é"]}]
            state = next(state for state in await omar.topics() if state.name == "news")
            assert (state.kind, state.role, state.last_seq) == ("public", "owner", 3)


async def test_what_the_server_refuses_is_raised_with_its_code(database: str) -> None:
    async with running(database) as recado:
        await recado.topic("news", "ana")
        async with Client(recado.url, recado.token("omar")) as omar:
            refused = []
            for attempt in (omar.publish("news", 1), omar.subscribe("nowhere"), omar.invite("nowhere", "ana")):
                with pytest.raises(Refused) as error:
                    await attempt
                refused.append(error.value.code)

            assert refused == ["not_a_member", "unknown_topic", "unknown_topic"]
            with pytest.raises(ValueError, match="JSON"):
                await omar.publish("@omar", float("nan"))


def test_an_address_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="ws://"):
        Client("http://127.0.0.1:5000", "token")


async def test_a_restart_in_between_loses_and_doubles_nothing(database: str) -> None:
    states, port = States(), free_port()
    url = f"ws://127.0.0.1:{port}"
    async with running(database, ws_port=port) as recado:
        await recado.topic("news", "omar", "diego")
        token = recado.token("diego")
        client = Client(url, token, on_state=states)
        await client.__aenter__()
        await backlog(recado, "omar", 3)
        got = await take(client, 3)
    waiting = await states.until("waiting")
    assert waiting.reason == "the server restarts"
    assert 1 <= waiting.retry_in <= 1.5

    async with running(database, ws_port=port) as recado:
        await states.until("connected", 2)
        await backlog(recado, "omar", 3)
        got += await take(client, 3)
        await client.close()

    assert [(message.seq, message.content) for message in got] == [
        (1, 0), (2, 1), (3, 2), (4, 0), (5, 1), (6, 2),
    ]  # fmt: skip
    assert states.seen[-1].name == "ended"


@pytest.mark.parametrize("how", ["made again", "restored"])
async def test_what_comes_of_another_log_is_taken_for_new_though_its_seqs_were_there(database: str, how: str) -> None:
    """While the client was away. Nothing of it comes twice, either, and it is acknowledged as what it is."""
    states = States()
    async with running(database) as recado, line_to(recado.port) as line:
        await recado.topic("news", "omar", "diego")
        async with Client(url_of(line), recado.token("diego"), on_state=states) as diego:
            await backlog(recado, "omar", 3)
            old = await take(diego, 3)
            await states.until("connected")
            line.refuses = True
            line.cut()
            await states.until("waiting")
            if how == "made again":
                await recado.node.actions.delete_topic(BACKEND, "news")
                await recado.topic("news", "omar", "diego")
            else:
                await empty(recado)
            await backlog(recado, "omar", 3)
            line.refuses = False
            new = await take(diego, 3)
            diego.ack(new[-1])

            async def confirmed() -> bool:
                found, _ = await recado.node.actions.topics(BACKEND, await recado.node.actions.user("diego"))
                return any(m.topic.name == "news" and cursor == 3 for m, _, cursor in found)

            await until(confirmed)
    assert [message.seq for message in old + new] == [1, 2, 3, 1, 2, 3]
    assert len({message.epoch for message in old + new}) == 2


async def empty(recado: Running) -> None:
    """The database as it was before the first message, as `recado restored` leaves it."""
    async with recado.node.store.pool.connection() as line, line.transaction():
        await line.execute("UPDATE recado.heads SET last_seq = 0")
        await line.execute("DELETE FROM recado.messages")
        await line.execute("DELETE FROM recado.keys")
        await line.execute("UPDATE recado.cursors SET seq = 0")
    await recado.node.store.epochs.restored(recado.node.store.epochs.identity)


async def test_a_client_may_come_before_its_server(database: str) -> None:
    states, port = States(), free_port()
    async with running(database) as recado:
        token = recado.token("omar")
    async with Client(f"ws://127.0.0.1:{port}", token, on_state=states) as client:
        publishing = asyncio.create_task(client.publish("@omar", "waits"))
        await states.until("waiting")
        async with running(database, ws_port=port):
            assert await soon(publishing) == 1


async def test_a_publish_whose_receipt_was_lost_is_stored_once(database: str) -> None:
    async with running(database) as recado, line_to(recado.port) as line:
        await recado.topic("news", "omar", "ana")
        states = States()
        async with (
            Client(url_of(line), recado.token("omar"), on_state=states) as omar,
            Client(recado.url, recado.token("ana")) as ana,
        ):
            await states.until("connected")
            line.mute = True
            publishing = asyncio.create_task(omar.publish("news", "once"))
            assert contents(await take(ana, 1)) == ["once"]  # it is stored, and omar does not know
            line.cut()
            line.mute = False

            assert await soon(publishing) == 1
            assert await omar.publish("news", "next") == 2
            assert contents(await take(ana, 1)) == ["next"]


async def test_after_a_cut_nothing_is_given_twice_though_nothing_was_acknowledged(database: str) -> None:
    async with running(database) as recado, line_to(recado.port) as line:
        await recado.topic("news", "omar", "diego")
        states = States()
        async with Client(url_of(line), recado.token("diego"), explicit=True, on_state=states) as diego:
            await backlog(recado, "omar", 3)
            assert contents(await take(diego, 3)) == [0, 1, 2]
            for again in range(2, 4):
                line.cut()
                await states.until("connected", again)
            await backlog(recado, "omar", 1)

            assert [message.seq for message in await take(diego, 1)] == [4]


async def test_only_what_the_application_has_finished_is_acknowledged(database: str) -> None:
    async with running(database) as recado:
        await recado.topic("news", "omar", "diego")
        await backlog(recado, "omar", 3)
        seen = []
        for count in (2, 1, 2):
            async with Client(recado.url, recado.token("diego")) as diego:
                seen.append([message.seq for message in await take(diego, count)])

        # The second of two was being worked on when the client ended, so it comes again.
        assert seen == [[1, 2], [2], [2, 3]]


async def test_explicit_acknowledges_what_it_is_told_to(database: str) -> None:
    async with running(database) as recado:
        await recado.topic("news", "omar", "diego")
        await backlog(recado, "omar", 3)
        async with Client(recado.url, recado.token("diego"), explicit=True) as diego:
            messages = await take(diego, 3)
            diego.ack(messages[1])
        async with Client(recado.url, recado.token("diego")) as diego:
            assert [message.seq for message in await take(diego, 1)] == [3]


async def test_an_ack_that_was_lost_is_sent_again(database: str) -> None:
    async with running(database) as recado, line_to(recado.port) as line:
        await recado.topic("news", "omar", "diego")
        await backlog(recado, "omar", 2)
        states = States()
        async with Client(url_of(line), recado.token("diego"), explicit=True, on_state=states) as diego:
            messages = await take(diego, 2)
            line.cut()
            diego.ack(messages[1])  # into the void, or once it has come again: both must do
            await states.until("connected", 2)
            await backlog(recado, "omar", 1)
            assert [message.seq for message in await take(diego, 1)] == [3]
        async with Client(recado.url, recado.token("diego")) as diego:
            assert [message.seq for message in await take(diego, 1)] == [3]


async def test_devices_have_positions_of_their_own(database: str) -> None:
    async with running(database) as recado:
        await recado.topic("news", "omar", "diego")
        for device in ("phone", "desk"):
            async with Client(recado.url, recado.token("diego"), device=device) as client:
                await client.topics()
        await backlog(recado, "omar", 1)
        for device in ("phone", "desk"):
            async with Client(recado.url, recado.token("diego"), device=device) as client:
                (message,) = await take(client, 1)
                client.ack(message)


async def test_an_expired_token_is_renewed(database: str) -> None:
    async with running(database) as recado:
        await recado.topic("news", "omar", "diego")
        states, asked = States(), []

        async def token() -> str:
            asked.append(1)
            return recado.token("diego", lifetime=86400 if len(asked) > 1 else 2)

        async with Client(recado.url, token, on_state=states) as diego:
            await states.until("connected", 2)
            await backlog(recado, "omar", 1)
            assert len(await take(diego, 1)) == 1

    assert len(asked) == 2
    assert next(state for state in states.seen if state.name == "waiting").reason == "the token expired"


async def test_without_a_new_token_an_expired_one_is_the_end(database: str) -> None:
    async with running(database) as recado, Client(recado.url, recado.token("diego", lifetime=1)) as diego:
        with pytest.raises(TokenRefused, match="new one"):
            await take(diego, 1)
        with pytest.raises(TokenRefused):
            await diego.publish("@diego", 1)


async def test_a_revoked_token_stops_the_client(database: str) -> None:
    async with running(database) as recado:
        states = States()
        async with Client(recado.url, recado.token("diego"), on_state=states) as diego:
            await states.until("connected")
            waiting = asyncio.create_task(take(diego, 1))
            await recado.node.actions.revoke_user("diego")
            with pytest.raises(TokenRefused, match="revoked"):
                await waiting

    assert [state.name for state in states.seen] == ["connecting", "connected", "ended"]


async def test_new_tokens_that_are_refused_too_are_the_end(database: str) -> None:
    async with running(database) as recado:
        asked = []

        async def token() -> str:
            asked.append(1)
            return "wrong"

        async with Client(recado.url, token) as diego:
            with pytest.raises(TokenRefused):
                await take(diego, 1)

    assert len(asked) == 4


async def test_a_token_that_cannot_be_had_now_is_asked_for_later(database: str) -> None:
    async with running(database) as recado:
        states, asked = States(), []

        async def token() -> str:
            asked.append(1)
            if len(asked) == 1:
                raise OSError("the API is down")
            return recado.token("diego")

        async with Client(recado.url, token, on_state=states):
            assert (await states.until("waiting")).reason == "the API is down"
            await states.until("connected")


async def test_whoever_has_too_many_connections_is_sent_away(database: str) -> None:
    async with running(database, max_connections_per_user=1) as recado:
        states = States()
        async with Client(recado.url, recado.token("diego"), on_state=states) as first:
            await states.until("connected")
            async with Client(recado.url, recado.token("diego")) as second:
                with pytest.raises(SentAway) as error:
                    await take(second, 1)
            assert error.value.close_code == 4529
            assert await first.publish("@diego", "still here") == 1


async def test_a_message_that_is_too_large_is_refused_and_the_rest_goes_on(database: str) -> None:
    async with running(database, max_frame=2048) as recado, Client(recado.url, recado.token("diego")) as diego:
        with pytest.raises(Refused) as error:
            await diego.publish("@diego", "x" * 5000)
        assert error.value.code == "too_large"
        assert await diego.publish("@diego", "small") == 1


async def test_whoever_is_too_fast_is_slowed_down_and_loses_nothing(database: str) -> None:
    async with running(database, rate_limit=20.0) as recado, Client(recado.url, recado.token("diego")) as diego:
        seqs = await asyncio.gather(*(diego.publish("@diego", number) for number in range(50)))

    assert sorted(seqs) == list(range(1, 51))


async def test_a_full_queue_stops_the_reading(database: str) -> None:
    async with running(database) as recado:
        await recado.topic("news", "omar", "diego")
        await backlog(recado, "omar", 60)
        async with Client(recado.url, recado.token("diego"), queue=8) as diego:
            await soon(diego._buffer.deaf.wait())
            assert len(diego._buffer._things) == 8
            assert contents(await take(diego, 60)) == list(range(60))


async def test_asking_while_the_queue_is_full_neither_blocks_nor_loses(database: str) -> None:
    """An answer may be behind more messages than there is room for."""
    async with running(database) as recado:
        await recado.topic("news", "omar", "diego")
        await recado.topic("echo", "diego")
        await backlog(recado, "omar", 300)
        got, states = [], States()
        async with Client(recado.url, recado.token("diego"), queue=8, on_state=states) as diego:
            async with asyncio.timeout(30):
                async for message in diego:
                    if message.topic == "news":
                        got.append(message.content)
                        await diego.publish("echo", message.content)
                    assert len(diego._buffer._things) <= 8
                    if len(got) == 300:
                        break
            history = await diego.history("echo", limit=100)

    assert got == list(range(300))
    assert history.messages[-1].seq == 300
    assert len([state for state in states.seen if state.name == "connected"]) > 1  # it did overflow


async def test_a_line_that_has_died_in_silence_is_given_up(database: str) -> None:
    async with running(database) as recado, line_to(recado.port) as line:
        states = States()
        async with Client(url_of(line), recado.token("diego"), on_state=states, silence=0.4) as diego:
            await states.until("connected")
            line.mute = True
            await states.until("waiting")
            line.mute = False
            assert await diego.publish("@diego", 1) == 1


class Silent:
    """A line on which nothing comes; it tells when somebody excuses that."""

    def __init__(self) -> None:
        self.excused: asyncio.Queue[float] = asyncio.Queue()
        self._heard_at = 0.0

    @property
    def heard_at(self) -> float:
        return self._heard_at

    @heard_at.setter
    def heard_at(self, moment: float) -> None:
        self._heard_at = moment
        self.excused.put_nowait(moment)


async def test_an_application_that_takes_nothing_is_no_silence() -> None:
    line, cut, deaf = Silent(), asyncio.Event(), asyncio.Event()
    deaf.set()
    watching = asyncio.create_task(until_silent(line, 0.01, cut, deaf))  # type: ignore[arg-type]
    for _ in range(3):
        await soon(line.excused.get())
    assert not watching.done()
    deaf.clear()
    await soon(watching)


async def test_gaps_are_given_in_their_place_and_acknowledged(database: str) -> None:
    async with running(database) as recado:
        await recado.topic("news", "omar", "diego")
        async with Client(recado.url, recado.token("omar")) as omar:
            await omar.publish("news", "goes", ttl=1)
            await omar.publish("news", "stays")

            async def gone() -> bool:
                return len((await omar.history("news")).messages) == 1

            await until(gone)
        async with Client(recado.url, recado.token("diego")) as diego:
            gap = await soon(diego.next())
            assert isinstance(gap, Gap)
            assert (gap.topic, gap.first, gap.last, gap.reason) == ("news", 1, 1, "expired")
            thing = await soon(diego.next())
        assert isinstance(thing, Message)
        assert thing.content == "stays"
        async with Client(recado.url, recado.token("diego")) as diego:
            assert await soon(diego.next()) == thing


async def test_closing_ends_the_loop_and_what_waits(database: str) -> None:
    port = free_port()
    client = Client(f"ws://127.0.0.1:{port}", "token")
    async with client:
        publishing = asyncio.create_task(client.publish("@x", 1))
        reading = asyncio.create_task(anext(client, None))
        await asyncio.sleep(0)
    with pytest.raises(Closed):
        await publishing
    assert await reading is None
    with pytest.raises(Closed):
        await client.publish("@x", 1)


async def test_a_cancelled_request_is_not_sent_again(database: str) -> None:
    port = free_port()
    async with Client(f"ws://127.0.0.1:{port}", "token") as client:
        publishing = asyncio.create_task(client.publish("@x", 1))
        await asyncio.sleep(0)
        publishing.cancel()
        await asyncio.wait([publishing])
        assert not client._requests


async def test_the_token_is_in_no_address_and_no_log(database: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    async with running(database) as recado:
        states, token = States(), recado.token("diego")
        async with Client(recado.url, token, on_state=states) as diego:
            await states.until("connected")
            await diego.topics()

    assert token not in caplog.text
    assert token not in json.dumps([str(state) for state in states.seen])
    assert State("connected") in states.seen
