"""The base model on tabular twins of `chain` problems: exact and sampled probability of success.

    python -m benchmarks.tabular.twin                       # four problems of 2, four of 3 steps
    python -m benchmarks.tabular.twin --levels 3 --problems 8 --samples 4000

Prints for each problem the exact bounds of the policy's success, a sampled estimate, and p, the
improvable fraction of its steps; then, by level, the value of each method's restart distribution.
"""

import argparse
import sys
from collections.abc import Sequence

import numpy as np

from reason_env.agents.engines import Context, SamplingConfig
from reason_env.agents.policy import LanguageModelPolicy
from reason_env.agents.tabular.exact import horizon as finite
from reason_env.agents.tabular.sampled.estimates import mean_interval
from reason_env.agents.tabular.worlds.twin import Scorer, Twin, chain_twin, method_rows
from reason_env.problem import Problem
from reason_env.problems.families import chain
from reason_env.state import PromptTemplate, ReasonState

THRESHOLD = 0.1
"""Advantage, in return, that makes a state improvable."""


def scorer(policy: LanguageModelPolicy) -> Scorer:
    """Build the scorer of a policy at temperature 1."""

    def score(
        contexts: Sequence[tuple[int, ...]], completions: Sequence[tuple[int, ...]]
    ) -> list[float]:
        scores = policy.score(contexts, completions, SamplingConfig())
        return [sum(log_probs) for log_probs in scores]

    return score


def sampled_successes(policy: LanguageModelPolicy, problem: Problem, num: int) -> np.ndarray:
    """Sample responses; return 1 for each that ends with the reference answer, [num]."""
    state = ReasonState(problem=problem, codec=policy.codec)
    context = Context(
        token_ids=PromptTemplate().token_ids(state), num_samples=num, max_new_tokens=160
    )
    (completions,) = policy.sample([context], SamplingConfig(), seed=0)
    texts = [
        policy.codec.decode([token for token in item.token_ids if token != policy.codec.eos_id])
        for item in completions
    ]
    expected = f"#### {problem.answer}"
    return np.array([float(text.strip().split("\n")[-1] == expected) for text in texts])


def show(policy: LanguageModelPolicy, problem: Problem, num_samples: int, smallest: float) -> Twin:
    """Print one problem's line and return its twin."""
    level = len(problem.solution)
    twin = chain_twin(problem, scorer(policy), codec=policy.codec, min_probability=smallest)
    evaluation = finite.evaluate(twin.mdp, twin.policy_SA)
    drawn = mean_interval(sampled_successes(policy, problem, num_samples), 0.99)
    low, high = twin.performance, twin.performance + twin.lost
    agrees = drawn.low <= high and low <= drawn.high
    coverage = finite.improvable_coverage(evaluation, THRESHOLD)
    print(
        f"{problem.problem_id:>16}  {level} steps  {len(twin.texts):5} states  exact success "
        f"{low:.4f}..{high:.4f}  sampled {drawn}  {'agrees' if agrees else 'DISAGREES'}  "
        f"p {coverage:.3f}"
    )
    return twin


def main(argv: list[str]) -> int:
    """Print problems and methods for each level."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--levels", type=int, nargs="+", default=[2, 3])
    parser.add_argument("--problems", type=int, default=4)
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--model", default="base")
    parser.add_argument("--min-probability", type=float, default=1e-4)
    given = parser.parse_args(argv)
    policy = LanguageModelPolicy.load(given.model)
    for level in given.levels:
        problems = chain.make("test", size=given.problems, levels=(level, level))
        rows = [
            row
            for problem in problems
            for row in method_rows(
                show(policy, problem, given.samples, given.min_probability), threshold=THRESHOLD
            )
        ]
        print(f"{'':>16}  restarts            signal/step   clean   steps   gain for one budget")
        for method in dict.fromkeys(str(row["method"]) for row in rows):
            mine = [row for row in rows if row["method"] == method]
            mean = {
                key: float(np.mean([float(row[key]) for row in mine]))
                for key in ("signal", "clean", "steps", "gain")
            }
            print(
                f"{'':>16}  {method:18} {mean['signal']:12.4f} {mean['clean']:7.2f} "
                f"{mean['steps']:7.2f} {mean['gain']:12.5f}"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
