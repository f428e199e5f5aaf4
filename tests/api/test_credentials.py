"""What a page of another site had a browser send is refused, whoever it is for. Decided without a socket."""

import pytest
from multidict import CIMultiDict

from api.auth import check_origin
from api.route import Access
from messaging.auth.access import Rules
from messaging.errors import Forbidden
from messaging.settings.settings import Settings

OPEN = Rules.of(Settings(auth_mode="open", allowed_origins=("https://app.example",)))
LOCKED = Rules.of(Settings(auth_mode="key", api_key="k" * 16, public_api_url="https://chat.example/recado/"))
ALL: tuple[Access, ...] = ("anyone", "visitor", "caller", "backend", "platform", "metrics")


def headers(*more: tuple[str, str], **fields: str) -> CIMultiDict[str]:
    return CIMultiDict([*fields.items(), *more])


OWN = ["http://127.0.0.1:5001", "http://localhost:5001", "http://[::1]:5001", "HTTP://LocalHost:5001"]
FOREIGN = [
    "https://evil.example", "null", "", "http://localhost", "http://localhost:5000", "https://localhost:5001",
    "http://localhost:5001.evil.example", "https://app.example:444", "http://app.example", "file://", "http://[x",
]  # fmt: skip


@pytest.mark.parametrize("origin", [*OWN, "https://app.example", "https://app.example:443", "https://APP.example"])
def test_allowed_origins(origin: str) -> None:
    check_origin(OPEN, "caller", headers(("Sec-Fetch-Site", "cross-site"), Origin=origin))


@pytest.mark.parametrize("rules", [OPEN, LOCKED])
@pytest.mark.parametrize("access", ALL)
@pytest.mark.parametrize("origin", FOREIGN)
def test_foreign_origins(rules: Rules, access: Access, origin: str) -> None:
    with pytest.raises(Forbidden, match="ALLOWED_ORIGINS"):
        check_origin(rules, access, headers(Origin=origin))


def test_one_foreign_origin_of_two_is_enough() -> None:
    with pytest.raises(Forbidden):
        check_origin(OPEN, "caller", headers(("Origin", "https://evil.example"), Origin=OWN[0]))


@pytest.mark.parametrize("access", [access for access in ALL if access != "visitor"])
@pytest.mark.parametrize("site", ["cross-site", "same-site", "Cross-Site"])
def test_a_page_of_another_site_is_refused(access: Access, site: str) -> None:
    with pytest.raises(Forbidden):
        check_origin(LOCKED, access, headers(("Sec-Fetch-Site", site), ("Sec-Fetch-Mode", "navigate")))


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_the_same_page_or_no_page_is_fine(site: str) -> None:
    check_origin(OPEN, "caller", headers(("Sec-Fetch-Site", site)))


def test_a_link_to_a_page_may_be_followed_but_not_drawn_upon() -> None:
    site = ("Sec-Fetch-Site", "cross-site")
    check_origin(OPEN, "visitor", headers(site, ("Sec-Fetch-Mode", "navigate")))
    with pytest.raises(Forbidden):
        check_origin(OPEN, "visitor", headers(site, ("Sec-Fetch-Mode", "no-cors")))


def test_the_public_address_is_an_origin_of_ours() -> None:
    check_origin(LOCKED, "caller", headers(Origin="https://chat.example"))
