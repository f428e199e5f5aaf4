"""Another issuer's users with configuration alone: real processes, both doors, several workers."""

import json
import sys
from pathlib import Path

import aiohttp
from websockets.asyncio.client import connect

from support.issuers import KEYCLOAK, issuing
from support.programs import Program, recado
from support.ws import receive


async def test_a_setting_is_all_it_takes(tmp_path: Path) -> None:
    async with issuing(KEYCLOAK, "recado") as issuer:
        entry = {"issuer": KEYCLOAK, "audience": "recado", "jwks_url": issuer.url, "prefix": "kc:"}
        given = tmp_path / "issuers.json"
        given.write_text(json.dumps([entry]))
        async with recado(JWT_ISSUERS=str(given), WORKERS="2", AUTH_MODE="key", API_KEY="k" * 32) as server:
            token = issuer.token(topics={"read": ["general"]})
            headers = {"Authorization": f"Bearer {token}"}
            url = f"{server.api}/api/v1/topics?user=kc%3Aana"
            async with aiohttp.ClientSession(headers=headers) as http, http.get(url) as response:
                assert (200, {"topics": []}) == (response.status, await response.json())
            async with connect(f"ws://127.0.0.1:{server.environ['WS_PORT']}/{token}", proxy=None) as link:
                assert "kc:ana" == (await receive(link, "connected"))["username"]
            assert 0 == await server.end()


async def test_a_wrong_one_stops_the_start_with_one_line() -> None:
    entries = [{"issuer": KEYCLOAK, "audience": "recado", "jwks_url": "http://login.example.com/keys"}]
    program = await Program.start(sys.executable, "-m", "recado", JWT_ISSUERS=json.dumps(entries))
    await program.line("^recado: JWT_ISSUERS: .*jwks_url must be https")
    assert 1 == await program.process.wait()
    await program.end()
    assert 1 == len(program.seen)
