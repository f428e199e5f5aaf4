"""What is asked at one door and at another is answered alike: the same steps, the same results, through each."""

from __future__ import annotations

import itertools
import json
import operator
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import pytest
from people import DOORS, Ask, House

from messaging.model import Kind
from messaging.permissions import BACKEND
from support.lanes import publish
from support.waiting import until

ALL_KINDS = {"text": "hola ☕", "n": 1.5, "nested": [None, True, {"a": "\\u0041"}]}
KEYS = (f"own-{number}" for number in itertools.count())


@dataclass
class Step:
    user: str
    action: str
    topic: str
    fields: dict[str, Any]
    gives: Any
    at_last: bool = False  # it takes a while


def says(user: str, topic: str, content: Any, *, gives: int | str, id: str | None = None, **more: Any) -> Step:
    return Step(user, "message", topic, {"content": content, "id": id or next(KEYS), **more}, gives)


def reads(user: str, topic: str, *, gives: Any, at_last: bool = False, **where: int) -> Step:
    return Step(user, "history", topic, where, gives, at_last)


def joins(user: str, topic: str, *, gives: str = "ok") -> Step:
    return Step(user, "subscribe", topic, {}, gives)


def leaves(user: str, topic: str, *, gives: str = "ok") -> Step:
    return Step(user, "unsubscribe", topic, {}, gives)


def invites(user: str, topic: str, username: str, *, gives: str = "ok") -> Step:
    return Step(user, "invite", topic, {"username": username}, gives)


def seqs(first: int, last: int, more: bool = False) -> tuple[list[tuple[int, int]], bool]:
    """A page of messages whose contents are their seqs."""
    return [(seq, seq) for seq in range(first, last + 1)], more


@dataclass
class Scenario:
    """``topics``: kind, owner and members. ``stored``: how many messages each has before. ``claims``: of a user."""

    steps: list[Step]
    topics: dict[str, str] = field(default_factory=dict)
    stored: int = 0
    claims: dict[str, dict[str, list[str]]] = field(default_factory=dict)


