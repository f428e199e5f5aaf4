from ws_support import receive, running, send


async def test_a_message_reaches_members_and_waits_for_the_absent(database: str) -> None:
    async with running(database) as recado:
        await recado.topic("noticias", "omar", "diego")
        async with recado.client("omar") as omar:
            assert (await receive(omar))["action"] == "connected"
            await send(omar, action="message", topic_name="noticias", content={"a": 1}, id="1", ref="r")
            receipt = await receive(omar)
            print(receipt)
            echo = await receive(omar)
            print(echo)
        async with recado.client("diego") as diego:
            print(await receive(diego))
            print(await receive(diego))
