"""Who asks, and what it may: the sole home of permissions, pure. `actions` does nothing that was not asked here.

A private topic that a caller may not see does not exist for it: the same error, whatever it tries.

A token's claim `topics` is the whole truth about topics, in what it speaks of; the user's own inbox is always read.
`read`: the token sees, joins, reads and is sent the topics that match, private ones too, from their beginning; no
others, though its user may be a member. `write`: it publishes to what matches, without being a member, and nowhere
else; and only there it may do what others notice, as a member or owner: leave, invite, remove, create, change, delete.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import msgspec

from messaging.errors import Conflict, Forbidden, NotAMember, UnknownTopic
from messaging.grants import Grants
from messaging.model import Kind, Topic, TopicView, User, is_like_news, person_name
from messaging.news import MAKER, is_news


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: a user, or a backend that holds the API key (or any caller in open mode) and acts for anyone."""

    user: User | None
    grants: Grants = field(default_factory=Grants)
    expires_at: float = math.inf  # of its token, in seconds since 1970

    @property
    def is_backend(self) -> bool:
        return self.user is None

    @property
    def id(self) -> int | None:
        """Of the user; None: a backend."""
        return None if self.user is None else self.user.id

    def require_self(self, username: str) -> None:
        """Raises Forbidden where the caller is a user and another one than ``username``, BadRequest for no name."""
        if self.user is not None and self.user.name != person_name(username):
            raise Forbidden("With a user's token you act for that user alone.")

    def require_write(self, name: str) -> None:
        """Raises Forbidden where the caller's token is not for writing to a topic of this name."""
        if self.grants.writes(name) is False:
            raise not_for_writing()


BACKEND = Caller(None)


class Aim(msgspec.Struct, frozen=True, gc=False):
    """Where a publish goes: a topic, and the user who must belong to it when it is stored (None: nobody must)."""

    topic: Topic
    member: int | None
    allowed: bool = True  # False: the topic is at hand, but not for writing
    source: int | None = None  # the user who publishes; None: a backend


def not_for_writing() -> Forbidden:
    return Forbidden("This token may not write here: no pattern of its claim topics.write matches.")


def sees(caller: Caller, topic: Topic, *, member: bool) -> bool:
    """Whether a topic exists for this caller, a member of it or not."""
    if caller.is_backend or (topic.kind == "direct" and member):
        return True
    granted = caller.grants.reads(topic.name)
    if topic.kind == "direct":  # another's inbox is never read
        return False
    return (topic.kind == "public" or member) if granted is None else granted


def visible(caller: Caller, view: TopicView | None) -> TopicView:
    """The topic, if it exists for this caller. Raises UnknownTopic."""
    if view is None or not sees(caller, view.topic, member=view.membership is not None):
        raise UnknownTopic
    return view


def belonging(caller: Caller, view: TopicView | None) -> TopicView:
    """The topic, if this caller is a member of it or a backend. Raises UnknownTopic, NotAMember."""
    found = visible(caller, view)
    if not caller.is_backend and found.membership is None:
        raise NotAMember
    return found


def inviting(caller: Caller, view: TopicView | None) -> TopicView:
    """The topic, if this caller may invite others. Raises UnknownTopic, NotAMember, Forbidden."""
    found = belonging(caller, view)
    caller.require_write(found.topic.name)
    refuse_inbox(found.topic)
    return found


def leaving(caller: Caller, view: TopicView | None, user: User) -> TopicView:
    """The topic, if this caller may end a membership of ``user``: its own, or as owner or backend anybody's.

    Raises UnknownTopic, NotAMember, Forbidden.
    """
    myself = caller.user is not None and caller.user.id == user.id
    found = belonging(caller, view) if myself else owning(caller, view)
    caller.require_write(found.topic.name)
    refuse_inbox(found.topic)
    return found


def owning(caller: Caller, view: TopicView | None) -> TopicView:
    """The topic, if this caller may change it. Raises UnknownTopic, NotAMember, Forbidden."""
    found = belonging(caller, view)
    if found.membership is not None and found.membership.role != "owner":
        raise Forbidden("Only the owner of this topic may do this.")
    caller.require_write(found.topic.name)
    return found


def check_creation(caller: Caller, name: str, owner: User, *, bridged: bool) -> None:
    """Raises Forbidden where the caller may not make a topic of this name for that owner.

    ``bridged``: a bridge feeds topics of this name, or takes them out.
    """
    caller.require_self(owner.name)
    caller.require_write(name)
    if caller.grants.reads(name) is False:
        raise Forbidden("This token could not see the topic: no pattern of its claim topics.read matches.")
    if (bridged or is_like_news(name)) and not (caller.is_backend or caller.grants.writes(name)):
        raise Forbidden("A backend makes topics of this name: they are for news, or a bridge's.")


def may_make_to_read(caller: Caller, name: str, kind: Kind) -> bool:
    """Whether news of this name may get its topic because this caller asks for it: it would see it."""
    return is_news(name) and sees(caller, Topic(0, name, kind, MAKER), member=False)


def may_make_to_write(caller: Caller, name: str) -> bool:
    """Whether news of this name may get its topic because this caller publishes to it."""
    granted = caller.grants.writes(name)
    return is_news(name) and (caller.is_backend if granted is None else granted)


def refuse_inbox(topic: Topic) -> None:
    """Raises Forbidden for an inbox."""
    if topic.kind == "direct":
        raise Forbidden("An inbox belongs to its user alone: it can be neither joined, left nor changed.")


def is_unambiguous(topic: Topic, target: str) -> bool:
    """Whether a message to ``target``, a name of this topic, is meant for it: a bare name may be a user's too."""
    return not topic.in_doubt or target.startswith("#")


def aim_at(caller: Caller, view: TopicView | None, target: str) -> Aim:
    """Where a message to ``target`` goes, of whose name this is the topic.

    Raises UnknownTopic, Conflict, NotAMember, Forbidden.
    """
    granted = view is not None and caller.grants.writes(view.topic.name)
    found = view if view is not None and granted else visible(caller, view)
    if not is_unambiguous(found.topic, target):
        raise Conflict(f"{target} is a topic and a user: #{target} is the topic, @{target} the user.")
    if granted:
        return Aim(found.topic, None, source=caller.id)
    if caller.grants.write is not None:
        raise not_for_writing()
    belonging(caller, found)
    return Aim(found.topic, caller.id, source=caller.id)


def aim_of_member(caller: Caller, topic: Topic) -> Aim:
    """How a session publishes to a topic that it is sent: it belongs to it, as long as it does."""
    member = None if topic.kind == "direct" else caller.id
    return Aim(topic, member, caller.grants.writes(topic.name) is not False, caller.id)


@dataclass(frozen=True, slots=True)
class Past:
    """What of a log is open to a caller: beyond a seq, and (None: in any case) as long as a membership holds."""

    floor: int
    membership: int | None


def past(caller: Caller, found: TopicView) -> Past:
    """Of a visible topic: a public or granted one is open from the start, a private one from joining.

    Raises:
        NotAMember: it must be joined first.
    """
    if caller.grants.reads(found.topic.name) and found.topic.kind != "direct":
        return Past(0, None)
    membership = belonging(caller, found).membership
    if membership is None or found.topic.kind == "public":
        return Past(0, None)
    return Past(membership.joined_seq, membership.id)
