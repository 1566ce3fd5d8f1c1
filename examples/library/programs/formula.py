"""Scale a baker's formula: percentages of the flour in, grams for any number of loaves out."""

from __future__ import annotations

from collections.abc import Mapping

BAKING_LOSS = 0.12  # water that leaves as steam: a loaf weighs so much less than its dough


def scale(formula: Mapping[str, float], loaves: int, loaf_g: float) -> dict[str, int]:
    """Return grams of each ingredient for that many finished loaves of that weight.

    ``formula`` holds percentages of the total flour, which is 100 by definition and must be in it.

    >>> scale({"flour": 100, "water": 70, "salt": 2, "leaven": 20}, loaves=2, loaf_g=800)
    {'flour': 947, 'water': 663, 'salt': 19, 'leaven': 189}
    """
    if formula.get("flour") != 100:
        raise ValueError("a baker's formula counts from flour = 100")
    dough_g = loaves * loaf_g / (1 - BAKING_LOSS)
    one_percent_g = dough_g / sum(formula.values())
    return {ingredient: round(percent * one_percent_g) for ingredient, percent in formula.items()}


def hydration(formula: Mapping[str, float], leaven_hydration: float = 100) -> float:
    """Return the true hydration in per cent, the flour and the water inside the leaven counted in."""
    leaven = formula.get("leaven", 0)
    leaven_flour = leaven / (1 + leaven_hydration / 100)
    return 100 * (formula["water"] + leaven - leaven_flour) / (formula["flour"] + leaven_flour)


def water_temperature(dough_c: float, room_c: float, flour_c: float, friction_c: float = 0) -> float:
    """Return how warm the water must be for the dough to come out at ``dough_c``: the bakers' rule of three."""
    return 3 * dough_c - room_c - flour_c - friction_c


if __name__ == "__main__":
    for ingredient, grams in scale({"flour": 100, "water": 70, "salt": 2, "leaven": 20}, 6, 800).items():
        print(f"{ingredient:>8} {grams:5d} g")
