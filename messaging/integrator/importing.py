"""What has changed in a platform's list of users. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import msgspec

from messaging.integrator.events import IdNumber, IdText, OutsideId, Person, json_of, key_of

MAX_NAME_LENGTH = 256  # characters of a user's name
MAX_USERS = 100_000  # in one list


class Implausible(ValueError):
    """A list that is not believed; the text says why."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A user as a platform's list has it."""

    id: OutsideId
    name: str


@dataclass(frozen=True, slots=True)
class Diff:
    """What an import found. ``changed``: new or renamed; the others by their keys.

    ``seen``: there again, after having been missing; ``missed``: missing for the first time; ``removed``: once more.
    """

    changed: tuple[Listed, ...] = ()
    seen: tuple[str, ...] = ()
    missed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


class _User(msgspec.Struct, frozen=True):
    id: IdNumber | IdText
    name: str | None = None
    platform: Any = None


class _Users(msgspec.Struct, frozen=True):
    users: Annotated[list[_User], msgspec.Meta(max_length=MAX_USERS)]


def read_list(body: bytes, others: Collection[str]) -> list[Listed]:
    """The users of ``{"users": [{id, name, platform}]}``, each once. One without a name is called by its id.

    ``others``: names of the other platforms. Older systems list everybody that they know, users of others too.

    Raises:
        Implausible: it is no such list.
    """
    try:
        found = msgspec.json.decode(body, type=_Users).users
    except (msgspec.MsgspecError, ValueError, RecursionError) as exc:
        raise Implausible(f"it is no list of users: {exc}") from None
    own = [user for user in found if not (isinstance(user.platform, str) and user.platform in others)]
    if any("\0" in key_of(user.id) for user in own):
        raise Implausible("it is no list of users: no id has a NUL")
    return list({key_of(user.id): Listed(user.id, _name(user)) for user in own}.values())


def _name(user: _User) -> str:
    return (user.name or "").replace("\0", "").strip()[:MAX_NAME_LENGTH] or key_of(user.id)


def compare(known: Mapping[str, Person], absences: Mapping[str, int], listed: Sequence[Listed]) -> Diff:
    """What is new in a list. ``known``: users that are not removed, by key; ``absences``: lists in a row without them.

    Who is missing for the second time in a row is removed: once may be an accident.

    Raises:
        Implausible: more than half of the known have gone at once, which is an accident more likely than a change.
    """
    keys = {key_of(user.id) for user in listed}
    missing = [key for key in known if key not in keys]
    if 2 * len(missing) > len(known):
        raise Implausible(f"{len(missing)} of {len(known)} known users are missing from it")
    return Diff(
        tuple(
            user
            for user in listed
            if (person := known.get(key_of(user.id))) is None
            or (person.name, person.id_json) != (user.name, json_of(user.id))
        ),
        tuple(key for key in known if key in keys and absences.get(key, 0)),
        tuple(key for key in missing if not absences.get(key, 0)),
        tuple(key for key in missing if absences.get(key, 0)),
    )


def portions(diff: Diff, most: int) -> Iterator[Diff]:
    """A diff in parts of at most so many changed users: each is stored by itself, and others speak in between."""
    for start in range(0, len(diff.changed), most):
        yield Diff(changed=diff.changed[start : start + most])
    yield replace(diff, changed=())
