r"""Reads times of day: `6:10`, `3:30 p.m.`, `5 AM`.

A number, a colon and two digits below 60 is a time. A ratio such as 7:32 looks the same, so only
the same two numbers answer it, as a time or as the fraction 7/32.
"""

import re
from typing import NamedTuple

from reason_env.verify.parsing.words import COPULAS, FILLERS

_HALF = r"\s*([ap])\.?\s?m\.?"
_CLOCK = re.compile(
    rf"(?P<words>(?:[A-Za-z']+\s+)*)(?P<hour>[0-9]{{1,2}})(?::(?P<minute>[0-5][0-9])"
    rf"(?::(?P<second>[0-5][0-9]))?)?(?:{_HALF})?",
    re.IGNORECASE,
)
_LAYOUT = re.compile(
    r"\\(?:displaystyle|textstyle|left|right|[\[\](),;:! ]|(?:text|mathrm|mathbf|textbf)\b)|[{}$~]"
)
_WORDS = FILLERS | COPULAS | frozenset(("at", "time", "o'clock"))


class Clock(NamedTuple):
    """A time of day; `half` is `a`, `p` or empty."""

    hour: int
    minute: int
    second: int
    half: str


def clock(text: str) -> Clock | None:
    """Read a time of day; None if the text is none.

    >>> clock("3:30 p.m."), clock("5:60"), clock("7")
    (Clock(hour=3, minute=30, second=0, half='p'), None, None)
    """
    if not any(mark in text for mark in (":", "m", "M")):
        return None
    bare = " ".join(_LAYOUT.sub(" ", text).split())
    found = _CLOCK.fullmatch(bare.removeprefix("+").rstrip(" ").removesuffix("."))
    if found is None or not (found["minute"] or found[5]) or int(found["hour"]) > 24:
        return None
    if any(word.lower() not in _WORDS for word in found["words"].split()):
        return None
    second, half = int(found["second"] or 0), (found[5] or "").lower()
    return Clock(int(found["hour"]), int(found["minute"] or 0), second, half)


def same_clock(text: str, expected: Clock) -> bool:
    """Decide whether a text is the expected time; the half of the day may be missing.

    >>> same_clock("15:30", Clock(3, 30, 0, "p")), same_clock("1:15", Clock(2, 30, 0, ""))
    (True, False)
    """
    found = clock(text)
    if found is None:
        fraction = re.fullmatch(
            r"(?:\\[dt]?frac\{)?([0-9]+)(?:\}\{|/)([0-9]+)\}?", text.strip(" $")
        )
        pair = (str(expected.hour), f"{expected.minute:02d}")
        return bool(fraction and not expected.half and fraction.groups() == pair)
    if found.half and expected.half and found.half != expected.half:
        return False
    return _seconds(found, expected.half) == _seconds(expected, found.half)


def _seconds(time: Clock, half: str) -> int:
    """Count the seconds since midnight, with the half of the day that either side names."""
    half = time.half or half
    hour = time.hour
    if half == "p" and hour < 12:
        hour += 12
    elif half == "a" and hour == 12:
        hour = 0
    return hour * 3600 + time.minute * 60 + time.second
