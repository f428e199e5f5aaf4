"""The one command: embedded PostgreSQL and every door in one process."""
