r"""The vocabulary of answers: commands, functions, connectives and units.

A table is data: adding a unit or a function name here is the whole change. Unit factors are exact and
relative to one base unit of each dimension; units of money and of counted things convert to nothing.
"""

from fractions import Fraction

FUNCTIONS = frozenset(
    "sin cos tan cot sec csc arcsin arccos arctan arccot arcsec arccsc asin acos atan sinh cosh tanh coth "
    "ln log lg exp sqrt cbrt abs floor ceil min max gcd lcm det tr Re Im arg".split()
)
"""Names that are applied to what follows them."""

GREEK = (
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho "
    "sigma tau upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Sigma Phi Psi Omega ell hbar "
    "aleph"
).split()

DROPPED = frozenset(
    "\\left \\right \\big \\Big \\bigg \\Bigg \\bigl \\bigr \\Bigl \\Bigr \\biggl \\biggr \\middle \\limits "
    "\\nolimits \\displaystyle \\textstyle \\scriptstyle \\, \\; \\: \\! \\  \\quad \\qquad \\thinspace "
    "\\medspace \\thickspace \\negthinspace \\negmedspace \\negthickspace \\( \\) \\[ \\] \\$ \\hspace "
    "\\mathstrut \\strut \\bf \\rm \\it \\large \\Large \\boldsymbol \\boxed \\fbox \\mathbf \\mathit \\bm "
    "\\mathcal \\mathrm \\text \\mbox \\textbf \\operatorname \\vec \\enspace \\angle \\triangle "
    "\\phantom \\\n \\left. \\right. \\mathsf \\euro".split(" ")
)
"""Layout, which has no meaning in an answer."""

COMMANDS = (
    {f"\\{name}": name for name in FUNCTIONS}
    | {
        "\\dfrac": "\\frac", "\\tfrac": "\\frac", "\\cfrac": "\\frac", "\\tbinom": "\\binom",
        "\\dbinom": "\\binom", "\\cdot": "*", "\\times": "*", "\\ast": "*", "\\div": "/", "\\colon": ":",
        "\\le": "<=", "\\leq": "<=", "\\leqslant": "<=", "\\ge": ">=", "\\geq": ">=",
        "\\geqslant": ">=", "\\lt": "<", "\\gt": ">", "\\neq": "\\ne", "\\not=": "\\ne",
        "\\rightarrow": "\\to", "\\Rightarrow": "\\to", "\\longrightarrow": "\\to",
        "\\Longrightarrow": "\\to", "\\implies": "\\to", "\\simeq": "\\approx", "\\sim": "\\approx",
        "\\lbrace": "\\{", "\\rbrace": "\\}", "\\lbrack": "[", "\\rbrack": "]", "\\lvert": "|",
        "\\rvert": "|", "\\vert": "|", "\\mid": "|", "\\varnothing": "\\emptyset", "\\land": "and",
        "\\wedge": "and", "\\lor": "or", "\\vee": "or", "\\bigcup": "\\cup", "\\bigcap": "\\cap",
        "\\backslash": "\\setminus", "\\prime": "'", "\\degree": "\\circ", "\\textcirc": "\\circ",
        "\\textcircled": "\\circ", "\\lparen": "(", "\\rparen": ")", "\\dots": "\\ldots",
        "\\cdots": "\\ldots", "\\infin": "\\infty", "\\mp": "\\mp", "\\exponentialE": "e",
        "\\imaginaryI": "i", "\\tg": "tan", "\\ctg": "cot", "\\arctg": "arctan", "\\&": "and",
        "\\textnormal": "\\text", "\\lceil": "\\lceil", "\\dotsm": "\\ldots", "\\dotsb": "\\ldots",
    }
)  # fmt: skip
"""LaTeX command -> token."""

