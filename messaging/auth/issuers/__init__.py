"""Other issuers of tokens: their keys, and what one of their tokens says."""
