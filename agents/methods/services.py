"""Services: what a method may ask of its run while an iteration goes on.

    more_states  further problems of this iteration, drawn as the run draws its others
    score        log-probabilities, entropies and likeliest ids of given tokens, by the policy
    judge        another model's replies to questions

A method asks `self.services` in `plan`, `follow_up` and `training_samples`; a method that asks for
nothing needs to know nothing of it. The run that serves a method counts what it asks for: a further
problem is a draw like any other, scored tokens are not generated ones, and a judge's tokens are
another model's, so neither enters the budget of generated tokens. Outside of an iteration there is
`Unserved`.

What a method asks for follows from its groups and its random choices, so a resumed run asks for the
same.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

import numpy as np

from reason_env.agents.metrics import Number
from reason_env.agents.policy import JudgeConfig, Reply, TokenScores
from reason_env.errors import ConfigError, shown
from reason_env.state import ReasonState

NumberedState = tuple[int, ReasonState]
"""A state, and its number among those of the iteration (`Start.draw`)."""


class Services(Protocol):
    """What a method may ask of the run that serves it."""

    @property
    def states(self) -> Sequence[ReasonState]:
        """The states of the iteration: those that `plan` got, then all further ones."""
        ...

    def more_states(self, num: int) -> list[NumberedState]:
        """Draw further problems of this iteration, at most `num`.

        There are fewer, or none, once the run's budget of generated tokens is spent, or once the
        iteration has gone through all problems.

        Raises:
            ConfigError: `num` is below 1.
        """
        ...

    def score(
        self,
        contexts: Sequence[Sequence[int]],
        completions: Sequence[Sequence[int]],
        *,
        temperature: float | None = None,
        top_k: int = 0,
    ) -> list[TokenScores]:
        """Score completions under any contexts, by the policy as it is.

        Args:
            contexts: Ids before each completion: a prompt (`self.prompt_ids`) and what follows it.
            completions: Ids to score, one completion per context.
            temperature: Divides the logits; None: that of sampling. There is no truncation.
            top_k: Likeliest ids to give at each token; 0 for none.
        """
        ...

    def judge(self, config: JudgeConfig, questions: Sequence[str]) -> list[str | None]:
        """Ask a judge; a question that does not fit its context has the reply None.

        Raises:
            ConfigError: The method's `judges` do not hold it.
        """
        ...


class Scorer(Protocol):
    """The policy, as far as services need it."""

    def token_scores(
        self,
        contexts: Sequence[Sequence[int]],
        completions: Sequence[Sequence[int]],
        *,
        temperature: float = 1.0,
        top_k: int = 0,
    ) -> list[TokenScores]:
        """Score completions under contexts."""
        ...


class Replying(Protocol):
    """A judge, as far as services need it."""

    def replies(self, questions: Sequence[str], *, seed: int) -> list[Reply]:
        """Reply to each question."""
        ...


class Unserved:
    """Refuses every request: no iteration goes on."""

    @property
    def states(self) -> Sequence[ReasonState]:
        """There are none."""
        return ()

    def more_states(self, num: int) -> list[NumberedState]:
        """Refuse."""
        raise _unserved("more_states")

    def score(
        self,
        contexts: Sequence[Sequence[int]],
        completions: Sequence[Sequence[int]],
        *,
        temperature: float | None = None,
        top_k: int = 0,
    ) -> list[TokenScores]:
        """Refuse."""
        raise _unserved("score")

    def judge(self, config: JudgeConfig, questions: Sequence[str]) -> list[str | None]:
        """Refuse."""
        raise _unserved("judge")


@dataclass(slots=True, kw_only=True)
class ServiceCounts:
    """What a method has asked for in one iteration."""

    further_problems: int = 0
    scored_tokens: int = 0
    """Of contexts and completions."""
    judge_tokens: int = 0
    """Of replies."""
    judge_read_tokens: int = 0
    """Of questions."""
    unjudged: int = 0
    """Questions without a reply."""

    def metrics(self, stage: str) -> dict[str, Number]:
        """What was asked for at all, by names of `METRICS`.

        >>> ServiceCounts(scored_tokens=12).metrics("rollout")
        {'rollout/scored_tokens': 12}
        """
        return {f"{stage}/{name}": count for name, count in asdict(self).items() if count}


class CountedServices:
    """The services of one iteration, which count what they give."""

    def __init__(
        self,
        states: Sequence[ReasonState],
        *,
        draw: Callable[[int], Sequence[ReasonState]],
        policy: Scorer,
        temperature: float,
        judges: Mapping[JudgeConfig, Replying],
        seed: int,
    ) -> None:
        """Take what serves the method.

        Args:
            states: The iteration's first states.
            draw: Draws further states, at most as many as asked for.
            policy: Scores.
            temperature: That of sampling.
            judges: Those that the method names.
            seed: Determines the judges' replies; each request has a seed of its own.
        """
        self._states = list(states)
        self._draw, self._policy, self._temperature = draw, policy, temperature
        self._judges = judges
        self._seeds = np.random.default_rng(seed)
        self.counts = ServiceCounts()

    @property
    def states(self) -> Sequence[ReasonState]:
        """The states of the iteration so far."""
        return tuple(self._states)

    def more_states(self, num: int) -> list[NumberedState]:
        """Draw further states; see `Services`."""
        if num < 1:
            raise ConfigError(
                f"more_states must be asked for at least 1 problem, got {num!r}; ask for none by "
                "not asking"
            )
        found = list(enumerate(self._draw(num), start=len(self._states)))
        self._states += [state for _, state in found]
        self.counts.further_problems += len(found)
        return found

    def score(
        self,
        contexts: Sequence[Sequence[int]],
        completions: Sequence[Sequence[int]],
        *,
        temperature: float | None = None,
        top_k: int = 0,
    ) -> list[TokenScores]:
        """Score completions and count the tokens of contexts and completions; see `Services`."""
        scores = self._policy.token_scores(
            contexts,
            completions,
            temperature=self._temperature if temperature is None else temperature,
            top_k=top_k,
        )
        self.counts.scored_tokens += sum(map(len, contexts)) + sum(map(len, completions))
        return scores

    def judge(self, config: JudgeConfig, questions: Sequence[str]) -> list[str | None]:
        """Ask a judge and count its tokens; see `Services`."""
        if config not in self._judges:
            raise ConfigError(
                f"a method's judges must hold each judge that it asks, got {shown(config)} and "
                f"{len(self._judges)} others; return it from `judges`"
            )
        seed = int(self._seeds.integers(2**62))
        replies = self._judges[config].replies(questions, seed=seed)
        self.counts.judge_tokens += sum(reply.num_sampled_tokens for reply in replies)
        self.counts.judge_read_tokens += sum(reply.num_read_tokens for reply in replies)
        self.counts.unjudged += sum(reply.text is None for reply in replies)
        return [reply.text for reply in replies]


def _unserved(name: str) -> ConfigError:
    return ConfigError(
        f"a method's services must be asked within an iteration, got {name} outside of one; ask in "
        "plan, follow_up or training_samples"
    )
