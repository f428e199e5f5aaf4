"""Reads JSON values as generously as the first EzOut did, and says what is wrong in its words. Pure.

It was built on FastAPI and pydantic 2, whose callers may show the answer of a 422 to people or compare it. What is
taken, as which value, and the type of each complaint are as there; only the finer reasons at the end of a text may
differ. NUL, lone surrogates and numbers that are not finite are refused here alone: PostgreSQL's JSON can't hold them.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from typing import Any

Reader = Callable[[Any], Any]
Place = tuple[str | int, ...]

# Each runs over what came from outside: linear, as from no place a second way leads on.
_WHOLE = re.compile(r"[+-]?\d+(?:_\d+)*(?:\.0+)?\Z", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:\d+(?:_\d+)*(?:\.(?:\d+(?:_\d+)*)?)?|\.\d+)(?:[eE][+-]?\d+)?\Z", re.ASCII)
_EPOCH = re.compile(r"[+-]?\d+(?:\.\d+)?\Z", re.ASCII)
_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)", re.ASCII)
_TIME = re.compile(
    r"[Tt _]([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d)(?:[.,](\d+))?)?(?:([Zz])|([+−-])([01]\d|2[0-3]):?([0-5]\d))?\Z",
    re.ASCII,
)
_MILLISECONDS_FROM = 20_000_000_000  # an epoch beyond it counts milliseconds
_LONG = 20  # digits: no epoch has so many, and what has thousands is no int to Python
_EPOCH_START = datetime(1970, 1, 1, tzinfo=UTC)
_UUID_GROUPS = (8, 4, 4, 4, 12)


class Wrong(Exception):
    """A value that is not what it should be."""

    def __init__(self, kind: str, text: str, **context: Any) -> None:
        super().__init__(text)
        self.kind = kind
        self.context = context


@dataclass(frozen=True, slots=True)
class Complaint:
    """One thing that is wrong, and where."""

    kind: str
    loc: Place
    text: str
    value: Any
    context: Mapping[str, Any]

    def shown(self) -> dict[str, Any]:
        """As the answer has it."""
        bare = {"type": self.kind, "loc": list(self.loc), "msg": self.text, "input": self.value}
        return bare | ({"ctx": dict(self.context)} if self.context else {})


class Invalid(Exception):
    """A request with something wrong in it."""

    def __init__(self, complaints: list[Complaint]) -> None:
        super().__init__(complaints)
        self.complaints = complaints

    def body(self) -> bytes:
        """The JSON of the answer; without the values where one of them has no JSON."""
        shown = [complaint.shown() for complaint in self.complaints]
        try:
            return json.dumps({"detail": shown}, allow_nan=False).encode()
        except (ValueError, RecursionError):
            return json.dumps({"detail": [each | {"input": None} for each in shown]}).encode()


def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object that a body is. Raises Invalid."""
    if not body:
        raise Invalid([complaint_of(Wrong("missing", "Field required"), ("body",), None)])
    value = _loaded(body)
    if not isinstance(value, dict):
        wrong = Wrong("model_attributes_type", "Input should be a valid dictionary or object to extract fields from")
        raise Invalid([complaint_of(wrong, ("body",), value)])
    return value


def _loaded(body: bytes) -> Any:
    try:
        return json.loads(body)
    except json.JSONDecodeError as exc:
        raise not_json(exc.msg, exc.pos) from None
    except UnicodeDecodeError:
        raise not_json("Not UTF-8", 0) from None
    except (ValueError, RecursionError):
        raise not_json("A number is too long, or the nesting too deep", 0) from None


def not_json(why: str, place: int) -> Invalid:
    return Invalid([complaint_of(Wrong("json_invalid", "JSON decode error", error=why), ("body", place), {})])


def read_fields(given: Mapping[str, Any], readers: Mapping[str, Reader]) -> tuple[dict[str, Any], list[Complaint]]:
    """Each field by its reader, in the readers' order; what else is given is dropped. And all that is wrong."""
    found, complaints = {}, []
    for name, read in readers.items():
        if name not in given:
            complaints.append(complaint_of(Wrong("missing", "Field required"), ("body", name), given))
            continue
        try:
            found[name] = read(given[name])
        except Wrong as wrong:
            complaints.append(complaint_of(wrong, ("body", name), given[name]))
    return found, complaints


def complaint_of(wrong: Wrong, loc: Place, value: Any) -> Complaint:
    return Complaint(wrong.kind, loc, str(wrong), value, wrong.context)


def read_text(value: Any) -> str:
    """Raises Wrong."""
    if not isinstance(value, str):
        raise Wrong("string_type", "Input should be a valid string")
    if "\0" in value:
        raise Wrong("string_nul", "Input should be a string without the character NUL")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Wrong(
            "string_unicode", "Input should be a valid string, unable to parse raw data as a unicode string"
        ) from None
    return value


def read_whole(value: Any) -> int:
    """Raises Wrong."""
    if isinstance(value, float):
        return _whole_of_float(value)
    if isinstance(value, int):
        return int(value)
    if not isinstance(value, str):
        raise Wrong("int_type", "Input should be a valid integer")
    if not _WHOLE.match(value.strip()):
        raise Wrong("int_parsing", "Input should be a valid integer, unable to parse string as an integer")
    try:
        return int(value.strip().partition(".")[0])
    except ValueError:  # thousands of digits
        raise _too_large() from None


