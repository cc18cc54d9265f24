r"""Mutated copies of a reference answer, which a grader must refuse.

A reference that grades as correct against itself may still accept other answers. Each kind of
mutation changes the value of the answers that it applies to:

    sign     a number, fraction or root at the beginning, or after the last "=", gets the other sign
    digit    the first whole number ends in another digit
    order    the first two parts of a pair are exchanged
    bracket  a bracket at a finite end of an interval is of the other kind
    unit     another unit of the same dimension, or another currency

Where a mutation may change nothing (the sign of 0 and of \pm 3, the digits of an index, a
factorial or a limit, the order of a list), it is left out. Words, choices and whole solutions have
none.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mutant:
    """A changed copy of an answer."""

    kind: str
    """sign, digit, order, bracket or unit."""
    text: str


def mutants(answer: str) -> list[Mutant]:
    r"""Give the mutated copies of an answer, at most one of each kind.

    >>> [mutant.text for mutant in mutants("-12")], [mutant.text for mutant in mutants("Tuesday")]
    (['12', '-13'], [])
    >>> [mutant.text for mutant in mutants("[2, 5)")], [mutant.text for mutant in mutants("7 cm")]
    (['[3, 5)', '(2, 5)'], ['-7 cm', '8 cm', '7 m'])
    >>> [mutant.text for mutant in mutants(r"\left(3, 1\right)")]
    ['\\left(4, 1\\right)', '\\left(1, 3\\right)']
    """
    text = answer.strip()
    is_whole = "boxed" in text or "####" in text or text.count("=") > 1
    if not text or is_whole or _CHOICE.fullmatch(text) or _PROSE.search(text):
        return []
    found = (
        ("sign", _other_sign(text)),
        ("digit", _other_digit(text)),
        ("order", _exchanged(text)),
        ("bracket", _other_bracket(text)),
        ("unit", _other_unit(text)),
    )
    return [Mutant(kind, mutant) for kind, mutant in found if mutant and mutant != text]


_CHOICE = re.compile(r"(?:\\text\{)?\(?[A-Ja-j]\)?\}?(?:[.):]\s?.*)?", re.DOTALL)
_PROSE = re.compile(r"(?<![\\a-zA-Z])[a-zA-Z]{2,} [a-zA-Z]{2,} [a-zA-Z]{2,}")
_NUMBER_START = re.compile(
    r"(?P<dollar>\$*)(?P<sign>-?)(?P<value>\\?\$?(?:[0-9]|\.[0-9]|\\[dt]?frac\b|\\sqrt\b|\\pi\b))"
)
_NO_SIGN = re.compile(
    r"\\pm|\\mp|±|[<>≤≥|:]|\\(?:leq?|geq?|lt|gt|neq?|in|cup|mid)\b|\bor\b|\band\b"
)
_WHOLE_NUMBER = re.compile(r"(?<![0-9.,_^])(?<!_\{)(?<!\^\{)[0-9]+(?![0-9]*\s*[!^])")
_FIXED = re.compile(
    r"\^\{?0|!|\\(?:binom|choose|[dt]?frac\s*\{?\s*0)|_\{?[0-9]|\\(?:equiv|p?mod)\b|\bC_?\d|:"
    r"|\\lim(?![a-z])"
)
_PART = r"([^()\[\],;]+)"
_PAIR = re.compile(rf"(\$*(?:\\left\s*)?\(){_PART},{_PART}((?:,[^()\[\],;]+)*(?:\\right\s*)?\)\$*)")
_RIGHT = re.compile(r"\s*\\right\s*$")
_INTERVAL = re.compile(
    r"(?P<open>[\[(])(?P<low>[^\[\](),;]+),(?P<high>[^\[\](),;]+?)(?P<close>[\])])"
)
_UNIT = re.compile(
    r"(?P<number>[-+]?[0-9][0-9.,]*)"
    r"(?P<gap>(?:\s|~|\\[ ,;:!])*(?:\\(?:text|mathrm|mbox|rm)\s*\{\s*)?)"
    r"(?P<unit>[A-Za-z]+)(?P<rest>\s*\}?\$?)"
)
_ZERO = re.compile(r"\\?\$?(?:0+(?:\.0*)?|\.0+)(?![0-9.])|\\[dt]?frac\s*\{?\s*0")
_OTHER_UNITS = {
    "mm": "cm", "cm": "m", "m": "cm", "km": "m", "g": "kg", "kg": "g", "ml": "l", "l": "ml",
    "seconds": "minutes", "minutes": "hours", "hours": "minutes", "days": "weeks",
    "weeks": "days", "years": "months", "months": "years", "inches": "feet", "feet": "inches",
    "miles": "feet", "meters": "centimeters", "centimeters": "meters", "kilometers": "meters",
    "grams": "kilograms", "kilograms": "grams", "pounds": "ounces", "ounces": "pounds",
    "dollars": "cents", "cents": "dollars",
}  # fmt: skip
_INFINITE = re.compile(r"\\infty|∞|\boo\b|infinity")


def _other_sign(text: str) -> str:
    head, equals, tail = text.rpartition("=")
    start = len(text) - len(tail.lstrip()) if equals else 0
    found = _NUMBER_START.match(text, start)
    if not found or _NO_SIGN.search(text) or _is_zero(text[found.start("value") :]):
        return ""
    if equals and ("=" in head or not re.fullmatch(r"\s*\$?[A-Za-z](?:_\{?\w+\}?)?\s*", head)):
        return ""
    sign = "" if found["sign"] else "-"
    return text[: found.start("sign")] + sign + text[found.start("value") :]


def _is_zero(value: str) -> bool:
    """Whether the term that a text begins with may be 0."""
    return _ZERO.match(value) is not None


def _other_digit(text: str) -> str:
    found = _WHOLE_NUMBER.search(text)
    if not found or _FIXED.search(text):
        return ""
    at = found.end() - 1
    return text[:at] + ("8" if text[at] == "9" else str(int(text[at]) + 1)) + text[at + 1 :]


def _exchanged(text: str) -> str:
    found = _PAIR.fullmatch(text)
    if not found or found[2].strip() == found[3].strip() or _NO_SIGN.search(text):
        return ""
    second, right = _RIGHT.split(found[3])[0], "".join(_RIGHT.findall(found[3]))
    return f"{found[1]}{second.strip()}, {found[2].strip()}{right}{found[4]}"


def _other_bracket(text: str) -> str:
    for found in _INTERVAL.finditer(text):
        kinds = found["open"] + found["close"]
        is_interval = kinds in ("[)", "(]") or "\\cup" in text or "∪" in text
        if not is_interval:
            continue
        if not _INFINITE.search(found["low"]):
            return _with(text, found.start("open"), "(" if found["open"] == "[" else "[")
        if not _INFINITE.search(found["high"]):
            return _with(text, found.start("close"), ")" if found["close"] == "]" else "]")
    return ""


def _with(text: str, at: int, mark: str) -> str:
    return text[:at] + mark + text[at + 1 :]


def _other_unit(text: str) -> str:
    currency = re.fullmatch(r"(\$?)\\\$\s*([0-9][0-9.,]*)(\$?)", text)
    if currency:
        return f"{currency[1]}€{currency[2]}{currency[3]}"
    found = _UNIT.fullmatch(text)
    other = _OTHER_UNITS.get(found["unit"].lower(), "") if found else ""
    if not found or not other or not re.search("[1-9]", found["number"]):
        return ""
    return f"{found['number']}{found['gap']}{other}{found['rest']}"
