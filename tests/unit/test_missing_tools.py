"""What a machine lacks is named once, with the command that brings it."""

from support.missing_tools import summary


def test_each_tool_is_named_once_with_the_command_that_brings_it() -> None:
    reasons = ["tmux", "wscat", "tmux", "epmd", "rabbitmq-server", "axe-core, of tests/package.json,", "caddy"]
    reasons = [f"Skipped: {tool} is not installed" for tool in reasons]
    lines = summary([*reasons, "Skipped: network namespaces need root"])
    assert "2 tests: tmux is not installed" in lines and "1 test: network namespaces need root" in lines
    assert lines[-3:] == [
        "To run them: apt install rabbitmq-server tmux",
        "To run them: npm --prefix tests install   (apt install npm)",
        "To run them: .venv/bin/pip install --require-hashes -r requirements-dev.txt",
    ]


def test_what_no_command_mends_has_none() -> None:
    assert summary(["Skipped: only root runs PostgreSQL as another user"]) == [
        "1 test: only root runs PostgreSQL as another user"
    ]
