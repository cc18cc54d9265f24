r"""Reads plain numbers exactly, without the parser: the first and fastest tier.

Integers, decimals, fractions, mixed numbers, percentages, currency and thousands separators
(comma, thin space, `{,}`) become a `Fraction`; other text gives None. "1,234" is a thousands
separator because every later group has three digits, and "1,22" is a decimal comma; but "1,3" is a
list, because references write lists so. Digits of other scripts are text. Numbers of more than
4000 digits give None.
"""

import re
from fractions import Fraction

_INTEGER = re.compile(r"[+-]?[0-9]{1,4000}", re.ASCII)
_GROUPED = re.compile(
    r"([+-]?[0-9]{1,3}(?:(?:,|\{,\}|,?\\[!,;:] ?|~| )[0-9]{3}){1,1000})(\.[0-9]*)?", re.ASCII
)
_DECIMAL = re.compile(r"[+-]?(?:[0-9]{1,4000}\.[0-9]{0,4000}|\.[0-9]{1,4000})", re.ASCII)
_COMMA = re.compile(
    r"[+-]?(?:[0-9]{1,4000}(?:,[0-9]{2,4000}|\{,\}[0-9]{1,4000})|0,[0-9]{1,4000})", re.ASCII
)
_SLASH = re.compile(r"([+-]?)([0-9]{1,4000}) ?/ ?([0-9]{1,4000})", re.ASCII)
_FRAC = re.compile(
    r"([+-]?) ?([0-9]{1,4000})? ?\\[dtc]?frac ?"
    r"(?:\{ ?(-?[0-9]{1,4000}) ?\}|([0-9])) ?(?:\{ ?(-?[0-9]{1,4000}) ?\}|([0-9]))",
    re.ASCII,
)
_MIXED = re.compile(r"([+-]?)([0-9]{1,4000}) ([0-9]{1,4000})/([0-9]{1,4000})", re.ASCII)
_PERCENT = re.compile(r"\s*(?:\\?%|percent)$")
_GAPS = re.compile(r"[^0-9.+-]")


def read_number(text: str) -> Fraction | None:
    r"""Read the exact value of a plain number; None if the text is not one.

    >>> read_number("-1,234.50"), read_number(r"2\frac{1}{3}"), read_number(r"50\%")
    (Fraction(-2469, 2), Fraction(7, 3), Fraction(1, 2))
    """
    bare = trimmed(text)
    if _INTEGER.fullmatch(bare):
        return Fraction(int(bare))
    percent = _PERCENT.search(bare)
    value = _unsigned(bare[: percent.start()] if percent else bare)
    return value / 100 if percent and value is not None else value


def trimmed(text: str) -> str:
    r"""Strip dollar signs of mathematics mode, currency signs and a final full stop.

    >>> trimmed(r" $\$12.$ ")
    '12'
    """
    bare = text.strip(" \t\n\r$")
    if bare[-1:] == "." and bare[-2:-1].isdigit():
        bare = bare[:-1]
    for mark in ("\\$", "$", "\u20ac", "\u00a3"):
        bare = bare.removeprefix(mark).removesuffix(mark).strip()
    if bare[:2] in ("-$", "+$"):
        bare = bare[0] + bare[2:]
    return bare


def same_digits(left: str, right: str) -> bool:
    """Decide whether two integers of any length are equal, without evaluating them."""
    canonical = _canonical_digits(left)
    return canonical is not None and canonical == _canonical_digits(right)


def _canonical_digits(text: str) -> str | None:
    digits = text.removeprefix("-").removeprefix("+") if text[:2] != "-+" else ""
    if "," in digits:
        groups = digits.split(",")
        if not 1 <= len(groups[0]) <= 3 or any(len(group) != 3 for group in groups[1:]):
            return None
        digits = "".join(groups)
    if not (digits.isascii() and digits.isdigit()):
        return None
    digits = digits.lstrip("0")
    return ("-" if text.startswith("-") else "") + digits if digits else "0"


def _unsigned(bare: str) -> Fraction | None:
    if _INTEGER.fullmatch(bare):
        return Fraction(int(bare))
    if _DECIMAL.fullmatch(bare):
        return Fraction(bare)
    grouped = _GROUPED.fullmatch(bare)
    if grouped and not bare.lstrip("+-").startswith("0"):
        return Fraction(_GAPS.sub("", grouped[1]) + (grouped[2] or ""))
    if _COMMA.fullmatch(bare):
        return Fraction(bare.replace("{,}", ",").replace(",", "."))
    return _fraction(bare)


def _fraction(bare: str) -> Fraction | None:
    slash = _SLASH.fullmatch(bare)
    if slash:
        return _quotient(slash[1], "0", slash[2], slash[3])
    mixed = _MIXED.fullmatch(bare)
    if mixed:
        return _quotient(mixed[1], mixed[2], mixed[3], mixed[4])
    frac = _FRAC.fullmatch(bare)
    if frac:
        return _quotient(frac[1], frac[2] or "0", frac[3] or frac[4], frac[5] or frac[6])
    return None


def _quotient(sign: str, whole: str, top: str, bottom: str) -> Fraction | None:
    if int(bottom) == 0:
        return None
    value = int(whole) + Fraction(int(top), int(bottom))
    return -value if sign == "-" else value
