"""Who PostgreSQL runs as, for it refuses to be root; and which paths that user reaches."""

import contextlib
import os
import pwd
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_UNPRIVILEGED = ("postgres", "nobody")
_FIRST_BARRED = 'for path; do test -x "$path" || { printf %s "$path"; break; }; done'


@dataclass(frozen=True)
class Account:
    """A user of this machine."""

    name: str
    uid: int
    gid: int

    def give(self, path: Path | int) -> None:
        """Make `path` (or an open file) this account's own. Only root gives; for others it is so already."""
        if os.geteuid() == 0:
            follow = isinstance(path, int)
            os.chown(path, self.uid, self.gid, follow_symlinks=follow)

    def first_barred(self, paths: Iterable[Path]) -> Path | None:
        """The first of `paths` that this account may not enter (a directory) or run (a program)."""
        if os.geteuid() != 0:
            return next((path for path in paths if not os.access(path, os.X_OK)), None)
        # Asked as that user: mode bits alone would miss access lists.
        answer = subprocess.run(
            ["/bin/sh", "-c", _FIRST_BARRED, "sh", *paths],
            user=self.uid, group=self.gid, extra_groups=[], cwd="/", stdout=subprocess.PIPE, check=True,
        ).stdout  # fmt: skip
        return Path(os.fsdecode(answer)) if answer else None


def current() -> Account:
    """Who this process runs as."""
    return _of(os.geteuid(), os.getegid())


def choose(data_dir: Path) -> Account:
    """Who runs PostgreSQL on `data_dir`: this user; for root its owner, or else an unprivileged user.

    Raises:
        LookupError: for root, on a machine without such a user.
    """
    if os.geteuid() != 0:
        return current()
    if data_dir.exists() and (owner := data_dir.stat()).st_uid != 0:
        return _of(owner.st_uid, owner.st_gid)
    for name in _UNPRIVILEGED:
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return Account(name, entry.pw_uid, entry.pw_gid)
    raise LookupError(f"this machine has no user {' or '.join(_UNPRIVILEGED)}")


def _of(uid: int, gid: int) -> Account:
    try:
        return Account(pwd.getpwuid(uid).pw_name, uid, gid)
    except KeyError:  # containers may run as a number without a name
        return Account(str(uid), uid, gid)
