"""How publishes become batches, answers and notices. The transactions themselves are tested on a database."""

from collections import deque
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.errors import Conflict, NotAMember, RecadoError, Unavailable, UnknownTopic
from messaging.log import appender
from messaging.log.batch import (
    BATCH_BYTES,
    BATCH_DRAFTS,
    SHARE_BYTES,
    Queue,
    Waiting,
    answer,
    answer_double,
    notices,
    overdue,
    take_batch,
    without_doubles,
)
from messaging.model import Appended, Content, Message
from messaging.observability.metrics import Metrics
from messaging.store.append import Draft, HeadsLocked, Refused, Verdict

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Nobody:
    def on_result(self, context: Any, outcome: Verdict | RecadoError) -> None: ...

    def on_batch_end(self) -> None: ...


def draft(topic_id: int = 1, key: str | None = None, content: str = "1", sender: str = "omar") -> Draft:
    return Draft(topic_id=topic_id, sender=sender, key=key, content=Content(content))


def waiting(
    topic_id: int = 1, key: str | None = None, size: int = 1, sender: str = "omar", source: int | None = None
) -> Waiting:
    return Waiting(draft(topic_id, key, sender=sender), Nobody(), None, size, source=source)


# --- batches ----------------------------------------------------------------------------------------------------------


def test_a_batch_is_all_that_waits_in_order() -> None:
    all_ = [waiting() for _ in range(3)]
    queue = deque(all_)
    assert all_ == take_batch(queue, {})
    assert not queue


def test_a_batch_is_bounded_in_bytes() -> None:
    queue = deque([waiting(size=BATCH_BYTES // 2), waiting(size=BATCH_BYTES // 2), waiting()])
    assert [2, 1] == [len(take_batch(queue, {})), len(take_batch(queue, {}))]


def test_a_batch_is_bounded_in_number() -> None:
    queue = deque(waiting() for _ in range(BATCH_DRAFTS + 1))
    assert [BATCH_DRAFTS, 1] == [len(take_batch(queue, {})), len(take_batch(queue, {}))]


def test_what_is_larger_than_a_batch_goes_alone() -> None:
    queue = deque([waiting(size=2 * BATCH_BYTES), waiting()])
    assert [1, 1] == [len(take_batch(queue, {})), len(take_batch(queue, {}))]


def test_what_belongs_to_a_held_topic_waits_behind_its_like() -> None:
    first, second, third, other = waiting(1), waiting(1), waiting(1), waiting(2)
    held = {1: deque([first])}
    assert [other] == take_batch(deque([second, other, third]), held)
    assert deque([first, second, third]) == held[1]


def test_of_nothing_there_is_no_batch() -> None:
    assert [] == take_batch(deque(), {1: deque()})


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, BATCH_BYTES))), st.sets(st.integers(1, 3)))
def test_nothing_is_lost_doubled_or_overtaken_in_its_topic(
    drafts: list[tuple[int, int]], held_topics: set[int]
) -> None:
    all_ = [waiting(topic_id, size=size) for topic_id, size in drafts]
    queue, held = deque(all_), {topic_id: deque[Waiting]() for topic_id in held_topics}
    taken: list[Waiting] = []
    while queue:
        taken += take_batch(queue, held)
    for topic_id in (1, 2, 3):
        mine = [w for w in all_ if w.draft.topic_id == topic_id]
        assert mine == [w for w in taken if w.draft.topic_id == topic_id] + list(held.get(topic_id, ()))


# --- shares -----------------------------------------------------------------------------------------------------------


def queued(*all_: Waiting) -> Queue:
    queue = Queue()
    for each in all_:
        queue.append(each)
    return queue


