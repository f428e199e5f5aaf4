"""A process, and which others there are: its start and end, who is alive, whose turn it is."""
