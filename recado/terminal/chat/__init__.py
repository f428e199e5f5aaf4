"""`recado chat`."""
