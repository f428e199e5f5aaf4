"""What may be the content of a message."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.errors import BadRequest
from messaging.log.content import MAX_DEPTH, check_content, check_json
from messaging.settings.settings import Settings

LIMIT = 1000
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    "text",
    [
        "null",
        "0",
        "-0",
        "1.50",
        "1E5",
        "123456789012345678901234567890",
        '""',
        '"\\n"',
        '"\\u00e9"',
        '"é"',
        '"\\ud83d\\ude00"',
        '{"a":1,"a":2}',
        ' { "b" : [ ] } ',
        "[]",
        '"\\\\u0000"',
        '"[[[["',
        '"' + "[" * 500 + '"',
        "\t1\r\n",
    ],
)
def test_json_is_kept_byte_for_byte(text: str) -> None:
    assert text == check_json(text.encode(), LIMIT)
    assert text == check_json(memoryview(text.encode()), LIMIT)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b" ",
        b"nil",
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"01",
        b"1.",
        b".5",
        b"+1",
        b"'a'",
        b"{a:1}",
        b"[1,]",
        b"[1] 2",
        b"[",
        b"]",
        b"// c\n1",
        b'"\n"',
        b'"\t"',
        b'"\x00"',
        b"\x001",
        b'"a',
        b'"\\x41"',
        b"\xef\xbb\xbf1",
        b"1\xc2\xa0",
        b'"\xff"',
        b'"\xc0\x80"',
        b'"\xed\xa0\x80"',
        b'"\xf4\x90\x80\x80"',
        b'\xff\xfe"\x00',
        b'"\\ud800"',
        b'"\\udc00"',
        b'"\\ud800\\ud800"',
        b'"\\ud800x"',
        b'{"\\udfff":1}',
    ],
    ids=repr,
)
def test_what_is_not_json_or_not_utf8_is_refused(raw: bytes) -> None:
    with pytest.raises(BadRequest):
        check_json(raw, LIMIT)


@pytest.mark.parametrize("raw", [b'"\\u0000"', b'["a\\u0000b"]', b'{"a":{"\\u0000":1}}', b'["\\\\\\u0000"]'], ids=repr)
def test_a_nul_is_refused_wherever_it_stands(raw: bytes) -> None:
    with pytest.raises(BadRequest, match="NUL"):
        check_json(raw, LIMIT)


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")])
def test_depth_is_bounded(opening: str, closing: str) -> None:
    levels = MAX_DEPTH // (1 + opening.startswith("[{"))
    deepest = opening * levels + "1" + closing * levels
    assert deepest == check_json(deepest.encode(), LIMIT)
    with pytest.raises(BadRequest, match="deeper"):
        check_json(f"[{deepest}]".encode(), LIMIT)


@pytest.mark.parametrize("depth", [1_000, 100_000])
def test_depth_that_no_stack_has_is_refused_as_well(depth: int) -> None:
    with pytest.raises(BadRequest, match="deeper"):
        check_json(b"[" * depth + b"]" * depth, 10**6)


def test_many_brackets_side_by_side_are_not_deep() -> None:
    wide = "[" + ",".join(["[]"] * 200) + "]"
    assert wide == check_json(wide.encode(), LIMIT)


def test_size_is_bounded_in_bytes() -> None:
    assert '"éé"' == check_json('"éé"'.encode(), 6)
    with pytest.raises(BadRequest, match="6 bytes; the most is 5"):
        check_json('"éé"'.encode(), 5)


@given(values, st.booleans())
def test_all_json_without_nul_is_taken(value: Any, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    if "\\u0000" not in text.replace("\\\\", ""):
        assert text == check_json(text.encode(), 10**6)


@given(st.binary() | st.text().map(str.encode))
def test_whatever_comes_is_taken_or_refused(raw: bytes) -> None:
    try:
        assert raw == check_json(raw, LIMIT).encode()
    except BadRequest as refusal:
        assert "\n" not in refusal.message


def test_no_door_takes_more_than_max_frame() -> None:
    settings = Settings(max_frame=5)
    assert check_content(b'"abc"', settings) == '"abc"'
    with pytest.raises(BadRequest):
        check_content(b'"abcd"', settings)
