"""What each method costs next to GRPO: generated and trained tokens, and seconds.

All methods run in one process and in turn, one iteration each a round, so that a noisy machine is
noisy for all; the median over rounds counts. SRPO's localisation is a small extra batch by design.
The batch holds more than the default of 256 sequences, which GRPO's 32 groups of 8 fill: the 32
explanations that ExPO adds would be a second batch, small and slow.

Failure-prefix conditioning needs problems that are nearly always solved, so its levels are lower;
its tokens are compared with GRPO's on the others' levels. Generated tokens hold what a method
samples to measure problems when they are first drawn.

What trees and values add to an episode is smaller than by default, so that a round takes seconds;
a cost of a token hardly depends on it.

    python -m benchmarks.methods.method_cost [--methods grpo spo ...] [--rounds 5] [--problems 32]
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import tyro

from reason_env.agents.evaluate import EvalConfig
from reason_env.agents.methods import MethodConfig, method_config, method_names
from reason_env.agents.methods.failure_prefix import FailurePrefixConfig
from reason_env.agents.methods.pope import POPEConfig
from reason_env.agents.methods.prefixrl import PrefixRLConfig
from reason_env.agents.methods.segment_tree import SPOTreeConfig
from reason_env.agents.methods.spo import SPOConfig
from reason_env.agents.methods.vineppo import VinePPOConfig
from reason_env.agents.train import Session, TrainConfig, build_session, iterate, prepare
from reason_env.env import EnvConfig

Row = dict[str, Any]
FIGURES = ("generated", "trained", "seconds")
SHORT: dict[str, MethodConfig] = {
    # They run once before training or at a first draw, and are not what is timed.
    "pope": POPEConfig(hard_samples=2, probe_samples=2),
    "prefixrl": PrefixRLConfig(attempts=4),
    "failure-prefix": FailurePrefixConfig(attempts=4, probe_samples=2),
    # They multiply an iteration.
    "vineppo": VinePPOConfig(group_size=4, value_samples=2),
    "spo": SPOConfig(group_size=4, value_samples=2),
    "spo-tree": SPOTreeConfig(branch_factors=(4, 2, 2)),
}
"""Methods with shorter searches, and fewer continuations, than by default."""
LEVELS = {"failure-prefix": (2, 4)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """The timed runs."""

    methods: tuple[str, ...] = ()
    """Those to time, with grpo among them; all if none is named."""
    rounds: int = 5
    problems: int = 32
    max_batch_size: int = 512
    levels: tuple[int, int] = (8, 12)


def run(setting: Setting) -> list[Row]:
    """Run each method in each round: one row with seconds, generated and trained tokens."""
    torch.set_num_threads(1)
    live = {name: _session(name, setting) for name in setting.methods or method_names()}
    for session in live.values():
        prepare(session)
    rows: list[Row] = []
    for number in range(setting.rounds + 1):
        for name, session in live.items():
            metrics = iterate(session).metrics
            if number > 0:  # the first round warms up
                measured = metrics.get("rollout/preparation_tokens") or 0
                rows.append(
                    {
                        "method": name,
                        "seconds": metrics["time/iteration_s"],
                        "generated": (metrics["rollout/sampled_tokens"] or 0) + measured,
                        "trained": metrics.get("update/tokens") or 0,
                    }
                )
    return rows


def score(rows: Sequence[Row]) -> dict[str, dict[str, float | None]]:
    """Return method -> medians over rounds of its figures divided by GRPO's in the same round.

    "seconds a token" is of generated tokens; None for a method that generates none.

    >>> row = {"generated": 100, "trained": 80, "seconds": 2.0}
    >>> found = score([{"method": "grpo", **row}, {"method": "lte", **row, "generated": 150}])
    >>> found["lte"]["generated"], round(found["lte"]["seconds a token"], 3)
    (1.5, 0.667)
    """
    by_method: dict[str, list[Row]] = {}
    for row in rows:
        by_method.setdefault(row["method"], []).append(row)
    baseline = by_method["grpo"]

    def ratio(own: Sequence[Row], name: str) -> float:
        pairs = zip(own, baseline, strict=True)
        return statistics.median(a[name] / b[name] for a, b in pairs)

    found: dict[str, dict[str, float | None]] = {}
    for method, own in by_method.items():
        figures: dict[str, float | None] = {name: ratio(own, name) for name in FIGURES}
        figures["seconds a token"] = None
        if all(row["generated"] for row in own):
            pairs = zip(own, baseline, strict=True)
            figures["seconds a token"] = statistics.median(
                (a["seconds"] / a["generated"]) / (b["seconds"] / b["generated"]) for a, b in pairs
            )
        found[method] = figures
    return found


def _session(name: str, setting: Setting) -> Session:
    return build_session(
        TrainConfig(
            method=SHORT.get(name) or method_config(name),
            env=EnvConfig(levels=LEVELS.get(name, setting.levels), size=4 * setting.problems),
            eval=EvalConfig(num_problems=1),
            problems_per_iteration=setting.problems,
            max_batch_size=setting.max_batch_size,
        )
    )


def table(scores: dict[str, dict[str, float | None]]) -> str:
    """Write the scores as a table of a page."""
    heads = (*FIGURES, "seconds a token")
    lines = [f"| method | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for name, own in scores.items():
        cells = ["-" if own[head] is None else f"{own[head]:.2f}" for head in heads]
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(score(run(tyro.cli(Setting)))))
