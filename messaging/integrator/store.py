"""Platforms, their users and rooms in the store; and the one transaction in which something of theirs is accepted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from messaging.integrator.events import Person, Platform, PlatformEvent, Room
from messaging.log.batch import notices
from messaging.log.content import our_content
from messaging.model import Appended, Changed, Kind
from messaging.store.append import Draft, append_within
from messaging.store.pool import Connection, Pool


@dataclass(frozen=True, slots=True, kw_only=True)
class Whereabouts:
    """Where one message is on its way to the platform of this name. ``dead``: why it was given up, else None."""

    name: str
    seq: int
    cursor: int
    state: str
    paused: bool
    reason: str | None
    dead: str | None


@dataclass(frozen=True, slots=True)
class Kept:
    """What was accepted under an id before: the digest of what it said, and the inboxes that it went to."""

    digest: bytes
    topic_ids: tuple[int, ...]


class Acceptance:
    """One transaction, in which news are accepted: either all that follows from them is stored, or nothing."""

    def __init__(self, pool: Pool, connection: Connection) -> None:
        self._pool = pool
        self._connection = connection
        self.notices: list[Appended] = []

    async def platforms(self) -> list[Platform]:
        return [_platform(row) for row in await self._fetch("platforms_all", None)]

    async def people(self, whom: Iterable[tuple[int, str]]) -> dict[tuple[int, str], Person]:
        """Users by platform and key, removed ones too."""
        pairs = sorted(set(whom))
        rows = await self._fetch("people_named", [p for p, _ in pairs], [k for _, k in pairs])
        return {(row["platform"], row["key"]): _person(row) for row in rows}

    async def keep_person(self, person: Person) -> None:
        await self._fetch(
            "person_keep", person.platform, person.key, person.id_json, person.name, sorted(person.introduced),
            person.absent,
        )  # fmt: skip

    async def absences(self, platform: int) -> dict[str, int]:
        return {row["key"]: row["absent"] for row in await self._fetch("people_absent", platform)}

    async def mark(self, platform: int, *, seen: Sequence[str], missed: Sequence[str], removed: Sequence[str]) -> None:
        """What an import found: who is there, who was missing, who is no more."""
        await self._fetch("people_seen", platform, seen)
        await self._fetch("people_missed", platform, missed)
        await self._fetch("people_removed", platform, removed)
        await self._fetch("platform_imported", platform)

    async def room(self, platform: int, key: str) -> Room | None:
        rows = await self._fetch("room_by_key", platform, key)
        return _room(rows[0]) if rows else None

    async def room_of(self, topic_id: int) -> Room | None:
        rows = await self._fetch("room_by_topic", topic_id)
        return _room(rows[0]) if rows else None

    async def keep_room(self, room: Room) -> None:
        await self._fetch(
            "room_keep", room.platform, room.key, room.id_json, room.name, room.type, room.users, room.topic_id,
            sorted(room.members),
        )  # fmt: skip

    async def make_topic(self, name: str, kind: Kind, creator: str) -> int:
        """The topic of a room, which may be there already."""
        [row] = await self._fetch("topic_create", name, kind, creator, None, None, None, True)
        if row[0] is not None:
            return int(row[0])
        [found] = await self._fetch("topic_by_name", name, None)
        return int(found["id"])

    async def has_topic(self, topic_id: int) -> bool:
        """Whether a room's topic is still there."""
        return bool(await self._fetch("heads_of", [topic_id]))

    async def know(self, users: Sequence[str]) -> None:
        """Make users of Recado known: all of them, before any head is locked."""
        await self._fetch("users_know", users)

    async def join(self, topic_id: int, user: str, invited_by: str) -> Changed:
        """A user of Recado, who is known, belongs to a room."""
        [row] = await self._fetch("user_by_name", user, b"", 0.0)
        await self._fetch("topic_join", topic_id, row["id"], "member", invited_by)
        return Changed(row["id"])

    async def leave(self, topic_id: int, user: str) -> Changed:
        """A user of Recado, known until now, belongs to a room no more."""
        [row] = await self._fetch("user_by_name", user, b"", 0.0)
        [left] = await self._fetch("topic_leave", topic_id, row["id"])
        return Changed(row["id"], None if left[0] is None else (topic_id, left[0]))

    async def people_in(self, topic_id: int) -> set[str]:
        """The users of Recado that belong to a room's topic."""
        return {row["name"] for row in await self._fetch("people_in_topic", topic_id)}

    async def change_kind(self, topic_id: int, kind: Kind) -> None:
        await self._fetch("topic_change", topic_id, kind, None, None)

    async def accepted(self, platform: int, identity: str) -> Kept | None:
        rows = await self._fetch("news_find", platform, identity)
        return Kept(rows[0]["digest"], tuple(rows[0]["topic_ids"])) if rows else None

    async def append(self, drafts: Sequence[Draft]) -> list[int]:
        """Put messages into their topics, in order. The seq of each, 0 where its topic has gone."""
        if not drafts:
            return []
        verdicts = await append_within(self._connection, self._pool, drafts)
        self.notices += notices(drafts, verdicts)
        return [verdict.seq or 0 for verdict in verdicts]

    async def keep_news(self, platform: int, identity: str, digest: bytes, places: Sequence[tuple[int, int]]) -> None:
        topic_ids, seqs = [topic_id for topic_id, _ in places], [seq for _, seq in places]
        await self._fetch("news_keep", platform, identity, digest, topic_ids, seqs)

    async def _fetch(self, name: str, *args: Any) -> list[Any]:
        rows: list[Any] = await self._connection.fetch(self._pool.text(name), *args)
        return rows


