r"""Reads plain numbers exactly, without the parser: the first and fastest tier.

Integers, decimals, fractions, mixed numbers, percentages, currency and thousands separators
(comma, thin space, `{,}`) become a `Fraction`, and so do English number words; other text gives
None. "1,234" has a thousands separator because every later group has three digits. In a reference,
any other comma separates a list, but for "0,111"; a response may write "0,5" and "1,22". Digits
of other scripts are text. Numbers of more than 4000 digits give None.
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
_LONG_COMMA = re.compile(r"[+-]?0,[0-9]{3,4000}", re.ASCII)
_SLASH = re.compile(r"([+-]?)([0-9]{1,4000}) ?/ ?([0-9]{1,4000})", re.ASCII)
_FRAC = re.compile(
    r"([+-]?) ?([0-9]{1,4000})? ?\\[dtc]?frac ?"
    r"(?:\{ ?(-?[0-9]{1,4000}) ?\}|([0-9])) ?(?:\{ ?(-?[0-9]{1,4000}) ?\}|([0-9]))",
    re.ASCII,
)
_MIXED = re.compile(r"([+-]?)([0-9]{1,4000}) ([0-9]{1,4000})/([0-9]{1,4000})", re.ASCII)
_PERCENT = re.compile(r"\s*(?:\\?%|percent)$")
_CURRENCY_SIGNS = "\u20ac\u00a3\u00a5\u20b9"
_CURRENCY = re.compile(f"[${_CURRENCY_SIGNS}]")
_CURRENCIES = {"\\euro": "\u20ac", "\\pounds": "\u00a3", "\\yen": "\u00a5"}
_SMALL_WORDS = {word: value for value, word in enumerate(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen".split())}  # fmt: skip
_TENS = {word: 10 * value for value, word in enumerate(
    "twenty thirty forty fifty sixty seventy eighty ninety".split(), start=2)}  # fmt: skip
_SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_TEXT = re.compile(r"\\(?:text(?:bf|it|rm)?|mathrm|mbox)\s*\{([^{}]*)\}")
_GAPS = re.compile(r"[^0-9.+-]")


def read_number(text: str, *, is_reference: bool = False) -> Fraction | None:
    r"""Read the exact value of a plain number; None if the text is not one.

    >>> read_number("-1,234.50"), read_number(r"2\frac{1}{3}"), read_number(r"50\%")
    (Fraction(-2469, 2), Fraction(7, 3), Fraction(1, 2))
    >>> read_number("1,22"), read_number("1,22", is_reference=True), read_number("twenty-one")
    (Fraction(61, 50), None, Fraction(21, 1))
    """
    bare = trimmed(text)
    if _INTEGER.fullmatch(bare):
        return Fraction(int(bare))
    if is_reference and "," in bare:
        is_one = _grouped(_without_percent(bare)) or has_decimal_comma(bare)
        if not is_one:
            return None
    if bare[:1].isalpha() or bare[:2] in ("\\t", "\\m"):
        return number_in_words(bare)
    percent = _PERCENT.search(bare)
    value = _unsigned(bare[: percent.start()] if percent else bare)
    return value / 100 if percent and value is not None else value


def has_decimal_comma(text: str) -> bool:
    """Decide whether a number has a decimal comma in a reference too.

    The comma of "0,111" groups no thousands, and 0 and 111 are no list.

    >>> has_decimal_comma("0,111"), has_decimal_comma("0,1"), has_decimal_comma("1,111")
    (True, False, False)
    """
    return bool(_LONG_COMMA.fullmatch(trimmed(text)))


def trimmed(text: str) -> str:
    r"""Strip dollar signs of mathematics mode, currency signs and a final full stop.

    >>> trimmed(r" $\$12.$ ")
    '12'
    """
    bare = text.strip(" \t\n\r$")
    if bare[-1:] == "." and bare[-2:-1].isdigit():
        bare = bare[:-1]
    if not _CURRENCY.search(bare):
        return bare.strip()
    for mark in ("\\$", "$", *_CURRENCY_SIGNS):
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
        if digits[0] == "0" or not 1 <= len(groups[0]) <= 3 or any(len(g) != 3 for g in groups[1:]):
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
    if (grouped := _grouped(bare)) is not None:
        return Fraction(_GAPS.sub("", grouped[1]) + (grouped[2] or ""))
    if _COMMA.fullmatch(bare):
        return Fraction(bare.replace("{,}", ",").replace(",", "."))
    return _fraction(bare)


def _grouped(bare: str) -> re.Match[str] | None:
    """Match a number with thousands separators, which does not begin with zero."""
    return None if bare.lstrip("+-").startswith("0") else _GROUPED.fullmatch(bare)


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
    value = Fraction(int(top), int(bottom))
    if whole != "0":
        value += int(whole)
    return -value if sign == "-" else value


def _without_percent(bare: str) -> str:
    percent = _PERCENT.search(bare)
    return bare[: percent.start()] if percent else bare


def number_in_words(text: str) -> Fraction | None:
    r"""Read an English number word; None if a word is none, or does not fit the one before it.

    >>> number_in_words("one hundred and five"), number_in_words(r"\text{minus two thousand}")
    (Fraction(105, 1), Fraction(-2000, 1))
    >>> number_in_words("twelve hundred")
    Fraction(1200, 1)
    >>> number_in_words("five six"), number_in_words("hundred"), number_in_words("twenty eleven")
    (None, None, None)
    """
    wrapped = _TEXT.fullmatch(text)
    words = (wrapped[1] if wrapped else text).lower().replace("-", " ").strip(" .").split()
    sign = -1 if words[:1] in (["minus"], ["negative"]) else 1
    words = words[1:] if sign < 0 else words
    if not words or words[0] in _SCALES or words[0] in ("hundred", "and"):
        return None
    total, part, least = 0, 0, 10**15
    # `last` is the size of the word before: a smaller one must follow, so "five six" is no number.
    last = 1000
    for word in words:
        if word == "and":
            if last != 100:
                return None
        elif word == "hundred" and (0 < part < 10 or (part % 10 and part < 100)) and last < 100:
            part, last = part * 100, 100
        elif word in _SCALES and part and _SCALES[word] < least:
            total, part, least, last = total + part * _SCALES[word], 0, _SCALES[word], 1000
        elif word in _TENS and last > 10:
            part, last = part + _TENS[word], 10
        elif word in _SMALL_WORDS and last > 1 and (_SMALL_WORDS[word] < 10 or last > 10):
            part, last = part + _SMALL_WORDS[word], 1
        else:
            return None
    return Fraction(sign * (total + part))


def same_currency(left: str, right: str) -> bool:
    r"""Decide whether two texts do not name two different currencies by their signs.

    >>> same_currency("\u20ac5", r"\\$5"), same_currency("5", r"\\$5")
    (False, True)
    """
    mine = _currency(left)
    theirs = _currency(right) if mine else ""
    return not theirs or mine == theirs


def _currency(text: str) -> str:
    is_odd = "$" in text and ("\\$" in text or text.count("$") % 2)
    has_name = "\\" in text and any(name in text for name in _CURRENCIES)
    if not is_odd and text.isascii() and not has_name:
        return ""
    for name, sign in _CURRENCIES.items():
        text = text.replace(name, sign)
    signs = {sign for sign in _CURRENCY_SIGNS if sign in text}
    if "\\$" in text or text.count("$") % 2:
        signs.add("$")
    return "".join(sorted(signs))
