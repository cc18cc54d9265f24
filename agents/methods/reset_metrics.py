"""How good resets are, measured by a family's step checker; nothing here is trained on.

A prefix is clean if it ends before the chain's first wrong step. If the checker finds no wrong step
in a chain (a budget ended it), all its prefixes are clean, and no step of it can be named.
"""

from collections.abc import Sequence

from reason_env.agents.metrics import Number, mean
from reason_env.agents.rollout import Group, Trajectory
from reason_env.problem import StepChecker
from reason_env.state import ReasonState

NamedStep = tuple[ReasonState, int]
"""A failed chain, and the 1-based step that a localiser names in it."""


def prefix_metrics(
    resets: Sequence[tuple[Trajectory, Group]], checker: StepChecker
) -> dict[str, Number]:
    """Measure the fraction of clean prefixes, and the pass rate from clean and unclean ones.

    Args:
        resets: Each failed chain with the group that was reset to a prefix of it.
        checker: Finds the 1-based first wrong step of a chain; None if there is none.
    """
    is_clean: list[bool] = []
    by_prefix: dict[bool, list[bool]] = {True: [], False: []}
    for source, group in resets:
        wrong = checker(source.final_state.problem, source.final_state.steps)
        kept = group.trajectories[0].start.state.num_steps
        is_clean.append(wrong is None or kept < wrong)
        by_prefix[is_clean[-1]] += [item.is_success for item in group.graded]
    return {
        "rollout/clean_prefix_fraction": mean(is_clean),
        "rollout/pass_rate_clean_prefix": mean(by_prefix[True]),
        "rollout/pass_rate_unclean_prefix": mean(by_prefix[False]),
    }


def localisation_metrics(named: Sequence[NamedStep], checker: StepChecker) -> dict[str, Number]:
    """Measure how often the named step is the first wrong one, and what chance would score.

    Args:
        named: The chains and the steps that were named in them.
        checker: Finds the 1-based first wrong step of a chain; None if there is none.
    """
    graded = [
        (step - wrong, 1 / max(1, chain.num_steps))
        for chain, step in named
        if (wrong := checker(chain.problem, chain.steps)) is not None
    ]
    return {
        "rollout/localisation_accuracy": mean(offset == 0 for offset, _ in graded),
        "rollout/localisation_chance": mean(chance for _, chance in graded),
        "rollout/localisation_offset_mean": mean(offset for offset, _ in graded),
    }
