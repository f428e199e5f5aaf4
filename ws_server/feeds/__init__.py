"""Who reads what in this process, live or behind, and how it is kept so."""