WORDS = {
    "and": "and", "or": "or", "pi": "\\pi", "infinity": "\\infty", "oo": "\\infty", "inf": "\\infty",
    "union": "\\cup", "percent": "\\%", "percentage": "\\%", "pct": "\\%", "in": "\\in",
    "theta": "\\theta", "alpha": "\\alpha", "beta": "\\beta", "gamma": "\\gamma", "lambda": "\\lambda",
    "mu": "\\mu", "sigma": "\\sigma", "omega": "\\omega", "phi": "\\phi", "rho": "\\rho",
    "deg": "\\circ", "degrees": "\\circ", "degree": "\\circ", "plus": "+", "minus": "-",
}  # fmt: skip
"""English word -> token."""

PROSE = frozenset(
    "for where all such that with the is are was if when then not no yes true false only any some each "
    "every has have be to of as at by on it its an exactly answer equals none both".split()
)
"""Words of sentences, never variables multiplied with each other."""

CONDITION = frozenset("for where such with if when because since as over on at".split())
"""A word that begins a condition after the answer."""

_LENGTH, _AREA, _TIME, _MASS, _VOLUME = "length", "area", "time", "mass", "volume"
_METRIC = {"mm": "1/1000", "cm": "1/100", "dm": "1/10", "m": "1", "km": "1000"}
_NAMES = {
    "millimeter": "mm", "centimeter": "cm", "meter": "m", "metre": "m", "kilometer": "km",
    "kilometre": "km", "centimetre": "cm", "inch": "in", "inche": "in", "foot": "ft", "feet": "ft",
    "yard": "yd", "mile": "mi", "second": "s", "sec": "s", "minute": "min", "hour": "h", "hr": "h",
    "day": "day", "week": "week", "gram": "g", "kilogram": "kg", "kilo": "kg", "pound": "pound",
    "lb": "lb", "liter": "l", "litre": "l", "milliliter": "ml", "ton": "ton", "tonne": "ton",
    "year": "year", "month": "month", "ounce": "oz",
}  # fmt: skip
_FACTORS: dict[str, tuple[str, str]] = (
    {name: (_LENGTH, factor) for name, factor in _METRIC.items()}
    | {"in": (_LENGTH, "127/5000"), "ft": (_LENGTH, "381/1250"), "yd": (_LENGTH, "1143/1250")}
    | {"mi": (_LENGTH, "201168/125"), "s": (_TIME, "1"), "min": (_TIME, "60"), "h": (_TIME, "3600")}
    | {"day": (_TIME, "86400"), "week": (_TIME, "604800"), "g": (_MASS, "1"), "kg": (_MASS, "1000")}
    | {"mg": (_MASS, "1/1000"), "ton": (_MASS, "1000000"), "l": (_VOLUME, "1"), "ml": (_VOLUME, "1/1000")}
    | {"year": ("year", "12"), "month": ("year", "1"), "lb": ("lb", "1"), "oz": ("lb", "1/16")}
)
_COUNTED = frozenset(
    "unit square cubic sq cube yuan dollar cent euro pound ruble rupee usd mph kph kmh percent people person "
    "apple candy candie student child children book marble ball coin way time page point digit edge side "
    "vertex vertices solution root term step game car bus egg cookie ticket cup bag box boxe bin paper "
    "block inch2 sqft acre radian rad revolution turn bit byte hertz volt newton joule watt".split()
)


def _singular(name: str) -> str:
    return name[:-1] if len(name) > 2 and name.endswith("s") and not name.endswith("ss") else name


def is_unit(name: str) -> bool:
    """Returns whether a lower-case word is a unit of the tables, in singular or plural."""
    single = _singular(name)
    return any(n in _FACTORS or n in _NAMES or n in _COUNTED for n in (name, single))


def unit_factor(name: str) -> tuple[str, Fraction] | None:
    """Returns dimension and factor of a unit that converts, or None for a counted thing.

    >>> unit_factor("km") == unit_factor("kilometers")
    True
    """
    single = _singular(name)
    for candidate in (name, single):
        found = _FACTORS.get(_NAMES.get(candidate, candidate))
        if found is not None:
            return found[0], Fraction(found[1])
    return None
