r"""GSM8K's own row format, read by pure functions; `files.load_file` and `hub.load_hub` call them.

A GSM8K answer is reasoning steps, one a line, with calculator marks `<<48/2=24>>`, and a last line
`#### n`. The last line becomes the problem's answer and is no reasoning step, so that a prefix of
the solution never gives the answer away; `reference.reference_response` writes it back. Marks are
left out of the steps by default, because the number stands behind each mark once more.

Not covered: `#### n` anywhere but on the last line that holds text.
"""

import re

_MARK = re.compile(r"<<([^<>=\n]*)=([^<>\n]*)>>")
_LAST_LINE = re.compile(r"####(?!#)[ \t]*(\S.*)")
_GROUPED = re.compile(r"([-+]?\$?[0-9]{1,3}(?:,[0-9]{3})+)(\.[0-9]+)?")


def calculations(text: str) -> tuple[tuple[str, str], ...]:
    """Returns (expression, result) of each calculator mark, in order.

    >>> calculations("48/2 = <<48/2=24>>24 in May, so <<48+24=72>>72.")
    (('48/2', '24'), ('48+24', '72'))
    """
    return tuple((mark[1].strip(), mark[2].strip()) for mark in _MARK.finditer(text))


def without_marks(text: str) -> str:
    """Returns the text without its calculator marks.

    >>> without_marks("She earned 0.2 x 50 = $<<0.2*50=10>>10.")
    'She earned 0.2 x 50 = $10.'
    """
    return _MARK.sub("", text)


def is_gsm8k_answer(text: object) -> bool:
    r"""Returns whether the last line that holds text is `#### n`.

    >>> is_gsm8k_answer("1+1=2\n#### 2"), is_gsm8k_answer("2"), is_gsm8k_answer(2)
    (True, False, False)
    """
    return isinstance(text, str) and _LAST_LINE.fullmatch(_last_line(text)) is not None


def parse_gsm8k_answer(
    text: str, *, keep_marks: bool = False
) -> tuple[tuple[str, ...], str] | None:
    r"""Returns (reasoning steps, answer), or None if the last line is not `#### n`.

    Blank lines are no steps; thousands separators of the answer are left out.

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
    """Leaves other commas alone: (1,2) is a pair and not 12."""
    return number.replace(",", "") if _GROUPED.fullmatch(number) else number
