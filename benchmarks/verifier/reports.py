r"""Scores the verifier on public reports of graders that were wrong, and on probes, by kind.

Claim: at least 0.97 of `public_reports` right and no false positive, with the default options. A
verdict is right if its outcome is the expected one; TIMEOUT and ERROR never are.
Run: python -m benchmarks.verifier.reports [file]
"""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.verifier.cases import SHARED
from reason_env.verify import GradeOptions, grade

Row = dict[str, Any]
AT_LEAST = 0.97


def run(path: Path, options: GradeOptions | None = None) -> list[Row]:
    """Grade each row of a file (`answer`, `response`, `expected`, `kind`); add the outcome."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [row | _graded(row, options or GradeOptions()) for row in rows]


def _graded(row: Row, options: GradeOptions) -> Row:
    verdict = grade(row["response"], row["answer"], options)
    found = verdict.outcome.name
    return {"found": found, "reason": verdict.reason, "fault": _fault(row["expected"], found)}


def _fault(expected: str, found: str) -> str:
    """Name the fault of a verdict; an empty string if it is right."""
    if found == expected or {found, expected} == {"INCORRECT", "NO_ANSWER"}:
        return ""
    if found in ("TIMEOUT", "ERROR"):
        return "ungraded"
    return "false positive" if found == "CORRECT" else "false negative"


def score(rows: list[Row]) -> dict[str, float]:
    """Compute the share of right verdicts and the count of each fault."""
    faults = Counter(row["fault"] for row in rows)
    figures: dict[str, float] = {"rows": len(rows), "right": faults[""] / len(rows)}
    return figures | {
        name: faults[name] for name in ("false positive", "false negative", "ungraded")
    }


def by_kind(rows: list[Row]) -> dict[str, dict[str, int]]:
    """Count the rows and faults of each kind that has a fault."""
    counts: dict[str, Counter[str]] = {}
    for row in rows:
        counts.setdefault(row["kind"], Counter())[row["fault"] or "right"] += 1
    return {kind: dict(count) for kind, count in sorted(counts.items()) if set(count) != {"right"}}


def main() -> None:
    """Print each wrong verdict, the faults by kind and the figures."""
    default = SHARED / "verifier_cases" / "public_reports.jsonl"
    rows = run(Path(sys.argv[1]) if len(sys.argv) > 1 else default)
    for row in rows:
        if row["fault"]:
            print(f"{row['fault']:14} {row['id']} {row['kind']}: {row['answer'][:80]!r} <- "
                  f"{row['response'][:80]!r} {row['found']} ({row['reason']})")  # fmt: skip
    for kind, count in by_kind(rows).items():
        print(f"{kind}: {count}")
    print(f"at least {AT_LEAST}:", score(rows))


if __name__ == "__main__":
    main()
