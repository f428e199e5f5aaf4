"""The door for other systems: each is a member with a cursor, served by one lane. Knows brokers and HTTP clients."""