class PlatformStore:
    """Platforms in the store. Reads and harmless writes are tried again, see Pool."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        # One at work and the next behind it: who waits for the lock of all processes holds a connection.
        self._entry = asyncio.Semaphore(2)

    async def platforms(self, name: str | None = None) -> list[Platform]:
        return [_platform(row) for row in await self._pool.fetch("platforms_all", name)]

    async def by_token(self, digest: bytes) -> Platform | None:
        row = await self._pool.row("platform_by_token", digest)
        return None if row is None else _platform(row)

    async def by_id(self, platform_id: int) -> Platform | None:
        row = await self._pool.row("platform_by_id", platform_id)
        return None if row is None else _platform(row)

    async def keep(self, platform: Platform, token_digest: bytes | None) -> bool:
        """Whether it is new. The token stays where no digest is given, the secret where there is one."""
        secret = platform.secrets[0] if platform.secrets else None
        return bool(await self._pool.value(
            "platform_keep", platform.id, platform.name, platform.style, platform.url, token_digest, secret,
            platform.audio, platform.image, platform.trusted, platform.insecure, platform.retry_ambiguous,
            platform.import_every,
        ))  # fmt: skip

    async def take_token(self, token_digest: bytes, platform_id: int) -> list[str]:
        """Of which other platforms this was the token, until now."""
        return [row["name"] for row in await self._pool.fetch("platform_take_token", token_digest, platform_id)]

    async def rotate(self, platform_id: int, secret: str) -> None:
        await self._pool.fetch("platform_rotate", platform_id, secret)

    async def forget(self, platform_id: int) -> None:
        await self._pool.fetch("platform_forget", platform_id)

    async def people(self, platform_id: int, after: str, limit: int) -> list[Person]:
        return [_person(row) for row in await self._pool.fetch("people_of", platform_id, after, limit)]

    async def whereabouts(self, platform_id: int, identity: str) -> list[Whereabouts]:
        rows = await self._pool.fetch("news_states", platform_id, identity)
        return [Whereabouts(**row) for row in rows]

    @asynccontextmanager
    async def acceptance(self) -> AsyncIterator[Acceptance]:
        """A transaction that is committed at the end of the block, and undone where that raises.

        Cancelling, or a lost line at the COMMIT, leaves open which of the two: the sender's id tells the next try.

        Raises:
            Unavailable: the database is away, or busy for too long.
        """
        async with self._entry, self._pool.connection() as connection, connection.transaction():
            await connection.fetch(self._pool.text("news_patience"))
            await connection.fetch(self._pool.text("news_lock"))
            yield Acceptance(self._pool, connection)


def _platform(row: Any) -> Platform:
    values = dict(row)
    secrets = values.pop("secret"), values.pop("old_secret")
    return Platform(**values, secrets=tuple(secret for secret in secrets if secret))


def _person(row: Any) -> Person:
    return Person(**{**row, "introduced": frozenset(row["introduced"])})


def _room(row: Any) -> Room:
    return Room(**{**row, "members": frozenset(row["members"])})


def draft_of(inbox: int, sender: str, news: PlatformEvent, ttl: int | None = None) -> Draft:
    """News on their way into the inbox of a platform."""
    return Draft(topic_id=inbox, sender=sender, content=our_content(news), ttl=ttl)
