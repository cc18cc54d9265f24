r"""Metamorphic tests of the verifier: 20 rewrites that keep an answer's value, 20 that change it.

Claim: for every answer to which a rewrite applies, a rewrite that keeps the value leaves right
answers CORRECT and wrong answers INCORRECT, and a rewrite that changes it makes right answers
INCORRECT. Run: python -m benchmarks.verifier.metamorphic
"""

import re
from collections.abc import Callable

from reason_env.verdict import Outcome
from reason_env.verify import grade

Rewrite = Callable[[str], str | None]

ANSWERS = (
    "391", "-17", "1234567", "0.5", "-2.75", r"\frac{3}{4}", r"-\frac{7}{3}", r"2\frac{1}{3}",
    r"50\%", "3.2 \\cdot 10^{5}", r"\sqrt{2}", r"3\sqrt{13}", r"\frac{1+\sqrt{5}}{2}", r"2\pi",
    r"\frac{\pi}{6}", "e^{2}", "x^2+2x+1", "(x-2)(x+3)", r"\frac{x+2}{7}", "3x-5y+2",
    r"\sin(2x)", r"\cos(x)+\sin(x)", r"\ln(x)+2", "2^{n}-1", "(1, 2)", "(3, -4, 5)", "1, 2, 3",
    r"\{1, 5, 9\}", "(0, 1]", "[-2, 7]", r"(-\infty, 3)", r"(0, 1) \cup (2, 3)", "x = 3",
    "y = 2x+1", "2x+3y = 6", "x > 5", r"2 \le x \le 7",
    r"\begin{pmatrix}1 & 2 \\ 3 & 4\end{pmatrix}", r"5 \text{ cm}", r"90^\circ", "7:32",
    r"1 \pm \sqrt{19}", "f(x) = x^2+1", r"\sqrt[3]{x}+1", r"\frac{1}{x+1}",
)  # fmt: skip
"""Reference answers of every type; each is a right response to itself."""


def _replaced(pattern: str, by: str) -> Rewrite:
    compiled = re.compile(pattern)

    def rewrite(text: str) -> str | None:
        changed = compiled.sub(by, text)
        return changed if changed != text else None

    return rewrite


_STRUCTURE = re.compile(r"[,=<>\[\]:|%]|\\(?:le|in|cup|infty|text|circ|pm|begin)")


def _is_expression(text: str) -> bool:
    return not _STRUCTURE.search(text)


def _expression(make: Callable[[str], str]) -> Rewrite:
    return lambda text: make(text) if _is_expression(text) else None


def _reversed_sum(text: str) -> str | None:
    match = re.fullmatch(r"([^-+=<>,]+)\+([^-+=<>,]+)", text)
    is_sum = match is not None and match[1].count("{") == match[1].count("}")
    return f"{match[2]}+{match[1]}" if match and is_sum else None


def _reversed_list(text: str) -> str | None:
    match = re.fullmatch(r"(\\\{)?([-0-9, ]+,[-0-9 ]+)(\\\})?", text)
    return (
        (match[1] or "") + ",".join(reversed(match[2].split(","))) + (match[3] or "")
        if match
        else None
    )


def _swapped_sides(text: str) -> str | None:
    match = re.fullmatch(r"([^=<>]*[a-z][^=<>]*)=([^=<>]+)", text)
    return f"{match[2]}={match[1]}" if match and len(match[1]) < 6 and "(" not in match[1] else None


def _thousands(text: str) -> str | None:
    return f"{int(text):,}" if re.fullmatch(r"\d{4,}", text) else None


def _as_fraction(text: str) -> str | None:
    return f"\\frac{{{2 * int(text)}}}{{2}}" if re.fullmatch(r"-?\d{1,6}", text) else None


def _renamed(text: str) -> str | None:
    return text.replace("x", "t") if text.startswith("f(x)") else None


def _sized(text: str) -> str | None:
    if "(" not in text or "sqrt[" in text:
        return None
    return re.sub(r"([)\]])", r"\\right\1", re.sub(r"([(\[])", r"\\left\1", text))


KEEPING: dict[str, Rewrite] = {
    "spaces around": lambda text: f"  {text}  ", "dollar signs": lambda text: f"${text}$",
    "display signs": lambda text: f"\\[{text}\\]",
    "thin space after a comma": _replaced(r", ", r",\\, "),
    "dfrac": _replaced(r"\\frac", r"\\dfrac"), "tfrac": _replaced(r"\\frac", r"\\tfrac"),
    "left and right": _sized,
    "parentheses around": _expression(lambda text: f"({text})"),
    "braces around": lambda text: f"{{{text}}}", "plus zero sign": _replaced(r"^(?=[0-9])", "+"),
    "a sum in another order": _reversed_sum, "a list in another order": _reversed_list,
    "a full stop": lambda text: f"{text}.",
    "display style": lambda text: f"\\displaystyle {text}",
    "sides of an equation": _swapped_sides,
    "leq and geq": lambda text: text.replace("\\le ", "\\leq ") if "\\le " in text else None,
    "thousands separators": _thousands, "a fraction not reduced": _as_fraction,
    "another letter of a function": _renamed,
    "cdot between factors": _replaced(r"(?<=[0-9])(?=[xn](?![a-z]))", r"\\cdot "),
}  # fmt: skip


