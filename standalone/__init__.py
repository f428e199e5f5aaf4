"""The one command: an embedded PostgreSQL and every door in one process."""
