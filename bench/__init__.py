"""A small, honest benchmark: `python -m bench`. docs/benchmarks.md says what it measured and how to read it."""
