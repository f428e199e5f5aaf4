"""Ears: what notices tell, what a sweep finds, and that an ear that was closed costs nothing."""

from messaging.model import Appended, Changed
from messaging.node import Node
from support.lanes import publish, working


async def news(node: Node) -> int:
    await node.actions.know("ana")
    topic_id = await node.store.create_topic("news", "public", await node.store.user("ana"))
    assert topic_id is not None
    return topic_id


async def test_growth_beyond_the_position_is_heard_in_the_step_of_the_notice(database: str) -> None:
    async with working(database) as node:
        topic_id = await news(node)
        with node.notifier.listen() as listener:
            listener.attend(topic_id, 1)
            node.bus.tell(Appended(topic_id, 1, 1, None))
            assert not listener.grown, "it has that already"
            node.bus.tell(Appended(topic_id + 1, 1, 9, None))
            assert not listener.grown, "another's topic"
            node.bus.tell(Appended(topic_id, 2, 2, None))
            assert list(listener.grown) == [topic_id]


async def test_a_lost_notice_is_made_good_by_the_sweep(database: str) -> None:
    async with working(database) as node:
        topic_id = await news(node)
        await publish(node, "news", "1", "2")
        ana = await node.store.user("ana")
        with node.notifier.listen(ana.id, version=-1) as listener:
            listener.attend(topic_id, 1)
            await node.notifier.sweep()
            assert list(listener.grown) == [topic_id] and listener.take_poke()
            listener.attend(topic_id, 2)
            listener.grown.clear()
            listener.version = ana.version
            await node.notifier.sweep()
            assert not listener.grown and not listener.take_poke()


async def test_only_the_users_own_changes_poke(database: str) -> None:
    async with working(database) as node:
        with node.notifier.listen(7) as listener:
            node.bus.tell(Changed(8))
            assert not listener.take_poke()
            node.bus.tell(Changed(7))
            assert listener.take_poke() and not listener.take_poke()


async def test_the_longest_waiting_topic_comes_first(database: str) -> None:
    async with working(database) as node:
        with node.notifier.listen() as listener:
            for topic_id in (3, 1, 2):
                listener.attend(topic_id, 0)
            for topic_id in (2, 3, 1, 2, 2):
                node.bus.tell(Appended(topic_id, 1, 1, None))
            assert list(listener.grown) == [2, 3, 1]


async def test_a_closed_ear_leaves_nothing_behind(database: str) -> None:
    async with working(database) as node:
        with node.notifier.listen(7) as one, node.notifier.listen(7) as two:
            one.attend(1, 0)
            two.attend(1, 0)
        assert not node.notifier._listeners and not node.notifier._users
