"""Recado in a terminal: the subcommands of the one command. Each talks to a server as any client would."""
