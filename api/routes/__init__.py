"""One file per surface; together they are the table of all that there is."""

from __future__ import annotations

from api.route import Route
from api.routes import health, members, messages, pages, seed_messages, seed_topics, tickets, tokens, topics, users


def all_routes() -> list[Route]:
    """The table, in the order in which it is described."""
    surfaces = (tokens, tickets, topics, members, messages, seed_topics, seed_messages, users, health)
    described = [route for surface in surfaces for route in surface.routes()]
    return described + pages.routes(described)
