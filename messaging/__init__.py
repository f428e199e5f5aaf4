"""The domain: topics, members, messages, cursors. Knows no socket, no HTTP, no broker."""
