"""Whether a model hosts a family's mechanism: plain numbers, each against its bounds.

    python -m benchmarks.families.hosts late --model runs/late

A claim about a method presumes something of model and problems. Measured here before any training:

    late      Success is rare, a wrong step comes late, so that most uniform resets keep a prefix
              without error, and nearly all of the gradient's variance is beside the point.
    sealed    Sampling never succeeds, and the shortest helpful prefix lets it.
    opposed   The problems to mix in are solved often, the hard ones seldom, and the hard ones fail
              by the reading that the others pay.
"""

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import gymnasium as gym
import numpy as np

from reason_env.agents.engines import SamplingConfig
from reason_env.agents.methods import POPE, POPEConfig
from reason_env.agents.policy import LanguageModelPolicy
from reason_env.agents.probe import token_energies
from reason_env.agents.rollout import (
    Group,
    RolloutBatch,
    Start,
    Trajectory,
    collect,
    initial_states,
)
from reason_env.env import EnvConfig, reason_env_of
from reason_env.problem import Problem, StepChecker
from reason_env.problems.families import precedence
from reason_env.state import ReasonState, solution_guidance, step_bounds

MAX_TOKENS = 384
"""Room for the 361 tokens of a chain of `late`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A policy in an environment."""

    policy: LanguageModelPolicy
    env: gym.Env[Any, Any]

    @property
    def states(self) -> list[ReasonState]:
        """The initial states of all problems."""
        ids = [problem.problem_id for problem in reason_env_of(self.env).problems]
        return initial_states(self.env, ids, seed=0)

    def sample(self, states: Sequence[ReasonState], num_samples: int, seed: int) -> RolloutBatch:
        """Sample episodes from some states, in one group a problem."""
        return self.collect(
            [
                Start(
                    state=state,
                    num_samples=num_samples,
                    learn_from=state,
                    group=state.problem.problem_id,
                    role="eval",
                )
                for state in states
            ],
            seed,
        )

    def collect(self, starts: Sequence[Start], seed: int) -> RolloutBatch:
        """Run the episodes of some starts at temperature 1."""
        return collect(
            starts, env=self.env, policy=self.policy, sampling=SamplingConfig(), seed=seed
        )


def subject_of(
    policy: LanguageModelPolicy, source: str, *, num_problems: int, split: str = "validation"
) -> Subject:
    """Put a policy in front of the first problems of a source."""
    config = EnvConfig(problems=source, split=split, size=num_problems, max_tokens=MAX_TOKENS)
    return Subject(policy=policy, env=config.make(policy.codec))


def success(items: Sequence[Trajectory]) -> float:
    """Return the share of episodes that succeed."""
    return float(np.mean([item.is_success for item in items]))


def clean_cut_share(failed: Sequence[ReasonState], checker: StepChecker) -> float:
    """Return the share of uniform resets of failed chains whose prefix has no wrong step.

    A reset at step k, uniform over the T steps of a chain (the answer line is one), keeps k - 1
    steps. With the first wrong step w that is w / T; 1 if no step is wrong. Chains without a step
    cannot be reset; nan if there are no others.
    """
    shares: list[float] = []
    for state in failed:
        if state.num_steps:
            wrong = checker(state.problem, state.steps)
            shares.append(1.0 if wrong is None else wrong / state.num_steps)
    return float(np.mean(shares)) if shares else math.nan


def critical_share(
    states: Sequence[ReasonState], energies: Sequence[Sequence[float]], symbol: str
) -> float:
    """Return the share of all energy that the results of the operation `symbol` have.

    The result is the token after `=` in a step with `symbol`; the built-in recipes err there.
    """
    critical = sum(
        own[place]
        for state, own in zip(states, energies, strict=True)
        for place in result_places(state, symbol)
    )
    return critical / sum(map(sum, energies))


def result_places(state: ReasonState, symbol: str) -> list[int]:
    """Return the token indices of the results of steps with an operation."""
    (symbol_id,), (equals_id,) = state.codec.encode(symbol), state.codec.encode("=")
    bounds = step_bounds(state)
    places: list[int] = []
    for begin, end in pairwise(bounds):
        ids = state.response[begin:end]
        if symbol_id in ids and equals_id in ids[:-1]:
            places.append(begin + ids.index(equals_id) + 1)
    return places


def reference_probability(subject: Subject) -> float:
    """Return the mean probability of the reference response, which bounds success from below.

    In a family with one right chain, and none that errors cancel in, it is the success itself: far
    rarer successes can be read from it than from samples.
    """
    inner = reason_env_of(subject.env)
    states = subject.states
    scores = subject.policy.score(
        [inner.prompt.token_ids(state) for state in states],
        [inner.reference_ids(state.problem) for state in states],
        SamplingConfig(),
    )
    return float(np.mean([np.exp(sum(score)) for score in scores]))


def shortest_helpful(subject: Subject, config: POPEConfig, seed: int) -> dict[str, int]:
    """Search, as POPE does, the steps to show of each problem; 0 for a problem that is not hard."""
    method = POPE(config)
    seeds = iter(range(seed, seed + 1000))

    def sampled(starts: Sequence[Start]) -> Sequence[Group]:
        return subject.collect(starts, next(seeds)).groups

    method.prepare(subject.states, sampled)
    return method.prefixes