def test_where_only_one_waits_it_has_the_whole_batch() -> None:
    all_ = [waiting(size=BATCH_BYTES // 4, source=7) for _ in range(5)]
    queue = queued(*all_)
    assert [all_[:4], all_[4:]] == [queue.take_batch({}), queue.take_batch({})]
    assert not queue


def test_whoever_else_waits_is_in_the_next_batch() -> None:
    flood = [waiting(size=60_000, source=7) for _ in range(800)]
    other, backend = waiting(source=8), waiting()
    batch = queued(*flood, other, backend).take_batch({})
    assert other in batch and backend in batch
    assert BATCH_BYTES - 60_000 < sum(each.size for each in batch) <= BATCH_BYTES


def test_many_floods_have_the_same_share_and_each_its_turn() -> None:
    queue = queued(*(waiting(size=60_000, source=n % 20) for n in range(2000)))
    batches = [queue.take_batch({}) for _ in range(20)]
    served = [sum(each.source == source for batch in batches for each in batch) for source in range(20)]
    assert max(served) - min(served) <= SHARE_BYTES // 60_000
    assert {each.source for batch in batches[:3] for each in batch} == set(range(20))


def test_the_largest_message_fits_a_share() -> None:
    assert 131072 + appender.OVERHEAD <= SHARE_BYTES


def test_what_is_put_back_comes_first_again() -> None:
    one, two, other = waiting(source=7), waiting(source=7), waiting(source=8)
    queue = queued(one, two, other)
    queue.put_back(queue.take_batch({}))
    assert [one, two] == [each for each in queue.take_batch({}) if each.source == 7]


def test_what_was_told_takes_no_place() -> None:
    one, other = waiting(source=7), waiting(source=8)
    queue = queued(one, other)
    one.told = True
    queue.forget_told()
    assert [[other]] == [list(line) for line in queue.lines()]


@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, BATCH_BYTES))), st.sets(st.integers(1, 3))
)
def test_of_each_source_nothing_is_lost_doubled_or_overtaken(
    drafts: list[tuple[int, int, int]], held_topics: set[int]
) -> None:
    all_ = [waiting(topic_id, size=size, source=source) for source, topic_id, size in drafts]
    queue, held = queued(*all_), {topic_id: deque[Waiting]() for topic_id in held_topics}
    taken: list[Waiting] = []
    while queue:
        batch = queue.take_batch(held)
        assert len(batch) <= 1 or sum(each.size for each in batch) <= BATCH_BYTES
        taken += batch
    came = taken + [each for line in held.values() for each in line]
    assert len(came) == len(all_)
    for source in range(1, 5):
        for topic_id in range(1, 4):
            mine = [w for w in all_ if (w.source, w.draft.topic_id) == (source, topic_id)]
            assert mine == [w for w in came if (w.source, w.draft.topic_id) == (source, topic_id)]


# --- patience ---------------------------------------------------------------------------------------------------------


def old(topic_id: int, origin: Nobody, since: float) -> Waiting:
    return Waiting(draft(topic_id), origin, None, 1, since)


def test_what_its_origin_sent_to_a_topic_behind_an_overdue_one_is_overdue_with_it() -> None:
    ana, eva = Nobody(), Nobody()
    taken = [old(1, ana, 5.0), old(1, eva, 11.0), old(2, ana, 11.0)]
    queue = [old(1, ana, 12.0), old(1, eva, 12.0), old(2, ana, 12.0)]
    assert [taken[0], queue[0]] == overdue([taken, queue], 10.0)


def test_what_was_told_is_not_told_again() -> None:
    waiting = old(1, Nobody(), 5.0)
    waiting.told = True
    assert [] == overdue([[waiting]], 10.0)


# --- doubles ----------------------------------------------------------------------------------------------------------


def test_a_key_goes_once_and_its_doubles_share_its_fate() -> None:
    a, b, a_again, none, none_again = waiting(key="a"), waiting(key="b"), waiting(key="a"), waiting(), waiting()
    leaders, doubles = without_doubles([a, b, a_again, none, none_again], attrgetter("draft"))
    assert [a, b, none, none_again] == leaders
    assert [(a_again, 0)] == doubles


