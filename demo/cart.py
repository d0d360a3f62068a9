"""The shelf, and the cart: a list of dicts inside the session, with prices as ``Decimal``.

There is no "save" here, and no "modified" flag: a change deep inside the data is detected and saved.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from decimal import Decimal
from typing import Any, NamedTuple

#: The largest quantity of one kind of cookie.
MOST = 99


class Cookie(NamedTuple):
    """One thing on the shelf."""

    name: str
    taste: str
    price: Decimal


SHELF = {
    "chip": Cookie("Chocolate chip", "Dark chocolate, sea salt", Decimal("2.40")),
    "ginger": Cookie("Ginger snap", "Stem ginger, black treacle", Decimal("1.80")),
    "shortbread": Cookie("Shortbread", "Butter, and that is all", Decimal("1.60")),
    "oat": Cookie("Oat and raisin", "Toasted oats, cinnamon", Decimal("2.10")),
    "lemon": Cookie("Lemon thin", "Amalfi lemon, sugar crust", Decimal("1.90")),
    "jam": Cookie("Jam ring", "Raspberry, vanilla", Decimal("2.30")),
}


def add(session: MutableMapping[str, Any], sku: str) -> None:
    """Add one of ``sku``, a key of ``SHELF``, to the cart."""
    cart = session.setdefault("cart", [])
    for item in cart:
        if item["sku"] == sku:
            item["quantity"] = min(item["quantity"] + 1, MOST)
            return
    cookie = SHELF[sku]
    cart.append({"sku": sku, "name": cookie.name, "price": cookie.price, "quantity": 1})


def take(session: MutableMapping[str, Any], sku: str) -> bool:
    """Remove one of ``sku`` from the cart, and its line if none is left. Return whether any is left."""
    cart = session.get("cart", [])
    for item in cart:
        if item["sku"] == sku:
            item["quantity"] -= 1
    cart[:] = [item for item in cart if item["quantity"] > 0]
    return any(item["sku"] == sku for item in cart)


def count(session: Mapping[str, Any]) -> int:
    """Return how many cookies are in the cart."""
    return sum(item["quantity"] for item in session.get("cart", []))


def total(session: Mapping[str, Any]) -> Decimal:
    """Return the exact price of the cart: a ``Decimal`` in the session stays a ``Decimal``."""
    return sum((item["price"] * item["quantity"] for item in session.get("cart", [])), Decimal(0))
