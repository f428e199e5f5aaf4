"""A cluster's postmaster.pid: who runs PostgreSQL there, and how far its start is."""

import os
import subprocess
import sys
from pathlib import Path


class PidFile:
    """What PostgreSQL wrote about itself into `cluster`."""

    def __init__(self, cluster: Path) -> None:
        self._cluster = cluster
        self._path = cluster / "postmaster.pid"

    def pid(self) -> int | None:
        """The pid in the file, dead or alive."""
        number = "".join(self._lines()[:1])
        # Single-user mode writes its own negated.
        number = number.removeprefix("-")
        return int(number) if number.isdigit() else None

    def says_ready(self, pid: int) -> bool:
        """Whether the PostgreSQL that runs as `pid` takes connections."""
        lines = self._lines()
        return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"

    def living(self) -> int | None:
        """The pid of a PostgreSQL alive on the cluster; a file that would wrongly tell PostgreSQL of one is removed."""
        pid = self.pid()
        if pid is not None and not alive(pid):
            # PostgreSQL judges these remains better: it also looks for shared memory still in use.
            return None
        if pid is not None and serves(pid, self._cluster):
            return pid
        # Since a reboot the number is someone else's, or a full disk cut it off.
        self._path.unlink(missing_ok=True)
        return None

    def _lines(self) -> list[str]:
        try:
            return self._path.read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return []


def alive(pid: int) -> bool:
    """Whether there is a process `pid`, whoever's."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def serves(pid: int, cluster: Path) -> bool:
    """Whether the living process `pid` is a PostgreSQL on `cluster`, and not just a number used again."""
    process = Path(f"/proc/{pid}")
    try:
        # PostgreSQL works in its data directory.
        return (process / "comm").read_text().strip() == "postgres" and (process / "cwd").samefile(cluster)
    except PermissionError:
        # Root in a container may not look, and believes the name. For others it is another user's: not on our cluster.
        return os.geteuid() == 0
    except (FileNotFoundError, ProcessLookupError):
        return sys.platform != "linux" and _serves_by_command(pid, cluster)


def _serves_by_command(pid: int, cluster: Path) -> bool:
    command = subprocess.run(["/bin/ps", "-o", "command=", "-p", str(pid)], stdout=subprocess.PIPE, text=True)
    return "postgres" in command.stdout and str(cluster) in command.stdout