def _whole_of_float(value: float) -> int:
    if value != value or value in (float("inf"), float("-inf")):
        raise Wrong("finite_number", "Input should be a finite number")
    if not value.is_integer():
        raise Wrong("int_from_float", "Input should be a valid integer, got a number with a fractional part")
    if not -(2**63) <= value < 2**63:
        raise _too_large()
    return int(value)


def _too_large() -> Wrong:
    return Wrong("int_parsing_size", "Unable to parse input string as an integer, exceeded maximum size")


def read_number(value: Any) -> float:
    """Raises Wrong."""
    if isinstance(value, str) and not _NUMBER.match(value.strip()):
        raise Wrong("float_parsing", "Input should be a valid number, unable to parse string as a number")
    if not isinstance(value, str | int | float):
        raise Wrong("float_type", "Input should be a valid number")
    try:
        number = float(value)
    except OverflowError:
        raise Wrong("float_type", "Input should be a valid number") from None
    if number - number != 0:
        raise Wrong("finite_number", "Input should be a finite number")
    return number


def read_uuid(value: Any) -> str:
    """Any UUID, in small letters with dashes. Raises Wrong."""
    if not isinstance(value, str):
        raise Wrong("uuid_type", "UUID input should be a string, bytes or UUID object")
    bare, dashed = value, False
    if value.startswith("urn:uuid:"):
        bare, dashed = value[9:], True
    elif value.startswith("{") and value.endswith("}"):
        bare, dashed = value[1:-1], True
    if why := _why_no_uuid(bare, dashed=dashed):
        raise Wrong("uuid_parsing", f"Input should be a valid UUID, {why}", error=why)
    return str(uuid.UUID(bare))


def read_uuid4(value: Any) -> str:
    """A random UUID, in small letters with dashes. Raises Wrong."""
    found = read_uuid(value)
    if uuid.UUID(found).version != 4:
        raise Wrong("uuid_version", "UUID version 4 expected", expected_version=4)
    return found


def _why_no_uuid(text: str, *, dashed: bool) -> str | None:
    if text.isascii():
        for place, letter in enumerate(text):
            if letter not in "0123456789abcdefABCDEF-":
                return f"invalid character: found `{letter}` at {place}"
    groups = text.split("-")
    if len(groups) == 1 and not dashed:
        return None if len(text) == 32 and text.isascii() else f"invalid length: found {len(text.encode())}"
    if len(groups) != len(_UUID_GROUPS):
        return f"invalid group count: expected 5, found {len(groups)}"
    for number, (group, length) in enumerate(zip(groups, _UUID_GROUPS, strict=True)):
        if len(group) != length or not group.isascii():
            return f"invalid group length in group {number}: expected {length}, found {len(group)}"
    return None


def read_moment(value: Any) -> datetime:
    """A date and time in ISO 8601, a date, or an epoch in seconds or milliseconds. Raises Wrong."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise Wrong("datetime_type", "Input should be a valid datetime")
    if isinstance(value, str) and not _EPOCH.match(value):
        return _of_text(value)
    if isinstance(value, str):
        return _of_epoch(float(value) if "." in value or len(value) > _LONG else int(value))
    return _of_epoch(value)


def _of_epoch(value: float) -> datetime:
    unit = 1_000 if abs(value) > _MILLISECONDS_FROM else 1_000_000  # to microseconds
    try:
        return _EPOCH_START + timedelta(microseconds=round(value * unit))
    except (OverflowError, ValueError):
        side = "after 9999" if value > 0 else "before 0000"
        why = f"dates {side} are not supported as unix timestamps"
        raise Wrong("datetime_parsing", f"Input should be a valid datetime, {why}", error=why) from None


def _of_text(text: str) -> datetime:
    day, rest = _day_of(text), text[10:]
    if not rest:
        return datetime.combine(day, time())
    found = _TIME.match(rest)
    if found is None:
        raise _no_moment("unexpected extra characters at the end of the input")
    hour, minute, second, fraction, utc, sign, *offset = found.groups()
    micro = int((fraction or "0")[:6].ljust(6, "0"))
    zone = UTC if utc else _zone(sign, *map(int, offset)) if sign else None
    return datetime.combine(day, time(int(hour), int(minute), int(second or 0), micro, zone))


def _day_of(text: str) -> date:
    found = _DATE.match(text)
    if found is None:
        raise _no_moment("input is too short" if len(text) < 10 else "invalid character in year")
    year, month, day = map(int, found.groups())
    if not 1 <= month <= 12:
        raise _no_moment("month value is outside expected range of 1-12")
    try:
        return date(year, month, day)
    except ValueError:
        raise _no_moment("day value is outside expected range") from None


def _zone(sign: str, hours: int, minutes: int) -> timezone:
    offset = timedelta(hours=hours, minutes=minutes)
    return timezone(offset if sign == "+" else -offset)


def _no_moment(why: str) -> Wrong:
    return Wrong("datetime_from_date_parsing", f"Input should be a valid datetime or date, {why}", error=why)
