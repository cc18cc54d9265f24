"""The experiments that claims share: arms, problems, budget; and their rows, one a finished run.

Every arm of an experiment has the same base model, problems, learning rate, evaluation and budget
of generated tokens; what a method prepares, discards and localises counts.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from benchmarks.claims.experts import write_foreign
from reason_env.agents.compare import Comparison
from reason_env.agents.compare_config import CompareConfig, arms_of, shared_settings
from reason_env.agents.env_config import EnvConfig
from reason_env.agents.evaluate import EvalConfig
from reason_env.agents.learner_config import LearnerConfig

Preset = Literal["full", "quick"]
OUT = Path("runs/claims")


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """Arms on one source of problems."""

    source: str
    """Of the training problems, as `reason-env compare` takes it."""
    arms: Mapping[str, str]
    """Label -> arm, as `reason-env compare` takes it."""
    train_size: int
    """Training problems: few where a method measures each of them beforehand."""
    levels: tuple[int, int] | None
    budget: int = 250_000
    """Generated tokens of each run."""
    eval_problems: str | None = None
    """Source of the evaluation problems where it is not the training source."""
    is_foreign: bool = False
    """Reference solutions are rewritten as somebody else would (`experts.py`)."""
    eval_size: int = 64
    """Held-out problems, of the hard split."""
    learning_rate: float = 2e-4
    problems_per_iteration: int = 8
    eval_every: int = 0
    """Iterations between evaluations of the full preset; 0 is before and after alone."""

    def config(self, preset: Preset, seeds: int | None, out: Path) -> CompareConfig:
        """Returns the comparison to run; `out` is where rewritten problems are written."""
        source, env = self.source, EnvConfig(size=self.train_size, levels=self.levels)
        if self.is_foreign:
            source, env = write_foreign(source, env, out), EnvConfig()
        shared = replace(
            shared_settings(),
            env=env,
            eval=EvalConfig(
                split="hard",
                problems=self.eval_problems,
                num_problems=self.eval_size,
                samples=8,
                k=8,
                greedy=False,
                every=self.eval_every if preset == "full" else 0,
            ),
            learner=LearnerConfig(learning_rate=self.learning_rate),
            problems_per_iteration=self.problems_per_iteration,
            episodes_per_iteration=0,
        )
        arms = arms_of(list(self.arms.values()), shared)
        return CompareConfig(
            arms=dict(zip(self.arms, arms.values(), strict=True)),
            sources=(source,),
            num_seeds=seeds or (5 if preset == "full" else 2),
            budget=self.budget if preset == "full" else self.budget // 2,
        )


EXPERIMENTS: dict[str, Experiment] = {
    "unlock": Experiment(
        source="unlock",
        levels=(8, 10),
        train_size=32,
        budget=300_000,
        eval_size=48,
        arms={
            "grpo": "grpo",
            "pope": "pope:hard_samples=8,probe_samples=8,grid=0.25",
            "pope, hard prefix": (
                "pope:hard_samples=8,probe_samples=8,grid=0.25,conditioning=response"
            ),
            "pope, no restating": (
                "pope:hard_samples=8,probe_samples=8,grid=0.25,instruction=Do not restate."
            ),
            "grpo, entropy bonus": "grpo:loss.entropy_coefficient=0.01",
            "grpo, clip higher": "grpo:loss.clip_high=0.5,learner.updates_per_iteration=4",
            "grpo, pass@k": "grpo:advantage.kind=pass_at_k,advantage.k=4",
            "sft": "sft",
        },
    ),
    "unlock, easy mixed in": Experiment(
        source="mix:unlock@1-3+unlock@8-10",
        eval_problems="unlock",
        levels=None,
        train_size=32,
        budget=300_000,
        eval_size=48,
        arms={
            "grpo": "grpo",
            "pope": "pope:hard_samples=8,probe_samples=8,grid=0.25,easy=mix",
        },
    ),
    "inverse": Experiment(
        source="inverse",
        levels=(10, 12),
        train_size=1000,
        arms={
            "grpo": "grpo",
            "expo": "expo",
            "expo, expert chains": "expo:explanations=expert",
        },
    ),
    "inverse, foreign experts": Experiment(
        source="inverse",
        eval_problems="inverse",
        levels=(10, 12),
        train_size=1000,
        is_foreign=True,
        arms={
            "expo": "expo",
            "expo, expert chains": "expo:explanations=expert",
        },
    ),
    "precedence": Experiment(
        source="precedence",
        levels=(7, 10),
        eval_every=8,
        train_size=1000,
        arms={
            "grpo": "grpo",
            "grpo, extra": "lte:extra=unhinted",
            "lte": "lte",
        },
    ),
    "chain": Experiment(
        source="chain",
        levels=(12, 16),
        budget=160_000,
        eval_size=48,
        eval_every=8,
        train_size=1000,
        arms={
            "grpo": (
                "grpo:loss.policy_term=reinforce,loss.aggregation=seq_mean_token_mean,"
                "loss.importance_weight_cap=null,advantage.std=population,advantage.eps=0.0"
            ),
            "rrpo": "rrpo",
            "srpo": "srpo",
            "srpo, checker": "srpo:localiser=checker",
            "srpo, random": "srpo:localiser=random",
            "srpo, checker -4": "srpo:localiser=checker,offset=-4",
            "srpo, checker -2": "srpo:localiser=checker,offset=-2",
            "srpo, checker +2": "srpo:localiser=checker,offset=2",
            "srpo, checker +4": "srpo:localiser=checker,offset=4",
        },
    ),
    "chain, large steps": Experiment(
        source="chain",
        levels=(10, 12),
        train_size=1000,
        eval_every=2,
        learning_rate=1e-3,
        arms={
            "rrpo": "rrpo",
            "rrpo, accepted": 'rrpo:cpi={"alpha":1.0}',
        },
    ),
}


def comparison(
    name: str, preset: Preset, *, seeds: int | None = None, out: Path = OUT
) -> Comparison:
    """Returns the comparison of an experiment, in its directory."""
    config = EXPERIMENTS[name].config(preset, seeds, out)
    folder = out / preset / name.replace(",", "").replace(" ", "_")
    return Comparison.open_or_create(folder, config)


def run(name: str, preset: Preset, *, seeds: int | None = None, out: Path = OUT) -> None:
    """Runs what is not finished of an experiment, on every core."""
    comparison(name, preset, seeds=seeds, out=out).run(workers=os.cpu_count() or 1)


def rows(
    name: str, preset: Preset, *, seeds: int | None = None, out: Path = OUT
) -> list[dict[str, Any]]:
    """Returns one row for each finished run: arm, seed, tokens, first and last evaluation."""
    found: list[dict[str, Any]] = []
    for item in comparison(name, preset, seeds=seeds, out=out).runs:
        if item.is_finished:
            found.append(_row(item.arm, item.seed, item.metrics()))
    return found


def _row(arm: str, seed: int, metrics: list[dict[str, Any]]) -> dict[str, Any]:
    evals = [row for row in metrics if row.get("eval/pass_at_1") is not None]
    first, last = evals[0], evals[-1]
    return {
        "arm": arm,
        "seed": seed,
        "tokens": last["rollout/sampled_tokens_total"],
        "iterations": last["iteration"],
        "pass_at_1": last["eval/pass_at_1"],
        "pass_at_k": last["eval/pass_at_k"],
        "first_pass_at_1": first["eval/pass_at_1"],
        "first_pass_at_k": first["eval/pass_at_k"],
        "curve": [
            (
                row["iteration"],
                row.get("rollout/sampled_tokens_total") or 0,
                row["eval/pass_at_1"],
                row["eval/pass_at_k"],
            )
            for row in evals
        ],
    }
