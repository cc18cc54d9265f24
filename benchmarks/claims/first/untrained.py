"""Claims that are measured on the base policy, without training: one row a seed."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym

from benchmarks.claims.first.experiments import EXPERIMENTS, Preset
from reason_env.agents.policy import LanguageModelPolicy
from reason_env.env import EnvConfig

Env = gym.Env[Any, Any]
SETTINGS = {"quick": {"problems": 40, "seeds": 3}, "full": {"problems": 100, "seeds": 5}}


def rows_by_seed(
    measure: Callable[[LanguageModelPolicy, Env, int], dict[str, float]],
    experiment: str,
    preset: Preset,
    seeds: int | None,
) -> list[dict[str, Any]]:
    """Measure the base policy on an experiment's problems, drawn for each seed.

    Args:
        measure: (policy, environment, seed) -> the row's figures.
        experiment: Whose source of problems is used.
        preset: Decides the number of problems and of seeds.
        seeds: Number of seeds; None: the preset's.
    """
    setting = SETTINGS[preset]
    policy = LanguageModelPolicy.load("base")
    rows: list[dict[str, Any]] = []
    for seed in range(seeds or setting["seeds"]):
        config = EnvConfig(
            problems=EXPERIMENTS[experiment].source, size=setting["problems"], problem_seed=seed
        )
        rows.append({"seed": seed, **measure(policy, config.make(policy.codec), seed)})
    return rows
