"""What a newcomer sees: lines to copy."""

from __future__ import annotations

import json

from messaging.actions import Actions
from messaging.settings import Settings
from messaging.tokens import Tokens

EXAMPLE_USERS = ("omar", "diego", "satoshi", "memoor")


async def welcome(settings: Settings, actions: Actions, tokens: Tokens) -> str:
    """Ready-made commands for a first conversation. In open mode they carry tokens, which everybody may have there."""
    topic = json.dumps({"topic_name": "noticias", "user": "omar", "is_private": False})
    key = "" if settings.auth_mode == "open" else ' -H "Authorization: Bearer $API_KEY"'
    lines = [
        "",
        f"Recado's page      {settings.api_url}/",
        f"Recado's API       {settings.api_url}/docs",
        f"Recado's WebSocket {settings.ws_url}",
        "",
    ]
    if settings.auth_mode == "open":
        lines.append("Talk as one of these, each in a terminal of its own (npm install -g wscat):")
        for user in EXAMPLE_USERS:
            await actions.know(user)
            lines.append(f"  wscat -c {settings.ws_url}/{tokens.issue(user)[0]}   # {user}")
    else:
        lines.append("Make tokens: .venv/bin/python -m recado token omar diego --key $API_KEY")
    lines += [
        "",
        "Make a topic:",
        f"  curl -X POST {settings.api_url}/api/v1/topics -H 'Content-Type: application/json'{key} -d '{topic}'",
        "Then type into a wscat:",
        '  {"action":"subscribe","topic_name":"noticias"}',
        '  {"action":"message","topic_name":"noticias","content":"hola"}',
        "",
    ]
    return "\n".join(lines)
