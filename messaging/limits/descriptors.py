"""Descriptors: as many as the system lets a process have, and some that are not for its peers."""

from __future__ import annotations

import resource
from contextlib import suppress

RESERVED = 256  # for the database, the bus, what bridges speak to, files
OPEN_MAX = 10_240  # what macOS keeps to where its hard limit says that there is none


def raise_descriptor_limit() -> None:
    """Raise the soft limit to the hard one. Harmless where that can't be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for most in (hard, OPEN_MAX):
        if most > soft or most == resource.RLIM_INFINITY:
            with suppress(ValueError, OSError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
                return


def descriptors_for_peers() -> int:
    """How many connections of peers this process may have."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if soft == resource.RLIM_INFINITY:
        return OPEN_MAX
    return soft - min(RESERVED, soft // 2)
