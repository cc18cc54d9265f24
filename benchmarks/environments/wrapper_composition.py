"""The 2^3 grid of {ResetToState, PrefixRollin, Hint}: the base policy's success from each start.

    python -m benchmarks.environments.wrapper_composition [--figure PATH] [--specs PATH]

Each cell is one spec string, from which alone its environment is built. The wrappers:

* R: ResetToState to the policy's failures on these problems, cut before the first wrong step (by
the
  family's checker). It acts on every problem with a failure.
* P: PrefixRollin of half of the reference solution. After R it acts only if the state is a prefix
of
  the reference solution, which holds because the checker compares with the reference.
* H: Hint, which shows the answer in the prompt.

Success is the mean over problems of the fraction of correct samples, with a bootstrap interval over
problems (95 %). The seed determines all results. Runs for one minute on a CPU.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from reason_env.agents.engines import SamplingConfig
from reason_env.agents.policy import LanguageModelPolicy
from reason_env.agents.rollout import Start, Trajectory, collect, initial_states
from reason_env.agents.statistics import Interval, pass_at_k_interval
from reason_env.env import reason_env_of
from reason_env.state import ReasonState
from reason_env.wrappers.hint import Hint
from reason_env.wrappers.prefix_rollin import PrefixRollin
from reason_env.wrappers.reset_to_state import ResetToState
from reason_env.wrappers.stack import stack_from_json, stack_to_json

NUM_PROBLEMS = 64
NUM_SAMPLES = 4
SEED = 7
FAMILIES = {"chain": (8, 8), "inverse": (6, 6)}
"""Levels of each family: the highest at which the base model follows every format."""
CELLS = tuple(product((False, True), repeat=3))


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell's stack and its result."""

    family: str
    name: str
    spec: str
    success: Interval
    steps_given: float
    """Mean number of steps in the response at the start."""


def spec_of(family: str, wrappers: Sequence[bool], failures: Sequence[ReasonState]) -> str:
    """Build the spec string of a cell."""
    env: gym.Env[Any, Any] = gym.make(
        "MathReason-v0",
        problems=family,
        split="validation",
        size=NUM_PROBLEMS,
        levels=FAMILIES[family],
        granularity="response",
        format="tokens",
        max_tokens=256,
    )
    if wrappers[0]:
        env = ResetToState(env, failures, cut="checker")
    if wrappers[1]:
        env = PrefixRollin(env, fraction=(0.5, 0.5))
    if wrappers[2]:
        env = Hint(env, "answer")
    return stack_to_json(env)


def name_of(wrappers: Sequence[bool]) -> str:
    """Join the letters of the wrappers in the stack.

    >>> name_of((True, False, True)), name_of((False, False, False))
    ('RH', 'bare')
    """
    return "".join(letter for letter, acts in zip("RPH", wrappers, strict=True) if acts) or "bare"


def episodes(spec: str, policy: LanguageModelPolicy, seed: int) -> list[list[Trajectory]]:
    """Sample each problem from the start state that the stack of `spec` gives."""
    env = stack_from_json(spec)
    ids = [problem.problem_id for problem in reason_env_of(env).problems]
    starts = [
        Start(state=state, num_samples=NUM_SAMPLES, learn_from=state, group=problem_id)
        for problem_id, state in zip(ids, initial_states(env, ids, seed=seed), strict=True)
    ]
    batch = collect(starts, env=env, policy=policy, sampling=SamplingConfig(), seed=seed)
    return [list(group.trajectories) for group in batch.groups]


def cell(family: str, name: str, spec: str, policy: LanguageModelPolicy) -> Cell:
    """Measure the success of a cell."""
    groups = episodes(spec, policy, SEED)
    right = [sum(item.is_success for item in group) for group in groups]
    success = pass_at_k_interval(
        right, [len(group) for group in groups], k=1, rng=np.random.default_rng(SEED)
    )
    given = float(np.mean([group[0].start.state.num_steps for group in groups]))
    return Cell(family=family, name=name, spec=spec, success=success, steps_given=given)


def run(policy: LanguageModelPolicy) -> list[Cell]:
    """Measure all cells of both families."""
    cells: list[Cell] = []
    for family in FAMILIES:
        first = episodes(spec_of(family, (False, False, False), ()), policy, SEED + 1)
        failures = [item.final_state for group in first for item in group if not item.is_success]
        for wrappers in CELLS:
            spec = spec_of(family, wrappers, failures)
            cells.append(cell(family, name_of(wrappers), spec, policy))
    return cells


def draw(cells: Sequence[Cell], path: Path) -> None:
    """Write the heat map: one row per family, one column per cell, success and interval in each."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    names = [name_of(wrappers) for wrappers in CELLS]
    table = {(item.family, item.name): item for item in cells}
    values = [[table[family, name].success.estimate for name in names] for family in FAMILIES]
    figure, axes = plt.subplots(figsize=(9.0, 2.7), constrained_layout=True)
    image = axes.imshow(values, vmin=0, vmax=1, cmap="viridis", aspect="auto")
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(
        range(len(FAMILIES)), [f"{name}, level {low}" for name, (low, _) in FAMILIES.items()]
    )
    for row, family in enumerate(FAMILIES):
        for column, name in enumerate(names):
            success = table[family, name].success
            axes.text(
                column,
                row,
                f"{success.estimate:.2f}\n[{success.low:.2f}, {success.high:.2f}]",
                ha="center",
                va="center",
                fontsize=8,
                color="black" if success.estimate > 0.6 else "white",
            )
    axes.set_title(
        "Base policy's success by where episodes start\n"
        "R: own failure, cut before its first error   P: half of the reference   H: the answer",
        fontsize=9,
    )
    figure.colorbar(image, ax=axes, label="success")
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main() -> None:
    """Print the table; write the figure and the spec strings if asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--figure", type=Path, help="PNG file for the heat map")
    parser.add_argument("--specs", type=Path, help="JSON file for the cells' spec strings")
    given = parser.parse_args()
    cells = run(LanguageModelPolicy.load("base"))
    print("family   cell  success [95 %]          steps given  spec bytes")
    for item in cells:
        print(
            f"{item.family:<8} {item.name:<5} {item.success!s:<23} {item.steps_given:>11.2f} "
            f"{len(item.spec):>11}"
        )
    if given.figure:
        draw(cells, given.figure)
    if given.specs:
        rows = [{"family": item.family, "cell": item.name, "spec": item.spec} for item in cells]
        given.specs.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
