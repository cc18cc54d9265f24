"""Units of answers, with exact factors to the base unit of each dimension.

Each currency is a dimension. Counted things (apples, people) are units that do not convert; nor do
temperatures.
"""

from fractions import Fraction

_NAMES = {
    "millimeter": "mm", "centimeter": "cm", "meter": "m", "metre": "m", "kilometer": "km",
    "kilometre": "km", "centimetre": "cm", "inch": "in", "inche": "in", "foot": "ft",
    "feet": "ft", "yard": "yd", "mile": "mi", "second": "s", "sec": "s", "minute": "min",
    "hour": "h", "hr": "h", "day": "day", "week": "week", "gram": "g", "kilogram": "kg",
    "kilo": "kg", "pound": "pound", "lb": "lb", "liter": "l", "litre": "l", "milliliter": "ml",
    "ton": "ton", "tonne": "ton", "year": "year", "month": "month", "ounce": "oz",
}  # fmt: skip
"""English name -> symbol."""

_FACTORS: dict[str, tuple[str, str]] = {
    "mm": ("length", "1/1000"), "cm": ("length", "1/100"), "dm": ("length", "1/10"),
    "m": ("length", "1"), "km": ("length", "1000"), "in": ("length", "127/5000"),
    "ft": ("length", "381/1250"), "yd": ("length", "1143/1250"), "mi": ("length", "201168/125"),
    "s": ("time", "1"), "min": ("time", "60"), "h": ("time", "3600"), "day": ("time", "86400"),
    "week": ("time", "604800"), "g": ("mass", "1"), "kg": ("mass", "1000"),
    "mg": ("mass", "1/1000"), "ton": ("mass", "1000000"), "l": ("volume", "1"),
    "ml": ("volume", "1/1000"), "am": ("am", "1"), "pm": ("pm", "1"),
    "year": ("year", "12"), "month": ("year", "1"),
    "dollar": ("dollar", "1"), "cent": ("dollar", "1/100"), "euro": ("euro", "1"),
    "yuan": ("yuan", "1"), "rupee": ("rupee", "1"), "ruble": ("ruble", "1"), "usd": ("dollar", "1"),
    "lb": ("lb", "1"), "oz": ("lb", "1/16"),
}  # fmt: skip
"""Symbol -> dimension and factor."""

_COUNTED = frozenset(
    """
    acre apple bag ball bin bit block book box boxe bus byte candie candy car cent child children
    coin cookie cube cubic cup digit dollar edge egg euro game hertz inch2 joule kmh kph marble
    mph newton page paper people percent person point pound rad radian revolution root ruble rupee
    side solution sq sqft square step student term ticket time turn unit usd vertex vertices volt
    watt way yuan
    """.split()
)
"""Units that do not convert, in the singular."""


def _singular(name: str) -> str:
    return name[:-1] if len(name) > 2 and name.endswith("s") and not name.endswith("ss") else name


def is_unit(name: str) -> bool:
    """Decide whether a lower-case word is a known unit, in the singular or plural."""
    single = _singular(name)
    return any(n in _FACTORS or n in _NAMES or n in _COUNTED for n in (name, single))


def unit_factor(name: str) -> tuple[str, Fraction] | None:
    """Look up dimension and factor of a unit; None if it does not convert.

    >>> unit_factor("km") == unit_factor("kilometers")
    True
    """
    single = _singular(name)
    for candidate in (name, single):
        found = _FACTORS.get(_NAMES.get(candidate, candidate))
        if found is not None:
            return found[0], Fraction(found[1])
    return None
