"""The door for people: WebSocket."""
