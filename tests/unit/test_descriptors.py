"""A process may have as many descriptors as the system lets it have, and keeps some for itself."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from messaging.limits.descriptors import RESERVED

PROGRAM = """
import resource
from messaging.limits.descriptors import descriptors_for_peers, raise_descriptor_limit
raise_descriptor_limit()
print(*resource.getrlimit(resource.RLIMIT_NOFILE), descriptors_for_peers())
"""


@pytest.mark.parametrize(("soft", "hard", "peers"), [(256, 1024, 1024 - RESERVED), (256, 256, 128)])
def test_the_soft_limit_is_raised_to_the_hard_one(soft: int, hard: int, peers: int) -> None:
    def lower() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    command = [sys.executable, "-c", PROGRAM]
    said = subprocess.run(command, preexec_fn=lower, capture_output=True, text=True, check=True)
    assert said.stdout.split() == [str(hard), str(hard), str(peers)]
