"""The door for backends and browsers: REST over HTTP. Knows aiohttp; what may be done is known to messaging.actions."""
