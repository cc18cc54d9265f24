"""A policy with scripted completions, and a dry run: one iteration of a method without the update.

`ScriptedPolicy` satisfies the `Policy` protocol with a table in place of a model. Completions and
their log-probabilities are known in advance, so a test can work out by hand every group, reset,
advantage and mask that a method produces. A context without a script raises an error that names the
context, because a method that asks for an unexpected context is what a test should find.

Not covered: the log-probabilities do not form a distribution; they only identify their token.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import gymnasium as gym
import numpy as np

from reason_env.agents.engines import Completion, Context, SamplingConfig
from reason_env.agents.methods import (
    CountedServices,
    Method,
    Scorer,
    ServiceCounts,
    collect_rounds,
)
from reason_env.agents.policy import Policy, Reply, TokenScores
from reason_env.agents.rollout import (
    Group,
    RolloutBatch,
    Start,
    TrainingSample,
    collect,
    initial_states,
)
from reason_env.codec import ByteCodec, Codec
from reason_env.errors import ConfigError, UnknownNameError, shown
from reason_env.state import ReasonState

END = "$"
"""At the end of a scripted completion: the codec's end token."""
PROBABILITY_GRID = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One context that a scripted policy sampled from."""

    text: str
    num_samples: int
    max_new_tokens: int
    temperature: float


def scripted_log_probs(number: int, num_tokens: int) -> tuple[float, ...]:
    """Compute the log-probabilities, in nats, of completion `number` (0, 1, ...) of a context.

    Exact in binary, and different for each token of each completion.

    >>> scripted_log_probs(0, 3), scripted_log_probs(2, 1)
    ((-0.125, -0.25, -0.375), (-0.126953125,))
    """
    return tuple(-(place + 1) / 8 - number / PROBABILITY_GRID for place in range(num_tokens))


def scripted_entropies(number: int, num_tokens: int) -> tuple[float, ...]:
    """Compute the entropies, in nats, of completion `number` of a context, unless it has others.

    >>> scripted_entropies(0, 3), scripted_entropies(2, 1)
    ((0.0625, 0.125, 0.1875), (0.064453125,))
    """
    return tuple((place + 1) / 16 + number / PROBABILITY_GRID for place in range(num_tokens))


class ScriptedPolicy:
    """Answers each context with the next completions of its script, in order across calls.

    >>> policy = ScriptedPolicy({"1+1=?": ["2$", "3$"]})
    >>> context = Context(token_ids=policy.codec.encode("1+1=?"), num_samples=1, max_new_tokens=9)
    >>> (first,), (second,) = (policy.sample([context], SamplingConfig(), seed=0)[0] for _ in "ab")
    >>> policy.codec.decode(first.token_ids[:1]), second.log_probs
    ('2', (-0.1259765625, -0.2509765625))
    """

    def __init__(
        self,
        script: Mapping[str, Sequence[str]],
        codec: Codec | None = None,
        *,
        policy_version: int = 0,
        entropies: Mapping[str, Sequence[float]] | None = None,
        scores: Mapping[tuple[str, str], TokenScores] | None = None,
    ) -> None:
        """Take the script.

        Args:
            script: Context text -> completion texts; a final `END` is the end token. A completion
                is cut to the requested number of tokens; its log-probabilities are
                `scripted_log_probs` of its index in the list.
            codec: The built-in byte codec if None.
            policy_version: The version that its trajectories record.
            entropies: Completion text -> its tokens' entropies, in nats; others have
                `scripted_entropies`.
            scores: (context text, completion text) -> what `token_scores` returns for them.
        """
        self.codec: Codec = ByteCodec() if codec is None else codec
        self.script = {text: tuple(completions) for text, completions in script.items()}
        self.policy_version = policy_version
        self.entropies = dict(entropies or {})
        self.scores = dict(scores or {})
        self.asked: list[Asked] = []
        """Every context sampled from, in order."""
        self._used = dict.fromkeys(self.script, 0)

    def sample(
        self,
        contexts: Sequence[Context],
        sampling: SamplingConfig,
        *,
        seed: int,
        stop_ids: tuple[int, ...] | None = None,
    ) -> list[tuple[Completion, ...]]:
        """Return the next completions of each context; the seed has no effect.

        Raises:
            UnknownNameError: A context has no script.
            ConfigError: A context's script is used up.
        """
        stops = self.codec.end_ids if stop_ids is None else stop_ids
        return [self._next(context, sampling, stops) for context in contexts]

    def token_scores(
        self,
        contexts: Sequence[Sequence[int]],
        completions: Sequence[Sequence[int]],
        *,
        temperature: float = 1.0,
        top_k: int = 0,
    ) -> list[TokenScores]:
        """Return the scripted scores, whatever the temperature and number of likeliest ids.

        Raises:
            UnknownNameError: A context and its completion have none.
        """
        return [
            self._scored(self._text(context), self._text(completion))
            for context, completion in zip(contexts, completions, strict=True)
        ]

    def _text(self, token_ids: Sequence[int]) -> str:
        is_ended = bool(token_ids) and token_ids[-1] in self.codec.end_ids
        return self.codec.decode(token_ids) + END * is_ended

    def _scored(self, context: str, completion: str) -> TokenScores:
        if (context, completion) not in self.scores:
            raise UnknownNameError(
                f"no scores of {shown(completion)} after {shown(context)} among "
                f"{len(self.scores)}; add them, or check why the method asks"
            )
        return self.scores[context, completion]

    def _next(
        self, context: Context, sampling: SamplingConfig, stops: tuple[int, ...]
    ) -> tuple[Completion, ...]:
        text = self.codec.decode(context.token_ids)
        if text not in self.script:
            raise UnknownNameError(
                f"no script for context {shown(text)} among {len(self.script)}; add one, or check "
                "why the method samples from it"
            )
        self.asked.append(
            Asked(
                text=text,
                num_samples=context.num_samples,
                max_new_tokens=context.max_new_tokens,
                temperature=sampling.temperature,
            )
        )
        begin = self._used[text]
        end = self._used[text] = begin + context.num_samples
        if end > len(self.script[text]):
            raise ConfigError(
                f"the script of context {shown(text)} must hold {end} completions, got "
                f"{len(self.script[text])}; write more"
            )
        return tuple(self._completion(text, number, context, stops) for number in range(begin, end))

    def _completion(
        self, asked: str, number: int, context: Context, stops: tuple[int, ...]
    ) -> Completion:
        text = self.script[asked][number]
        end = (self.codec.eos_id,) if text.endswith(END) else ()
        token_ids = (self.codec.encode(text.removesuffix(END)) + end)[: context.max_new_tokens]
        entropies = self.entropies.get(text, scripted_entropies(number, len(token_ids)))
        return Completion(
            token_ids=token_ids,
            log_probs=scripted_log_probs(number, len(token_ids)),
            is_finished=bool(token_ids) and token_ids[-1] in stops,
            entropies=tuple(entropies[: len(token_ids)]) if context.keeps_entropies else None,
        )


class ScriptedJudge:
    """Replies by a script; the tokens that it counts are characters."""

    def __init__(self, script: Mapping[str, str | None]) -> None:
        """Take question -> reply; None for a question that does not fit."""
        self.script = dict(script)

    def replies(self, questions: Sequence[str], *, seed: int) -> list[Reply]:
        """Return the scripted replies; the seed has no effect.

        Raises:
            UnknownNameError: A question has no reply.
        """
        return [self._reply(question) for question in questions]

    def _reply(self, question: str) -> Reply:
        if question not in self.script:
            raise UnknownNameError(
                f"no reply to {shown(question)} among {len(self.script)}; add one, or check why "
                "the method asks"
            )
        text = self.script[question]
        if text is None:
            return Reply(text=None, num_read_tokens=0, num_sampled_tokens=0)
        return Reply(text=text, num_read_tokens=len(question), num_sampled_tokens=len(text))


class ScoringPolicy(Policy, Scorer, Protocol):
    """A policy that samples and scores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """What a method planned, collected and would train on in one iteration."""

    batches: tuple[tuple[Start, ...], ...]
    """The starts of `plan`, then those of each `follow_up` that returned any."""
    groups: tuple[Group, ...]
    samples: tuple[TrainingSample, ...]
    asked: ServiceCounts
    """What the method asked of its services."""

    @property
    def num_sampled_tokens(self) -> int:
        """Number of generated tokens, trained or not."""
        return sum(item.num_sampled_tokens for own in self.groups for item in own.trajectories)

    def of_role(self, role: str) -> tuple[TrainingSample, ...]:
        """Select the training samples of a role."""
        return tuple(sample for sample in self.samples if sample.role == role)


