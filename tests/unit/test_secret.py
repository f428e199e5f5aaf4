"""The secret that Recado makes for itself: whole or not there, and of the one who made it alone."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from messaging.settings.settings import SettingsError
from standalone.secret import kept_secret


def test_several_that_start_at_once_have_one_secret_and_leave_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    with ThreadPoolExecutor(8) as starts:
        found = set(starts.map(kept_secret, [path] * 8))
    assert len(found) == 1 and found == {kept_secret(path)}
    assert [path] == list(tmp_path.iterdir()) and path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [b"", b"short\n", b"\xff" * 64])
def test_a_file_that_holds_no_secret_signs_nothing(tmp_path: Path, content: bytes) -> None:
    """Such as one that was being written when the machine went down."""
    path = tmp_path / "secret"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=r"^DATA_DIR: .*holds no secret"):
        kept_secret(path)
