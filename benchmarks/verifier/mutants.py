r"""Mutates every real reference in one place and counts the mutants that are accepted, by class.

Claim: of the mutants of all GSM8K references and of every reference in `verifier_cases`, none is
accepted but those of a class argued in `HARMLESS`. math-verify grades the same mutants in the same
run (of GSM8K, those of every fifth answer of the test split). A mutant changes one thing: a sign,
a digit, the order of a
pair, a bracket, a unit, an operator, a relation, a letter, an item, a word, a point, a power.
The mutants that the check of problems at load makes come first, as the class "at load": one of a
kind, and wrong; those of the other classes are many and may be harmless.
References that are not gradable are counted and left out.
Run: python -m benchmarks.verifier.mutants [--alone]
"""

import json
import logging
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import math_verify
import sympy

from benchmarks.verifier.cases import SHARED
from reason_env.problems import mutants as mutants_at_load
from reason_env.verify import grade_many, is_gradable
from reason_env.verify.comparing import reference_answer
from reason_env.verify.parsing import read

Row = dict[str, Any]
Mutation = Callable[[str], Iterator[str]]


class Reference(NamedTuple):
    """A reference answer, and whether math-verify grades its mutants too."""

    source: str
    text: str
    is_compared: bool


def references() -> Iterator[Reference]:
    """Yield the different references of each source."""
    for split in ("test", "train"):
        path = SHARED / "data" / "gsm8k" / f"{split}.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines()
        answers = [json.loads(line)["answer"].rsplit("####", 1)[1].strip() for line in lines]
        for at, answer in enumerate(dict.fromkeys(answers)):
            yield Reference("gsm8k", answer, split == "test" and at % 5 == 0)
    for path in sorted((SHARED / "verifier_cases").glob("*.jsonl")):
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        golds = [row.get("gold") or row.get("answer") for row in rows]
        for gold in dict.fromkeys(golds):
            if gold:
                yield Reference(path.stem, gold, is_compared=True)


def _each(pattern: str, by: str | Callable[[re.Match[str]], str], most: int = 3) -> Mutation:
    """Replace one match at a time, at most `most` of them."""
    compiled = re.compile(pattern)

    def mutate(text: str) -> Iterator[str]:
        for match in list(compiled.finditer(text))[:most]:
            new = match.expand(by) if isinstance(by, str) else by(match)
            yield text[: match.start()] + new + text[match.end() :]

    return mutate


def _swap(pairs: dict[str, str]) -> Mutation:
    """Exchange one word or sign for its partner, in both directions."""
    both = pairs | {b: a for a, b in pairs.items()}
    keys = sorted(both, key=len, reverse=True)
    words = [rf"(?<![A-Za-z\\]){re.escape(k)}(?![A-Za-z])" if k[-1].isalpha() else re.escape(k)
             for k in keys]  # fmt: skip
    return _each("|".join(words), lambda match: both[match[0]])


def _negated(text: str) -> Iterator[str]:
    if text.lstrip("$").startswith("-"):
        yield text.replace("-", "", 1)
    elif re.match(r"[$\\(]*[0-9a-zA-Z(\\]", text):
        at = re.match(r"\$*(?:\\\()?", text)
        yield text[: at.end()] + "-" + text[at.end() :] if at else "-" + text


_OTHER_DIGIT = {d: str((int(d) + 3) % 9 + 1) for d in "0123456789"}
_TUPLE = re.compile(r"([(\[])\s*([^(),\[\]]+?)\s*,\s*([^(),\[\]]+?)\s*([,)\]])")


def _swapped_pair(text: str) -> Iterator[str]:
    match = _TUPLE.search(text)
    if match and match[2] != match[3]:
        swapped = f"{match[1]}{match[3]}, {match[2]}{match[4]}"
        yield text[: match.start()] + swapped + text[match.end() :]


def _other_letter(text: str) -> Iterator[str]:
    match = re.search(r"(?<![A-Za-z\\])[a-z](?![A-Za-z])", text)
    if match and "\\text" not in text[: match.start()]:
        other = "w" if match[0] != "w" else "v"
        yield re.sub(rf"(?<![A-Za-z\\]){match[0]}(?![A-Za-z])", other, text, count=1)