def _bumped(text: str) -> str | None:
    return (
        re.sub(r"\d", lambda m: str((int(m[0]) + 1) % 10 or 1), text, count=1)
        if re.search(r"\d", text)
        else None
    )


def _last_bumped(text: str) -> str | None:
    digits = list(re.finditer(r"(?<![\d])\d+(?!\d)", text))
    if not digits or "10^" in text:
        return None
    last = digits[-1]
    return text[: last.start()] + str(int(last[0]) + 1) + text[last.end() :]


def _turned(text: str) -> str | None:
    match = re.fullmatch(r"\\frac\{([^{}]+)\}\{([^{}]+)\}", text)
    return f"\\frac{{{match[2]}}}{{{match[1]}}}" if match else None


_LIST = re.compile(r"(\\\{|\()?([-0-9, ]+,[-0-9 ]+)(\\\}|\))?")


def _dropped_item(text: str) -> str | None:
    match = _LIST.fullmatch(text)
    return (match[1] or "") + match[2].rsplit(",", 1)[0] + (match[3] or "") if match else None


def _added_item(text: str) -> str | None:
    match = _LIST.fullmatch(text)
    return (match[1] or "") + match[2] + ", 77" + (match[3] or "") if match else None


def _bracket(text: str) -> str | None:
    if re.match(r"[(\[][^)\]]*,[^)\]]*[)\]]", text) and (
        "]" in text or "\\cup" in text or "infty" in text
    ):
        return text.replace("]", ")", 1) if "]" in text else text[:-1] + "]"
    return None


def _swapped_pair(text: str) -> str | None:
    match = re.fullmatch(r"\((-?\d+), (-?\d+)(.*)\)", text)
    return f"({match[2]}, {match[1]}{match[3]})" if match else None


CHANGING: dict[str, Rewrite] = {
    "the first digit": _bumped,
    "the last number": _last_bumped,
    "the sign": _expression(lambda text: f"-({text})"),
    "plus one": _expression(lambda text: f"{text}+1"),
    "minus one": _expression(lambda text: f"{text}-1"),
    "doubled": _expression(lambda text: f"2({text})"),
    "squared": _expression(lambda text: f"({text})^2"),
    "a factor ten": lambda text: f"{text}0" if re.fullmatch(r"-?\d+", text) else None,
    "a digit more": lambda text: f"{text}1" if re.fullmatch(r"-?\d+(\.\d+)?", text) else None,
    "the fraction turned": _turned,
    "an item less": _dropped_item,
    "an item more": _added_item,
    "another bracket": _bracket,
    "a pair swapped": _swapped_pair,
    "the relation turned": lambda text: text.replace(">", "<") if ">" in text else None,
    "strict for not strict": lambda text: text.replace("\\le", "<", 1) if "\\le " in text else None,
    "a plus for a minus": lambda text: text.replace("+", "-", 1) if "+" in text else None,
    "a percent sign": lambda text: f"{text}\\%" if re.fullmatch(r"-?\d+(\.\d+)?", text) else None,
    "another function": lambda text: text.replace("\\sin", "\\tan") if "\\sin" in text else None,
    "another number in a second answer": lambda text: f"{text} \\text{{ or }} 123456",
}


def wrong_for(reference: str) -> str | None:
    """Change a reference into a wrong response."""
    return _bumped(reference) or _turned(reference)


def run() -> list[dict[str, object]]:
    """Grade each rewrite of each answer; return a row for each, with the outcome."""
    rows: list[dict[str, object]] = []
    for answer in ANSWERS:
        wrong = wrong_for(answer)
        for name, rewrite in KEEPING.items():
            for text, expected in ((answer, True), (wrong, False)):
                rewritten = rewrite(text) if text is not None else None
                if rewritten is not None:
                    rows.append(_row("keeping", name, answer, rewritten, expected))
        for name, rewrite in CHANGING.items():
            rewritten = rewrite(answer)
            if rewritten is not None:
                rows.append(_row("changing", name, answer, rewritten, expected=False))
    return rows


def _row(kind: str, name: str, answer: str, rewritten: str, expected: bool) -> dict[str, object]:
    verdict = grade(f"\\boxed{{{rewritten}}}", answer)
    is_right = verdict.is_correct if expected else verdict.outcome is Outcome.INCORRECT
    return {"kind": kind, "rewrite": name, "reference": answer, "response": rewritten,
            "outcome": str(verdict.outcome), "is_right": is_right}  # fmt: skip


def score(rows: list[dict[str, object]]) -> dict[str, object]:
    """Count the rewrites and cases of each kind, and the unexpected verdicts."""
    result: dict[str, object] = {}
    for kind in ("keeping", "changing"):
        mine = [row for row in rows if row["kind"] == kind]
        result[f"{kind} rewrites"] = len({str(row["rewrite"]) for row in mine})
        result[f"{kind} cases"] = len(mine)
        result[f"{kind} violations"] = sum(not row["is_right"] for row in mine)
    return result


def main() -> None:
    """Print each unexpected verdict and the figures."""
    rows = run()
    for row in rows:
        if not row["is_right"]:
            print(row)
    print(score(rows))


if __name__ == "__main__":
    main()
