"""The methods and their control arms, one table a family: pass@1 and pass@k on hard problems.

    python -m benchmarks.methods.method_table              runs what is missing of five seeds
    python -m benchmarks.methods.method_table --further    methods beside the six, on two families
    python -m benchmarks.methods.method_table --published  scores the published rows

`--published --further` scores those of the further methods; `--publish --further` writes them.
The runs are those of `benchmarks.claims.first` (`experiments.py`). In each family all arms have the
same base model, learning rate, problems, evaluation on held-out hard problems, and budget of
generated tokens, which includes searches, localisations and discarded tries. A run ends with the
iteration that reaches the budget; the table shows the tokens used. All arms have one loss of policy
tokens, except arms named for another loss.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.claims.first import experiments
from benchmarks.claims.first.experiments import ALL, FURTHER, REFUSED, VARIATIONS
from benchmarks.claims.first.published import publish, published, rows
from reason_env.agents.compare.statistics import Estimate, over_seeds, paired_difference

Row = dict[str, Any]
BASELINE = "grpo"
FIGURES = ("pass_at_1", "pass_at_k")
FAMILIES = (
    "precedence",
    "precedence, easy mixed in",
    "precedence, foreign experts",
    "inverse",
    "inverse, foreign experts",
    "chain",
    *VARIATIONS,
)
"""Experiments, one table each."""


def score(found: Sequence[Row]) -> dict[str, dict[str, Estimate | None]]:
    """Average over seeds, for each arm: tokens, final pass@1 and pass@k, and their lead over GRPO.

    Intervals are 95 %, bootstrap over seeds; a lead is paired by seed, None without a pair.
    """
    arms = list(dict.fromkeys(row["arm"] for row in found))

    def values(arm: str, name: str) -> dict[int, float]:
        return {row["seed"]: row[name] for row in found if row["arm"] == arm}

    def lead(arm: str, name: str) -> Estimate | None:
        return paired_difference(values(arm, name), values(BASELINE, name))

    return {
        arm: {
            "tokens": over_seeds(values(arm, "tokens")),
            **{name: over_seeds(values(arm, name)) for name in FIGURES},
            **{
                f"{name} - {BASELINE}": None if arm == BASELINE else lead(arm, name)
                for name in FIGURES
            },
        }
        for arm in arms
    }


def table(found: Sequence[Row]) -> str:
    """Format the scores as a Markdown table, the untrained policy first."""
    scores = score(found)
    names = list(next(iter(scores.values())))
    lines = ["| arm | seeds | " + " | ".join(names) + " |", "|---" * (len(names) + 2) + "|"]
    before = {
        name: over_seeds({row["seed"]: row[f"first_{name}"] for row in found}) for name in FIGURES
    }
    empty = dict.fromkeys(names)
    for arm, own in {"(before)": empty | before, **scores}.items():
        cells = [_cell(name, own[name]) for name in names]
        seeds = {row["seed"] for row in found if arm in (row["arm"], "(before)")}
        lines.append(f"| {arm} | {len(seeds)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def refusals(name: str) -> str:
    """Name the arms of an experiment that have no runs, and why."""
    return "".join(f"`{arm}` has no runs: {why}.\n\n" for arm, why in REFUSED.get(name, {}).items())


def _cell(name: str, value: Estimate | None) -> str:
    if value is None:
        return ""
    if name == "tokens":
        return f"{value.mean:,.0f}"
    if value.low is None:
        return f"{value.mean:.3f}"
    return f"{value.mean:.3f} [{value.low:.3f}, {value.high:.3f}]"


def main() -> None:
    """Run what is missing, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--preset", choices=("full", "quick"), default="full")
    parser.add_argument("--seeds", type=int, help="seeds of each arm; default: the preset's")
    parser.add_argument("--out", type=Path, default=experiments.OUT)
    parser.add_argument("--published", action="store_true", help="run nothing")
    parser.add_argument("--further", action="store_true", help="methods beside the six")
    parser.add_argument(
        "--publish", action="store_true", help="write the published rows of --further"
    )
    given = parser.parse_args()
    is_full = given.preset == "full" and given.seeds is None
    if given.publish and (given.published or not given.further or not is_full):
        parser.error("--publish takes the rows of --further, of the full preset with its seeds")
    if given.published and not is_full:
        parser.error("--published has the seeds of the full preset; leave out --seeds and --preset")
    for name in FURTHER if given.further else FAMILIES:
        if not given.published:
            experiments.run(name, given.preset, seeds=given.seeds, out=given.out)
        found = (
            published(name)
            if given.published
            else rows(name, given.preset, seeds=given.seeds, out=given.out)
        )
        if given.publish:
            publish(name, found)
        own = ALL[name]
        print(f"### {name}\n\n`{own.source}`, {own.budget:,} generated tokens a run\n")
        print(f"{table(found)}\n\n{refusals(name)}", end="", flush=True)


if __name__ == "__main__":
    main()
