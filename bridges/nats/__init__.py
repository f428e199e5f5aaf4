"""Bridges to NATS."""