def _fewer_items(text: str) -> Iterator[str]:
    if "," in text and not re.search(r"[A-Za-z]{4}", text):
        head, _, tail = text.rpartition(",")
        yield head + "".join(c for c in tail if c in ")]}$\\")


def _more_items(text: str) -> Iterator[str]:
    if "," in text and not re.search(r"[A-Za-z]{4}", text):
        yield re.sub(r",", ", 77,", text, count=1)


MUTATIONS: dict[str, Mutation] = {
    "at load": lambda text: (mutant.text for mutant in mutants_at_load(text)),
    "sign": _negated,
    "inner sign": _swap({"+": "-"}),
    "digit": _each(r"[0-9]", lambda match: _OTHER_DIGIT[match[0]]),
    "a digit more": _each(r"[0-9](?![0-9])", lambda match: match[0] + "7"),
    "order of a pair": _swapped_pair,
    "bracket": _each(r"[(\[](?=[^()\[\]]*,)|(?<=[0-9y}])[)\]]",
                     lambda match: {"(": "[", "[": "(", ")": "]", "]": ")"}[match[0]]),
    "unit": _swap({"cm": "mm", "km": "mi", "m": "ft", "kg": "lb", "hours": "days",
                   "miles": "meters", "dollars": "euros", "minutes": "seconds",
                   "degrees": "radians", "\\$": "\u20ac",
                   "units": "dozens", "apples": "pears", "inches": "yards", "years": "weeks"}),
    "operator": _swap({"\\cdot": "+", "\\times": "-", "*": "+", "/": "+", "^": "+"}),
    "function": _swap({"\\sin": "\\cos", "\\ln": "\\tan", "\\arctan": "\\arcsin",
                       "\\lfloor": "\\lceil", "\\min": "\\max", "\\sum": "\\prod"}),
    "root": _each(r"\\sqrt", r"2\\cdot "),
    "fraction turned": _each(r"\\[dt]?frac\{([^{}]+)\}\{([^{}]+)\}", r"\\frac{\2}{\1}"),
    "relation": _swap({"<": ">", "\\le": "<", "\\leq": "\\geq", "\\ge": ">", "\\cup": "\\cap",
                       "\\in": "\\notin"}),
    "letter": _other_letter,
    "an item less": _fewer_items,
    "an item more": _more_items,
    "word": _swap({"increase": "decrease", "even": "odd", "left": "right", "maximum": "minimum",
                   "yes": "no", "Yes": "No", "max": "min", "first": "second", "and": "but not",
                   "increases": "decreases", "greater": "less", "all": "no", "is": "is not"}),
    "point": _each(r"(?<=[0-9])\.(?=[0-9])", ""),
    "power of ten": _each(r"(?<![0-9.])[1-9][0-9]*(?![0-9])", lambda match: match[0] + "0", most=1),
    "percent": lambda text: iter([text.replace("\\%", "") if "\\%" in text else text + "\\%"]),
    "constant": lambda text: iter([text.rstrip("$") + "+1" + "$" * text.endswith("$")]),
    "power": _each(r"\^\{?([0-9])(?=[^0-9])|\^([0-9])$",
                   lambda match: match[0].replace(match[1] or match[2],
                                                  _OTHER_DIGIT[match[1] or match[2]])),
    "choice": _each(r"^\(?[A-H]\)?$", lambda match: "(Z)"),
}  # fmt: skip
"""Class -> mutation."""

