"""Who may do what, decided without a database: callers, memberships, and the claim `topics`."""

import time
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import jwt
import msgspec
import pytest

from messaging.auth.tokens import Tokens
from messaging.errors import BadRequest, Conflict, Forbidden, NotAMember, RecadoError, Unauthorized, UnknownTopic
from messaging.grants import Grants, grants_of
from messaging.model import Kind, Membership, Topic, TopicView, User
from messaging.permissions import (
    BACKEND,
    Aim,
    Caller,
    Past,
    aim_at,
    aim_of_member,
    belonging,
    check_creation,
    inviting,
    is_unambiguous,
    owning,
    past,
    sees,
    visible,
)

ANA = User(7, "ana", 0)
Role = Literal["owner", "member"]


def ana(read: list[str] | None = None, write: list[str] | None = None) -> Caller:
    return Caller(ANA, Grants(None if read is None else tuple(read), None if write is None else tuple(write)))


def view(name: str = "news", kind: Kind = "public", role: Role | None = None, joined: int = 5) -> TopicView:
    topic = Topic(1, name, kind, "eva")
    return TopicView(topic, 9, None if role is None else Membership(3, topic, role, joined, None))


def aim(caller: Caller, found: TopicView | None) -> Aim:
    """Where a message to this topic's bare name goes."""
    return aim_at(caller, found, "news" if found is None else found.topic.name)


def outcome(decide: Any, *given: Any) -> Any:
    """What is decided, or as which error it is refused."""
    try:
        return decide(*given)
    except RecadoError as exc:
        return type(exc)


# --- without a claim --------------------------------------------------------------------------------------


def test_history_of_a_user_without_a_claim() -> None:
    assert Past(0, None) == past(ana(), view(role="member"))
    assert Past(5, 3) == past(ana(), view(kind="private", role="member"))
    assert NotAMember is outcome(past, ana(), view())
    assert Past(0, None) == past(BACKEND, view(kind="private"))


# --- read -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["public", "private"])
@pytest.mark.parametrize("role", [None, "member"])
def test_read_is_the_whole_truth_about_what_is_seen(kind: Kind, role: Role | None) -> None:
    member = role is not None
    assert sees(ana(read=["n*"]), view(kind=kind).topic, member=member)
    assert not sees(ana(read=["m*"]), view(kind=kind).topic, member=member)
    assert not sees(ana(read=[]), view(kind=kind).topic, member=member)
    for decide in (visible, belonging, inviting, owning, aim):
        assert UnknownTopic is outcome(decide, ana(read=["m*"]), view(kind=kind, role=role)), decide


def test_read_grants_the_past_from_the_start() -> None:
    for role in (None, "member"):
        assert Past(0, None) == past(ana(read=["news"]), view(kind="private", role=role))


@pytest.mark.parametrize("read", [None, [], ["news"], ["*"], ["@*"]])
def test_ones_own_inbox_is_always_read_and_no_others(read: list[str] | None) -> None:
    assert sees(ana(read=read), view("@ana", "direct").topic, member=True)
    assert not sees(ana(read=read), view("@eva", "direct").topic, member=False)
    assert UnknownTopic is outcome(visible, ana(read=read), view("@eva", "direct"))
    assert Past(5, 3) == past(ana(read=read), view("@ana", "direct", "owner"))


# --- write ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["public", "private"])
@pytest.mark.parametrize("role", [None, "member"])
def test_write_needs_no_membership(kind: Kind, role: Role | None) -> None:
    found = view(kind=kind, role=role)
    assert Aim(found.topic, None, source=7) == aim(ana(write=["ne*"]), found)
    assert Aim(found.topic, None, source=7) == aim(ana(read=[], write=["news"]), found)


def test_write_is_the_whole_truth_about_what_is_written() -> None:
    writer = ana(write=["m*"])
    assert Forbidden is outcome(aim, writer, view())
    assert UnknownTopic is outcome(aim, writer, view(kind="private"))  # which says nothing of what is hidden
    assert Forbidden is outcome(writer.require_write, "@eva")
    assert None is outcome(ana(write=["@*"]).require_write, "@eva")
    assert None is outcome(ana().require_write, "@eva")
    assert None is outcome(BACKEND.require_write, "@eva")


@pytest.mark.parametrize(("write", "allowed"), [(None, True), (["news"], True), ([], False), (["@ana"], False)])
def test_a_session_publishes_to_its_topics_as_its_token_says(write: list[str] | None, allowed: bool) -> None:
    topic = view().topic
    assert Aim(topic, 7, allowed, source=7) == aim_of_member(ana(write=write), topic)
    assert None is aim_of_member(ana(write=write), view("@ana", "direct").topic).member


