"""Units of answers, with exact factors to the base unit of each dimension.

Each currency is a dimension. Counted things (apples, people) are units that do not convert; nor do
temperatures.
"""

import re
from fractions import Fraction

_NAMES = {
    "millimeter": "mm", "centimeter": "cm", "meter": "m", "metre": "m", "kilometer": "km",
    "kilometre": "km", "centimetre": "cm", "millimetre": "mm", "inch": "in", "inche": "in",
    "foot": "ft", "feet": "ft", "yard": "yd", "mile": "mi", "second": "s", "sec": "s",
    "minute": "min", "hour": "h", "hr": "h", "gram": "g", "kilogram": "kg", "kilo": "kg",
    "pound": "lb", "liter": "l", "litre": "l", "milliliter": "ml", "millilitre": "ml",
    "tonne": "ton", "ounce": "oz", "celsiu": "celsius", "centigrade": "celsius",
    "ohm": "ohm", "newton": "N", "joule": "J", "watt": "W", "volt": "V", "ampere": "A",
    "amp": "A", "coulomb": "C", "hertz": "Hz", "pascal": "Pa", "kelvin": "K", "mole": "mol",
    "kilowatt": "kW", "kilojoule": "kJ", "kilopascal": "kPa", "kilohertz": "kHz", "kwh": "kWh",
    "milligram": "mg", "micrometer": "um", "nanometer": "nm", "millisecond": "ms", "usd": "dollar",
    "buck": "dollar", "gbp": "pounds sterling", "eur": "euro", "jpy": "yen", "inr": "rupee",
    "persons": "person", "radian": "rad", "gal": "gallon", "pct": "percent",
    "min": "min", "mins": "min", "secs": "s", "hrs": "h", "yr": "year", "wk": "week",
}  # fmt: skip
"""English name in the singular, or another spelling -> symbol."""

_FACTORS: dict[str, tuple[str, str]] = {
    "nm": ("length", "1/1000000000"), "um": ("length", "1/1000000"),
    "us": ("time", "1/1000000"), "ug": ("mass", "1/1000000"), "ul": ("volume", "1/1000000"),
    "mm": ("length", "1/1000"), "cm": ("length", "1/100"), "dm": ("length", "1/10"),
    "m": ("length", "1"), "km": ("length", "1000"), "in": ("length", "127/5000"),
    "ft": ("length", "381/1250"), "yd": ("length", "1143/1250"), "mi": ("length", "201168/125"),
    "ms": ("time", "1/1000"),
    "s": ("time", "1"), "min": ("time", "60"), "h": ("time", "3600"), "day": ("time", "86400"),
    "week": ("time", "604800"), "g": ("mass", "1"), "kg": ("mass", "1000"),
    "mg": ("mass", "1/1000"), "ton": ("mass", "1000000"), "l": ("volume", "1"),
    "dl": ("volume", "1/10"), "cl": ("volume", "1/100"),
    "ml": ("volume", "1/1000"), "am": ("am", "1"), "pm": ("pm", "1"),
    "year": ("year", "12"), "month": ("year", "1"),
    "dollar": ("dollar", "1"), "cent": ("dollar", "1/100"), "euro": ("euro", "1"),
    "pounds sterling": ("pounds sterling", "1"), "yen": ("yen", "1"),
    "yuan": ("yuan", "1"), "rupee": ("rupee", "1"), "ruble": ("ruble", "1"),
    "lb": ("lb", "1"), "oz": ("lb", "1/16"), "gallon": ("gallon", "1"), "quart": ("gallon", "1/4"),
    "pint": ("gallon", "1/8"), "dozen": ("dozen", "1"),
    "N": ("force", "1"), "kN": ("force", "1000"), "J": ("energy", "1"), "kJ": ("energy", "1000"),
    "MJ": ("energy", "1000000"), "kWh": ("energy", "3600000"), "Wh": ("energy", "3600"),
    "eV": ("eV", "1"), "cal": ("cal", "1"), "kcal": ("cal", "1000"),
    "W": ("power", "1"), "kW": ("power", "1000"), "MW": ("power", "1000000"),
    "V": ("voltage", "1"), "kV": ("voltage", "1000"), "mV": ("voltage", "1/1000"),
    "A": ("current", "1"), "mA": ("current", "1/1000"), "C": ("charge", "1"),
    "ohm": ("resistance", "1"), "kohm": ("resistance", "1000"),
    "Hz": ("frequency", "1"), "kHz": ("frequency", "1000"), "MHz": ("frequency", "1000000"),
    "Pa": ("pressure", "1"), "kPa": ("pressure", "1000"), "atm": ("atm", "1"),
    "K": ("kelvin", "1"), "mol": ("mol", "1"), "celsius": ("celsius", "1"),
    "fahrenheit": ("fahrenheit", "1"), "T": ("tesla", "1"), "F": ("farad", "1"),
    "bit": ("byte", "1/8"), "byte": ("byte", "1"), "rad": ("rad", "1"),
}  # fmt: skip
"""Symbol -> dimension and factor."""

_COUNTED = frozenset(
    """
    acre apple bag ball bin block book box boxe candie candy car child children
    coin cookie cube cubic cup digit edge egg game inch2 kmh kph marble
    mph page paper people percent person point revolution root
    side solution sq sqft square step student term ticket time turn unit vertex vertices
    way
    """.split()
)
"""Units that do not convert, in the singular."""

_SINGULARS = {"people": "person", "children": "child", "vertices": "vertex", "boxe": "box",
              "candie": "candy"}  # fmt: skip
_MEGA = re.compile("M[a-z]")
"""Symbols with the prefix "mega", which must not be read as "milli"."""
_SYMBOLS_WITH_CASE = frozenset(symbol for symbol in _FACTORS if not symbol.islower())


def singular(name: str) -> str:
    """Strip the plural ending of a word.

    >>> singular("miles"), singular("glass"), singular("people")
    ('mile', 'glass', 'person')
    """
    single = name[:-1] if len(name) > 2 and name.endswith("s") and not name.endswith("ss") else name
    return _SINGULARS.get(single, single)


def is_unit(name: str) -> bool:
    """Decide whether a word is a known unit: a symbol with its case, or a name in any case.

    >>> is_unit("kWh"), is_unit("Miles"), is_unit("x")
    (True, True, False)
    """
    return unit_factor(name) is not None or any(
        n in _COUNTED for n in (name.lower(), singular(name.lower()))
    )


def unit_factor(name: str) -> tuple[str, Fraction] | None:
    """Look up dimension and factor of a unit; None if it does not convert.

    >>> unit_factor("km") == unit_factor("kilometers")
    True
    """
    if _MEGA.fullmatch(name) and name not in _FACTORS:
        return None
    lower = name.lower()
    for candidate in (name, lower, singular(lower)):
        symbol = _NAMES.get(candidate, candidate)
        if len(candidate) < 3 and symbol in _SYMBOLS_WITH_CASE and candidate != name:
            continue
        found = _FACTORS.get(symbol)
        if found is not None:
            return found[0], Fraction(found[1])
    return None
