"""Recado as others use it: the client (`recado.client`) and the terminal. It needs nothing of the server."""

__version__ = "0.1.0"
