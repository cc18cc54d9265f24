"""Where to cut a response, and which prefix to start from: pure functions of states.

The start wrappers and the language-model methods share these functions. A cut is the number of
reasoning steps to keep. A cut of T steps keeps 0..T-1, so that the policy rewrites at least the
last step, which states the answer.

Not covered: which chain to cut (an archive or a method decides), and self-localisation (it samples
from the policy, so it belongs to a method).
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from reason_env.errors import ConfigError, StateError, shown
from reason_env.problem import StepChecker
from reason_env.state.parts import TokenSource
from reason_env.state.reason_state import ReasonState


def checked_fraction(value: object, name: str) -> float:
    """Check that a number lies in 0..1 and return it.

    Raises:
        ConfigError: The value is no number, or lies outside 0..1.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ConfigError(f"{name} must be a number in 0..1, got {shown(value)}")
    number = float(value)
    if not 0.0 <= number <= 1.0:
        raise ConfigError(f"{name} must lie in 0..1, got {number!r}; it is a share, not a count")
    return number


def steps_of_fraction(fraction: float, num_steps: int) -> int:
    """Round `fraction` of `num_steps` to a whole number of steps, halves up.

    >>> [steps_of_fraction(fraction, 5) for fraction in (0.0, 0.09, 0.1, 0.5, 1.0)]
    [0, 0, 1, 3, 5]
    """
    # Round to nine digits first: 0.58 * 25 is 14.499999999999998, and a half must go up.
    return math.floor(round(fraction * num_steps, 9) + 0.5)


def last_cut(state: ReasonState) -> int:
    """The most steps that a cut may keep: all but the last."""
    return max(0, state.num_steps - 1)


def uniform_cut(state: ReasonState, rng: np.random.Generator) -> int:
    """Draw the number of steps to keep uniformly from 0..T-1: the random reset of RRPO."""
    return int(rng.integers(last_cut(state) + 1))


def checker_cut(state: ReasonState, checker: StepChecker) -> int:
    """The number of steps before the first wrong one; all but the last if none is wrong."""
    wrong = checker(state.problem, state.steps)
    return last_cut(state) if wrong is None else min(wrong - 1, last_cut(state))


def entropy_cut(state: ReasonState, entropies: Sequence[float]) -> int:
    """The number of steps before the one whose tokens have the largest mean entropy.

    Args:
        state: The chain.
        entropies: Entropy of the policy at each token of the response, nats, [T].

    Raises:
        StateError: The number of entropies differs from the number of tokens.
    """
    if len(entropies) != len(state.response):
        raise StateError(
            f"entropies must be one number per token, got {len(entropies)} for "
            f"{len(state.response)} tokens; record them when sampling the response"
        )
    bounds = step_bounds(state)
    means = [float(np.mean(entropies[begin:end])) for begin, end in pairwise(bounds)]
    return min(int(np.argmax(means)), last_cut(state)) if means else 0


def step_bounds(state: ReasonState) -> tuple[int, ...]:
    """0 and the token index just after each step; the last step may be open."""
    return tuple(len(state.cut(count).response) for count in range(state.num_steps + 1))


def with_response_of(
    state: ReasonState, chain: ReasonState, num_steps: int, source: TokenSource = "reset"
) -> ReasonState:
    """Replace the response of `state` by the first `num_steps` steps of `chain`.

    The guidance of `state` stays and the guidance of `chain` is dropped, so that a chain sampled
    under a hint carries no privileged text along.
    """
    kept = chain.cut(num_steps)
    return state.cut(0).extend(kept.response, source)


def reference_tokens(state: ReasonState, num_steps: int) -> tuple[int, ...]:
    """Encode the reference solution's first steps, delimiters included.

    Each step is encoded alone, so that a prefix reveals nothing about the step after it.
    """
    delimiter = state.codec.step_delimiter
    return tuple(
        token
        for step in state.problem.solution[:num_steps]
        for token in state.codec.encode(step.removesuffix(delimiter) + delimiter)
    )


def with_reference_prefix(state: ReasonState, num_steps: int) -> ReasonState:
    r"""Extend the response of `state` to the reference solution's first `num_steps` steps.

    A response that is longer, or that the reference does not begin with, does not change: right
    steps after a wrong one would be no chain of reasoning.

    >>> from reason_env import ByteCodec, Problem
    >>> problem = Problem(problem_id="t/train/0", question="?", answer="24", solution=("a", "b"))
    >>> empty = ReasonState(problem=problem, codec=ByteCodec())
    >>> with_reference_prefix(empty, 1).text, with_reference_prefix(empty, 1).sources
    ('a\n', ('reference', 'reference'))
    """
    tokens = reference_tokens(state, num_steps)
    known = len(state.response)
    if known >= len(tokens) or state.response != tokens[:known]:
        return state
    return state.extend(tokens[known:], "reference")
