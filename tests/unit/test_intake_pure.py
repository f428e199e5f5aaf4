"""What becomes of a batch of the intake, as far as no database is asked."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from messaging.log import intake
from messaging.log.intake import draft_of, sort_out
from messaging.settings.settings import Settings
from messaging.store.intake import Posted

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def posted(number: int, **changes: Any) -> Posted:
    given: dict[str, Any] = {
        "id": number, "topic_id": 1, "topic": "orders", "sender": "shop", "content": str(number), "key": None,
        "ttl": None, "published_at": NOW, "source": "shop", "kind": "public", "lifetime": None,
    }  # fmt: skip
    return Posted(**(given | changes))


def test_a_lifetime_is_the_messages_own_or_its_topics_or_the_inboxes() -> None:
    settings = Settings(inbox_ttl=9)
    lives = [
        draft_of(posted(1, ttl=5, lifetime=7), "public", settings).ttl,
        draft_of(posted(1, lifetime=7), "direct", settings).ttl,
        draft_of(posted(1), "direct", settings).ttl,
        draft_of(posted(1), "public", settings).ttl,
    ]
    assert lives == [5, 7, 9, None]


def test_the_bad_are_sorted_out_and_the_good_keep_their_order() -> None:
    batch = [posted(1), posted(2, kind=None), posted(3, content="x" * 2000), posted(4)]
    found = sort_out(batch, Settings(max_frame=1024))
    assert [each.posted.id for each in found.good] == [1, 4]
    assert [each.id for each, _ in found.dead] == [2, 3]
    assert json.loads(found.good[1].draft.content) == 4
    assert intake.MAX_TAKEN_ROWS == 1000
