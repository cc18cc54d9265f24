"""Whether prompt and response have room for what a method may show, before anything is sampled.

A method leaves out guidance that does not fit, so a run with too small a budget would silently be
another method. The longest guidance of each method in a run is rendered with the problems whose
prompts have the most characters. A reset to a prefix that fills the response is an error, so
problems whose longest prefix does are left out of training.

Not covered: the localiser's prompt of SRPO, which holds a sampled chain.
"""

import logging
from collections.abc import Sequence
from functools import partial

from reason_env.agents.methods import MethodConfig, kept_states, method_name, parts_of
from reason_env.env import ReasonEnv
from reason_env.state import EpisodeRules, Guidance, ReasonState, is_over, with_reference_prefix

MAX_RENDERED = 200
"""Prompts that are tokenized for each method: those with the most characters."""
_log = logging.getLogger(__name__)


def check_guidance(config: MethodConfig, env: ReasonEnv, context_length: int) -> None:
    """Warn of problems whose prompt has no room for a method's longest guidance.

    Args:
        config: The method's, or a composition's.
        env: The environment for training.
        context_length: Tokens that the model can attend to.
    """
    limit = min(env.max_prompt_tokens, context_length - env.rules.max_tokens)
    for part in parts_of(config):
        guided = [
            state
            for problem in env.problems
            if (state := _with_longest(part, env.initial_state(problem))) is not None
        ]
        long = _longest_prompts(guided, env)
        sizes = {state.problem.problem_id: len(env.prompt.token_ids(state)) for state in long}
        too_long = {key: size for key, size in sizes.items() if size > limit}
        if not too_long:
            continue
        worst = max(too_long, key=lambda key: too_long[key])
        text = (
            f"{method_name(part)}'s longest guidance must fit into a prompt of {limit} tokens, got "
            f"{too_long[worst]} of {worst!r}; raise max_prompt_tokens or shorten the guidance"
        )
        at_least = "at least " if len(too_long) == MAX_RENDERED else ""
        _log.warning(
            "%s (%s%d of %d problems may be sampled without it)",
            text,
            at_least,
            len(too_long),
            len(guided),
        )


def problems_with_room(config: MethodConfig, env: ReasonEnv) -> list[str]:
    """List the problems whose response has room after a method's longest prefix; log the others.

    Args:
        config: The method's, or a composition's.
        env: The environment for training.

    Raises:
        ProblemError: There is none.
    """
    states = [env.initial_state(problem) for problem in env.problems]
    for part in parts_of(config):
        states = kept_states(
            states,
            method_name(part),
            partial(_has_room, part, rules=env.rules),
            rule=f"room after the longest prefix in a response of at most {env.rules.max_tokens} "
            f"tokens and {env.rules.max_steps} steps",
            advice="raise max_tokens or max_steps, or use another method",
        )
    return [state.problem.problem_id for state in states]


def _has_room(config: MethodConfig, state: ReasonState, *, rules: EpisodeRules) -> bool:
    num_steps = config.longest_prefix(state.problem)
    return num_steps == 0 or not is_over(with_reference_prefix(state, num_steps), rules)


def _with_longest(config: MethodConfig, state: ReasonState) -> ReasonState | None:
    guidance: tuple[Guidance, ...] = config.longest_guidance(state.problem)
    return state.with_guidance(*guidance) if guidance else None


def _longest_prompts(states: Sequence[ReasonState], env: ReasonEnv) -> list[ReasonState]:
    """The states with the most characters of question and guidance."""

    def size(state: ReasonState) -> int:
        return len(state.problem.question) + len(env.prompt.guidance_text(state))

    return sorted(states, key=size, reverse=True)[:MAX_RENDERED]
