"""What is asked of vLLM and how its answer is read: token ids both ways, nothing is re-tokenised.

One request a context, with `n` samples. vLLM is told `logprobs_mode="processed_logprobs"`, so the
numbers are of the distribution that was drawn from: after temperature, top-k and top-p (greedy: of
the untruncated distribution at temperature 1, as in `SamplingConfig`). Its order is ours, its cut
differs where logits tie at the edge; the log-probabilities are those of the cut it made.

Every answer is checked: an engine that was restarted behind our back, or answers with other
weights, says so by the version that vLLM stamps on each completion.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reason_env.agents.engines.protocol import Completion
from reason_env.agents.engines.sampling import Context, SamplingConfig
from reason_env.errors import ConfigError

MAX_TEMPERATURE = 2.0
"""vLLM refuses what is above it."""


class EngineFailure(Exception):  # noqa: N818 - no error yet: it is answered by a restart
    """The engine died, hung or answered nonsense: it is restarted and the wave is asked again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRequest:
    """One context, as both forms of vLLM take it."""

    context: int
    """Index of the context that it is of."""
    token_ids: tuple[int, ...]
    params: Mapping[str, Any]
    """Fields of vLLM's SamplingParams; plain JSON values."""

    @property
    def num_samples(self) -> int:
        """Completions asked for."""
        return int(self.params["n"])

    def to_json(self) -> dict[str, Any]:
        """Returns the body of `/inference/v1/generate`, and what the local process reads."""
        return {"token_ids": list(self.token_ids), "sampling_params": dict(self.params)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One completion as vLLM gave it, not yet checked."""

    token_ids: tuple[int, ...]
    log_probs: tuple[float, ...]
    finish_reason: str | None
    versions: tuple[str, ...]
    """Versions of the weights that its tokens came from, in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back for one wave."""

    choices: tuple[tuple[Choice, ...], ...]
    """By request, then by sample."""
    num_prefill_tokens: int
    """Context tokens that were run through the model; those found in the prefix cache are not."""


def wave_requests(
    contexts: Sequence[Context],
    sampling: SamplingConfig,
    *,
    seed: int,
    stop_ids: tuple[int, ...],
) -> list[SampleRequest]:
    """Returns one request a context, in their order; of greedy samples one a sample.

    The seed of a request depends on `seed` and its context's index alone; vLLM draws sample i with
    seed + i. It takes no greedy request for several samples.

    Raises:
        ConfigError: The temperature is above vLLM's highest.

    >>> context = Context(token_ids=(5, 6), num_samples=3, max_new_tokens=9)
    >>> request = wave_requests([context], SamplingConfig(top_k=4), seed=1, stop_ids=(2,))[0]
    >>> [request.params[name] for name in ("n", "top_k", "max_tokens", "stop_token_ids")]
    [3, 4, 9, [2]]
    """
    if sampling.temperature > MAX_TEMPERATURE:
        raise ConfigError(
            f"temperature must be at most {MAX_TEMPERATURE:g} with vLLM, got "
            f"{sampling.temperature!r}; lower it, or sample with --engine torch"
        )
    shared = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        # Of the sampled token only.
        "logprobs": 0,
        # The codec's end token is in stop_ids; what the model's own config calls its end is not
        # ours. A stop token stays in the ids: only text would lose it, and no text is made.
        "ignore_eos": True,
        "stop_token_ids": list(stop_ids),
        "detokenize": False,
    }
    return [
        SampleRequest(
            context=index,
            token_ids=context.token_ids,
            params=shared
            | {
                "n": 1 if sampling.is_greedy else context.num_samples,
                "max_tokens": context.max_new_tokens,
                "seed": request_seed(seed, index),
            },
        )
        for index, context in enumerate(contexts)
        for _ in range(context.num_samples if sampling.is_greedy else 1)
    ]


def request_seed(seed: int, index: int) -> int:
    """Returns the seed of one request, 0..2^62 - 1: those of neighbours do not run into another."""
    entropy = np.random.SeedSequence([seed % 2**64, index])
    return int(entropy.generate_state(1, np.uint64)[0] >> 2)


def read_wave(
    answer: Answer,
    requests: Sequence[SampleRequest],
    *,
    vocab_size: int,
    version: str,
) -> list[tuple[Completion, ...]]:
    """Returns the completions of each context, every one of them checked.

    Args:
        answer: Of the engine.
        requests: That it answers.
        vocab_size: Ids below it may be sampled.
        version: Of the weights that the tokens must come from.

    Raises:
        EngineFailure: A completion is missing or malformed, or comes from other weights.
    """
    if len(answer.choices) != len(requests):
        raise EngineFailure(f"it answered {len(answer.choices)} of {len(requests)} requests")
    waves: dict[int, list[Completion]] = {}
    for request, choices in zip(requests, answer.choices, strict=True):
        if len(choices) != request.num_samples:
            raise EngineFailure(f"it gave {len(choices)} of {request.num_samples} completions")
        for choice in choices:
            _check(choice, request, vocab_size=vocab_size, version=version)
        stops = set(request.params["stop_token_ids"])
        waves.setdefault(request.context, []).extend(
            Completion(
                token_ids=choice.token_ids,
                log_probs=choice.log_probs,
                is_finished=choice.token_ids[-1] in stops,
            )
            for choice in choices
        )
    return [tuple(completions) for completions in waves.values()]


def _check(choice: Choice, request: SampleRequest, *, vocab_size: int, version: str) -> None:
    ids, limit = choice.token_ids, int(request.params["max_tokens"])
    stops = set(request.params["stop_token_ids"])
    if set(choice.versions) != {version}:
        raise EngineFailure(f"it sampled from weights {choice.versions}, not from {version!r}")
    if choice.finish_reason not in ("stop", "length"):
        raise EngineFailure(f"a completion ended by {choice.finish_reason!r}")
    if not 1 <= len(ids) <= limit or len(choice.log_probs) != len(ids):
        raise EngineFailure(
            f"a completion of at most {limit} tokens has {len(ids)} ids and "
            f"{len(choice.log_probs)} log-probabilities"
        )
    if not all(0 <= token < vocab_size for token in ids):
        raise EngineFailure(f"it sampled an id outside 0..{vocab_size - 1}: {max(ids)}")
    if not all(math.isfinite(number) and number <= 1e-4 for number in choice.log_probs):
        raise EngineFailure("a log-probability is above 0 or not finite")
    if any(token in stops for token in ids[:-1]):
        raise EngineFailure("a completion goes on after a stop token")
    if ids[-1] not in stops and len(ids) != limit:
        raise EngineFailure(
            f"a completion ended after {len(ids)} of {limit} tokens without a stop token"
        )
