"""Buses between processes, one module each; the contract is `messaging.bus.Bus`."""
