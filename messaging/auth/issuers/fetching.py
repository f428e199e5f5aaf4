"""Reading an issuer's keys over HTTP: bounded in time and size, and from nowhere but where it is told."""

from __future__ import annotations

import aiohttp

MAX_KEY_SET_BYTES = 64 * 1024


class KeyReader:
    """An HTTP client for key sets. `close` last."""

    def __init__(self, seconds: float) -> None:
        """``seconds``: that an issuer has to answer in full."""
        self._http = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=seconds), cookie_jar=aiohttp.DummyCookieJar(),
            # Compressed, little would become much.
            auto_decompress=False, headers={"Accept": "application/json", "Accept-Encoding": "identity"},
        )  # fmt: skip

    async def close(self) -> None:
        await self._http.close()

    async def read(self, url: str) -> bytes:
        """What is there. Safe to cancel.

        Raises:
            OSError: it can't be reached, or does not answer in time.
            ValueError: its answer is not one to go by.
        """
        try:
            async with self._http.get(url, allow_redirects=False) as response:
                if response.status != 200:
                    raise ValueError(f"it answers {response.status}; only 200 counts, and no redirect is followed")
                return await _body(response)
        except aiohttp.ClientError as exc:
            raise OSError(f"{type(exc).__name__}: {exc}") from exc


async def _body(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for piece in response.content.iter_chunked(MAX_KEY_SET_BYTES):
        body += piece
        if len(body) > MAX_KEY_SET_BYTES:
            raise ValueError(f"it answers with more than {MAX_KEY_SET_BYTES} bytes")
    return bytes(body)
