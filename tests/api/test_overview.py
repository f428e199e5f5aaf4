"""What the operator's page is drawn from."""

import asyncio

import asyncpg

from support.doors import Door

V1 = "/api/v1"
OVERVIEW = f"{V1}/overview"


async def make(door: Door, topic: str, *members: str, kind: str = "public") -> None:
    await door.ask("PUT", f"{V1}/topics/{topic}", 201, json={"owner": members[0], "kind": kind})
    for member in members[1:]:
        await door.ask("PUT", f"{V1}/topics/{topic}/members/{member}", 201)


async def publish(door: Door, topic: str, sender: str, times: int = 1) -> None:
    messages = [{"topic_name": topic, "content": n, "sender": sender} for n in range(times)]
    await door.ask("POST", f"{V1}/messages/batch", json=messages)


async def confirm(door: Door, topic: str, user: str, seq: int) -> None:
    """As one of two devices of the user does it."""
    known = await door.node.actions.user(user)
    for device in ("desk", "phone"):
        await door.node.store.see_device(known.id, device)
    standing = await door.node.store.topic_view(topic, known.id)
    assert standing is not None and standing.membership is not None
    door.node.cursors.move(standing.topic.id, standing.membership.id, "phone", seq)
    await door.node.cursors.settle()


async def behind(door: Door) -> list[tuple[str, str, int]]:
    answer = await door.ask("GET", OVERVIEW)
    return [(each["username"], each["topic_name"], each["pending"]) for each in answer["behind"]]


async def test_an_empty_server(door: Door) -> None:
    answer = await door.ask("GET", OVERVIEW)
    assert (answer["appended"], answer["topics"], answer["busiest"], answer["behind"]) == (0, 1, [], [])
    assert answer["process"]["sessions"] == 0 and answer["behind_among"] == {"topics": 50, "members": 1000}


async def test_messages_are_summed_over_topics_and_inboxes(door: Door) -> None:
    await make(door, "news", "ana", "eva")
    await publish(door, "news", "ana", 3)
    await publish(door, "@eva", "ana", 2)
    answer = await door.ask("GET", OVERVIEW)
    assert (answer["appended"], answer["topics"]) == (5, 4)  # general, news, two inboxes
    assert answer["bytes"] > 0


async def test_the_busiest_first_with_a_rate_of_the_last_minute(door: Door, database: str) -> None:
    await make(door, "news", "ana")
    await make(door, "old", "ana")
    await make(door, "shop", "ana")
    await publish(door, "old", "ana", 9)
    await publish(door, "shop", "ana", 2)
    await publish(door, "news", "ana", 5)
    await age(database, "old", 61)
    found = (await door.ask("GET", OVERVIEW))["busiest"]
    assert [(each["topic_name"], each["last_seq"], each["per_minute"]) for each in found] == [
        ("news", 5, 5.0), ("shop", 2, 2.0),
    ]  # fmt: skip


async def test_a_rate_beyond_the_sample_is_that_of_the_sample(door: Door, database: str) -> None:
    await make(door, "news", "ana")
    await publish(door, "news", "ana", 250)
    await age(database, "news", 20)
    [busy] = (await door.ask("GET", OVERVIEW))["busiest"]
    assert 500 < busy["per_minute"] <= 600  # 200 of them in a little over 20 seconds


async def test_behind_is_what_no_device_of_a_member_has(door: Door) -> None:
    await make(door, "news", "ana", "eva")
    await publish(door, "news", "ana", 4)
    await door.ask("PUT", f"{V1}/topics/news/members/omar", 201)
    assert await behind(door) == [("ana", "news", 4), ("eva", "news", 4)]  # omar's pending begins behind them
    await confirm(door, "news", "eva", 3)
    assert await behind(door) == [("ana", "news", 4), ("eva", "news", 1)]
    await confirm(door, "news", "ana", 4)
    await publish(door, "news", "ana", 1)
    assert await behind(door) == [("eva", "news", 2), ("ana", "news", 1), ("omar", "news", 1)]


async def test_behind_says_since_when(door: Door, database: str) -> None:
    await make(door, "news", "ana")
    await publish(door, "news", "ana", 2)
    await age(database, "news", 3600)
    answer = await door.ask("GET", OVERVIEW)
    [member] = answer["behind"]
    assert member["oldest_at"] < answer["at"]
    connection = await asyncpg.connect(database)
    await connection.execute("DELETE FROM recado.messages")
    await connection.close()
    assert (await door.ask("GET", OVERVIEW))["behind"][0]["oldest_at"] is None


async def test_readings_look_closer_only_at_as_much_as_they_may(door: Door) -> None:
    await make(door, "news", "ana", "eva")
    await make(door, "shop", "omar", "eva")
    await publish(door, "news", "ana", 5)
    await publish(door, "shop", "omar", 2)
    fetch = door.node.store.pool.fetch
    assert [row["name"] for row in await fetch("overview_busiest", 1, 200, 9)] == ["shop"]  # written to last
    assert [row["name"] for row in await fetch("overview_busiest", 9, 200, 1)] == ["news"]
    found = await fetch("overview_behind", 1, 1, 9)
    assert [(row["name"], row["topic"]) for row in found] == [("ana", "news")]  # the longest, and its first member
    assert len(await fetch("overview_behind", 9, 9, 3)) == 3


async def test_a_deleted_topic_is_nowhere(door: Door) -> None:
    await make(door, "news", "ana")
    await publish(door, "news", "ana", 2)
    await door.ask("DELETE", f"{V1}/topics/news", 204)
    answer = await door.ask("GET", OVERVIEW)
    assert (answer["appended"], answer["busiest"], answer["behind"]) == (0, [], [])


async def test_asked_by_many_at_once(door: Door) -> None:
    await make(door, "news", "ana")
    answers = await asyncio.gather(*(door.ask("GET", OVERVIEW) for _ in range(30)))
    assert {answer["topics"] for answer in answers} == {3}


async def age(database: str, topic: str, seconds: float) -> None:
    """Make a topic's messages older."""
    connection = await asyncpg.connect(database)
    await connection.execute(
        "UPDATE recado.messages SET sent_at = sent_at - make_interval(secs => $2)"
        " WHERE topic_id = (SELECT id FROM recado.topics WHERE name = $1)",
        topic, seconds,
    )  # fmt: skip
    await connection.close()
