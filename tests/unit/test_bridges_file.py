"""BRIDGES_FILE: what is no file of bridges is said in one line, also where it is no TOML at all."""

from pathlib import Path

import pytest

from bridges.config import checked, decode
from messaging.settings.settings import Settings, SettingsError


@pytest.mark.parametrize(
    "content", [b"\xff\xfe", b"a = 1\na = 1\n", b"x = " + b"[" * 5000], ids=["bytes", "twice", "deep"]
)
def test_what_is_no_toml_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "bridges.toml"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match=r"BRIDGES_FILE: .*bridges\.toml"):
        decode(file)


@pytest.mark.parametrize("name", ["recado", "intake"])
def test_a_name_that_stands_for_something_else_is_refused(tmp_path: Path, name: str) -> None:
    file = tmp_path / "bridges.toml"
    file.write_text(f'[[nats.out]]\nname = "{name}"\ntopics = "shops.*"\nurl = "nats://127.0.0.1:4222"\n')
    with pytest.raises(SettingsError, match=f"'{name}' is the name of something else"):
        checked(decode(file), Settings())
