"""The door over HTTP: credentials, origins, errors, health, pages."""

import asyncio
import logging
import time
from typing import Any

import jwt
import pytest
from openapi_spec_validator import validate

from api.routes.pages import path_of
from api.routes.tokens import readable
from conftest import ROOT
from messaging.errors import Unavailable
from support.doors import KEY, SECRET, Door, Opener

V1 = "/api/v1"


# --- tokens --------------------------------------------------------------------------------------


async def test_a_token_with_lifetime_and_payload(door: Door) -> None:
    wish = {"user": "ana", "expires_in": 60, "payload": {"topics": {"read": ["a/*"]}}}
    answer = await door.ask("POST", f"{V1}/tokens", 201, json=wish)
    claims = jwt.decode(answer["token"], SECRET, ["HS256"])
    assert claims["payload"] == wish["payload"] and 0 < claims["exp"] - time.time() <= 61
    assert answer["expires_at"].endswith("Z")
    assert (await door.node.actions.user("ana")).name == "ana"


@pytest.mark.parametrize(
    "wish",
    [
        {}, {"user": ""}, {"user": "a//b"}, {"user": "a", "expires_in": 0}, {"user": "a", "expires_in": 31536001},
        {"user": "a", "expires_in": 1.5}, {"user": "a", "expires_in": 10**30}, {"user": "a", "payload": []},
        {"user": "a", "payload": "x"}, {"user": "a", "payload": {"a": "x" * 5000}},
        {"user": "a", "payload": {"a": "\0"}}, {"user": "a", "payload": None},
    ],
)  # fmt: skip
async def test_a_token_outside_the_rules(door: Door, wish: Any) -> None:
    assert (await door.ask("POST", f"{V1}/tokens", 400, json=wish))["code"] == "bad_request"


async def test_all_tokens_of_a_user_are_revoked(door: Door) -> None:
    old = await door.token("ana")
    await door.ask("GET", f"{V1}/messages?user=ana", token=old)
    assert await door.ask("POST", f"{V1}/tokens/revoke", json={"user": "ana"}) == {}
    assert (await door.ask("GET", f"{V1}/messages?user=ana", 401, token=old))["code"] == "unauthorized"
    await door.ask("GET", f"{V1}/messages?user=ana", token=await door.token("ana"))


@pytest.mark.parametrize("jti", ["a b", "0190…\0", "x" * 1024])
async def test_any_id_is_revoked(door: Door, jti: str) -> None:
    """As other issuers choose them."""
    await door.node.actions.know("ana")
    now = int(time.time())
    one, other = (
        jwt.encode({"sub": "ana", "iat": now, "exp": now + 60, "jti": each}, SECRET, "HS256") for each in (jti, jti[1:])
    )
    await door.ask("POST", f"{V1}/tokens/revoke", json={"jti": jti})
    await door.ask("GET", f"{V1}/messages?user=ana", 401, token=one)
    await door.ask("GET", f"{V1}/messages?user=ana", token=other)


@pytest.mark.parametrize("ahead", [-600.0, 600.0])
async def test_revoking_goes_by_the_clock_of_the_database(
    door: Door, monkeypatch: pytest.MonkeyPatch, ahead: float
) -> None:
    async def issued() -> str:
        return str((await door.ask("POST", f"{V1}/tokens", 201, json={"user": "ana"}))["token"])

    real, old = time.time, await issued()
    monkeypatch.setattr(time, "time", lambda: real() + ahead)  # this node's
    await door.ask("POST", f"{V1}/tokens/revoke", json={"user": "ana"})
    await door.ask("GET", f"{V1}/messages?user=ana", 401, token=old)
    await door.ask("GET", f"{V1}/messages?user=ana", token=await issued())


