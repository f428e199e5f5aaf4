"""The older system's conversation, with the real wscat: what a newcomer does first."""

from __future__ import annotations

from support.programs import post, recado, wscat


async def test_four_users_two_topics_and_one_who_is_away() -> None:
    async with recado() as server:
        topics = f"{server.api}/api/v1/topics"
        assert 201 == post(topics, {"topic_name": "noticias", "user": "omar", "is_private": False})
        assert 201 == post(topics, {"topic_name": "gdcode", "user": "diego", "is_private": True})
        async with (
            wscat(server.url_of("omar")) as omar,
            wscat(server.url_of("diego")) as diego,
            wscat(server.url_of("satoshi")) as satoshi,
        ):
            await satoshi.say(action="subscribe", topic_name="noticias")
            await satoshi.frame(action="subscribe", topic_name="noticias", result="ok")
            await diego.say(action="suscribe", topic_name="noticias")
            await diego.frame(action="subscribe", topic_name="noticias", result="ok")

            await satoshi.say(action="message", topic_name="gdcode", content="may I?")
            await satoshi.frame(action="error", code="unknown_topic", topic_name="gdcode")
            await diego.say(action="invite", topic_name="gdcode", username="satoshi")
            await diego.frame(action="invite", topic_name="gdcode", result="ok")
            await satoshi.frame(action="invited", topic_name="gdcode", user_source="diego")
            await diego.say(action="invite", topic_name="gdcode", username="memoor")
            await diego.frame(action="invite", topic_name="gdcode", result="ok")

            await omar.say(action="message", topic_name="noticias", content="hola", id="n-1")
            await omar.frame(action="message", result="ok", id="n-1", seq=1)
            for person in (omar, diego, satoshi):
                await person.frame(action="message", topic_name="noticias", content="hola", user_source="omar", seq=1)

            for number in range(1, 4):
                await satoshi.say(action="message", topic_name="gdcode", content={"number": number})
            await diego.frame(action="message", topic_name="gdcode", content={"number": 3}, seq=3)
            await diego.say(action="message", topic_name="memoor", content="call me")
            await diego.say(action="message", topic_name="@memoor", content="please", id="dm")
            await diego.frame(action="message", result="ok", id="dm", seq=2)

        async with wscat(server.url_of("memoor")) as memoor:  # who was not there
            assert 5 == memoor.greeting["pending"]
            frames = [await memoor.frame(action="message") for _ in range(5)]
            group = [frame for frame in frames if frame["topic_name"] == "gdcode"]
            direct = [frame for frame in frames if frame["topic_name"] == "@memoor"]
            assert [{"number": 1}, {"number": 2}, {"number": 3}] == [frame["content"] for frame in group]
            assert [1, 2, 3] == [frame["seq"] for frame in group]
            assert ["call me", "please"] == [frame["content"] for frame in direct]
            await memoor.say(action="disconnect")
            await memoor.process.wait()

        async with wscat(server.url_of("memoor")) as memoor:
            assert 0 == memoor.greeting["pending"]