HARMLESS: dict[str, str] = {
    "zero": "leading zeros, and the sign or percent sign of zero, change no value",
    "other sentence": "the reference is several sentences, and the one with the answer is the same",
    "steps": "the value of a chain of equalities is its last side, which is the same",
    "same value": "SymPy, which takes no part in the verdict, finds the same value on every side",
    "constant absorbed": "a constant of integration absorbs the number that was added to it",
    "symmetric": "arguments of max, min, gcd in another order; signs that plus-or-minus covers",
    "condition": "the change is in a condition that has no relation to compare",
    "repeated item": "the item 1 was added to a list of circled numbers that has it",
    "name": "another letter in `f(x) =` or under a sum, where no value has either letter",
    "layout": "the change moves a command for layout, or a plus sign before a number",
    "differential": "an integral without limits lost its differential",
    "no power": "a caret without a power leaves its base, and so does a power of 1",
}
"""Why an accepted mutant is no wrong answer: class -> argument."""
_LONE_ZERO = r"(?<![0-9.])0(?![0-9.!^]|\}?\^|,[0-9]{3})"
_ZERO_MATRIX = r"\\begin\{[a-z]*matrix\}(?:[0& ]|\\\\)*\\end"
_ZEROS = re.compile(rf"(?<![0-9.,])0+(?=[0-9])|[-+](?={_LONE_ZERO}|{_ZERO_MATRIX})|\$")
_PERCENT_OF_ZERO = re.compile(rf"({_LONE_ZERO})\$?\\%")
_ANNOUNCED = re.compile(r"answer is [^.]*")
_NAME = re.compile(r"(?<![A-Za-z\\])([A-Za-z]\()([a-z])(?=\) ?=)|(\\(?:sum|prod)_\{)([a-z])(?==)")
_PAIR = re.compile(r"\\(max|min|gcd)\(([^(),]+),([^(),]+)\)")
_MINUS_PLUS_MINUS = re.compile(r"^(\$?)-(?=(?:[a-z] ?= ?)?\\pm)")
_MOVED = re.compile(r"\\[,;]|\s|(?<=[\[(,])\+")


def harmless(answer: str, mutant: str) -> str:  # noqa: C901, PLR0911 - one argument per line
    """Name the class of `HARMLESS` of an accepted mutant; an empty string if there is none.

    Each argument compares the mutant with the answer; none looks at the answer alone.
    """
    if _same(answer, mutant, _without_zeros):
        return "zero"
    if _same(answer, mutant, _ANNOUNCED.findall) and _ANNOUNCED.search(answer):
        return "other sentence"
    if _is_other_name(answer, mutant):
        return "name"
    sides = answer.split("="), mutant.split("=")
    if len(sides[0]) > 2 and sides[0][-1] == sides[1][-1] and "text" not in answer:
        return "steps"
    if mutant == f"{answer}+1" and re.search(r"\+ ?C$", answer):
        return "constant absorbed"
    if _same(answer, mutant, _unordered):
        return "symmetric"
    head, _, condition = answer.partition("where")
    if condition and mutant.startswith(f"{head}where") and _reads_as_none(condition):
        return "condition"
    if mutant == f"{answer}+1" and "\u2460" in answer:
        return "repeated item"
    if _same(answer, mutant, lambda text: _MOVED.sub("", text)):
        return "layout"
    if re.fullmatch(re.escape(mutant) + r", d[a-z]", answer) and "\\int" in answer:
        return "differential"
    if _same(answer, mutant, lambda text: re.sub(r"\^\s*(?:\+1)?$", "", text)):
        return "no power"
    return "same value" if _same_value(answer, mutant) else ""


def _same(answer: str, mutant: str, reduced: Callable[[str], object]) -> bool:
    return reduced(answer) == reduced(mutant)


def _without_zeros(text: str) -> str:
    return _ZEROS.sub("", _PERCENT_OF_ZERO.sub(r"\1", text))


def _unordered(text: str) -> str:
    def in_order(match: re.Match[str]) -> str:
        return f"{match[1]} of {sorted((match[2].strip(), match[3].strip()))}"

    return _MINUS_PLUS_MINUS.sub(r"\1", _PAIR.sub(in_order, text))


def _is_other_name(answer: str, mutant: str) -> bool:
    """Decide whether only letters of `f(x) =` or under a sum differ, which no value holds."""
    rest = _NAME.sub(r"\1\3", answer)
    names = {match[2] or match[4] for text in (answer, mutant) for match in _NAME.finditer(text)}
    held = set(re.findall(r"(?<![A-Za-z\\])[a-z](?![A-Za-z])", rest))
    return rest == _NAME.sub(r"\1\3", mutant) and not names & held


def _reads_as_none(condition: str) -> bool:
    return read(condition.strip(" ${}.")) is None


def _same_value(answer: str, mutant: str) -> bool:
    """Decide by SymPy whether the sides of two relations, or two expressions, are equal."""
    sides = [re.split(r"([<>=])", text) for text in (answer, mutant)]
    if len(sides[0]) != len(sides[1]):
        return False
    return all(
        mine == theirs or _is_difference_zero(mine, theirs)
        for mine, theirs in zip(*sides, strict=True)
    )


