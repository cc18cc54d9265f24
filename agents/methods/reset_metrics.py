"""How good a reset is, measured by a family's step checker: nothing of it is trained on.

A prefix is clean if it ends before the chain's first wrong step. A chain in which the checker finds
no wrong step (one that a budget ended) has clean prefixes only, and no step to be named.
"""

from collections.abc import Iterable, Sequence

from reason_env.agents.rollout import Group, Trajectory
from reason_env.problem import StepChecker
from reason_env.state import ReasonState

NamedStep = tuple[ReasonState, int]
"""A failed chain, and the 1-based step that a localiser names in it."""


def prefix_metrics(
    resets: Sequence[tuple[Trajectory, Group]], checker: StepChecker
) -> dict[str, float | int | None]:
    """Returns the share of clean prefixes, and the success of suffixes by what they begin from.

    Args:
        resets: Each failed chain with the group that began from a prefix of it.
        checker: 1-based first wrong step of a chain, None where there is none.
    """
    is_clean: list[bool] = []
    by_prefix: dict[bool, list[bool]] = {True: [], False: []}
    for seed, group in resets:
        wrong = checker(seed.final_state.problem, seed.final_state.steps)
        kept = group.trajectories[0].start.state.num_steps
        is_clean.append(wrong is None or kept < wrong)
        by_prefix[is_clean[-1]] += [item.is_success for item in group.graded]
    return {
        "rollout/clean_prefix_fraction": _mean(is_clean),
        "rollout/pass_rate_clean_prefix": _mean(by_prefix[True]),
        "rollout/pass_rate_unclean_prefix": _mean(by_prefix[False]),
    }


def localisation_metrics(
    named: Sequence[NamedStep], checker: StepChecker
) -> dict[str, float | int | None]:
    """Returns how often the named step is the first wrong one, and what chance would score.

    Args:
        named: The chains and the steps that were named in them.
        checker: 1-based first wrong step of a chain, None where there is none.
    """
    judged = [
        (step - wrong, 1 / max(1, chain.num_steps))
        for chain, step in named
        if (wrong := checker(chain.problem, chain.steps)) is not None
    ]
    return {
        "rollout/localisation_accuracy": _mean(offset == 0 for offset, _ in judged),
        "rollout/localisation_chance": _mean(chance for _, chance in judged),
        "rollout/localisation_offset_mean": _mean(offset for offset, _ in judged),
    }


def _mean(values: Iterable[float]) -> float | None:
    listed = list(values)
    return sum(listed) / len(listed) if listed else None
