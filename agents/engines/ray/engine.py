"""RayEngine: implements the engine protocol with samplers elsewhere, and survives their loss.

A call of `sample` is cut into one share for each actor. Shares that no actor answers (it died, its
node died, it hung, it sampled from other weights) are sampled again by a new actor, with the same
weights and random streams, so the call returns what it would have returned. Nothing is counted
until every share is there.

Weights are sent when they have changed. With `max_staleness` K, contexts that may be stale (those
of training; evaluation and measurements never are) are sampled from what the actors hold, as long
as that is at most K changes old. Their completions say how old. The log-probabilities recorded are
those of the weights that sampled, so the loss corrects for the difference as for any sampler's
(`LossConfig.importance_weight_cap`).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

from reason_env.agents.engines.config import EngineConfig
from reason_env.agents.engines.protocol import Completion
from reason_env.agents.engines.ray.rounds import Asked, answers_of
from reason_env.agents.engines.ray.sampler import Answer, SampleRequest
from reason_env.agents.engines.ray.shares import shares_of
from reason_env.agents.engines.ray.weights import Arrays, StoredWeights, WeightVersions
from reason_env.agents.engines.sampling import Context, SamplingConfig


class Actors(Asked[SampleRequest, Answer], Protocol):
    """Samplers elsewhere, each at a place 0, 1, ..."""

    def put(self, arrays: Arrays) -> Any:
        """Store a copy of arrays where the samplers find it."""
        ...


class RayEngine:
    """Samples with actors from the weights of a torch model."""

    def __init__(self, model: Any, actors: Actors, config: EngineConfig) -> None:
        """Prepare the engine; the first call of `sample` starts the actors.

        Args:
            model: The trainer's model; each call of `sample` looks at its current weights.
            actors: The samplers.
            config: Their number, and how often they may fail.
        """
        self.actors, self.config = actors, config
        self.num_prefill_tokens = 0
        self.num_reused_tokens = 0
        self.num_sampled_tokens = 0
        self.num_restarts = 0
        self.num_weight_updates = 0
        """Times that a call of `sample` sent other weights than the last one."""
        self._versions = WeightVersions(model, actors.put)
        self._sent: StoredWeights | None = None

    def sample(
        self,
        contexts: Sequence[Context],
        sampling: SamplingConfig,
        *,
        seed: int,
        stop_ids: tuple[int, ...],
    ) -> list[tuple[Completion, ...]]:
        """Sample `num_samples` completions of each context; see `Engine.sample`.

        Raises:
            EngineError: Actors failed in more than `max_restarts` rounds.
        """
        if not contexts:
            return []
        version = self._versions.look()
        weights = self._weights(version, contexts)
        requests = {
            place: SampleRequest(
                contexts=share, sampling=sampling, seed=seed, stop_ids=stop_ids, weights=weights
            )
            for place, share in enumerate(shares_of(contexts, self.config.actors))
            if share
        }
        answers = answers_of(
            self.actors,
            requests,
            max_restarts=self.config.max_restarts,
            problem_with=_problem_with,
            on_lost=self._count,
        )
        found = [own for place in sorted(answers) for own in answers[place].completions]
        self.num_prefill_tokens += sum(own.num_prefill_tokens for own in answers.values())
        self.num_reused_tokens += sum(own.num_reused_tokens for own in answers.values())
        self.num_sampled_tokens += sum(len(one.token_ids) for own in found for one in own)
        return _aged(found, version - weights.version)

    def rebind(self, model: Any) -> None:
        """Sample from another model of the same architecture from now on."""
        self._versions.model = model

    def close(self) -> None:
        """Kill the actors; the next call of `sample` starts new ones."""
        self.actors.stop()

    def _weights(self, version: int, contexts: Sequence[Context]) -> StoredWeights:
        """Choose what to sample from: the weights last sent if they may be used, or the model's."""
        sent = self._sent
        may_be_stale = all(context.may_be_stale for context in contexts)
        most = self.config.max_staleness if may_be_stale else 0
        if sent is None or version - sent.version > most:
            self.num_weight_updates += sent is not None
            sent = self._sent = self._versions.store()
        return sent

    def _count(self, lost: int) -> None:
        self.num_restarts += lost


def _problem_with(answer: Answer, request: SampleRequest) -> str | None:
    """Say why an answer cannot be used; None if it can."""
    if answer.version != request.weights.version:
        return (
            f"it sampled from version {answer.version} of the weights, not from "
            f"{request.weights.version}"
        )
    asked = [context.num_samples for context in request.contexts]
    if [len(own) for own in answer.completions] != asked:
        return f"it returned {len(answer.completions)} groups of completions for {len(asked)}"
    return None


def _aged(found: list[tuple[Completion, ...]], staleness: int) -> list[tuple[Completion, ...]]:
    if not staleness:
        return found
    return [tuple(replace(one, staleness=staleness) for one in own) for own in found]
