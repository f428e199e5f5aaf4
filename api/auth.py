"""Authentication, and the guard against forged requests (CSRF). Pure: from how a request came to its credential, or no.

A page of another site could let a browser inside ask for it: browsers say so by Origin and Sec-Fetch-Site, and in every
mode that is refused, before anything else.
"""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import HttpVersion11, web
from multidict import CIMultiDict, CIMultiDictProxy

from api.route import Access, Domain
from messaging.auth.access import Arrival, Rules, bearer, check_metrics, is_key, is_legacy, why_outside
from messaging.auth.identity import identify
from messaging.errors import Forbidden, NoCredential
from messaging.model import User
from messaging.permissions import BACKEND, Caller
from messaging.settings.settings import origin_of

Headers = CIMultiDict[str] | CIMultiDictProxy[str]

_ELSEWHERE = ("cross-site", "same-site")  # same-site: another port of this host


@dataclass(frozen=True, slots=True)
class Credential:
    """What a request shows: a user's token, still unread, or that it is a backend, or nothing."""

    is_backend: bool = False
    token: str = ""
    is_legacy: bool = False  # a program of an older system


NOBODY = Credential()
ANY_BACKEND = Credential(is_backend=True)


def arrival_of(request: web.Request) -> Arrival:
    headers = request.headers
    return Arrival(
        peer=request.remote or "",
        names=frozenset(name.lower() for name in headers),
        host=headers.get("Host", ""),
        credentials=tuple(headers.getall("Authorization", ())),
        forwarded=tuple(headers.getall("X-Forwarded-For", ())),
        is_old=request.version < HttpVersion11,
    )


def decide(rules: Rules, access: Access, arrival: Arrival, *, legacy: bool = False) -> Credential:
    """What a request may pass for, where ``access`` is asked for; ``legacy``: of a route that older systems know.

    Raises:
        Forbidden: in open mode, it comes from outside.
        Misdirected: in open mode, it asks for a Host that is not ours.
        Unauthorized: it shows no credential where one is needed, or one of another kind.
    """
    if access == "anyone":
        return NOBODY
    if access == "metrics":
        check_metrics(rules, arrival)
        return NOBODY
    outside = why_outside(rules, arrival) if rules.is_open else None
    if outside is not None:
        raise outside
    if access == "visitor":
        return NOBODY
    token = bearer(arrival.credentials)
    if is_key(rules, token) or (rules.is_open and not token):
        return ANY_BACKEND
    if access == "platform":  # whose token it is, the handler asks the registry: it may stand in the body
        return Credential(is_legacy=legacy and not token and is_legacy(rules, arrival))
    if token:
        return Credential(token=token)
    if legacy and is_legacy(rules, arrival):
        return ANY_BACKEND
    raise NoCredential("Authorization is missing: Bearer with the API key or a user's token.")


def is_strangers(rules: Rules, access: Access, arrival: Arrival) -> bool:
    """Whether a request is answered, and shows nothing that says whose it is."""
    return access == "visitor" and not rules.is_open and not is_key(rules, bearer(arrival.credentials))


def check_origin(rules: Rules, access: Access, headers: Headers) -> None:
    """Raises Forbidden for what a page of another site had a browser send."""
    origins = headers.getall("Origin", [])
    if any(origin_of(origin) not in rules.origins for origin in origins):
        raise Forbidden("A page of this origin may not ask here. ALLOWED_ORIGINS says which may.")
    followed_link = access == "visitor" and headers.get("Sec-Fetch-Mode") == "navigate"
    elsewhere = headers.get("Sec-Fetch-Site", "").lower() in _ELSEWHERE
    if elsewhere and not origins and not followed_link:
        raise Forbidden("A page of another site may not ask here. ALLOWED_ORIGINS says which may.")


async def caller_of(credential: Credential, domain: Domain) -> Caller:
    """Who shows a credential. A user that a valid token names is known from here on.

    Raises:
        Unauthorized: the token is not valid, or revoked.
        Unavailable: another issued it, whose keys can't be read now.
    """
    if not credential.token:
        # A stranger belongs to nothing, and nothing to it: ids begin at 1.
        return BACKEND if credential.is_backend else Caller(User(0, "", 0))
    claims = await domain.tokens.verify(credential.token)
    return Caller(await identify(domain.node.store, claims), claims.grants, claims.expires_at)
