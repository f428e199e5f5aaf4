"""One file per surface; together they are the table of all that there is."""

from __future__ import annotations

from api.route import Route
from api.routes import (
    about,
    bridges,
    health,
    integrator,
    members,
    messages,
    overview,
    pages,
    platforms,
    stream,
    tickets,
    tokens,
    topics,
    users,
)
from api.routes.legacy import ezout, prontogram, seed_messages, seed_topics


def all_routes() -> list[Route]:
    """The table, in the order in which it is described."""
    surfaces = (
        about,
        tokens,
        tickets,
        topics,
        members,
        messages,
        stream,
        seed_topics,
        seed_messages,
        prontogram,
        ezout,
        users,
        overview,
        bridges,
        integrator,
        platforms,
        health,
    )
    described = [route for surface in surfaces for route in surface.routes()]
    return described + pages.routes(described)
