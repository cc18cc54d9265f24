"""Reference solutions as training data, and the log-likelihood loss that imitates them."""

import logging
import math
from collections.abc import Callable, Sequence
from typing import Literal

from reason_env.agents.learning import LossConfig
from reason_env.agents.methods.protocol import ReferenceIds
from reason_env.agents.rollout import TrainingSample, Trajectory
from reason_env.errors import ConfigError, ProblemError
from reason_env.state import ReasonState

_log = logging.getLogger(__name__)


def likelihood(
    aggregation: Literal["seq_mean_token_mean", "seq_mean_token_sum"], temperature: float | None
) -> LossConfig:
    """Return the loss -A log pi, averaged over its own rows: a term added to the others' loss."""
    return LossConfig(
        temperature=temperature,
        surrogate="reinforce",
        aggregation=aggregation,
        importance_weight_cap=None,
        separate_normaliser=True,
    )


def check_temperature(value: float | None) -> None:
    """Check the temperature of a likelihood.

    Raises:
        ConfigError: It is neither None nor positive and finite.
    """
    if value is not None and not 0 < value < math.inf:
        raise ConfigError(f"likelihood_temperature must be above 0 and finite, got {value!r}")


def with_solution(states: Sequence[ReasonState], name: str) -> list[ReasonState]:
    """Drop problems without a reference solution; see `kept_states`."""
    return kept_states(
        states,
        name,
        lambda state: bool(state.problem.solution),
        rule="a reference solution",
        advice="give a `solution` column, or use another method",
    )


def kept_states(
    states: Sequence[ReasonState],
    name: str,
    is_usable: Callable[[ReasonState], bool],
    *,
    rule: str,
    advice: str,
) -> list[ReasonState]:
    """Drop problems that a method cannot use, and log which.

    Args:
        states: The problems.
        name: The method's name, for the messages.
        is_usable: Whether the method can use a problem.
        rule: What a problem must have, for the messages.
        advice: What to do if no problem has it.

    Raises:
        ProblemError: No problem has it.
    """
    kept = [state for state in states if is_usable(state)]
    if not kept:
        raise ProblemError(
            f"{name} must have problems with {rule}, got none in {len(states)}; {advice}"
        )
    if len(kept) < len(states):
        usable = {state.state_id for state in kept}
        missing = [s.problem.problem_id for s in states if s.state_id not in usable]
        _log.warning(
            "%s leaves out %d of %d problems without %s: %s",
            name,
            len(missing),
            len(states),
            rule,
            ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else ""),
        )
    return kept


def with_reference(
    states: Sequence[ReasonState],
    name: str,
    *,
    fits: Callable[[ReasonState], bool],
    reference_ids: ReferenceIds,
    max_tokens: int | None,
) -> list[ReasonState]:
    """Drop problems whose reference solution is missing or too long to be trained; log which.

    Args:
        states: The problems.
        name: The method's name, for the messages.
        fits: Whether prompt and response budget fit the model's context.
        reference_ids: Encodes the reference solution as a response.
        max_tokens: The response budget, which the policy's own responses have too; None: no limit.

    Raises:
        ProblemError: No problem is left.
    """
    solved = with_solution(states, name)
    limit = "" if max_tokens is None else f" of at most {max_tokens} tokens"
    return kept_states(
        solved,
        name,
        lambda state: (
            fits(state) and (max_tokens is None or len(reference_ids(state)) <= max_tokens)
        ),
        rule=f"a reference solution{limit} that fits the context",
        advice="raise max_tokens if the model's context allows it, or use another method",
    )


def reference_sample(
    trajectory: Trajectory, role: str, reference_ids: ReferenceIds
) -> TrainingSample:
    """Make a sample of the reference solution of an episode's problem."""
    start = trajectory.start
    return imitation(
        start.learn_from, trajectory.learn_prompt_ids, start.group, role, reference_ids
    )


def imitation(
    state: ReasonState,
    context_ids: tuple[int, ...],
    group: str,
    role: str,
    reference_ids: ReferenceIds,
) -> TrainingSample:
    """Make a sample of the reference solution of a state's problem.

    No policy sampled it: its behavior log-probabilities are 0, and the loss does not read them.
    """
    token_ids = reference_ids(state)
    return TrainingSample(
        context_ids=context_ids,
        token_ids=token_ids,
        action_mask=(True,) * len(token_ids),
        behavior_log_probs=(0.0,) * len(token_ids),
        advantage=1.0,
        role=role,
        group=f"{group}/{role}",
        source="reference",
    )
