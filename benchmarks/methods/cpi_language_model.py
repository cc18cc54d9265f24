"""Does CPI's acceptance test keep a language model's improvement monotone, and does the bound hold?

    python -m benchmarks.methods.cpi_language_model        # all arms, three seeds
    python -m benchmarks.methods.cpi_language_model --quick  # one seed, a third of the samples
    python -m benchmarks.methods.cpi_language_model --arms always test  # some arms

Each iteration measures the realised gain in return from D, and from the restarts, on fresh samples
with an interval. The arms differ in the step size (alpha) and in the test of a candidate, which
passes if the lower limit of its advantage is above 0:

    always      the method's update: alpha 1, no test
    test        alpha 1, tested
    half        alpha 0.5, tested, the mixture distilled
    bound       the theory's alpha, tested, the mixture distilled
    step        as bound, with the advantage of single steps

Scores: steps taken; realised gains below and above 0 with confidence (a step "fell" if the upper
limit is below 0); bounds that the gain from the restarts contradicts (its upper limit is below the
bound); KL of the kept policy to the mixture; and generated tokens by purpose.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from reason_env.agents.cpi import CPIConfig
from reason_env.agents.cpi.config import DistillConfig
from reason_env.agents.learning import LearnerConfig
from reason_env.agents.methods import method_config
from reason_env.agents.train import TrainConfig, build_session, iterate, prepare
from reason_env.env import EnvConfig

Row = dict[str, Any]
_MEASURING = CPIConfig(num_restarts=48, samples=2, realised_problems=64, realised_restarts=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One run."""

    arm: str
    seed: int
    cpi: CPIConfig
    restart: str = "rrpo"
    learning_rate: float = 1e-3
    """High, so that some candidates fail."""
    levels: tuple[int, int] = (4, 8)
    max_tokens: int = 128
    problems: int = 12
    """Problems an iteration, from which a candidate is trained."""
    iterations: int = 6


ARMS = {
    "always": replace(_MEASURING, step_size=1.0, accept="always"),
    "test": replace(_MEASURING, step_size=1.0),
    "half": replace(_MEASURING, step_size=0.5),
    "bound": _MEASURING,
    "step": replace(_MEASURING, estimator="step", horizon=24, samples=4),
}
SEEDS = (0, 1, 2)
SETTINGS = tuple(
    Setting(arm=arm, seed=seed, cpi=cpi) for arm, cpi in ARMS.items() for seed in SEEDS
)


def quick(setting: Setting) -> Setting:
    """Return the setting with a third of the samples and short problems."""
    cpi = replace(
        setting.cpi,
        num_restarts=16,
        realised_problems=24,
        distill=DistillConfig(updates=10, rows=16),
    )
    return replace(setting, cpi=cpi, levels=(2, 4), max_tokens=80, problems=8, iterations=3)


def run(setting: Setting) -> list[Row]:
    """Train; return one row an iteration: the `cpi/` metrics and the pass rate."""
    config = TrainConfig(
        method=method_config(setting.restart),
        env=EnvConfig(levels=setting.levels, max_tokens=setting.max_tokens),
        learner=LearnerConfig(learning_rate=setting.learning_rate, epochs=2),
        problems_per_iteration=setting.problems,
        iterations=setting.iterations,
        cpi=setting.cpi,
        seed=setting.seed,
    )
    session = build_session(config)
    prepare(session)
    rows: list[Row] = []
    while not session.is_over:
        began = time.perf_counter()
        metrics = iterate(session).metrics
        kept = {name: value for name, value in metrics.items() if name.startswith("cpi/")}
        rows.append(
            {
                "arm": setting.arm,
                "seed": setting.seed,
                "iteration": session.iteration,
                "pass_rate": metrics["rollout/pass_rate"],
                "seconds": round(time.perf_counter() - began, 1),
                **kept,
            }
        )
    return rows


def score(rows: Sequence[Row]) -> list[Row]:
    """Score each arm, one row an arm."""
    scores: list[Row] = []
    for arm in dict.fromkeys(row["arm"] for row in rows):
        own = [row for row in rows if row["arm"] == arm]
        taken = [row for row in own if row["cpi/alpha"] > 0]
        promised = [row for row in taken if row["cpi/bound"] is not None]
        fitted = [row for row in taken if row["cpi/kl_mixture"] is not None]
        scores.append(
            {
                "arm": arm,
                "iterations": len(own),
                "taken": len(taken),
                "fell": sum(row["cpi/realised_high"] < 0 for row in taken),
                "below 0": sum(row["cpi/realised"] < 0 for row in taken),
                "rose": sum(row["cpi/realised_low"] > 0 for row in taken),
                "gain a step": _mean([row["cpi/realised"] for row in taken]),
                "gain an iteration": _mean([row["cpi/realised"] for row in own]),
                "bound": _mean([row["cpi/bound"] for row in promised]),
                "gain from restarts": _mean([row["cpi/realised_restarts"] for row in promised]),
                "contradicted": sum(
                    row["cpi/realised_restarts_high"] < row["cpi/bound"] for row in promised
                ),
                "alpha": _mean([row["cpi/alpha"] for row in taken]),
                "kl to mixture": _mean([row["cpi/kl_mixture"] for row in fitted]),
                "tokens": {
                    what: sum(row.get(f"cpi/tokens_{what}") or 0 for row in own)
                    for what in ("candidate", "advantage", "realised")
                },
            }
        )
    return scores


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def main(argv: list[str]) -> int:
    """Print each iteration as it ends, then the scores."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--seeds", type=int, nargs="+", default=None)
    parser.add_argument("--restart", default="rrpo")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, default=None, help="rows as JSON lines")
    given = parser.parse_args(argv)
    seeds = given.seeds or (SEEDS[:1] if given.quick else SEEDS)
    rows: list[Row] = []
    for setting in SETTINGS:
        if setting.arm not in given.arms or setting.seed not in seeds:
            continue
        chosen = replace(quick(setting) if given.quick else setting, restart=given.restart)
        for row in run(chosen):
            rows.append(row)
            gain = f"{row['cpi/realised']:+.3f} [{row['cpi/realised_low']:+.3f}, "
            print(
                f"{row['arm']:7} seed {row['seed']} iteration {row['iteration']}  accepted "
                f"{row['cpi/accepted']}  alpha {row['cpi/alpha']:.4f}  A "
                f"{_shown(row.get('cpi/advantage'))} [{_shown(row.get('cpi/advantage_low'))}, "
                f"{_shown(row.get('cpi/advantage_high'))}]  realised {gain}"
                f"{row['cpi/realised_high']:+.3f}]  {row['seconds']} s",
                flush=True,
            )
    if given.out is not None:
        given.out.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for line in score(rows):
        print("  ".join(f"{name} {_shown(value)}" for name, value in line.items()))
    return 0


def _shown(value: object) -> str:
    return f"{value:+.4f}" if isinstance(value, float) else "-" if value is None else str(value)


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main(sys.argv[1:]))
