"""Become a program that does not outlive its parent: ``parent_death.py HOW NUMBER UID GID PROGRAM ARGUMENT...``

``signal PPID`` (Linux): the kernel sends SIGINT once the thread of PPID that started this is gone. ``pipe FD``
(anywhere): a watching process sends it once the other end of FD is closed. To PostgreSQL, SIGINT is a fast and
clean shutdown.

Run by its path, in an interpreter of its own: Python code between fork and exec is not safe beside other threads, and
as root the interpreter may lie where PostgreSQL's user cannot go, so the privileges are dropped only here (and
nothing can be imported afterwards).
"""

import ctypes
import os
import select
import signal
import sys

_PR_SET_PDEATHSIG = 1


def drop_privileges(uid: int, gid: int) -> None:
    """Become `uid` for good. Only root can; anyone else is it already."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)


def die_with(parent: int) -> None:
    """Ask the kernel for SIGINT at `parent`'s death; after any change of user, which would undo it."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGINT, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    # Had it died before the call, no signal would ever come.
    if os.getppid() != parent:
        sys.exit("the parent died during the start")


def watch(parent_pipe: int) -> None:
    """Leave a process behind that sends SIGINT to this one when `parent_pipe` ends."""
    watched = os.getpid()
    # The program and all its children inherit the write end: it ends when the last of them does.
    life, held = os.pipe()
    os.set_inheritable(held, True)
    # Forked twice: PostgreSQL would take a child that it did not make for one of its own that crashed.
    if child := os.fork():
        os.waitpid(child, 0)
        return
    if os.fork() == 0:
        _close_all_but(parent_pipe, life)
        readable, _, _ = select.select([parent_pipe, life], [], [])
        # Once the program is gone, its pid may be another's.
        if life not in readable:
            os.kill(watched, signal.SIGINT)
    os._exit(0)


def _close_all_but(*kept: int) -> None:
    # The lock among them: only PostgreSQL itself may keep it held.
    first = 0
    for fd in sorted(kept):
        os.closerange(first, fd)
        first = fd + 1
    os.closerange(first, first + 1024)


def main() -> None:
    # Python's own handler would swallow a signal that comes just before the exec.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    how, number, uid, gid, *command = sys.argv[1:]
    drop_privileges(int(uid), int(gid))
    if how == "signal":
        die_with(int(number))
    else:
        watch(int(number))
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
