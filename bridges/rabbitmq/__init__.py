"""Bridges to RabbitMQ."""