def _is_difference_zero(left: str, right: str) -> bool:
    values = [_sympy_value(text) for text in (left, right)]
    if values[0] is None or values[1] is None:
        return False
    return sympy.simplify(values[0].doit() - values[1].doit()) == 0


def _sympy_value(text: str) -> Any | None:
    """Read an expression by math-verify's parser; None if it does not read the whole text."""
    if "gcd" in text:
        # The parser gives 1 for the greatest common divisor of any two letters.
        return None
    text = text.strip().strip("$")
    for pattern, replacement in _NOTATIONS:
        text = pattern.sub(replacement, text)
    latex = [math_verify.LatexExtractionConfig()]
    found = math_verify.parse(f"${text}$", latex, parsing_timeout=60)
    is_whole = len(found) > 1 and found[1] == text and isinstance(found[0], sympy.Expr)
    return found[0] if is_whole else None


_NOTATIONS = (
    (re.compile(r"^\{(.*)\}$"), r"\1"),
    (re.compile(r"_\{([0-9]+)\}C_([0-9])"), r"\\binom{\1}{\2}"),
    (re.compile(r"\^([-+])\}"), r"^{\1}}"),
    (re.compile(r"^0,([0-9]{3,})$"), r"0.\1"),
)
"""Notations that the grader reads and math-verify's parser does not."""


def mutants(text: str) -> Iterator[tuple[str, str]]:
    """Yield each mutation's class and mutant of an answer, without repetitions."""
    seen = {text}
    for name, mutate in MUTATIONS.items():
        for mutant in mutate(text):
            if mutant not in seen and mutant.strip():
                seen.add(mutant)
                yield name, mutant


def run(*, is_alone: bool = False) -> list[Row]:
    """Grade the mutants of every gradable reference; a row for each."""
    rows: list[Row] = []
    for reference in references():
        answer = reference_answer(reference.text)
        if not is_gradable(reference.text):
            rows.append({"source": reference.source, "class": "not gradable"})
            continue
        made = list(mutants(answer))
        verdicts = grade_many([(f"\\boxed{{{mutant}}}", reference.text) for _, mutant in made])
        for (name, mutant), verdict in zip(made, verdicts, strict=True):
            other = (
                _by_math_verify(mutant, answer) if reference.is_compared and not is_alone else None
            )
            rows.append({
                "source": reference.source, "class": name, "reference": answer, "mutant": mutant,
                "outcome": str(verdict.outcome), "math_verify": other,
                "harmless": harmless(answer, mutant) if verdict.is_correct else "",
            })  # fmt: skip
    return rows


def _by_math_verify(mutant: str, reference: str) -> bool | None:
    gold = math_verify.parse(f"${reference.strip('$')}$", parsing_timeout=2)
    found = math_verify.parse(f"$\\boxed{{{mutant}}}$", parsing_timeout=2)
    return bool(gold) and math_verify.verify(gold, found, timeout_seconds=2)


def score(rows: list[Row]) -> dict[str, dict[str, int]]:
    """Count mutants, accepted ones, harmless ones and math-verify's, by class."""
    counts: dict[str, Counter[str]] = {}
    for row in rows:
        count = counts.setdefault(row["class"], Counter())
        count["mutants"] += 1
        if row["class"] == "not gradable":
            continue
        count["accepted"] += row["outcome"] == "correct"
        count["harmless"] += bool(row["harmless"])
        count["ungraded"] += row["outcome"] in ("timeout", "error")
        count["compared"] += row["math_verify"] is not None
        count["accepted by math-verify"] += bool(row["math_verify"])
        count["accepted where compared"] += bool(
            row["math_verify"] is not None and row["outcome"] == "correct"
        )
    counts["all"] = sum((c for name, c in counts.items() if name != "not gradable"), Counter())
    return {name: dict(count) for name, count in counts.items()}


def main() -> None:
    """Print the accepted mutants and the counts."""
    logging.disable(logging.CRITICAL)
    rows = run(is_alone="--alone" in sys.argv[1:])
    for row in rows:
        if row.get("outcome") in ("correct", "timeout", "error") and not row["harmless"]:
            print(f"{row['outcome']:8} {row['class']}: {row['reference'][:70]!r} <- "
                  f"{row['mutant'][:70]!r}")  # fmt: skip
    for name, count in score(rows).items():
        print(f"{name}: {count}")


if __name__ == "__main__":
    main()
