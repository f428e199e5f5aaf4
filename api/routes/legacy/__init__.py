"""The surfaces of older systems, as their backends know them."""
