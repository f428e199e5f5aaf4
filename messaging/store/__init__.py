"""PostgreSQL behind typed methods: what the domain asks of it, and how it is brought up. The SQL is in sql/."""
