"""Tokens of other issuers at the HTTP door, with configuration alone."""

import asyncio
import time
from typing import Any

from support.doors import Opener
from support.issuers import AUTH0, FIREBASE, KEYCLOAK, issuing

V1 = "/api/v1"
KEY_MODE = {"auth_mode": "key", "api_key": "the key of this backend"}


async def test_users_of_three_issuers_side_by_side(open_door: Opener) -> None:
    async with (
        issuing(FIREBASE) as firebase,
        issuing(AUTH0, "https://chat.example") as auth0,
        issuing(KEYCLOAK, "recado", "ES256") as keycloak,
    ):
        issuers = (
            firebase.setting(),
            auth0.setting(prefix="auth0:"),
            keycloak.setting(prefix="kc:", name_claim="preferred_username"),
        )
        door = await open_door(jwt_issuers=issuers, **KEY_MODE)
        tokens = {
            "ana": firebase.token(sub="ana"),
            "auth0:google|17": auth0.token(sub="google|17"),
            "kc:ana": keycloak.token(preferred_username="ana"),
        }
        for user, token in tokens.items():
            body = {"topic_name": f"of-{user}", "user": user, "is_private": True}
            await door.ask("POST", f"{V1}/topics", 201, token=token, json=body)
            assert [user] == (await door.ask("GET", f"{V1}/topics?topic_name=of-{user}", token=token))["members"]
        for user in tokens:  # each is nobody to the others
            others = [token for other, token in tokens.items() if other != user]
            for token in others:
                await door.ask("GET", f"{V1}/topics/of-{user}", 404, token=token)


async def test_a_token_of_nobody_we_know_is_unauthorized(open_door: Opener) -> None:
    async with issuing() as issuer:
        door = await open_door(jwt_issuers=(issuer.setting(),), **KEY_MODE)
        for token in (
            issuer.token(aud="another-project"),
            issuer.token(iss="https://evil.example"),
            issuer.token(exp=int(time.time()) - 1),
            issuer.token("two"),
        ):
            said = await door.ask("GET", f"{V1}/topics/general", 401, token=token)
            assert "unauthorized" == said["code"]


async def test_an_issuer_that_is_away_is_no_reason_to_log_out(open_door: Opener) -> None:
    async with issuing() as issuer:
        door = await open_door(jwt_issuers=(issuer.setting(),), **KEY_MODE)
    async with door.send("GET", f"{V1}/topics/general", token=issuer.token()) as response:
        assert (503, "unavailable") == (response.status, (await response.json())["code"])


async def test_nobody_waits_for_an_issuer_but_its_own_users(open_door: Opener) -> None:
    async with issuing() as issuer:
        door = await open_door(jwt_issuers=(issuer.setting(),), **KEY_MODE)
        issuer.lets_through.clear()
        slow = asyncio.ensure_future(door.ask("GET", f"{V1}/topics/general", token=issuer.token()))
        await issuer.asked.wait()
        await door.ask("GET", f"{V1}/topics/general", token=await door.token("omar"))
        assert not slow.done()
        issuer.lets_through.set()
        assert "general" == (await slow)["topic_name"]


async def test_they_are_revoked_as_ours_are(open_door: Opener) -> None:
    async with issuing() as issuer:
        door = await open_door(jwt_issuers=(issuer.setting(prefix="fb:"),), **KEY_MODE)
        one, two = issuer.token(jti="one"), issuer.token(jti="two")

        async def shown(token: str, status: int) -> None:
            await door.ask("GET", f"{V1}/topics/general", status, token=token)

        async def revoked(**which: Any) -> None:
            await door.ask("POST", f"{V1}/tokens/revoke", token=KEY_MODE["api_key"], json=which)

        await shown(one, 200)
        await revoked(jti="one")
        await shown(one, 401)
        await shown(two, 200)
        await revoked(user="fb:ana")
        await shown(two, 401)
        await shown(issuer.token(iat=int(time.time()) + 2), 200)  # issued later; clocks may differ by that


async def test_a_ticket_stands_in_for_them_with_all_that_they_say(open_door: Opener) -> None:
    async with issuing() as issuer:
        door = await open_door(jwt_issuers=(issuer.setting(prefix="fb:"),), **KEY_MODE)
        claims: list[dict[str, Any]] = [{"topics": {"read": []}}, {"payload": {"topics": {"read": []}}}]
        for claim in claims:
            token = issuer.token(**claim)
            await door.ask("GET", f"{V1}/topics/general", 404, token=token)
            ticket = (await door.ask("POST", f"{V1}/tickets", 201, token=token, json={}))["ticket"]
            login = await door.ask("POST", f"{V1}/login", json={"ticket": ticket})
            assert "fb:ana" == login["user"]
            await door.ask("GET", f"{V1}/topics/general", 404, token=login["token"])
            await door.ask("GET", f"{V1}/topics?user=fb%3Aana", token=login["token"])


async def test_what_they_say_can_be_read_by_a_backend(open_door: Opener) -> None:
    async with issuing() as issuer:
        door = await open_door(jwt_issuers=(issuer.setting(),), **KEY_MODE)
        path = f"{V1}/token?token={issuer.token(email='ana@example.org')}"
        said = await door.ask("GET", path, token=KEY_MODE["api_key"], headers={"Action": "decode"})
        assert ("ana@example.org", FIREBASE) == (said["email"], said["iss"])
