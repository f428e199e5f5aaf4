"""Chat platforms that talk to each other: who they are, what one says and what the others get to hear of it."""
