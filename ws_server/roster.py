"""Sessions in step with the store: what their users belong to, and whether they may still be here.

A notice asks for a look at once. Nothing depends on it: the sweep finds raised versions, heads and revocations, a slice
of them every second, all within five.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence

from messaging.errors import Unavailable
from messaging.metrics import Metrics
from messaging.model import Membership
from messaging.permissions import sees
from messaging.retrying import jittered
from messaging.store import Store
from ws_server.catchup import CatchUp
from ws_server.hub import Hub, SessionFeed
from ws_server.session import Session
from ws_server.vocabulary import Connected, Invited, Removed

SWEEP_EVERY = 1.0  # seconds
SLICES = 4
STAY_EVERY = 3600  # sweeps after which the devices that are here are written down as seen


class Roster:
    """Attaches and detaches sessions as memberships come and go."""

    def __init__(
        self,
        store: Store,
        hub: Hub,
        catch_up: CatchUp,
        metrics: Metrics,
        *,
        revoked: Callable[[Session], None],
        restored: Callable[[SessionFeed], None],
    ) -> None:
        self._store = store
        self._hub = hub
        self._catch_up = catch_up
        self._metrics = metrics
        self._revoked = revoked
        self._restored = restored
        self._changed: dict[int, None] = {}
        self._more = asyncio.Event()
        self._versions: dict[int, int] = {}
        self._full_sweep = asyncio.Event()

    async def open(self, session: Session) -> None:
        """Greet a session and put it where its device left off. Raises Unavailable, Forbidden (too many devices)."""
        await self._store.see_device(session.user.id, session.device)
        if session.gone:
            return
        self._hub.add(session)  # from here on, changes are heard of
        memberships = await self._store.memberships(session.user.id)
        if session.gone:
            return
        for membership in memberships:
            if sees(session.caller, membership.topic, member=True):
                self._hub.attach(session, membership)
        positions = await self._store.positions(session.user.id, session.device)
        if session.gone:
            return
        pending = 0
        for place in session.places.values():
            head, cursor = positions.get(place.feed.topic.id, (0, 0))
            place.start(cursor)
            pending += max(0, head - place.position)
            self._look(session, place.feed, head)
        session.send(Connected(username=session.user.name, topics=len(session.places), pending=pending))
        session.opened = True
        self._admit(session)
        known = self._versions.setdefault(session.user.id, session.user.version)
        if session.missed_change or known != session.user.version:
            self.look_again(session.user.id)

    def _look(self, session: Session, feed: SessionFeed, head: int) -> None:
        feed.learn(session.places[feed.topic.id], head)
        if feed.wants_page:
            self._catch_up.want_feed(feed)

    def _admit(self, session: Session) -> None:
        """Live at once wherever nothing is pending; the rest is caught up with."""
        for place in list(session.behind):
            if place.feed.admit(session):
                session.behind.remove(place)
        self._catch_up.want(session)

    def look_again(self, user_id: int) -> None:
        """This user's memberships or revocations may have changed."""
        self._changed[user_id] = None
        self._more.set()

    def sweep_all(self) -> None:
        """Notices may have been lost: look at everything."""
        self._full_sweep.set()

    def forget(self, user_id: int) -> None:
        """No session of this user is left."""
        if user_id not in self._hub.users:
            self._versions.pop(user_id, None)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._look_again(), name="memberships")
            tasks.create_task(self._sweep(), name="sweep")

    async def _look_again(self) -> None:
        while True:
            await self._more.wait()
            self._more.clear()
            while self._changed:
                user_id = next(iter(self._changed))
                del self._changed[user_id]
                try:
                    await self._reload(user_id)
                except Unavailable:
                    self.look_again(user_id)
                    await asyncio.sleep(jittered(4))

    async def _reload(self, user_id: int) -> None:
        """Bring every session of a user in step; the version is read first, so that a later change is seen again."""
        version, revoked_before = (await self._store.versions([user_id])).get(user_id, (0, 0.0))
        memberships = {m.topic.id: m for m in await self._store.memberships(user_id)}
        if user_id in self._hub.users:
            self._versions[user_id] = version
        for session in list(self._hub.users.get(user_id, ())):
            if session.claims.issued_at <= revoked_before:
                self._revoked(session)
            elif session.opened:
                self._compare(session, memberships)
            else:
                session.missed_change = True

    def _compare(self, session: Session, memberships: dict[int, Membership]) -> None:
        for topic_id, place in list(session.places.items()):
            now = memberships.get(topic_id)
            if now is None or now.id != place.membership_id:
                self._hub.detach(session, place)
                session.send(Removed(topic_name=place.feed.topic.name))
            else:
                session.take_aim(now.topic)
        for membership in memberships.values():
            if membership.topic.id not in session.places and sees(session.caller, membership.topic, member=True):
                if membership.invited_by is not None:
                    session.send(Invited(topic_name=membership.topic.name, user_source=membership.invited_by))
                self._hub.attach(session, membership)
        self._catch_up.want(session)

    async def _sweep(self) -> None:
        for number in itertools.count():
            try:
                async with asyncio.timeout(SWEEP_EVERY):
                    await self._full_sweep.wait()
            except TimeoutError:
                pass
            slices = range(SLICES) if self._full_sweep.is_set() else (number % SLICES,)
            self._full_sweep.clear()
            try:
                for part in slices:
                    await self._sweep_slice(part)
                if number % STAY_EVERY == STAY_EVERY - 1:
                    await self.stay_seen()
            except Unavailable:
                self._full_sweep.set()
                await asyncio.sleep(jittered(4))

    async def stay_seen(self) -> None:
        """Who is connected for weeks has not been away: its devices count. Raises Unavailable."""
        await self._store.stay_seen(sorted({(s.user.id, s.device) for s in self._hub.sessions() if s.opened}))

    async def _sweep_slice(self, part: int) -> None:
        feeds = [feed for topic_id, feed in self._hub.feeds.items() if topic_id % SLICES == part]
        before = {feed: max(feed.heard, feed.position or 0) for feed in feeds}
        heads = await self._store.heads([feed.topic.id for feed in feeds])
        for feed, known in before.items():
            self._compare_head(feed, known, heads.get(feed.topic.id))
        await self._sweep_users([user_id for user_id in self._hub.users if user_id % SLICES == part])

    def _compare_head(self, feed: SessionFeed, known: int, head: int | None) -> None:
        if head is None:  # deleted: its members' versions were raised with it
            for session in [*feed.live, *feed.behind]:
                self.look_again(session.user.id)
        elif head < known:
            self._restored(feed)
        else:
            self._metrics.swept.inc(head > feed.heard)
            feed.hear(head)
            if feed.wants_page:  # also where something else told of the head, and nobody read
                self._catch_up.want_feed(feed)

    async def _sweep_users(self, user_ids: Sequence[int]) -> None:
        for user_id, (version, _) in (await self._store.versions(user_ids)).items():
            if version != self._versions.get(user_id, version):
                self.look_again(user_id)
        tokens: dict[str, list[Session]] = {}
        for session in (s for user_id in user_ids for s in self._hub.users.get(user_id, ())):
            tokens.setdefault(session.claims.jti, []).append(session)
        for jti in await self._store.revoked(list(tokens)):
            for session in tokens[jti]:
                self._revoked(session)
