"""`python -m benchmarks.claims`: runs what is missing, scores, prints the table."""

import argparse
import importlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.claims import experiments
from benchmarks.claims.finding import Finding

CLAIMS = (
    "grpo_sharpening",
    "pope_lifts",
    "pope_mixing",
    "pope_alternatives",
    "pope_restating",
    "expo_gain",
    "expo_properties",
    "lte_gain",
    "lte_never_solved",
    "srpo_order",
    "suffix_success",
    "localisation_accuracy",
    "cpi_monotone",
)


def main(words: Sequence[str]) -> None:
    """Runs and scores the claims that are named, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.claims", description=__doc__)
    parser.add_argument("claims", nargs="*", metavar="CLAIM", help=", ".join(CLAIMS))
    parser.add_argument("--preset", choices=("full", "quick"), default="full")
    parser.add_argument("--seeds", type=int, help="seeds of each arm; the preset's if absent")
    parser.add_argument("--out", type=Path, default=experiments.OUT)
    parser.add_argument("--score-only", action="store_true", help="run nothing")
    given = parser.parse_args(words)
    unknown = sorted(set(given.claims) - set(CLAIMS))
    if unknown:
        parser.error(f"no claim {unknown[0]!r} among {', '.join(CLAIMS)}")
    modules = [
        importlib.import_module(f"benchmarks.claims.{name}") for name in given.claims or CLAIMS
    ]
    needed = dict.fromkeys(name for module in modules for name in module.USES)
    rows: dict[str, Sequence[Any]] = {}
    for name in needed:
        if not given.score_only:
            print(f"running {name} ...", flush=True)
            experiments.run(name, given.preset, seeds=given.seeds, out=given.out)
        rows[name] = experiments.rows(name, given.preset, seeds=given.seeds, out=given.out)
    findings: dict[str, Finding] = {}
    for module in modules:
        if not module.USES:
            rows[module.__name__] = _own_rows(module, given)
        findings[module.__name__.rpartition(".")[2]] = module.score(rows)
        print(_line(module, findings), flush=True)
    table = _table(findings)
    (given.out / given.preset).mkdir(parents=True, exist_ok=True)
    (given.out / given.preset / "claims.md").write_text(table, encoding="utf-8")
    print(f"\n{table}")


def _own_rows(module: ModuleType, given: argparse.Namespace) -> list[dict[str, Any]]:
    file = given.out / given.preset / f"{module.__name__.rpartition('.')[2]}.jsonl"
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        found = module.run(given.preset)
        file.write_text("".join(json.dumps(row) + "\n" for row in found), encoding="utf-8")
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def _line(module: ModuleType, findings: dict[str, Finding]) -> str:
    name = module.__name__.rpartition(".")[2]
    return f"{name}: {findings[name].verdict}: {findings[name].measured}"


def _table(findings: dict[str, Finding]) -> str:
    lines = ["| claim | paper | verdict | measured |", "|---|---|---|---|"]
    for item in findings.values():
        cells = (item.claim.text, item.claim.paper, f"**{item.verdict}**", item.measured)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main(sys.argv[1:])
