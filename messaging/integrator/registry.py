"""Who the platforms are: registered by call or by the operator's file, recognised by their tokens."""

from __future__ import annotations

import base64
import hashlib
import logging
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec

from messaging.bus.contract import Bus
from messaging.errors import BadRequest, Conflict, NoCredential, Unauthorized
from messaging.integrator.events import OWN, Platform, Style, bridge_name
from messaging.integrator.incoming import UnknownPlatform
from messaging.integrator.store import PlatformStore
from messaging.model import Changed
from messaging.settings.settings import SettingsError
from messaging.store.bridges import INTAKE, BridgeStore

log = logging.getLogger(__name__)

MAX_NAME = 64
IMPORT_LEAST = 60  # seconds
_SEPARATORS = frozenset("/:")
ONE_DAY = 86400
_ROOMS = r"%\%3A%"  # LIKE: an encoded ":" in the name of a topic, which rooms of platforms alone have


class Listed(msgspec.Struct, frozen=True, rename="camel"):
    """A platform as the operator's file has it: the first integrator's words, and a few more."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME)]
    token: Annotated[str, msgspec.Meta(min_length=1, max_length=256)] | int
    endpoint: str | None = None
    support_audio: str | bool = False
    support_image: str | bool = False
    style: Literal["paths", "webhook", "pull"] | None = None
    secret: str | None = None
    import_every: Annotated[int, msgspec.Meta(ge=IMPORT_LEAST, le=365 * ONE_DAY)] = ONE_DAY
    insecure: bool = False
    retry_ambiguous: bool = True


Several = Annotated[list[Listed], msgspec.Meta(max_length=1000)]


@dataclass(frozen=True, slots=True)
class Registered:
    """A platform and what it must keep to itself, told this once."""

    platform: Platform
    token: str
    secret: str


def new_secret() -> str:
    """A signing secret as Standard Webhooks writes it: 32 random bytes."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def digest_of(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogatepass")).digest()  # a header's bytes may be any


def is_true(value: str | bool) -> bool:
    """Older systems write "True" and "False"."""
    return value is True or (isinstance(value, str) and value.lower() == "true")


def checked_name(name: str) -> str:
    """Raises BadRequest for what can't be shown or be in a URL, or leaves no room for names of its users and rooms.

    These follow behind `/` and `:`, so with such a platform one of another could have the same.
    """
    if not _SEPARATORS.isdisjoint(name) or name == INTAKE:
        raise BadRequest(f"name: it has neither / nor :, and is not {INTAKE!r}, which has dead letters already.")
    if not name.strip(".") or not name.isprintable() or len(bridge_name(name)) > MAX_NAME:
        raise BadRequest(f"name: it must be printable, not only dots, and percent-encoded have {MAX_NAME} characters.")
    return name


def checked_secret(secret: str) -> str:
    """Raises BadRequest."""
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except ValueError:
        key = b""
    if not secret.startswith("whsec_") or not 24 <= len(key) <= 64:
        raise BadRequest("secret: it is whsec_ and 24 to 64 bytes in base64.")
    return secret


def checked_address(style: Style, url: str | None) -> str | None:
    """Where a platform is told its news; None for one that asks for them. Raises BadRequest."""
    if style == "pull":
        return None
    try:
        parts = urlsplit(url if url and url.isprintable() else "")
        parts.port  # noqa: B018 (raises for what is no port)
    except ValueError as exc:
        raise BadRequest(f"url: this is none: {exc}.") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None or parts.fragment:
        raise BadRequest(f"url: the style {style} needs an http or https address, without a user or a fragment.")
    return url if style == "webhook" or str(url).endswith("/") else f"{url}/"


