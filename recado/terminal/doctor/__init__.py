"""`recado doctor`: what is gathered, and what it means."""