def test_a_key_is_its_topics_and_its_senders() -> None:
    batch = [waiting(1, "a"), waiting(2, "a"), waiting(1, "a", sender="eva")]
    assert (batch, []) == without_doubles(batch, attrgetter("draft"))


# --- answers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "error"), [("conflict", Conflict), ("not_a_member", NotAMember), ("unknown_topic", UnknownTopic)]
)
def test_a_refusal_is_told_as_one(outcome: Any, error: type[RecadoError]) -> None:
    assert error is type(answer(draft(key="a"), Verdict(outcome, None, NOW)))


@pytest.mark.parametrize("outcome", ["stored", "repeated"])
def test_what_is_in_the_log_is_told_with_its_seq(outcome: Any) -> None:
    verdict = Verdict(outcome, 7, NOW)
    assert verdict is answer(draft(), verdict)


def test_a_double_of_the_same_content_hears_what_its_leader_heard() -> None:
    verdict, same = Verdict("stored", 7, NOW), draft(key="a", content="1")
    assert verdict is answer_double(same, same, verdict)


def test_a_double_of_other_content_is_refused() -> None:
    heard = answer_double(draft(key="a", content="2"), draft(key="a", content="1"), Verdict("stored", 7, NOW))
    assert isinstance(heard, Conflict)


@pytest.mark.parametrize("error", [NotAMember(), Unavailable()])
def test_whatever_its_content_a_double_hears_why_its_leader_failed(error: RecadoError) -> None:
    assert error is answer_double(draft(key="a", content="2"), draft(key="a", content="1"), error)


# --- notices ----------------------------------------------------------------------------------------------------------


def test_there_is_one_notice_for_each_topic_that_grew() -> None:
    drafts = [draft(1), draft(2), draft(1), draft(3), draft(1, "a"), draft(1, "b")]
    verdicts = [
        Verdict("stored", 4, NOW),
        Verdict("stored", 9, NOW),
        Verdict("stored", 5, NOW),
        Verdict("not_a_member", None, NOW),
        Verdict("repeated", 2, NOW),
        Verdict("conflict", 3, NOW),
    ]
    said = notices(drafts, verdicts)
    one = tuple(Message(seq, "omar", Content("1"), NOW) for seq in (4, 5))
    assert [Appended(1, 4, 5, one), Appended(2, 9, 9, (Message(9, "omar", Content("1"), NOW),))] == said


def test_where_nothing_was_stored_there_is_nothing_to_say() -> None:
    assert [] == notices([draft(1, "a")], [Verdict("repeated", 2, NOW)])


def test_a_verdict_for_each_draft_or_none_at_all() -> None:
    with pytest.raises(ValueError, match="zip"):
        notices([draft(), draft()], [Verdict("stored", 1, NOW)])


# --- the appender -----------------------------------------------------------------------------------------------------


class Refusing:
    """A log that refuses any batch but of one, and of that says that somebody holds its head."""

    async def append(self, drafts: list[Draft]) -> list[Verdict]:
        raise Refused("one is bad") if len(drafts) > 1 else HeadsLocked


def an_appender(writer: Any = None) -> appender.Appender:
    return appender.Appender(writer, writer, lambda notice: None, Metrics())


async def test_what_is_in_flight_is_counted_over_all_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(appender, "WAITING_BYTES", 2 * (1 + appender.OVERHEAD))
    full = an_appender()
    for _ in range(2):
        full.submit(draft(), Nobody())
    with pytest.raises(Unavailable):
        full.submit(draft(), Nobody())


async def test_of_a_batch_that_is_halved_nothing_is_lost_where_a_head_is_taken_just_then() -> None:
    batch = [waiting() for _ in range(5)]
    assert batch == await an_appender()._append(Refusing(), batch)  # type: ignore[arg-type]


def test_a_draft_costs_more_than_its_content() -> None:
    assert 0 < appender.OVERHEAD < BATCH_BYTES // BATCH_DRAFTS