class Registry:
    """The platforms of this installation."""

    def __init__(self, platforms: PlatformStore, bridges: BridgeStore, bus: Bus) -> None:
        self._platforms = platforms
        self._bridges = bridges
        self._bus = bus

    async def identify(self, token: str) -> Platform:
        """Whose token this is. A platform that calls is there: a lane that waits for it tries at once.

        Raises:
            Unauthorized: nobody's.
        """
        if not token:
            raise NoCredential("A platform's token is missing: in the body, or as Authorization: Bearer.")
        platform = await self._platforms.by_token(digest_of(token))
        if platform is None:
            raise Unauthorized("No platform has this token.")
        self._bus.tell(Changed(platform.id))
        return platform

    async def find(self, name: str) -> Platform:
        """Raises UnknownPlatform."""
        found = await self._platforms.platforms(name)
        if not found or found[0].style == "own":
            raise UnknownPlatform
        return found[0]

    async def own(self) -> Platform:
        """Recado itself, as a platform."""
        await self._keep_own()
        return (await self._platforms.platforms(OWN))[0]

    async def register(
        self, name: str, style: Style, url: str | None, *, audio: bool = False, image: bool = False,
        insecure: bool = False, retry_ambiguous: bool = True, import_every: int = ONE_DAY,
    ) -> Registered:  # fmt: skip
        """A new platform, as in `Platform`.

        Raises:
            BadRequest: the name is none, or the address does not fit the style.
            Conflict: the name is taken.
            Unavailable: the database is busy for too long.
        """
        platform = Platform(
            name=checked_name(name), style=style, url=checked_address(style, url), secrets=(new_secret(),), audio=audio,
            image=image, insecure=insecure, retry_ambiguous=retry_ambiguous, import_every=import_every,
        )  # fmt: skip
        token = secrets.token_urlsafe(24)
        async with self._platforms.acceptance():  # one at a time, so that a name is taken once
            if name == OWN or await self._platforms.platforms(name):
                raise Conflict(f"There is a platform {name!r} already.")
            return Registered(await self._keep(platform, digest_of(token)), token, platform.secrets[0])

    async def change(self, name: str, **values: Any) -> Platform:
        """Another style, url … as in `Platform`. Raises UnknownPlatform, BadRequest."""
        before = await self.find(name)
        changed = replace(before, **values)
        url = checked_address(changed.style, changed.url)
        # The operator's file vouches for the address that it gives, and for no other.
        changed = replace(changed, url=url, trusted=before.trusted and url == before.url)
        kept = await self._keep(changed, None)
        self._bus.tell(Changed(kept.id))
        return kept

    async def rotate(self, name: str) -> str:
        """A new secret; what is sent is signed with the old one too, for a day. Raises UnknownPlatform."""
        platform, secret = await self.find(name), new_secret()
        await self._platforms.rotate(platform.id, secret)
        return secret

    async def forget(self, name: str) -> None:
        """A platform is no more; what was pending for it is dropped. Raises UnknownPlatform, Unavailable."""
        platform = await self.find(name)
        async with self._platforms.acceptance():  # nothing is put before it any more by who still knew it
            await self._bridges.forget(bridge_name(name))
            # At last: where a crash came first, it can be forgotten once more.
            await self._platforms.forget(platform.id)
        self._bus.tell(Changed(platform.id))

    async def load(self, path: Path) -> None:
        """The platforms of the operator's file, as they are there now. Raises SettingsError."""
        for each in read_file(path):
            try:
                platform = _as_listed(each)
            except BadRequest as exc:
                raise SettingsError(f"PLATFORMS_FILE: {path}: {each.name!r}: {exc}") from None
            kept = await self._keep(platform, digest_of(str(each.token)))
            log.info("platform %s: %s %s", kept.name, kept.style, kept.url or "(it asks for its news)")

    async def _keep(self, platform: Platform, token_digest: bytes | None) -> Platform:
        await self._keep_own()
        user_id = await self._bridges.register(bridge_name(platform.name), "platform", None)
        for name in await self._platforms.take_token(token_digest, user_id) if token_digest else ():
            log.warning("platform %s has no token any more: it is %s's now", name, platform.name)
        await self._platforms.keep(replace(platform, id=user_id), token_digest)
        kept = await self._platforms.by_id(user_id)
        assert kept is not None, "it was kept just now"
        return kept

    async def _keep_own(self) -> None:
        """Recado's own users take part as a platform too: a bridge that belongs to every room."""
        if not await self._platforms.platforms(OWN):
            user_id = await self._bridges.register(OWN, "rooms", _ROOMS)
            await self._platforms.keep(Platform(id=user_id, name=OWN, style="own", trusted=True), None)


def _as_listed(each: Listed) -> Platform:
    """A platform as the file has it. Its secret counts the first time; later it is rotated. Raises BadRequest."""
    style: Style = each.style or ("paths" if each.endpoint else "pull")
    return Platform(
        name=checked_name(each.name), style=style, url=checked_address(style, each.endpoint),
        secrets=(checked_secret(each.secret) if each.secret else new_secret(),), audio=is_true(each.support_audio),
        image=is_true(each.support_image), trusted=True, insecure=each.insecure, retry_ambiguous=each.retry_ambiguous,
        import_every=each.import_every,
    )  # fmt: skip


def read_file(path: Path) -> Sequence[Listed]:
    """A list of platforms, or an object with such a list as ``platforms``. Raises SettingsError."""
    try:
        whole = msgspec.json.decode(path.read_bytes())
        found: list[Listed] = msgspec.convert(whole.get("platforms") if isinstance(whole, dict) else whole, Several)
    except OSError as exc:
        raise SettingsError(f"PLATFORMS_FILE: {path} can't be read: {exc.strerror}") from None
    except (msgspec.MsgspecError, RecursionError) as exc:
        raise SettingsError(f"PLATFORMS_FILE: {path} is no list of platforms: {exc}") from None
    names, tokens = [each.name for each in found], [str(each.token) for each in found]
    if OWN in names or len(set(names)) < len(names) or len(set(tokens)) < len(tokens):
        raise SettingsError(f"PLATFORMS_FILE: {path}: names and tokens must differ, and {OWN} is ourselves")
    return found
