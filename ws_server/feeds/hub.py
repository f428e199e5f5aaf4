"""Who reads what in this process: feeds by topic, sessions by user; and the fan-out, which never awaits."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import assert_never

from messaging.delivery import Feed, Place, Step
from messaging.model import Appended, Changed, Membership, Notice, Voided
from messaging.observability.metrics import Metrics
from ws_server.protocol import entry_frames, pieces
from ws_server.session import BUFFER_BYTES, Session

SessionFeed = Feed[Session]

PLACES = 500  # that a session which goes leaves in one turn of the loop


class Hub:
    """Feeds and sessions of this process. Everything here happens in one synchronous step."""

    def __init__(
        self,
        metrics: Metrics,
        *,
        wants_page: Callable[[SessionFeed], None],
        fell_behind: Callable[[Session, Place[Session]], None],
        ended: Callable[[int, int, int], None],
        changed: Callable[[int], None],
        voided: Callable[[Session], None],
        announce: Callable[[SessionFeed], bytes],
    ) -> None:
        """Hear, by callback, what needs more than a synchronous step.

        ``wants_page``: a feed is below what it heard of. ``fell_behind``: a session could not take a piece.
        ``ended``: a membership of a connected user is over (its user, topic and number). ``changed``: memberships or
        revocations of a connected user may have changed. ``voided``: a token was revoked. ``announce`` gives the frame
        that says which log a feed is.
        """
        self.feeds: dict[int, SessionFeed] = {}
        self.users: dict[int, set[Session]] = {}
        self.moved: set[SessionFeed] = set()  # written to since the ticker last asked
        self._metrics = metrics
        self._wants_page = wants_page
        self._fell_behind = fell_behind
        self._ended = ended
        self._changed = changed
        self._voided = voided
        self._announce = announce

    def add(self, session: Session) -> None:
        self.users.setdefault(session.user.id, set()).add(session)

    def remove(self, session: Session) -> bool:
        """Forget a session: from here on it is sent nothing. False: of its places some are left, for another call."""
        session.fade()
        sessions = self.users.get(session.user.id, set())
        sessions.discard(session)
        if not sessions:
            self.users.pop(session.user.id, None)
        for place in list(islice(session.places.values(), PLACES)):
            self.detach(session, place)
        return not session.places

    def sessions(self) -> Iterable[Session]:
        return (session for sessions in self.users.values() for session in sessions)

    def attach(self, session: Session, membership: Membership) -> Place[Session]:
        """Begin to hear of a topic for a session. Its head is read after this, never before."""
        topic = membership.topic
        feed = self.feeds.get(topic.id)
        if feed is None:
            feed = self.feeds[topic.id] = Feed(topic)
        place = Place(feed, membership.id, membership.joined_seq, session.options.epoch)
        feed.attach(session, place)
        session.enter(place, topic)
        return place

    def detach(self, session: Session, place: Place[Session]) -> None:
        feed = place.feed
        feed.detach(session)
        session.leave(place)
        if not feed.live and not feed.behind and self.feeds.get(feed.topic.id) is feed:
            del self.feeds[feed.topic.id]
            self.moved.discard(feed)

    def receive(self, notice: Notice) -> None:
        """A notice, from this process or another."""
        match notice:
            case Appended():
                self._appended(notice)
            case Changed(user_id, ended):
                if user_id in self.users:
                    if ended is not None:
                        self._ended(user_id, *ended)
                    self._changed(user_id)
            case Voided(jti):
                for session in [session for session in self.sessions() if session.claims.jti == jti]:
                    self._voided(session)
            case _:
                assert_never(notice)

    def _appended(self, notice: Appended) -> None:
        feed = self.feeds.get(notice.topic_id)
        if feed is None:
            return
        step = feed.offer(notice.first, notice.last, notice.messages is not None)
        if step is Step.DELIVER and notice.messages is not None:
            self.deliver(feed, entry_frames(feed.topic.name, notice.messages))
        elif step is Step.READ:
            self._wants_page(feed)

    def deliver(self, feed: SessionFeed, frames: list[tuple[int, bytes]]) -> None:
        """Write frames to every live session: one check and one write of each piece. Never awaits."""
        for group in pieces(frames):
            piece = b"".join(frame for _, frame in group)
            room = BUFFER_BYTES - len(piece)
            if feed.untold:
                room -= self._tell(feed, feed.untold, room)
            full = []
            for session in feed.live:
                if session.transport.get_write_buffer_size() <= room:
                    session.transport.write(piece)
                else:
                    full.append(session)
            self._metrics.delivered(len(group) * (len(feed.live) - len(full)), len(feed.live) - len(full))
            for session in full:
                place = feed.live[session]
                feed.drop_behind(session, feed.position or 0)
                self._fell_behind(session, place)
            if feed.position is None:  # nobody is live any more
                return
            feed.advance(group, group[-1][0])
        self.moved.add(feed)

    def _tell(self, feed: SessionFeed, untold: set[Session], room: int) -> int:
        """Tell who has room for it and the piece behind it which log this is; how many bytes that takes."""
        frame = self._announce(feed)
        for session in [each for each in untold if each.takes(BUFFER_BYTES - room + len(frame))]:
            session.transport.write(frame)
            feed.live[session].untold = False
            untold.remove(session)
        return len(frame)
