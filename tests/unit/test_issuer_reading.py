"""An issuer's keys as they come and go, and what an issuer can't do to us."""

import asyncio
import gzip
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from messaging.auth.issuers.fetching import MAX_KEY_SET_BYTES
from messaging.auth.issuers.keys import READ_EVERY, STALE_AFTER
from messaging.errors import Unauthorized, Unavailable
from support.issuers import (
    AUTH0,
    Clock,
    SomeIssuer,
    issuing,
    refusal,
    trusting,
)


async def test_a_new_key_is_found_and_an_old_one_kept_as_long_as_it_is_named() -> None:
    clock = Clock()
    async with issuing() as issuer, trusting(issuer.setting(), clock=clock) as tokens:
        await tokens.verify(issuer.token("one"))
        issuer.kids = ["one", "two"]
        assert "no key of this id" in await refusal(tokens, issuer.token("two"))
        clock.now += READ_EVERY
        assert (await tokens.verify(issuer.token("two"))).user == "ana"
        assert (await tokens.verify(issuer.token("one"))).user == "ana"
        assert 2 == issuer.reads

        issuer.kids = ["two"]
        clock.now += STALE_AFTER
        await tokens.verify(issuer.token("two"))  # is not kept waiting for the look at what is an hour old
        await asyncio.wait([task for task in asyncio.all_tasks() if task.get_name() == "issuer's keys"])
        assert "no key of this id" in await refusal(tokens, issuer.token("one"))
        assert 3 == issuer.reads


async def test_a_storm_of_unknown_keys_asks_once_in_30_seconds() -> None:
    clock = Clock()
    async with issuing() as issuer, trusting(issuer.setting(), clock=clock) as tokens:
        storm = [issuer.token(header={"kid": f"no-{number}"}) for number in range(50)]
        for expected in (1, 2):
            found = await asyncio.gather(*map(tokens.verify, storm), return_exceptions=True)
            assert {Unauthorized} == {type(each) for each in found}
            assert expected == issuer.reads
            clock.now += READ_EVERY - 0.01
            await refusal(tokens, storm[0])
            assert expected == issuer.reads
            clock.now += 0.02


async def test_many_wait_for_one_request_and_leave_it_alone() -> None:
    clock = Clock()
    async with issuing() as issuer, trusting(issuer.setting(), clock=clock) as tokens:
        issuer.lets_through.clear()
        waiting = [asyncio.ensure_future(tokens.verify(issuer.token(sub=f"user-{n}"))) for n in range(20)]
        await issuer.asked.wait()
        clock.now += READ_EVERY  # also where the next might be made by now
        waiting.append(asyncio.ensure_future(tokens.verify(issuer.token(sub="user-20"))))
        waiting.pop(0).cancel()  # it was the first, for whom the request was made
        issuer.lets_through.set()
        assert [f"user-{n}" for n in range(1, 21)] == [(await each).user for each in waiting]
        assert 1 == issuer.reads


async def test_known_keys_hold_while_the_issuer_is_away() -> None:
    clock = Clock()
    async with issuing() as issuer, trusting(issuer.setting(), clock=clock) as tokens:
        await tokens.verify(issuer.token("one"))
        issuer.answer = lambda: web.Response(status=503)
        clock.now += 10 * STALE_AFTER
        assert (await tokens.verify(issuer.token("one"))).user == "ana"
        with pytest.raises(Unavailable):
            await tokens.verify(issuer.token("two"))
        assert (await tokens.verify(issuer.token("one"))).user == "ana"
        assert 2 == issuer.reads


async def test_an_issuer_that_was_never_there_may_come() -> None:
    clock = Clock()
    async with issuing() as issuer, trusting(issuer.setting(), clock=clock) as tokens:
        issuer.answer = lambda: web.Response(status=500)
        with pytest.raises(Unavailable):
            await tokens.verify(issuer.token())
        issuer.answer = None
        with pytest.raises(Unavailable):  # not again at once
            await tokens.verify(issuer.token())
        assert 1 == issuer.reads
        clock.now += READ_EVERY
        assert (await tokens.verify(issuer.token())).user == "ana"


async def test_nobody_listens_there() -> None:
    async with issuing() as issuer:
        setting = issuer.setting()
    async with trusting(setting) as tokens:
        with pytest.raises(Unavailable):
            await tokens.verify(issuer.token())


async def test_an_issuer_that_does_not_answer_is_given_up() -> None:
    async with issuing() as issuer, trusting(issuer.setting(), patience=0.05) as tokens:
        issuer.lets_through.clear()
        with pytest.raises(Unavailable):
            await tokens.verify(issuer.token())


async def test_what_is_being_read_at_the_end_is_given_up(loop_errors: list[Any]) -> None:
    async with issuing() as issuer:
        issuer.lets_through.clear()
        async with trusting(issuer.setting()) as tokens:
            waiting = asyncio.ensure_future(tokens.verify(issuer.token()))
            await issuer.asked.wait()
        with pytest.raises(Unavailable):
            await waiting


ANSWERS: list[Callable[[SomeIssuer], web.Response]] = [
    lambda issuer: web.Response(body=issuer.key_set() + b" " * MAX_KEY_SET_BYTES),
    lambda issuer: web.Response(status=404, body=issuer.key_set()),
    lambda issuer: web.Response(text="<html>"),
    lambda issuer: web.Response(text='{"keys": []}'),
    lambda issuer: web.Response(body=b"[" * 60_000),
    lambda issuer: web.Response(body=gzip.compress(issuer.key_set()), headers={"Content-Encoding": "gzip"}),
]


@pytest.mark.parametrize("answer", ANSWERS, ids=["too long", "404", "no JSON", "no key", "deep", "compressed"])
async def test_an_odd_answer_is_none(answer: Callable[[SomeIssuer], web.Response]) -> None:
    async with issuing() as issuer, trusting(issuer.setting()) as tokens:
        issuer.answer = lambda: answer(issuer)
        with pytest.raises(Unavailable):
            await tokens.verify(issuer.token())


async def test_the_largest_answer() -> None:
    async with issuing() as issuer, trusting(issuer.setting()) as tokens:
        issuer.answer = lambda: web.Response(body=issuer.key_set().ljust(MAX_KEY_SET_BYTES))
        assert (await tokens.verify(issuer.token())).user == "ana"


async def test_no_redirect_is_followed() -> None:
    async with issuing() as issuer, issuing(AUTH0) as elsewhere, trusting(issuer.setting()) as tokens:
        issuer.answer = lambda: web.Response(status=302, headers={"Location": elsewhere.url})
        with pytest.raises(Unavailable):
            await tokens.verify(issuer.token())
        assert 0 == elsewhere.reads
        async with aiohttp.ClientSession() as http, http.get(issuer.url) as response:
            assert (200, 1) == (response.status, elsewhere.reads)  # it does lead somewhere
