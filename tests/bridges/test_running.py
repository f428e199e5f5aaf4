"""What runs of the configuration, in the process that has the turn."""

import asyncio

from lane_support import System, publish, working

from bridges.running import Bridging, Out


async def test_a_bridge_that_is_forgotten_while_it_is_configured_begins_anew(database: str) -> None:
    async with working(database) as node:
        await node.actions.know("ana")
        await node.store.create_topic("news", "public", await node.store.user("ana"))
        system = System()
        bridging = asyncio.ensure_future(
            Bridging(node, database, [Out("paper", "test", "news", lambda: system)], []).run()
        )
        try:
            async with asyncio.timeout(20):
                while not await node.book.reports():  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                await publish(node, "news", "1")
                await system.has(1)
                await node.bridges.forget("paper")
                while not await node.book.reports():  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                await publish(node, "news", "2")
                await system.has(2)
        finally:
            bridging.cancel()
            await asyncio.wait([bridging])
        assert system.contents == ["1", "2"]


async def test_a_bridge_that_is_configured_no_more_says_so_and_configured_again_is_up(database: str) -> None:
    async with working(database) as node:
        for name in ("kept", "left"):
            await node.book.register(name, "nats", "news")
        await node.book.disown(["nats"], ["kept"])
        states = {report.name: (report.state, report.reason) for report in await node.book.reports()}
        assert states["kept"] == ("up", None)
        assert states["left"][0] == "waiting" and "not configured" in str(states["left"][1])
        await node.book.register("left", "nats", "news")
        [report] = await node.book.reports("left")
        assert (report.state, report.reason) == ("up", None)
