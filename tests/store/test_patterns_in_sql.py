"""A pattern means the same to LIKE as to us."""

import itertools

import asyncpg

from messaging.patterns import like, matches


async def test_like_agrees(database: str) -> None:
    letters = ("a", "_", "%", "\\", "*")
    patterns = ["".join(each) for size in range(4) for each in itertools.product(letters, repeat=size)]
    names = ["".join(each) for size in range(4) for each in itertools.product("ab_%\\", repeat=size)]
    connection = await asyncpg.connect(database)
    try:
        found = await connection.fetch(
            "SELECT p.n AS pattern, t.n AS name FROM unnest($1::text[]) WITH ORDINALITY AS p (text, n),"
            " unnest($2::text[]) WITH ORDINALITY AS t (text, n) WHERE t.text LIKE p.text",
            list(map(like, patterns)), names,
        )  # fmt: skip
    finally:
        await connection.close()

    matching = {(patterns[row["pattern"] - 1], names[row["name"] - 1]) for row in found}
    assert matching == {(pattern, name) for pattern in patterns for name in names if matches(pattern, name)}
