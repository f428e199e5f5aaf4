"""The WebSocket door in processes of its own: one, or several on one port."""
