"""The SQL of Recado: the schema, its migrations, the functions and the named queries."""