def guided_success(
    subject: Subject, lengths: Mapping[str, int], num_samples: int, seed: int
) -> float:
    """Return the success of fresh episodes with the first steps of the solution in the prompt.

    Fresh, because the search chose each length for a success: its own samples are biased.
    """
    guided: list[ReasonState] = []
    for state in subject.states:
        length = lengths[state.problem.problem_id]
        piece = solution_guidance(state.problem, length) if length else None
        if piece is not None:
            guided.append(state.with_guidance(piece))
    return success(subject.sample(guided, num_samples, seed).trajectories)


def late(subject: Subject) -> dict[str, float]:
    """Measure success, the critical share of energy and the share of clean uniform cuts."""
    batch = subject.sample(subject.states, 16, seed=1)
    first = [group.trajectories[0] for group in batch.groups]
    states = [item.final_state for item in first]
    pairs = [(item.prompt_ids, item.final_state.response) for item in first]
    energies = token_energies(subject.policy, pairs)
    checker = reason_env_of(subject.env).problems.checker
    assert checker is not None, "a family has a step checker"
    failed = [item.final_state for item in batch.trajectories if not item.is_success]
    return {
        "success": success(batch.trajectories),
        "critical share of energy": critical_share(states, energies, "*"),
        "clean uniform cuts": clean_cut_share(failed, checker),
    }


def sealed(subject: Subject) -> dict[str, float]:
    """Measure unguided and guided success, and what a budget would find without guidance."""
    unguided = subject.sample(subject.states, 128, seed=1).groups
    config = POPEConfig(hard_samples=1, probe_samples=16, grid=1 / 16)
    lengths = shortest_helpful(subject, config, seed=2)
    shown = [length for length in lengths.values() if length]
    return {
        "share of problems solved in 128 samples": float(
            np.mean([any(item.is_success for item in group.trajectories) for group in unguided])
        ),
        "guided success": guided_success(subject, lengths, 16, seed=100),
        "steps shown": float(np.mean(shown)),
        "successes in 3,000 episodes": 3000 * reference_probability(subject),
    }


def opposed(subject: Subject) -> dict[str, float]:
    """Measure the easy problems' success; then that of hard ones, and how those fail."""
    size = len(reason_env_of(subject.env).problems)
    hard = subject_of(subject.policy, "mix:precedence@7-10", num_problems=size)
    items = hard.sample(hard.states, 16, seed=2).trajectories
    failed = [item for item in items if not item.is_success]
    paid = [answer_of(item) == left_to_right(item.start.state.problem) for item in failed]
    return {
        "easy success": success(subject.sample(subject.states, 16, seed=1).trajectories),
        "hard success": success(items),
        "hard failures by the paid reading": float(np.mean(paid)),
    }


def answer_of(item: Trajectory) -> str | None:
    """Return the final answer of an episode; None if it gave none."""
    verdict = item.final_state.verdict
    return None if verdict is None else verdict.extracted


def left_to_right(problem: Problem) -> str:
    """Return the answer that reading a `precedence` question from the left gives."""
    return precedence.solved(precedence.read_rows(problem.question), "first").answer


Measure = Callable[[Subject], dict[str, float]]
MEASURES: Mapping[str, tuple[str, Measure]] = {
    "late": ("late", late),
    "sealed": ("sealed", sealed),
    "opposed": ("mix:opposed@1-3", opposed),
}
"""Family -> source of the measured problems, and the measure."""
BOUNDS: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "late": {
        "success": (0.01, 0.04),
        "critical share of energy": (0.0, 0.10),
        "clean uniform cuts": (0.40, 1.0),
    },
    "sealed": {
        "share of problems solved in 128 samples": (0.0, 0.05),
        "guided success": (0.05, 0.30),
        "successes in 3,000 episodes": (0.0, 1.0),
    },
    "opposed": {
        "easy success": (0.30, 0.90),
        "hard success": (0.0, 0.05),
        "hard failures by the paid reading": (0.40, 1.0),
    },
}
"""Family -> number -> lowest and highest value with which the mechanism can show."""


def main(words: Sequence[str] | None = None) -> None:
    """Measure a model on a family, and print each number beside its bounds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("family", choices=sorted(MEASURES))
    parser.add_argument("--model", required=True, help="a model directory, or base")
    parser.add_argument("--problems", type=int, default=64, help="number of problems")
    given = parser.parse_args(words)
    source, measure = MEASURES[given.family]
    policy = LanguageModelPolicy.load(given.model)
    found = measure(subject_of(policy, source, num_problems=given.problems))
    assert set(BOUNDS[given.family]) <= set(found), "a bound is of a measured number"
    for name, number in found.items():
        low, high = BOUNDS[given.family].get(name, (-math.inf, math.inf))
        wanted = "" if math.isinf(high) else f"  {low:g}..{high:g}"
        print(f"{name:<42}{number:8.4f}{wanted}{'' if low <= number <= high else '  OUTSIDE'}")


if __name__ == "__main__":
    main()