async def test_a_node_whose_clock_is_another_is_not_ready(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    real = time.time
    for ahead, status in [(0, 200), (-600, 503), (20, 200), (600, 503), (0, 200)]:
        monkeypatch.setattr(time, "time", lambda ahead=ahead: real() + ahead)
        await door.node.nodes.renew()
        answer = await door.ask("GET", "/readyz", status)
        assert status == 200 or "clock" in answer["message"]
        await door.ask("GET", "/healthz")


async def test_a_revocation_names_one(door: Door) -> None:
    for body in [{}, {"user": "ana", "jti": "x"}, {"jti": ""}, {"jti": "x" * 1025}]:
        await door.ask("POST", f"{V1}/tokens/revoke", 400, json=body)


async def test_a_valid_token_makes_its_user_known(door: Door) -> None:
    token, _ = door.tokens.issue("stranger")
    await door.ask("GET", f"{V1}/messages?user=stranger", token=token)
    assert (await door.node.actions.user("stranger")).name == "stranger"


async def test_tokens_of_other_issuers_with_the_secret(door: Door) -> None:
    for claims in [{"sub": "ana"}, {"username": "ana"}]:
        token = jwt.encode({"exp": time.time() + 60, **claims}, SECRET, "HS256")
        await door.ask("GET", f"{V1}/messages?user=ana", token=token)


async def test_a_bad_token_is_refused_in_every_mode(open_door: Opener) -> None:
    for mode in ["open", "key"]:
        door = await open_door(auth_mode=mode, api_key=KEY)
        for token in ("x", "\xff", "x" * 7000, jwt.encode({"sub": "ana"}, SECRET, "HS256")):
            async with door.send("GET", f"{V1}/topics?topic_name=general", token=token) as response:
                assert (response.status, response.headers["WWW-Authenticate"]) == (401, "Bearer")
                text = await response.text()
                assert '"unauthorized"' in text and token not in text.replace('"', " ").split()


# --- pages of other origins ----------------------------------------------------------------------


async def test_pages_of_allowed_origins_may_ask(open_door: Opener) -> None:
    door = await open_door(allowed_origins=("https://app.example",))
    for origin in ("https://app.example", door.url):
        headers = {"Origin": origin, "Sec-Fetch-Site": "cross-site"}
        async with door.send("POST", f"{V1}/users", json={"user": "ana"}, headers=headers) as response:
            assert response.status == 201
            assert response.headers["Access-Control-Allow-Origin"] == origin
            assert response.headers["Vary"] == "Origin"
            assert "Access-Control-Allow-Credentials" not in response.headers
        async with door.send("GET", f"{V1}/topics/absent", headers=headers) as response:
            assert (response.status, response.headers["Access-Control-Allow-Origin"]) == (404, origin)


async def test_preflight(open_door: Opener) -> None:
    door = await open_door(allowed_origins=("https://app.example",), auth_mode="key", api_key=KEY)
    asked = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "authorization"}
    for path in (f"{V1}/topics/a%2Fb/members/ana", f"{V1}/users"):
        async with door.send("OPTIONS", path, headers={"Origin": "https://app.example", **asked}) as response:
            assert response.status == 204 and not await response.read()
            assert response.headers["Access-Control-Allow-Origin"] == "https://app.example"
            assert "PUT" in response.headers["Access-Control-Allow-Methods"]
            assert "Authorization" in response.headers["Access-Control-Allow-Headers"]
        async with door.send("OPTIONS", path, headers={"Origin": "https://evil.example", **asked}) as response:
            assert response.status == 403 and "Access-Control-Allow-Origin" not in response.headers
    await door.ask("OPTIONS", f"{V1}/users", 405)


# --- errors --------------------------------------------------------------------------------------


async def test_paths_and_methods_that_are_not_there(door: Door) -> None:
    assert (await door.ask("GET", "/nothing", 404))["code"] == "not_found"
    async with door.send("PATCH", f"{V1}/users") as response:
        assert (response.status, (await response.json())["code"]) == (405, "method_not_allowed")
        assert set(response.headers["Allow"].split(",")) == {"GET", "HEAD", "POST"}


