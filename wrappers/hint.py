"""Hint: adds privileged text to the prompt at the start of an episode.

The text enters the prompt by `state.with_guidance`; `info["privileged_context"]` holds only it.
The problem, the response and the reward do not change, so that `state.without_guidance()` is the
state that a policy without the hint sees.

A hint stays for the whole episode: a prompt that changed half-way would be another problem.
"""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import gymnasium as gym
import numpy as np

from reason_env.errors import ConfigError, did_you_mean, shown
from reason_env.snapshot import Commit
from reason_env.state import (
    Guidance,
    ReasonState,
    answer_guidance,
    checked_fraction,
    mistakes_guidance,
    next_step_guidance,
    partial_solution_guidance,
    text_guidance,
)
from reason_env.verdict import Outcome
from reason_env.wrappers.start import StartWrapper

Kind = Literal["answer", "mistakes", "partial_solution", "next_step", "text"]
MAX_MISTAKES = 8
"""Wrong answers kept for each problem, the newest."""


class Hint(StartWrapper):
    r"""Adds guidance in some episodes.

    >>> import gymnasium as gym, reason_env
    >>> env = gym.make("MathReason-v0", problems="chain", split="test", levels=(2, 2))
    >>> obs, info = Hint(env, kind="answer").reset(options={"problem": "chain/test/0"})
    >>> info["privileged_context"], obs.endswith("Answer: 842\n>")
    ('Answer: 842\n', True)
    """

    tabular_advice = "there is no prompt to add a hint to: leave Hint out"

    def __init__(
        self,
        env: gym.Env[Any, Any],
        kind: Kind = "answer",
        *,
        trigger: Literal["always", "after_failure"] | float = "always",
        strength: float = 1.0,
        text: str = "",
    ) -> None:
        """Wrap `env`.

        Args:
            env: Any stack on a `ReasonEnv`.
            kind: What to show: the reference "answer"; the "mistakes", which are the wrong answers
                to this problem in this stack; a "partial_solution" of the reference; its
                "next_step" after the steps of the response; or a fixed "text".
            trigger: "always"; "after_failure", if the problem's last episode failed; or a
                probability.
            strength: Share to show, 0..1: of the steps, of the wrong answers, or of the characters.
            text: The text to show, for kind "text" only.
        """
        self._refuse_tabular(env)
        if kind not in get_args(Kind):
            raise ConfigError(
                f"kind must be one of {', '.join(get_args(Kind))}, got {shown(kind)}"
                f"{did_you_mean(str(kind), get_args(Kind))}"
            )
        if (kind == "text") != bool(text):
            raise ConfigError(
                f"text must be given for kind 'text' and for no other, got kind {kind!r} and text "
                f"{shown(text)}"
            )
        self.strength = checked_fraction(strength, "strength")
        probability, self.is_after_failure = _trigger(trigger)
        super().__init__(
            env, kind=kind, trigger=trigger, strength=strength, text=text, probability=probability
        )
        self._saved_kwargs.pop("probability")
        self.kind, self.text = kind, text
        self._mistakes: dict[str, list[str]] = {}
        self._has_failed: dict[str, bool] = {}

    def start(self, state: ReasonState, rng: np.random.Generator) -> ReasonState:
        """Add the guidance, if there is any."""
        del rng
        problem_id = state.problem.problem_id
        if self.is_after_failure and not self._has_failed.get(problem_id, False):
            return state
        if self.kind == "mistakes":
            return self._with_mistakes(state, self._mistakes.get(problem_id, ()))
        guidance = self._guidance(state)
        return state if guidance is None else state.with_guidance(guidance)

    def ended(self, state: ReasonState) -> None:
        """Record whether the problem was solved, and the wrong answer if not."""
        verdict, problem_id = state.verdict, state.problem.problem_id
        if verdict is not None and not verdict.is_graded:
            return
        self._has_failed[problem_id] = verdict is None or not verdict.is_correct
        if verdict is not None and verdict.outcome is Outcome.INCORRECT and verdict.extracted:
            known = self._mistakes.get(problem_id, [])
            others = [answer for answer in known if answer != verdict.extracted]
            self._mistakes[problem_id] = [*others, verdict.extracted][-MAX_MISTAKES:]

    def memory(self) -> dict[str, Any]:
        """The failed problems and their wrong answers."""
        return super().memory() | {"mistakes": self._mistakes, "failed": self._has_failed}

    def read_memory(self, data: dict[str, Any]) -> Commit:
        """Check what `memory` wrote; return the function that adopts it."""
        commit_base = super().read_memory(data)
        mistakes = {
            str(key): [str(text) for text in data["mistakes"][key]] for key in data["mistakes"]
        }
        failed = {str(key): bool(data["failed"][key]) for key in data["failed"]}

        def commit() -> None:
            commit_base()
            self._mistakes, self._has_failed = mistakes, failed

        return commit

    def _guidance(self, state: ReasonState) -> Guidance | None:
        match self.kind:
            case "answer":
                return answer_guidance(state.problem, self.strength)
            case "partial_solution":
                delimiter = state.codec.step_delimiter
                return partial_solution_guidance(state.problem, self.strength, delimiter=delimiter)
            case "next_step":
                return next_step_guidance(state, self.strength)
            case _:
                return text_guidance(self.text, self.strength)

    def _with_mistakes(self, state: ReasonState, answers: Sequence[str]) -> ReasonState:
        """Show as many as fit into the prompt: a policy's text must not end a run."""
        inner = self.reason_env
        for first in range(len(answers)):
            guidance = mistakes_guidance(answers[first:], self.strength)
            if guidance is None:
                break
            moved = state.with_guidance(guidance)
            if len(inner.prompt.token_ids(moved)) <= inner.max_prompt_tokens:
                return moved
        return state


def _trigger(trigger: str | float) -> tuple[float, bool]:
    """The probability, and whether only problems that failed get a hint."""
    if isinstance(trigger, str):
        if trigger not in ("always", "after_failure"):
            raise ConfigError(
                "trigger must be 'always', 'after_failure' or a probability, got "
                f"{shown(trigger)}{did_you_mean(trigger, ('always', 'after_failure'))}"
            )
        return 1.0, trigger == "after_failure"
    return checked_fraction(trigger, "trigger"), False
