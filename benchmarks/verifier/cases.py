r"""Scores the verifier on public test suites with audited labels, on GSM8K and on swapped pairs.

Claim: accuracy >= 0.98 on math_verify_0.9.0, 1.0 on hendrycks and nemo_skills, >= 0.85 on
sympy_parse_latex; recall >= 0.80 on half of HardVerify, with at most one false positive; every
GSM8K reference is correct for itself. Each suite is scored twice: with the default options, and
with those of its own grader (an optional percent sign, a precision, texts without a box). Bare
answers are put into a box. `AUDITED` changes the labels that other suites refute, with the reason.
Run: python -m benchmarks.verifier.cases [all] - `all` adds attacks, rewrites and throughput.
"""

import json
import re
import sys
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from reason_env.verify import PRESETS, GradeOptions, grade, is_gradable

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
MARKERS = PRESETS["text"]().markers

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Setting:
    """A suite, its options, and the figure claimed."""

    suite: str
    at_least: float
    options: str = "default"


SUITES = {
    "math_verify_0.9.0": 0.98,
    "hendrycks_math_equivalence": 1.0,
    "nemo_skills_math_equal": 1.0,
    "sympy_parse_latex": 0.85,
    "tinyv_hardverify_math_half": 0.80,
    "latex2sympy2_bad_strings": 0.9,
}
AUDITED: dict[str, tuple[bool, str]] = {
    "math_verify_0.9.0-00006": (
        False,
        "the reference 1,22 is a list of 1 and 22, so 1.22 is wrong; the public reports refuse 0.1 "
        "for 0,1 and 11.13 for 11,13",
    ),
    "tinyv_hardverify_math-00412": (
        False,
        "60 hard candies are not 60 lollipop candies to a grader that refuses 10 chickens for 10 "
        "rabbits: the words of a count belong to the answer",
    ),
}
"""Row -> its label after a second audit, which replaces the suite's, and why."""
SETTINGS = tuple(
    Setting(suite, least, options)
    for suite, least in SUITES.items()
    for options in ("default", "suite")
)


def run(setting: Setting) -> list[Row]:
    """Grade each labelled case; return a row for each, with its label and the verdict."""
    path = SHARED / "verifier_cases" / f"{setting.suite}.jsonl"
    cases = [json.loads(line) for line in path.read_text().splitlines()]
    cases = [case | {"truth": AUDITED.get(case["id"], (case["truth"],))[0]} for case in cases]
    return [_graded(case, setting) for case in cases if case["truth"] is not None]


def _graded(case: Row, setting: Setting) -> Row:
    text = case["prediction"] or ""
    if case["gold"] is None:
        return {"id": case["id"], "truth": False, "found": is_gradable(text), "reason": "itself"}
    is_bare = case["kind"] == "answer" and "boxed" not in text
    response = f"\\boxed{{{text}}}" if is_bare and text else text
    options = GradeOptions() if setting.options == "default" else suite_options(case)
    verdict = grade(response, case["gold"], options)
    return {"id": case["id"], "truth": case["truth"], "found": verdict.is_correct,
            "reason": f"{verdict.outcome}: {verdict.reason}", "gold": case["gold"][-80:],
            "prediction": text[-80:]}  # fmt: skip


def suite_options(case: Row) -> GradeOptions:
    """Choose the options that match how a row's own suite calls its grader."""
    is_math_verify = str(case["source"]).startswith("pypi:math-verify")
    return GradeOptions(
        markers=MARKERS,
        conclusion=case["kind"] == "response",
        percent="sign_optional" if is_math_verify else "value",
        response_digits=min(12, case["options"].get("precision", 12)),
    )


def score(rows: list[Row]) -> dict[str, float]:
    """Compute accuracy, recall and the number of false positives."""
    right = sum(row["truth"] == row["found"] for row in rows)
    positives = [row for row in rows if row["truth"]]
    return {
        "cases": len(rows),
        "accuracy": right / len(rows),
        "recall": sum(row["found"] for row in positives) / max(1, len(positives)),
        "false positives": sum(row["found"] and not row["truth"] for row in rows),
        "audited labels": sum(row["id"] in AUDITED for row in rows),
    }


def swapped(suite: str, every: int = 5) -> dict[str, int]:
    """Count the predictions that are accepted for the reference of another row.

    The count bounds the false positives; it is not 0, because some rows have equal answers.
    """
    path = SHARED / "verifier_cases" / f"{suite}.jsonl"
    cases = [json.loads(line) for line in path.read_text().splitlines()]
    cases = [case for case in cases if case["truth"] and case["kind"] == "answer"]
    pairs = [(i, j) for i in range(len(cases)) for j in range(len(cases)) if i != j]
    pairs = [(i, j) for i, j in pairs if (i + j) % every == 0]
    accepted = 0
    for i, j in pairs:
        text, gold = cases[i]["prediction"], cases[j]["gold"]
        response = text if "boxed" in text else f"\\boxed{{{text}}}"
        accepted += grade(response, gold).is_correct
    return {"pairs": len(pairs), "accepted": accepted}


_MARK = re.compile(r"<<[^<>=]*=([-0-9.,/]+)>>\s*\$?([-0-9.,]*[0-9])")


def gsm8k() -> dict[str, int]:
    """Grade the GSM8K references against themselves and off by one, and the marked numbers."""
    counts: dict[str, int] = dict.fromkeys(
        ("references", "self", "off by one accepted", "marks", "agree"), 0
    )
    for name in ("train", "test"):
        path = SHARED / "data" / "gsm8k" / f"{name}.jsonl"
        for line in path.read_text().splitlines():
            solution = json.loads(line)["answer"]
            final = solution.rsplit("####", 1)[1].strip()
            other = str(int(final.replace(",", "")) + 1)
            counts["references"] += 1
            counts["self"] += grade(solution, final).is_correct and is_gradable(final)
            counts["off by one accepted"] += grade(solution, other).is_correct
            for mark, text in _MARK.findall(solution):
                counts["marks"] += 1
                counts["agree"] += grade(f"\\boxed{{{text}}}", mark).is_correct == (
                    _exact(mark) == _exact(text)
                )
    return counts


def _exact(text: str) -> Fraction:
    return Fraction(text.replace(",", "").rstrip("."))


def main() -> None:
    """Print every figure, and each wrong verdict."""
    for setting in SETTINGS:
        rows = run(setting)
        figures = score(rows)
        print(f"{setting.suite} [{setting.options}] at least {setting.at_least}: {figures}")
        for row in rows:
            if row["truth"] != row["found"] and setting.options == "suite":
                print("   ", row)
    for name, (label, reason) in AUDITED.items():
        print(f"{name} is labelled {label}: {reason}")
    for suite in ("tinyv_hardverify_math_half", "math_verify_0.9.0"):
        print(f"{suite} swapped:", swapped(suite))
    print("gsm8k:", gsm8k())
    if "all" in sys.argv[1:]:
        from benchmarks.verifier import attacks as verifier_attacks
        from benchmarks.verifier import metamorphic as verifier_metamorphic
        from benchmarks.verifier import throughput as verifier_throughput

        for module in (verifier_attacks, verifier_metamorphic, verifier_throughput):
            print(module.__name__)
            module.main()


if __name__ == "__main__":
    main()
