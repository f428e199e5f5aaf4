"""What a newcomer sees: lines to copy."""

from __future__ import annotations

import json

from messaging.actions import Actions
from messaging.auth.tokens import Tokens
from messaging.settings.settings import Settings

EXAMPLE_USERS = ("omar", "diego", "satoshi", "memoor")


async def welcome(settings: Settings, actions: Actions, tokens: Tokens, *, to_person: bool) -> str:
    """Ready-made commands for a first conversation. In open mode they carry tokens, if a person reads them."""
    topic = json.dumps({"topic_name": "noticias", "user": "omar", "is_private": False})
    is_open = settings.auth_mode == "open"
    key = "" if is_open else ' -H "Authorization: Bearer $API_KEY"'
    lines = [
        "",
        f"Recado's page      {settings.api_url}/",
        f"Recado's API       {settings.api_url}/docs",
        f"Recado's WebSocket {settings.ws_url}",
        "",
    ]
    for user in EXAMPLE_USERS if is_open else ():
        await actions.know(user)
    if is_open and to_person:
        lines.append("Talk as one of these, each in a terminal of its own (npm install -g wscat):")
        for user in EXAMPLE_USERS:
            lines.append(f"  wscat -c {settings.ws_url}/{tokens.issue(user)[0]}   # {user}")
    else:
        lines.append(f"Make tokens: .venv/bin/python -m recado token omar diego{'' if is_open else ' --key $API_KEY'}")
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
