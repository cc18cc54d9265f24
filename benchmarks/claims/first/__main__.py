"""`python -m benchmarks.claims.first`: run what is missing, score it, print the table."""

import argparse
import importlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.claims.first import experiments
from benchmarks.claims.first.finding import Finding
from benchmarks.claims.first.published import Row, publish, published, rows
from benchmarks.claims.first.variations import VARIATIONS

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
    """Run and score the named claims, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.claims.first", description=__doc__)
    parser.add_argument("claims", nargs="*", metavar="CLAIM", help=", ".join(CLAIMS))
    parser.add_argument("--preset", choices=("full", "quick"), default="full")
    parser.add_argument("--seeds", type=int, help="seeds of each arm; default: the preset's")
    parser.add_argument("--out", type=Path, default=experiments.OUT)
    parser.add_argument(
        "--variations", action="store_true", help="fresh seeds and other problems (variations.py)"
    )
    parser.add_argument("--short", action="store_true", help="print one figure for each claim")
    parser.add_argument("--score-only", action="store_true", help="run nothing")
    parser.add_argument(
        "--published", action="store_true", help="run nothing, score the published rows"
    )
    parser.add_argument(
        "--publish", action="store_true", help="write the published rows from these runs"
    )
    given = parser.parse_args(words)
    known: Mapping[str, Any] = VARIATIONS if given.variations else _modules()
    unknown = sorted(set(given.claims) - set(known))
    if unknown:
        parser.error(f"no claim {unknown[0]!r} among {', '.join(known)}")
    if given.publish and (given.preset != "full" or given.published or given.seeds is not None):
        parser.error("--publish takes the rows of the full preset, with its seeds")
    if given.published and (given.seeds is not None or given.preset != "full"):
        parser.error("--published has the seeds of the full preset; leave out --seeds and --preset")
    chosen = {name: known[name] for name in given.claims or known}
    found: dict[str, Sequence[Row]] = {}
    for name in dict.fromkeys(used for module in chosen.values() for used in module.USES):
        found[name] = published(name) if given.published else _rows(name, given)
    for name, module in chosen.items():
        if isinstance(module, ModuleType) and not module.USES:
            own = published(name) if given.published else _own_rows(name, module, given)
            found[module.__name__] = own
    findings: dict[str, Finding] = {}
    for name, module in chosen.items():
        findings[name] = module.score(found)
        print(f"{name}: {findings[name].verdict}: {findings[name].measured}", flush=True)
    if given.publish:
        for name, own in found.items():
            publish(name.rpartition(".")[2], own)
    print(f"\n{table(findings, is_short=given.short)}")


def _modules() -> dict[str, ModuleType]:
    return {name: importlib.import_module(f"{__package__}.{name}") for name in CLAIMS}


def table(findings: Mapping[str, Finding], *, is_short: bool = False) -> str:
    """Format findings as a Markdown table, one line a claim.

    Args:
        findings: Name -> finding.
        is_short: Show only the first figure of each claim.
    """
    lines = ["| claim | paper | verdict | measured |", "|---|---|---|---|"]
    for item in findings.values():
        figures = item.measures[0] if is_short else item.measured
        cells = (item.claim.text, item.claim.paper, f"**{item.verdict}**", figures)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _rows(name: str, given: argparse.Namespace) -> list[Row]:
    if not given.score_only:
        print(f"running {name} ...", flush=True)
        experiments.run(name, given.preset, seeds=given.seeds, out=given.out)
    found = rows(name, given.preset, seeds=given.seeds, out=given.out)
    if not found:
        raise SystemExit(f"no run of {name!r} has finished in {given.out}; leave out --score-only")
    return found


def _own_rows(name: str, module: ModuleType, given: argparse.Namespace) -> list[Row]:
    seeds = "" if given.seeds is None else f"_{given.seeds}_seeds"
    file = given.out / given.preset / f"{name}{seeds}.jsonl"
    if not file.is_file():
        if given.score_only:
            raise SystemExit(f"no rows of {name} in {file}; leave out --score-only")
        file.parent.mkdir(parents=True, exist_ok=True)
        print(f"running {name} ...", flush=True)
        found = module.run(given.preset, given.seeds)
        file.write_text("".join(json.dumps(row) + "\n" for row in found), encoding="utf-8")
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    main(sys.argv[1:])
