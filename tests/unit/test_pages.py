"""Page reads that several readers share: one in flight at a place, and nobody goes down with another."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from messaging.errors import Unavailable, UnknownTopic
from messaging.model import Content, Message, Page, Topic
from messaging.readers.pages import Pages, fit

NEWS = Topic(1, "news", "public", "ana")
PAGE = Page((), 5, 5)


class Shelf:
    """A store whose pages come when the test says."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, list[int]]] = []
        self.come = asyncio.Event()
        self.error: Exception | None = None

    async def page(self, topic: Topic, after: int, budget: int, memberships: list[int]) -> tuple[Page, set[int]]:
        self.asked.append((after, memberships))
        await self.come.wait()
        if self.error is not None:
            raise self.error
        return PAGE, set(memberships)


def reading(shelf: Any, encoded: list[int]) -> Pages[str]:
    def encode(topic: Topic, page: Page) -> str:
        encoded.append(page.last)
        return topic.name

    return Pages(shelf, encode)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_who_comes_while_a_read_is_in_flight_shares_the_next() -> None:
    shelf = Shelf()
    encoded: list[Any] = []
    pages = reading(shelf, encoded)
    tasks = [asyncio.create_task(pages.read(NEWS, 0, 1024, number)) for number in range(10)]
    other = asyncio.create_task(pages.read(NEWS, 3, 1024, 77))
    await settle()
    shelf.come.set()
    found = await asyncio.gather(*tasks, other)
    assert sorted(shelf.asked) == [(0, [0]), (0, list(range(1, 10))), (3, [77])]
    assert len(encoded) == 3
    assert all(number in page.memberships for number, page in enumerate(found[:10]))
    assert {page.frames for page in found} == {"news"}


async def test_a_failure_is_everybodys_and_leaves_nothing_behind() -> None:
    shelf = Shelf()
    pages = reading(shelf, [])
    shelf.error = UnknownTopic()
    shelf.come.set()
    failures = await asyncio.gather(*(pages.read(NEWS, 0, 1024) for _ in range(3)), return_exceptions=True)
    assert [type(failure) for failure in failures] == [UnknownTopic] * 3
    shelf.error = None
    assert (await pages.read(NEWS, 0, 1024)).page is PAGE


@pytest.mark.parametrize("leader", [0, 1], ids=["in-flight", "waiting"])
async def test_a_reader_that_is_cancelled_takes_no_other_with_it(leader: int) -> None:
    """The others are told to ask again, and may."""
    shelf = Shelf()
    pages = reading(shelf, [])
    tasks = [asyncio.create_task(pages.read(NEWS, 0, 1024)) for _ in range(3)]
    await settle()
    tasks[leader].cancel()
    await settle()
    shelf.come.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(outcomes[leader], asyncio.CancelledError)
    for place in {0, 1, 2} - {leader}:
        outcome = outcomes[place]
        assert isinstance(outcome, Unavailable) or getattr(outcome, "page", None) is PAGE
    assert (await pages.read(NEWS, 0, 1024)).page is PAGE


@pytest.mark.parametrize(("newest", "kept"), [(True, [4, 5]), (False, [1, 2])])
def test_a_page_of_history_fits(newest: bool, kept: list[int]) -> None:
    page = [Message(seq, "omar", Content('"12345é8"'), datetime(2026, 1, 2, tzinfo=UTC)) for seq in range(1, 6)]
    assert kept == [message.seq for message in fit(page, 5, 25, newest=newest)]
    assert kept == [message.seq for message in fit(page, 2, 1000, newest=newest)]
    assert 1 == len(fit(page, 5, 1, newest=newest))
    assert page == fit(page, 5, 50, newest=newest)
    assert [] == fit([], 5, 50, newest=newest)
