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
from typing import Any

import gymnasium as gym
import numpy as np

from reason_env.agents.engines import Completion, Context, SamplingConfig
from reason_env.agents.methods import Method, collect_rounds
from reason_env.agents.policy import Policy
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
    ) -> None:
        """Take the script.

        Args:
            script: Context text -> completion texts; a final `END` is the end token. A completion
                is cut to the requested number of tokens; its log-probabilities are
                `scripted_log_probs` of its index in the list.
            codec: The built-in byte codec if None.
            policy_version: The version that its trajectories record.
        """
        self.codec: Codec = ByteCodec() if codec is None else codec
        self.script = {text: tuple(completions) for text, completions in script.items()}
        self.policy_version = policy_version
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
        return tuple(
            self._completion(text, number, context.max_new_tokens, stops)
            for number in range(begin, end)
        )

    def _completion(
        self, context: str, number: int, limit: int, stops: tuple[int, ...]
    ) -> Completion:
        text = self.script[context][number]
        end = (self.codec.eos_id,) if text.endswith(END) else ()
        token_ids = (self.codec.encode(text.removesuffix(END)) + end)[:limit]
        return Completion(
            token_ids=token_ids,
            log_probs=scripted_log_probs(number, len(token_ids)),
            is_finished=bool(token_ids) and token_ids[-1] in stops,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """What a method planned, collected and would train on in one iteration."""

    batches: tuple[tuple[Start, ...], ...]
    """The starts of `plan`, then those of each `follow_up` that returned any."""
    groups: tuple[Group, ...]
    samples: tuple[TrainingSample, ...]

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
    policy: Policy,
    seed: int = 0,
) -> DryRun:
    """Run one iteration of a method on these problems, without the update.

    Works with a language-model policy too: each round of sampling gets its own seed. `prepare` and
    `measure` are called first, so the method plans for the problems that it chose.
    """
    rng = np.random.default_rng(seed)

    numbers = itertools.count()

    def collected(starts: Sequence[Start]) -> RolloutBatch:
        own_seed = seed + 1000 * next(numbers)
        return collect(starts, env=env, policy=policy, sampling=SamplingConfig(), seed=own_seed)

    states = initial_states(env, problem_ids, seed=seed)
    for choose in (method.prepare, method.measure):
        states = choose(states, lambda starts: collected(starts).groups)
    rounds, batch = collect_rounds(method, states, collected, rng)
    return DryRun(
        batches=tuple(tuple(starts) for starts in rounds),
        groups=batch.groups,
        samples=tuple(method.training_samples(batch.groups, rng)),
    )
