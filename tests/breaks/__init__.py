"""One-line breaks of the product, each with the test that must fail of it: ``make breaks``."""