NEWS = "updates.store.8f14e45f-ceea-467f-a8e0-9a1b2c3d4e5f"


SHOP = NEWS.removeprefix("updates.store.")


@pytest.mark.parametrize(
    ("name", "bridged"),
    [
        (NEWS, False),
        ("orders.rome", True),
        (NEWS.replace(SHOP, SHOP.upper()), False),
        (NEWS.upper(), False),
        (NEWS.replace(SHOP, SHOP.replace("-", "")), False),
        (NEWS.replace(SHOP, f"urn:uuid:{SHOP}"), False),
        (NEWS.replace(SHOP, SHOP.replace("-", "_")), False),
    ],
)
def test_names_for_news_and_of_bridges_are_made_by_a_backend_or_a_claim(name: str, bridged: bool) -> None:
    for caller in (BACKEND, ana(write=["*"]), ana(write=[name])):
        assert None is outcome(partial(check_creation, bridged=bridged), caller, name, ANA)
    for caller in (ana(), ana(read=["*"]), ana(write=["news"])):
        assert Forbidden is outcome(partial(check_creation, bridged=bridged), caller, name, ANA)


# --- a name that is a topic's and a user's ----------------------------------------------------------------


def doubted(kind: Kind = "public", role: Role | None = "member") -> TopicView:
    found = view("eva", kind, role)
    return replace(found, topic=msgspec.structs.replace(found.topic, in_doubt=True))


@pytest.mark.parametrize("caller", [ana(), ana(write=["eva"]), BACKEND], ids=["a member", "a claim", "a backend"])
def test_a_bare_name_in_doubt_means_nobody(caller: Caller) -> None:
    found = doubted()
    assert Conflict is outcome(aim_at, caller, found, "eva")
    assert found.topic == aim_at(caller, found, "#eva").topic
    assert is_unambiguous(found.topic, "#eva") and not is_unambiguous(found.topic, "eva")


def test_a_topic_that_is_not_seen_puts_no_name_in_doubt() -> None:
    """Or it would show that it is there."""
    assert UnknownTopic is outcome(aim_at, ana(), doubted("private", None), "eva")
    assert UnknownTopic is outcome(aim_at, ana(), doubted("private", None), "#eva")


# --- the claim itself -------------------------------------------------------------------------------------


def test_what_a_claim_grants() -> None:
    assert Grants(("a*",), ("b", "@*")) == grants_of({"topics": {"read": ["a*"], "write": ["b", "@*"]}})
    assert Grants(None, ()) == grants_of({"topics": {"write": []}})
    assert Grants() == grants_of({}) == grants_of({"topics": {}})


SOON = time.time() + 3600
ODD: list[Any] = [None, [], "a", 7, {"read": "a"}, {"read": None}, {"reads": ["a"]}, {"read": [1]}, {"read": ["a b"]},
       {"read": [""]}, {"write": ["a", "é"]}, {"read": {"a": 1}}, {"read": ["x" * 129]}]  # fmt: skip


@pytest.mark.parametrize("claim", ODD, ids=repr)
async def test_a_malformed_claim_is_never_passed_over(claim: Any) -> None:
    secret = "a-secret-that-is-only-for-these-tests"
    with pytest.raises(ValueError, match="topics"):
        grants_of({"topics": claim})
    with pytest.raises(BadRequest, match="topics"):
        Tokens(secret).issue("ana", payload={"topics": claim})
    for said in ({"topics": claim}, {"payload": {"topics": claim}}):
        token = jwt.encode({"sub": "ana", "exp": SOON, **said}, secret, "HS256")
        with pytest.raises(Unauthorized, match="topics"):
            await Tokens(secret).verify(token)


async def test_the_claim_stands_in_the_payload_or_at_the_top() -> None:
    secret = "a-secret-that-is-only-for-these-tests"
    claim = {"read": ["a*"]}
    for said in ({"topics": claim}, {"payload": {"topics": claim}}, {"topics": claim, "payload": {"shop": 7}}):
        claims = await Tokens(secret).verify(jwt.encode({"sub": "ana", "exp": SOON, **said}, secret, "HS256"))
        assert Grants(("a*",)) == claims.grants
        assert claim == claims.payload["topics"]
    twice = jwt.encode({"sub": "ana", "exp": SOON, "topics": claim, "payload": {"topics": claim}}, secret, "HS256")
    with pytest.raises(Unauthorized, match="twice"):
        await Tokens(secret).verify(twice)
