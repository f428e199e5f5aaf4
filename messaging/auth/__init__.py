"""Who asks: tokens, tickets, other issuers, and how a request came to a door."""
