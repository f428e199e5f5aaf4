"""What is held for slow peers is bounded, and whose address has most of it gives first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from api.slow_peers import SlowPeers


def test_nobody_is_cut_off_within_the_bound() -> None:
    slow: SlowPeers[str] = SlowPeers(100)
    assert slow.hold("a", "x", 60) == slow.hold("b", "y", 40) == []
    slow.release("a")
    assert slow.hold("c", "x", 60) == []
    assert slow.total == 100


def test_the_address_with_most_gives_and_of_it_who_waits_longest() -> None:
    slow: SlowPeers[str] = SlowPeers(100)
    slow.hold("honest", "y", 40)
    for name in "abc":
        slow.hold(name, "x", 16)
    assert slow.hold("d", "x", 16) == ["a"]
    assert slow.hold("new", "z", 16) == ["b"]
    assert slow.total == 40 + 3 * 16


def test_as_many_give_as_must() -> None:
    slow: SlowPeers[str] = SlowPeers(100)
    for name in "abcdef":
        slow.hold(name, "x", 16)
    assert slow.hold("new", "z", 40) == ["a", "b", "c"]


def test_who_has_more_than_all_of_it_is_cut_off_itself() -> None:
    slow: SlowPeers[str] = SlowPeers(100)
    slow.hold("a", "x", 10)
    assert slow.hold("b", "y", 101) == ["b"]
    assert slow.total == 10


def test_more_for_the_same_peer_adds_up_and_leaves_at_once() -> None:
    slow: SlowPeers[str] = SlowPeers(100)
    slow.hold("a", "x", 10)
    slow.hold("a", "x", 20)
    assert slow.total == 30
    slow.release("a")
    slow.release("a")
    assert slow.total == 0


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3), st.integers(0, 60) | st.none())))
def test_in_any_order_it_stays_within_the_bound_and_forgets(steps: list[tuple[int, int, int | None]]) -> None:
    slow: SlowPeers[int] = SlowPeers(100)
    sizes: dict[int, int] = {}
    for peer, address, size in steps:
        if size is None:
            slow.release(peer)
            sizes.pop(peer, None)
        else:
            sizes[peer] = sizes.get(peer, 0) + size
            for each in slow.hold(peer, str(address), size):
                del sizes[each]
        assert slow.total == sum(sizes.values()) <= 100
    for peer in sizes:
        slow.release(peer)
    assert (slow.total, slow._sizes, dict(slow._sums), slow._addresses) == (0, {}, {}, {})