def dry_run(
    method: Method,
    problem_ids: Sequence[str],
    *,
    env: gym.Env[Any, Any],
    policy: ScoringPolicy,
    seed: int = 0,
    further_ids: Sequence[str] = (),
    judge: Mapping[str, str | None] | None = None,
) -> DryRun:
    """Run one iteration of a method on these problems, without the update.

    Works with a language-model policy too: each round of sampling gets its own seed. `prepare` and
    `measure` are called first, so the method plans for the problems that it chose.

    Args:
        method: The method.
        problem_ids: The problems that the iteration begins with.
        env: The environment.
        policy: Samples and scores.
        seed: Of the method's choices, and of sampling.
        further_ids: The problems that the method gets if it asks for more, in order; no others.
        judge: Question -> reply, of every judge that the method asks.
    """
    rng = np.random.default_rng(seed)

    numbers = itertools.count()

    def collected(starts: Sequence[Start]) -> RolloutBatch:
        own_seed = seed + 1000 * next(numbers)
        return collect(starts, env=env, policy=policy, sampling=SamplingConfig(), seed=own_seed)

    states = initial_states(env, problem_ids, seed=seed)
    for choose in (method.prepare, method.measure):
        states = choose(states, lambda starts: collected(starts).groups)
    left = list(further_ids)

    def drawn(num: int) -> list[ReasonState]:
        names = [left.pop(0) for _ in range(min(num, len(left)))]
        found = initial_states(env, names, seed=seed)
        return list(method.measure(found, lambda starts: collected(starts).groups))

    services = CountedServices(
        states,
        draw=drawn,
        policy=policy,
        temperature=1.0,
        judges=dict.fromkeys(method.judges, ScriptedJudge(judge or {})),
        seed=seed,
    )
    with method.served_by(services):
        rounds, batch = collect_rounds(method, states, collected, rng)
        samples = tuple(method.training_samples(batch.groups, rng))
    return DryRun(
        batches=tuple(tuple(starts) for starts in rounds),
        groups=batch.groups,
        samples=samples,
        asked=services.counts,
    )