SCENARIOS = {
    "what is published is read back": Scenario(
        topics={"noticias": "public omar diego"},
        steps=[
            says("omar", "noticias", ALL_KINDS, gives=1),
            says("diego", "noticias", "hola", gives=2),
            reads("diego", "noticias", gives=([(ALL_KINDS, 1), ("hola", 2)], False)),
        ],
    ),
    "a retry is harmless": Scenario(
        topics={"noticias": "public omar diego"},
        steps=[
            says("omar", "noticias", 1, id="k", gives=1),
            says("omar", "noticias", 1, id="k", gives=1),
            says("omar", "noticias", 2, id="k", gives="conflict"),
            says("diego", "noticias", 2, id="k", gives=2),
            reads("omar", "noticias", gives=seqs(1, 2)),
        ],
    ),
    "history comes in pages": Scenario(
        topics={"noticias": "public omar"},
        stored=130,
        steps=[
            reads("omar", "noticias", gives=seqs(81, 130, True)),
            reads("omar", "noticias", limit=2, gives=seqs(129, 130, True)),
            reads("omar", "noticias", limit=1000, gives=seqs(31, 130, True)),  # clamped to 100
            reads("omar", "noticias", before=31, limit=100, gives=seqs(1, 30)),
            reads("omar", "noticias", before=3, gives=seqs(1, 2)),
            reads("omar", "noticias", before=3, limit=1, gives=seqs(2, 2, True)),
            reads("omar", "noticias", before=1, gives=([], False)),
            reads("omar", "noticias", after=0, limit=3, gives=seqs(1, 3, True)),
            reads("omar", "noticias", after=127, gives=seqs(128, 130)),
            reads("omar", "noticias", after=130, gives=([], False)),
            reads("omar", "noticias", after=10, before=13, gives=seqs(11, 12)),
        ],
    ),
    "history begins where it may": Scenario(
        topics={"publico": "public omar", "secreto": "private omar"},
        stored=5,
        steps=[
            invites("omar", "publico", "diego"),
            invites("omar", "secreto", "diego"),
            says("omar", "secreto", 6, gives=6),
            says("omar", "secreto", 7, gives=7),
            reads("diego", "publico", gives=seqs(1, 5)),
            reads("diego", "secreto", gives=seqs(6, 7)),
            reads("diego", "secreto", after=0, gives=seqs(6, 7)),
            reads("diego", "secreto", after=2, before=7, gives=seqs(6, 6)),
            reads("diego", "secreto", before=6, gives=([], False)),
            reads("omar", "secreto", gives=seqs(1, 7)),
            # Leaving and joining again moves the beginning.
            leaves("diego", "secreto"),
            reads("diego", "secreto", gives="unknown_topic"),
            invites("omar", "secreto", "diego"),
            reads("diego", "secreto", gives=([], False)),
        ],
    ),
    "a direct message goes to known users alone": Scenario(
        steps=[
            says("diego", "@nobody", 1, gives="unknown_user"),
            says("diego", "nobody", 1, gives="unknown_topic"),
            says("diego", "ana", 1, gives=1),
            says("diego", "@ana", 2, gives=2),
            reads("ana", "@ana", gives=seqs(1, 2)),
            reads("diego", "@ana", gives="unknown_topic"),
            says("ana", "@ana", 3, gives=3),
            says("diego", "@nobody", 1, gives="unknown_user"),  # naming somebody makes nobody known
        ],
    ),
    "a name is a topic one sees before it is a user": Scenario(
        topics={"ana": "public omar diego", "luz": "public omar", "eva": "private omar"},
        steps=[
            says("diego", "ana", 1, gives=1),
            says("diego", "@ana", 1, gives=1),
            says("diego", "luz", 1, gives="not_a_member"),
            says("diego", "@luz", 1, gives=1),
            says("diego", "eva", 1, gives=1),  # it goes to the user, and says nothing of the topic
            reads("omar", "ana", gives=seqs(1, 1)),
            reads("ana", "@ana", gives=seqs(1, 1)),
            reads("omar", "luz", gives=([], False)),
            reads("luz", "@luz", gives=seqs(1, 1)),
            reads("omar", "eva", gives=([], False)),
            reads("eva", "@eva", gives=seqs(1, 1)),
        ],
    ),
    "who belongs to a topic": Scenario(
        topics={"noticias": "public omar", "secreto": "private omar"},
        steps=[
            says("diego", "noticias", 1, gives="not_a_member"),
            leaves("diego", "noticias", gives="not_a_member"),
            joins("diego", "noticias"),
            joins("diego", "noticias"),
            says("diego", "noticias", 1, gives=1),
            leaves("diego", "noticias"),
            says("diego", "noticias", 2, gives="not_a_member"),
            invites("omar", "noticias", "nobody", gives="unknown_user"),
        ]
        + [
            each
            for hidden in ("secreto", "absent")
            for each in (
                joins("diego", hidden, gives="unknown_topic"),
                leaves("diego", hidden, gives="unknown_topic"),
                invites("diego", hidden, "omar", gives="unknown_topic"),
                says("diego", hidden, 1, gives="unknown_topic"),
                reads("diego", hidden, gives="unknown_topic"),
            )
        ],
    ),
    "a lifetime ends": Scenario(
        topics={"noticias": "public omar"},
        steps=[
            says("omar", "noticias", 1, ttl=1, gives=1),
            says("omar", "noticias", 2, ttl=1000, gives=2),
            reads("omar", "noticias", gives=seqs(2, 2), at_last=True),
        ],
    ),
    "a token reads what it says": Scenario(
        topics={"shop.1": "private eva", "news": "public eva ana", "lounge": "private eva ana"},
        stored=1,
        claims={"ana": {"read": ["shop.*"]}},
        steps=[
            reads("ana", "shop.1", gives=seqs(1, 1)),
            reads("ana", "news", gives="unknown_topic"),
            reads("ana", "lounge", gives="unknown_topic"),
            joins("ana", "shop.1"),
            reads("ana", "shop.1", gives=seqs(1, 1)),
            joins("ana", "shop.2", gives="unknown_topic"),
        ],
    ),
    "a token writes where it says": Scenario(
        topics={"shop.1": "private eva", "news": "public eva ana", "lounge": "private eva ana"},
        claims={"ana": {"write": ["shop.*", "@eva"]}},
        steps=[
            says("ana", "shop.1", 1, gives=1),
            says("ana", "@eva", 1, gives=1),
            says("ana", "eva", 2, gives=2),
            says("ana", "shop.2", 1, gives="unknown_topic"),
            *(
                says("ana", name, 1, gives="forbidden")
                for name in ("news", "lounge", "@ana", "ana", "@omar", "@nobody", "nothing")
            ),
            reads("ana", "news", gives=([], False)),
        ],
    ),
}
# A client chooses its keys itself.
CASES = [(name, door) for name in SCENARIOS for door in DOORS if (name, door) != ("a retry is harmless", "client")]


@pytest.fixture
async def house(database: str, door: str) -> AsyncIterator[House]:
    async with DOORS[door][0](database) as found:
        yield found


async def prepare(house: House, scenario: Scenario) -> None:
    actions = house.node.actions
    for name, words in scenario.topics.items():
        kind, owner, *members = words.split()
        await actions.create_topic(BACKEND, name, await actions.know(owner), cast(Kind, kind))
        for member in members:
            await actions.know(member)
            await actions.invite(BACKEND, name, member)
        await publish(house.node, name, *map(json.dumps, range(1, scenario.stored + 1)))
    for user in ("omar", "diego", "ana", "luz", "eva"):  # after the topics: none is made under a known user's name
        await actions.know(user)


@pytest.mark.parametrize(("name", "door"), CASES)
async def test_each_door_answers_alike(house: House, name: str, door: str) -> None:
    scenario, people = SCENARIOS[name], dict[str, Ask]()
    await prepare(house, scenario)
    async with AsyncExitStack() as stack:
        for step in scenario.steps:
            if step.user not in people:
                payload = {"topics": scenario.claims[step.user]} if step.user in scenario.claims else None
                token = house.tokens.issue(step.user, payload=payload)[0]
                people[step.user] = await stack.enter_async_context(DOORS[door][1](house, step.user, token))
            ask = partial(people[step.user], step.action, step.topic, **step.fields)
            if step.at_last:
                await until(ask, partial(operator.eq, step.gives))
            else:
                assert await ask() == step.gives, step
