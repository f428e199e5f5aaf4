"""What a session reads: attached as it opens, and brought in step when memberships have changed; a slice at a time.

Between two slices others have the loop, however much a user belongs to. What was read may have ended before it is
attached: a notice that says so meanwhile is worth more.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable

from messaging.frames import Connected, Invited, Removed
from messaging.model import MAX_SEQ, Membership
from messaging.permissions import sees
from messaging.store.store import Store
from ws_server.feeds.catchup import CatchUp
from ws_server.feeds.hub import Hub
from ws_server.session import Session

MAX_IN_TURN = 500  # memberships, or places, dealt with in one turn of the loop

Ended = set[tuple[int, int]]  # memberships by topic and number


class Walk:
    """One look at all that a user belongs to, for its sessions that were open when it began."""

    def __init__(self, user_id: int, version: int, sessions: Iterable[Session]) -> None:
        """``version``: of the user, read before."""
        self.user_id = user_id
        self.version = version
        self.after = 0  # the next slice lies behind this topic
        self.ended: Ended = set()
        self.known: dict[Session, deque[int]] = {}  # by session: the topics that it read, those ahead
        for session in sessions:
            if session.opened:
                self.known[session] = deque(sorted(session.places))
            else:
                session.missed_change = True


class Memberships:
    """Attaches and detaches the sessions of this process."""

    def __init__(self, store: Store, hub: Hub, catch_up: CatchUp) -> None:
        self._store = store
        self._hub = hub
        self._catch_up = catch_up
        self._opening: dict[Session, Ended] = {}

    async def open(self, session: Session) -> int | None:
        """Greet a session and put it where its device left off. The version of its user; None: it has gone meanwhile.

        Raises:
            TokenRevoked, LimitReached (too many devices), Unavailable.
        """
        claims = session.claims
        self._hub.add(session)  # from here on, changes are heard of: what is read now misses none
        self._opening[session] = set()
        try:
            version = await self._store.see_device(
                session.user.id, session.device, claims.jti, max(0.0, claims.issued_at)
            )
            pending = await self._attach_all(session)
        finally:
            del self._opening[session]
        if pending is None:
            return None
        session.send(Connected(username=session.user.name, topics=len(session.places), pending=pending))
        session.opened = True
        await self._admit_all(session)
        return version

    async def _attach_all(self, session: Session) -> int | None:
        """How much is pending; None: the session has gone meanwhile."""
        after, pending = 0, 0
        while after < MAX_SEQ and not session.ending:
            memberships, until = await self._slice(session.user.id, after)
            if session.ending:
                break
            for membership in memberships:
                if self._is_new(session, membership, self._opening[session]):
                    self._hub.attach(session, membership)
            positions = await self._store.positions(session.user.id, session.device, after, until)
            if session.ending:
                break
            for membership in memberships:
                if (place := session.places.get(membership.topic.id)) is not None:
                    head, cursor = positions.get(membership.topic.id, (0, 0))
                    place.start(cursor)
                    pending += max(0, head - place.position)
                    place.feed.learn(place, head)
                    if place.feed.wants_page:
                        self._catch_up.want_feed(place.feed)
            after = until
        return None if session.ending else pending

    async def _slice(self, user_id: int, after: int) -> tuple[list[Membership], int]:
        """The next memberships by topic, and up to which topic these are all."""
        found = await self._store.memberships(user_id, after, MAX_IN_TURN)
        return found, found[-1].topic.id if len(found) == MAX_IN_TURN else MAX_SEQ

    async def _admit_all(self, session: Session) -> None:
        """Live at once wherever nothing is pending; the rest is caught up with."""
        for number in range(1, len(session.behind) + 1):
            if not session.behind:  # others have been at it
                break
            place = session.behind.popleft()
            if not place.feed.admit(session):
                session.behind.append(place)
            if number % MAX_IN_TURN == 0:
                await asyncio.sleep(0)
        self._catch_up.want(session)

    async def step(self, walk: Walk) -> bool:
        """Compare one slice with what the sessions read. Whether it was the last. Raises Unavailable."""
        memberships, until = await self._slice(walk.user_id, walk.after)
        now = {membership.topic.id: membership.id for membership in memberships}
        walk.known = {session: known for session, known in walk.known.items() if not session.ending}
        for session, known in walk.known.items():
            while known and known[0] <= until:
                topic_id = known.popleft()
                place = session.places.get(topic_id)
                if place is not None and place.membership_id != now.get(topic_id):
                    self.end(session, topic_id, place.membership_id)
            for membership in memberships:
                if self._is_new(session, membership, walk.ended):
                    if membership.invited_by is not None:
                        session.send(Invited(topic_name=membership.topic.name, user_source=membership.invited_by))
                    self._hub.attach(session, membership)
                elif membership.topic.id in session.places:
                    session.take_aim(membership.topic)
            self._catch_up.want(session)
        walk.after = until
        return until == MAX_SEQ or not walk.known

    def _is_new(self, session: Session, membership: Membership, ended: Ended) -> bool:
        topic = membership.topic
        if topic.id in session.places or (topic.id, membership.id) in ended:
            return False
        return sees(session.caller, topic, member=True)

    def end(self, session: Session, topic_id: int, membership_id: int) -> None:
        """A membership is over: its session hears of the topic no more."""
        if session in self._opening:
            self._opening[session].add((topic_id, membership_id))
        place = session.places.get(topic_id)
        if place is not None and place.membership_id == membership_id:
            self._hub.detach(session, place)
            if session.opened:
                session.send(Removed(topic_name=place.feed.topic.name))
