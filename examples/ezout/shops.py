"""Three shops, and where their news goes."""

from __future__ import annotations

SHOPS = {
    "Rome": "3c6e0b8a-9c15-424a-8d1e-1f2a3b4c5d6e",
    "Milan": "c81e728d-9d4c-4f63-9f06-7f89cc14862c",
    "Naples": "eccbc87e-4b5c-42fe-a830-8fd9f2a7baf3",
}
TOPICS = {f"updates.store.{shop}": city for city, shop in SHOPS.items()}
