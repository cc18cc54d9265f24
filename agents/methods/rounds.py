"""Rounds of sampling: collect what a method plans, then what it asks for after seeing rewards."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import cast

import numpy as np

from reason_env.agents.methods.protocol import Method
from reason_env.agents.rollout import RolloutBatch, Start, merge_batches
from reason_env.errors import ConfigError, shown
from reason_env.state import ReasonState

CollectBatch = Callable[[Sequence[Start]], RolloutBatch]


def collect_rounds(
    method: Method,
    states: Sequence[ReasonState],
    collect: CollectBatch,
    rng: np.random.Generator,
) -> tuple[list[Sequence[Start]], RolloutBatch]:
    """Collect the starts of `plan`, then those of each `follow_up`, until it returns none.

    Args:
        method: Plans and follows up; served, if it asks for services.
        states: Where the environment starts each draw of a problem.
        collect: Collects the episodes of one round.
        rng: Makes the method's random choices.

    Returns:
        The starts of each round, and the episodes of all rounds.
    """
    rounds: list[Sequence[Start]] = []
    batches: list[RolloutBatch] = []
    starts = _checked(method.plan(states, rng), "plan")
    while starts:
        if method.needs_entropies:
            starts = [replace(start, keeps_entropies=True) for start in starts]
        rounds.append(starts)
        batches.append(collect(starts))
        starts = _checked(method.follow_up(merge_batches(batches).groups, rng), "follow_up")
    return rounds, merge_batches(batches)


def _checked(found: object, hook: str) -> list[Start]:
    """Refuse what is no list of starts: a method from elsewhere may forget its `return`."""
    items: list[object] = [None]
    if isinstance(found, list):
        items = cast("list[object]", found)
    starts = [item for item in items if isinstance(item, Start)]
    if len(starts) < len(items):
        raise ConfigError(
            f"a method's {hook} must return a list of Start, got {shown(items)}; return [] for none"
        )
    return starts
