"""`recado doctor` on a node: the database, the bus, the doors and this machine."""
