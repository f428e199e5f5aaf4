"""Connections are counted from their accept on; who says nothing gives way; who speaks for others counts as them."""

from __future__ import annotations

import ipaddress
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

from messaging.limits.connections import Accepted, Connections, TooManyConnections
from messaging.settings.addresses import client_address, network_of

PROXY, PEER, OTHER = "10.0.0.1", "203.0.113.9", "203.0.113.10"
PROXIES = [ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("::1")]


class Door:
    """Who was let in, who was asked to give way, what was refused."""

    def __init__(self, per_address: int = 2, most: int = 100) -> None:
        self.refused: list[str] = []
        self.gone: list[Accepted] = []
        self.connections = Connections(per_address, most, PROXIES, self.refused.append)

    def come(self, peer: str = PEER, *, works: bool = False) -> Accepted | None:
        found: list[Accepted | None] = []
        accepted = self.connections.accept(peer, lambda: self.gone.extend(filter(None, found)))
        found.append(accepted)
        if accepted is not None and works:
            self.connections.work(accepted)
        return accepted


def test_an_address_has_so_many_and_others_have_as_many() -> None:
    door = Door()
    assert door.come(works=True) and door.come(works=True)
    assert door.come() is None
    assert door.come(OTHER)
    assert door.refused == ["max_connections_per_address"]


def test_one_that_has_ended_makes_room_and_ending_twice_counts_once() -> None:
    door = Door()
    one, _ = door.come(works=True), door.come(works=True)
    assert one is not None
    door.connections.end(one)
    door.connections.end(one)
    assert door.come(works=True) and door.come() is None
    assert len(door.connections) == 2


def test_without_a_limit_only_descriptors_count() -> None:
    door = Door(per_address=0, most=3)
    assert all(door.come(works=True) for _ in range(3))
    assert door.come() is None
    assert door.refused == ["descriptors"]


@pytest.mark.parametrize("limits", [(2, 100), (100, 2)])
def test_the_oldest_that_says_nothing_gives_way(limits: tuple[int, int]) -> None:
    door = Door(*limits)
    busy, idle = door.come(works=True), door.come()
    newer = door.come()
    assert newer is not None and door.gone == [idle]
    assert door.come() and door.gone == [idle, newer]
    assert busy is not None and len(door.connections) == 2 and door.refused == []


def test_one_that_was_answered_says_nothing_until_it_asks_again() -> None:
    door = Door()
    one, other = door.come(works=True), door.come(works=True)
    assert one is not None and other is not None
    for each in (other, one):
        door.connections.rest(each)
    door.connections.work(other)
    assert door.come() and door.gone == [one]


@pytest.mark.parametrize("limits", [(2, 100), (100, 2)])
def test_a_request_that_is_not_whole_gives_way_and_one_that_is_stays(limits: tuple[int, int]) -> None:
    door = Door(*limits)
    half, whole = door.come(), door.come()
    assert half is not None and whole is not None
    for each in (half, whole):
        door.connections.ask(each, [])
    door.connections.work(whole)
    assert door.come(works=True) and door.gone == [half]
    assert door.come() is None
    door.connections.wait(whole)  # for its peer to take the answer
    assert door.come() and door.gone == [half, whole]


def test_where_descriptors_run_short_the_address_with_most_idle_ones_gives_way() -> None:
    door = Door(per_address=100, most=4)
    lonely = door.come(OTHER)
    crowd = [door.come() for _ in range(3)]
    assert door.come("203.0.113.11") and door.gone == crowd[:1]
    assert lonely not in door.gone


def test_a_trusted_proxy_counts_as_whom_it_names_while_it_asks_for_them() -> None:
    door = Door()
    lines = [door.come(PROXY) for _ in range(5)]
    for line in lines[:2]:
        assert line is not None
        door.connections.ask(line, [PEER])
        door.connections.work(line)
    assert lines[2] is not None
    with pytest.raises(TooManyConnections):
        door.connections.ask(lines[2], [PEER])
    door.connections.rest(lines[2])
    door.connections.ask(lines[2], [OTHER])
    assert door.come(PEER) is None  # by another way it is the same client
    assert lines[0] is not None
    door.connections.rest(lines[0])
    assert door.come(PEER, works=True)
    assert len(door.connections) == 6


