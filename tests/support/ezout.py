"""An event of a shop as its till posts it, and as it stands on NATS."""

import json
from typing import Any

GOLDEN = (
    b'{"session_id": "8f14e45f-ceea-467f-a8e0-9a1b2c3d4e5f", "shop_id": "3c6e0b8a-9c15-424a-8d1e-1f2a3b4c5d6e", '
    b'"shopper_id": "0cc175b9-c0f1-46b6-831c-399e26977266", "action_id": 1, '
    b'"create_time": "2023-12-18 10:30:00+00:00", "action": "add", "product_name": "Caff\\u00e8", "product_id": 2, '
    b'"product_price": 3.0, "UPC": "012", "category_id": "c", "basket_total": 12.5}'
)


def event(number: int = 1) -> dict[str, Any]:
    given = json.loads(GOLDEN) | {"action_id": number, "create_time": "2023-12-18T10:30:00Z", "product_price": 3}
    return dict(given)
