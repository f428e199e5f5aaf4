"""Sessions in step with the store: what their users belong to, and whether they may still be here.

A notice asks for a look at once. Nothing depends on it: the sweep finds raised versions, heads and revocations, a slice
of them every second, all within five. Whatever there is to read, nobody stays because of it who must go: what has ended
is named by its notice, and revocations are asked for before the memberships of anybody are.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence

from messaging.errors import Unavailable
from messaging.observability.metrics import Metrics
from messaging.retrying import jittered
from messaging.store.store import Store
from ws_server.feeds.catchup import CatchUp
from ws_server.feeds.hub import Hub, SessionFeed
from ws_server.feeds.memberships import Memberships, Walk
from ws_server.session import Session

SWEEP_EVERY = 1.0  # seconds
SLICES = 4
HEADS = 1000  # compared in one turn of the loop
STAY_EVERY = 3600  # sweeps after which the devices that are here are written down as seen


class MembershipSync:
    """Lets sessions begin, and ends what they may no longer have."""

    def __init__(
        self,
        store: Store,
        hub: Hub,
        catch_up: CatchUp,
        metrics: Metrics,
        *,
        revoked: Callable[[Session], None],
        restored: Callable[[SessionFeed], None],
        sweep_every: float = SWEEP_EVERY,
    ) -> None:
        self._store = store
        self._hub = hub
        self._catch_up = catch_up
        self._metrics = metrics
        self._revoked = revoked
        self._restored = restored
        self._sweep_every = sweep_every
        self._memberships = Memberships(store, hub, catch_up)
        self._changed: dict[int, None] = {}  # whose version and revocations are to be read
        self._more = asyncio.Event()
        self._stale: dict[int, int] = {}  # whose memberships are to be read, with the version read before
        self._some_stale = asyncio.Event()
        self._walks: dict[int, Walk] = {}
        self._versions: dict[int, int] = {}
        self._full_sweep = asyncio.Event()

    async def open(self, session: Session) -> None:
        """Greet a session and put it where its device left off.

        Raises:
            TokenRevoked, LimitReached (too many devices), Unavailable.
        """
        version = await self._memberships.open(session)
        if version is None:
            return
        known = self._versions.setdefault(session.user.id, version)
        if session.missed_change or known != version:
            self.look_again(session.user.id)

    def look_again(self, user_id: int) -> None:
        """This user's memberships or revocations may have changed."""
        self._changed[user_id] = None
        self._more.set()

    def end(self, user_id: int, topic_id: int, membership_id: int) -> None:
        """A membership is over: at once, whatever else there is to do."""
        if user_id in self._walks:
            self._walks[user_id].ended.add((topic_id, membership_id))
        for session in self._hub.users.get(user_id, ()):
            self._memberships.end(session, topic_id, membership_id)

    def sweep_all(self) -> None:
        """Notices may have been lost: look at everything."""
        self._full_sweep.set()

    def forget(self, user_id: int) -> None:
        """No session of this user is left."""
        if user_id not in self._hub.users:
            self._versions.pop(user_id, None)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._look_again(), name="revocations")
            tasks.create_task(self._keep_in_step(), name="memberships")
            tasks.create_task(self._sweep(), name="sweep")

    async def _look_again(self) -> None:
        while True:
            await self._more.wait()
            self._more.clear()
            changed, self._changed = list(self._changed), {}
            try:
                await self._check(changed)
            except Unavailable:
                for user_id in changed:
                    self.look_again(user_id)
                await asyncio.sleep(jittered(4))

    async def _check(self, user_ids: Sequence[int]) -> None:
        """Who was revoked goes; whose memberships may be others than here are read anew. Raises Unavailable.

        The version is read before the memberships, so that a later change is seen again.
        """
        for user_id, (version, revoked_before) in (await self._store.tokens.versions(user_ids)).items():
            self._end_revoked(user_id, revoked_before)
            if user_id in self._hub.users:
                self._stale[user_id] = version
                self._some_stale.set()

    def _end_revoked(self, user_id: int, revoked_before: float) -> None:
        for session in list(self._hub.users.get(user_id, ())):
            if session.claims.issued_at <= revoked_before:
                self._revoked(session)

    async def _keep_in_step(self) -> None:
        """Walks of several users take turns, slice by slice: one who belongs to much holds nobody up."""
        while True:
            await self._some_stale.wait()
            self._some_stale.clear()
            while self._stale or self._walks:
                self._begin_walks()
                for walk in list(self._walks.values()):
                    if not await self._step(walk):
                        await asyncio.sleep(jittered(4))

    def _begin_walks(self) -> None:
        for user_id in [user_id for user_id in self._stale if user_id not in self._walks]:
            version = self._stale.pop(user_id)
            self._walks[user_id] = Walk(user_id, version, self._hub.users.get(user_id, ()))

    async def _step(self, walk: Walk) -> bool:
        """False where the store did not answer: the walk begins anew."""
        try:
            is_over = await self._memberships.step(walk)
        except Unavailable:
            del self._walks[walk.user_id]
            self.look_again(walk.user_id)
            return False
        if is_over:
            del self._walks[walk.user_id]
            if walk.user_id in self._hub.users:
                self._versions[walk.user_id] = walk.version
        return True

    async def _sweep(self) -> None:
        for number in itertools.count():
            try:
                async with asyncio.timeout(self._sweep_every):
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
        await self._sweep_users([user_id for user_id in self._hub.users if user_id % SLICES == part])
        feeds = [feed for topic_id, feed in self._hub.feeds.items() if topic_id % SLICES == part]
        for start in range(0, len(feeds), HEADS):
            before = {feed: max(feed.heard, feed.position or 0) for feed in feeds[start : start + HEADS]}
            heads = await self._store.heads([feed.topic.id for feed in before])
            for feed, known in before.items():
                self._compare_head(feed, known, heads.get(feed.topic.id))

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
        for user_id, (version, revoked_before) in (await self._store.tokens.versions(user_ids)).items():
            self._end_revoked(user_id, revoked_before)
            if version != self._versions.get(user_id, version):
                self.look_again(user_id)
        tokens: dict[str, list[Session]] = {}
        for session in (s for user_id in user_ids for s in self._hub.users.get(user_id, ())):
            tokens.setdefault(session.claims.jti, []).append(session)
        for jti in await self._store.tokens.revoked(tokens):
            for session in tokens[jti]:
                self._revoked(session)