def test_behind_a_trusted_proxy_whom_it_names_gives_way_to_its_own() -> None:
    door = Door()
    half, other, whole = lines = [door.come(PROXY) for _ in range(3)]
    for line, client in zip(lines, (PEER, OTHER, PEER), strict=True):
        assert line is not None
        door.connections.ask(line, [client])
    assert whole is not None
    door.connections.work(whole)
    next_one = door.come(PROXY)
    assert next_one is not None
    door.connections.ask(next_one, [PEER])
    assert door.gone == [half] and other not in door.gone


def test_only_a_trusted_proxy_names_anybody() -> None:
    door = Door()
    for forwarded in ([OTHER], ["203.0.113.11"]):
        accepted = door.come()
        assert accepted is not None
        door.connections.ask(accepted, forwarded)
        door.connections.work(accepted)
    assert door.come() is None


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("192.0.2.1:4711", "192.0.2.1"),
        ("[2001:db8:1:2:3:4:5:6]:4711", "2001:db8:1:2::/64"),
        ("", ""),
        ("@", ""),
    ],
)
def test_who_counts_as_one(address: str, counted: str) -> None:
    assert counted == network_of(address) == network_of(counted)


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),  # nobody we trust says so
        ("10.1.1.1", [], "10.1.1.1"),
        ("10.1.1.1", ["198.51.100.1"], "198.51.100.1"),
        ("::1", ["6.6.6.6, 198.51.100.1"], "198.51.100.1"),  # what came before was the client's to write
        ("10.1.1.1", ["6.6.6.6", "198.51.100.1"], "198.51.100.1"),
        ("10.1.1.1", [" "], "10.1.1.1"),
        ("", ["198.51.100.1"], ""),
        ("@", ["198.51.100.1"], "@"),
    ],
)
def test_who_connects_is_whom_a_trusted_proxy_names_last(peer: str, forwarded: list[str], address: str) -> None:
    assert address == client_address(peer, forwarded, PROXIES)


class AnyOrder(RuleBasedStateMachine):
    """Whatever happens in whatever order, nobody has more than the limits say, and nothing is left of who has gone."""

    alive = Bundle("alive")

    def __init__(self) -> None:
        super().__init__()
        self.door = Door(per_address=3, most=6)

    @rule(target=alive, peer=st.sampled_from([PROXY, PEER, OTHER, "2001:db8::1", "@"]))
    def come(self, peer: str) -> Any:
        accepted = self.door.come(peer)
        return multiple() if accepted is None else accepted

    @rule(accepted=alive, client=st.sampled_from([PEER, OTHER, "", "203.0.113.77"]), whole=st.booleans())
    def ask_and_rest(self, accepted: Accepted, client: str, whole: bool) -> None:
        self.ask(accepted, client, whole)
        self.door.connections.rest(accepted)

    @rule(accepted=alive, client=st.sampled_from([PEER, OTHER]), whole=st.booleans())
    def ask(self, accepted: Accepted, client: str, whole: bool) -> None:
        with suppress(TooManyConnections):
            self.door.connections.ask(accepted, [client])
            if whole:
                self.door.connections.work(accepted)

    @rule(accepted=alive)
    def wait(self, accepted: Accepted) -> None:
        self.door.connections.wait(accepted)

    @rule(accepted=alive)
    def end(self, accepted: Accepted) -> None:
        self.door.connections.end(accepted)

    @invariant()
    def within_limits(self) -> None:
        connections = self.door.connections
        assert len(connections) <= 6
        assert all(0 < count <= 3 for count in connections._counts.values())
        assert sum(connections._counts.values()) <= len(connections)
        assert {each for line in connections._waiting.values() for each in line} <= connections._open
        assert all(each.address == of for of, line in connections._waiting.items() for each in line)


TestAnyOrder = AnyOrder.TestCase