async def test_an_unexpected_failure_says_and_logs_nothing_of_the_request(
    door: Door, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    token = await door.token("ana")

    async def fail(*_: object) -> None:
        raise RuntimeError(f"with {token} inside")

    monkeypatch.setattr(door.node.store, "positions", fail)
    with caplog.at_level(logging.DEBUG):
        answer = await door.ask("GET", f"{V1}/messages?user=ana", 500, token=token)
        await door.ask("GET", f"{V1}/token?token={token}", headers={"Action": "decode"})
    assert answer["code"] == "internal" and "inside" not in str(answer)
    assert "RuntimeError" in caplog.text and "/api/v1/messages" in caplog.text
    assert token not in caplog.text and "user=ana" not in caplog.text


async def test_what_is_no_http_is_not_logged_either(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", door.settings.api_port)
    writer.write(b"GET /api/v1/token?token=s3cret\xff HTTP/1.1\r\nHost: localhost\r\n\r\n")
    with caplog.at_level(logging.DEBUG):
        assert (await reader.read()).startswith(b"HTTP/1.0 400")
    writer.close()
    assert "Error" in caplog.text and "s3cret" not in caplog.text


async def test_a_database_that_is_away(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: object) -> None:
        raise Unavailable

    monkeypatch.setattr(door.node.store, "topic_view", away)
    async with door.send("GET", f"{V1}/topics/general") as response:
        assert (response.status, response.headers["Retry-After"]) == (503, "1")


# --- health and pages ----------------------------------------------------------------------------


async def test_health(door: Door) -> None:
    assert await door.ask("GET", "/healthz") == {"status": "ok"}
    assert await door.ask("GET", "/readyz") == {"status": "ok"}
    async with door.send("HEAD", "/healthz") as response:
        assert (response.status, await response.read()) == (200, b"")


@pytest.mark.parametrize("hangs", [True, False])
async def test_not_ready_without_the_database(door: Door, monkeypatch: pytest.MonkeyPatch, hangs: bool) -> None:
    async def ping() -> None:
        if hangs:
            await asyncio.Event().wait()
        raise Unavailable

    monkeypatch.setattr(door.node.store, "ping", ping)
    monkeypatch.setattr("api.routes.health.ANSWER_SECONDS", 0.1)
    assert (await door.ask("GET", "/readyz", 503))["code"] == "unavailable"
    await door.ask("GET", "/healthz")


async def test_metrics_count_by_route_not_by_path(door: Door) -> None:
    await door.ask("GET", f"{V1}/topics/general")
    await door.ask("GET", f"{V1}/topics/absent", 404)
    await door.ask("GET", "/nowhere/at/all", 404)
    async with door.send("BREW", "/") as response:
        assert response.status in (400, 405)
    text = await door.ask("GET", "/metrics")
    counted = 'recado_http_request_seconds_count{method="GET",route="/api/v1/topics/{topic}",status="%d"} 1.0'
    assert counted % 200 in text and counted % 404 in text and 'route="unknown"' in text
    assert "nowhere" not in text and "absent" not in text and "BREW" not in text
    assert "recado_appended_total" in text


async def test_every_answer_is_told_how_to_be_handled(door: Door) -> None:
    for path in ("/docs", "/nothing", f"{V1}/users"):
        async with door.send("GET", path) as response:
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert response.headers["Referrer-Policy"] == "no-referrer"
            assert response.headers["Cache-Control"] == "no-store"
            policy = response.headers["Content-Security-Policy"]
            assert "default-src 'self'" in policy and "unsafe" not in policy


async def test_pages(door: Door) -> None:
    for path, name in (("/", "inbox"), ("/docs", "docs")):
        async with door.send("GET", path) as response:
            assert response.content_type == "text/html"
            page = await response.text()
        for file, kind in ((f"web/{name}/{name}.css", "text/css"), (f"web/{name}/{name}.js", "text/javascript")):
            assert file in page
            async with door.send("GET", f"/{file}") as response:
                assert (response.status, response.content_type) == (200, kind)
                assert "http://" not in await response.text()
        assert "://" not in page and "<style" not in page and "onclick" not in page


async def test_every_file_of_a_page_is_served(door: Door) -> None:
    kinds = {
        ".js": "text/javascript",
        ".css": "text/css",
        ".html": "text/html",
        ".svg": "image/svg+xml",
        ".ts": "text/plain",
    }
    web = ROOT / "api" / "web"
    for file in (each for each in web.rglob("*") if each.is_file()):
        path = path_of(file.relative_to(web).as_posix()).replace("{topic}", "general")
        async with door.send("GET", path) as response:
            assert (response.status, response.content_type) == (200, kinds.get(file.suffix, "application/json")), path
            assert await response.read() == file.read_bytes()


async def test_the_description_is_openapi(door: Door) -> None:
    description = await door.ask("GET", "/openapi.json")
    validate(description)
    assert description["openapi"].startswith("3.1")


def test_times_that_are_none_are_not_readable() -> None:
    assert readable(0) == "1970-01-01T00:00:00Z"
    odd: list[Any] = [None, "x", 1e300, float("inf"), []]
    assert [readable(value) for value in odd] == [None] * 5
