"""Memberships by the thousand, made in the database itself."""

from __future__ import annotations

import asyncpg

_MANY = """
WITH made AS (
    INSERT INTO recado.topics (name, kind, creator)
    SELECT $2 || '/' || lpad(n::text, 6, '0'), 'public', $1 FROM generate_series(1, $3::integer) AS n RETURNING id
), head AS (
    INSERT INTO recado.heads (topic_id) SELECT id FROM made
), joined AS (
    INSERT INTO recado.memberships (topic_id, user_id, role, joined_seq)
    SELECT made.id, u.id, 'member', 0 FROM made, recado.users AS u WHERE u.name = $1
    RETURNING topic_id, id, user_id
), raised AS (
    UPDATE recado.users SET version = version + 1 WHERE name = $1
)
INSERT INTO recado.cursors (topic_id, membership_id, device, seq)
SELECT j.topic_id, j.id, d.name, 0 FROM joined AS j JOIN recado.devices AS d ON d.user_id = j.user_id
"""


async def join_many(sql: asyncpg.Connection | asyncpg.Pool, user: str, count: int, prefix: str = "many") -> None:
    """A known user belongs to so many new topics: PREFIX/000001 …"""
    await sql.execute(_MANY, user, prefix, count)
