"""What can be seen of a process: its metrics, its loop, a log that nobody floods."""
