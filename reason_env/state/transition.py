"""The pure transition of a ReasonState, and the rules that end an episode.

The Gymnasium environment is a thin shell around `transition`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from reason_env.codec import check_token_ids
from reason_env.errors import ConfigError, StateError
from reason_env.state.parts import TokenSource
from reason_env.state.reason_state import ReasonState
from reason_env.verdict import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeRules:
    """When an episode ends; part of the environment, so a restored state ends as the original.

    Budgets count the whole response, including prefixes from resets and roll-ins.
    """

    max_tokens: int = 512
    """Tokens a response may have before it is truncated."""
    max_steps: int = 64
    """Reasoning steps a response may have before it is truncated."""
    stops: tuple[str, ...] = ()
    """Texts that end a response when the step that holds them closes; the text from the first of
    them on is not graded. A step is the unit, so that one action of many tokens and many actions of
    one end at the same token."""
    stop_at_answer: bool = True
    r"""End with the first closed step that states an answer in a box or a `####` line; otherwise
    only at the end token. The first answer counts, so a response cannot try several."""

    def __post_init__(self) -> None:
        for name in ("max_tokens", "max_steps"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ConfigError(f"{name} must be at least 1, got {value!r}; raise the budget")
        given = cast("object", self.stops)
        stops = tuple(cast("Sequence[object]", given)) if isinstance(given, list | tuple) else (0,)
        if not all(isinstance(stop, str) and stop for stop in stops):
            raise ConfigError(
                f"stops must be non-empty texts, got {given!r}; write them as (text, ...)"
            )
        object.__setattr__(self, "stops", stops)


def before_stop(text: str, stops: Sequence[str]) -> str:
    r"""The text before the first stop; the whole text without one.

    >>> before_stop("#### 72\n\nQuestion: What", ("Question:", "\n\n"))
    '#### 72'
    """
    found = [at for stop in stops if (at := text.find(stop)) >= 0]
    return text[: min(found)] if found else text


Grade = Callable[[str, Any], Verdict]
"""(response text, `problem.reference`) -> verdict; never raises."""


def is_truncated(state: ReasonState, rules: EpisodeRules) -> bool:
    """Whether a budget, and not an answer, has ended the episode."""
    return state.verdict is None and (
        len(state.response) >= rules.max_tokens or len(state.step_ends) >= rules.max_steps
    )


def is_over(state: ReasonState, rules: EpisodeRules) -> bool:
    """Whether the episode has ended in this state."""
    return state.verdict is not None or is_truncated(state, rules)


def transition(
    state: ReasonState,
    action: Sequence[int],
    *,
    rules: EpisodeRules,
    grade: Grade,
    has_answer: Callable[[str], bool],
    close: bool = False,
    source: TokenSource = "policy",
) -> ReasonState:
    """Append an action to a state; the result depends on the tokens, not on how they are split.

    Tokens are appended up to the first that ends the episode: an end token, the delimiter of a step
    that states an answer (`stop_at_answer`) or holds a stop, or a budget. The rest is dropped.

    Args:
        state: An open state (not over under `rules`).
        action: Token ids, [T]; may be empty.
        rules: Budgets and the stopping rule.
        grade: Called once, if the episode ends with a verdict.
        has_answer: Whether a response text holds a final answer.
        close: End the episode even if the tokens do not: append an end token with source "env",
            unless a budget is used up.
        source: Who wrote the tokens.
    """
    if is_over(state, rules):
        raise StateError("an episode that is over must not be stepped; reset the environment first")
    tokens = check_token_ids(state.codec, action)
    codec = state.codec
    room = tokens[: rules.max_tokens - len(state.response)]
    for end in codec.end_ids:
        if end in room:
            room = room[: room.index(end) + 1]
    extended = state.extend(room, source)
    for count in range(len(state.step_ends) + 1, len(extended.step_ends) + 1):
        so_far = extended.response[: extended.step_ends[count - 1]]
        is_complete = completes(codec.decode(so_far), rules, has_answer)
        if is_complete or count >= rules.max_steps:
            if len(so_far) < len(extended.response):
                extended = extended.cut(count)
            return graded(extended, grade, rules) if is_complete else extended
    if room and room[-1] in codec.end_ids:
        return graded(extended, grade, rules)
    if close and not is_truncated(extended, rules):
        return graded(extended.extend((codec.eos_id,), "env"), grade, rules)
    return extended


def completes(text: str, rules: EpisodeRules, has_answer: Callable[[str], bool]) -> bool:
    """Whether a response that ends in a closed step is complete: it has a stop or an answer."""
    return before_stop(text, rules.stops) != text or (rules.stop_at_answer and has_answer(text))


def graded(state: ReasonState, grade: Grade, rules: EpisodeRules) -> ReasonState:
    """Grade an open state up to the first stop and return it with the verdict."""
    return ReasonState(
        problem=state.problem,
        codec=state.codec,
        guidance=state.guidance,
        response=state.response,
        sources=state.sources,
        verdict=grade(before_stop(state.text, rules.stops), state.problem.reference),
        step_ends=state.step_ends,
    )
