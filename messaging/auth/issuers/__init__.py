"""Other issuers of tokens: the setting that names them, their keys, and what one of their tokens says."""
