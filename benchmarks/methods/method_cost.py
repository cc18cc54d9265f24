"""A method costs what its tokens cost: seconds per generated token, relative to GRPO's.

All methods run in one process and in turn, one iteration each a round, so that a noisy machine is
noisy for all; the median over rounds counts. SRPO's localisation is a small extra batch by design.
The batch holds more than the default of 256 sequences, which GRPO's 32 groups of 8 fill: the 32
explanations that ExPO adds would be a second batch, small and slow.

    python -m benchmarks.methods.method_cost
"""

import statistics
from dataclasses import dataclass
from typing import Any

import torch

from reason_env.agents.evaluate import EvalConfig
from reason_env.agents.methods import method_config, method_names
from reason_env.agents.methods.pope import POPEConfig
from reason_env.agents.train import Session, TrainConfig, build_session, iterate, prepare
from reason_env.env import EnvConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """The timed runs."""

    rounds: int = 5
    problems: int = 32
    max_batch_size: int = 512
    levels: tuple[int, int] = (8, 12)


SETTINGS = (Setting(),)


def run(setting: Setting) -> list[dict[str, Any]]:
    """Time each method and round: one row with seconds and generated tokens."""
    torch.set_num_threads(1)
    live = {name: _session(name, setting) for name in method_names()}
    for session in live.values():
        prepare(session)
    rows: list[dict[str, Any]] = []
    for number in range(setting.rounds + 1):
        for name, session in live.items():
            metrics = iterate(session).metrics
            if number > 0:  # the first round warms up
                rows.append(
                    {
                        "method": name,
                        "seconds": metrics["time/iteration_s"],
                        "tokens": metrics["rollout/sampled_tokens"],
                    }
                )
    return rows


def score(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Return method -> median of its seconds per token divided by GRPO's in the same round."""
    costs = {
        name: [row["seconds"] / row["tokens"] for row in rows if row["method"] == name]
        for name in method_names()
    }
    return {
        name: statistics.median(a / b for a, b in zip(own, costs["grpo"], strict=True))
        for name, own in costs.items()
    }


def _session(name: str, setting: Setting) -> Session:
    # Short searches for POPE: they run once before training, and are not timed.
    method = POPEConfig(hard_samples=2, probe_samples=2) if name == "pope" else method_config(name)
    return build_session(
        TrainConfig(
            method=method,
            env=EnvConfig(levels=setting.levels, size=4 * setting.problems),
            eval=EvalConfig(num_problems=1),
            problems_per_iteration=setting.problems,
            max_batch_size=setting.max_batch_size,
        )
    )


if __name__ == "__main__":
    for setting in SETTINGS:
        for name, ratio in score(run(setting)).items():
            print(f"{name:<6} {ratio:5.2f} x GRPO's seconds per generated token")
