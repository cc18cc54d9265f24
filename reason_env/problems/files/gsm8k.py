r"""Parses the answers of GSM8K.

A GSM8K answer has reasoning steps, one per line, with calculator marks `<<48/2=24>>`, and a last
line `#### n`. The last line becomes the problem's answer and not a reasoning step, so that a prefix
of the solution never reveals the answer; `reference.reference_response` writes it back. By default
the steps omit the marks, because the text repeats the result after each mark.

Not covered: `#### n` on other lines than the last one with text.
"""

import re

_MARK = re.compile(r"<<[^<>=\n]*=[^<>\n]*>>")
_LAST_LINE = re.compile(r"####(?!#)[ \t]*(\S.*)")
_GROUPED = re.compile(r"([-+]?\$?[0-9]{1,3}(?:,[0-9]{3})+)(\.[0-9]+)?")


def without_marks(text: str) -> str:
    """Remove the calculator marks from a text.

    >>> without_marks("She earned 0.2 x 50 = $<<0.2*50=10>>10.")
    'She earned 0.2 x 50 = $10.'
    """
    return _MARK.sub("", text)


def is_gsm8k_answer(text: object) -> bool:
    r"""Decide whether the last line with text is `#### n`.

    >>> is_gsm8k_answer("1+1=2\n#### 2"), is_gsm8k_answer("2"), is_gsm8k_answer(2)
    (True, False, False)
    """
    return isinstance(text, str) and _LAST_LINE.fullmatch(_last_line(text)) is not None


def parse_gsm8k_answer(
    text: str, *, keep_marks: bool = False
) -> tuple[tuple[str, ...], str] | None:
    r"""Parse (reasoning steps, answer); None if the last line with text is not `#### n`.

    Drops blank lines, and thousands separators of the answer.

    >>> parse_gsm8k_answer("500+500 = <<500+500=1000>>1000\n\nDone.\n#### 1,000")
    (('500+500 = 1000', 'Done.'), '1000')
    """
    final = _LAST_LINE.fullmatch(_last_line(text))
    if final is None:
        return None
    lines = text.rstrip().split("\n")[:-1]
    if not keep_marks:
        lines = [without_marks(line) for line in lines]
    return tuple(line.strip() for line in lines if line.strip()), _ungrouped(final[1])


def _last_line(text: str) -> str:
    return text.rstrip().rpartition("\n")[2].strip()


def _ungrouped(number: str) -> str:
    """Remove thousands separators, but no other commas: (1,2) is a pair and not 12."""
    return number.replace(",", "") if _GROUPED.fullmatch(number) else number
