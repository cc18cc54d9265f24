"""Build vLLM's sampling requests and check its answers. Token ids in both directions.

Each context becomes one request for `n` samples. With `logprobs_mode="processed_logprobs"` vLLM
returns log-probabilities of the distribution that it samples from: after temperature, top-k and
top-p (greedy: of the untruncated distribution at temperature 1, as in `SamplingConfig`). vLLM
applies these in our order. It may keep other tokens than we do if logits tie at the threshold; its
log-probabilities always match the tokens that it kept.

`read_completions` checks every completion, including the version of the weights that vLLM stamps on
it: a server that restarted or kept old weights is detected by that version.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reason_env.agents.engines.protocol import Completion
from reason_env.agents.engines.sampling import Context, SamplingConfig, streams_of
from reason_env.errors import ConfigError

MAX_TEMPERATURE = 2.0
"""The highest temperature that vLLM accepts."""


class EngineFailure(Exception):  # noqa: N818 - not an error yet: the engine is restarted
    """The engine died, hung or returned an invalid answer; the caller restarts it and repeats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRequest:
    """A request for samples of one context, for vLLM's `LLM` and for its server."""

    context: int
    """Index of the context."""
    token_ids: tuple[int, ...]
    params: Mapping[str, Any]
    """Fields of vLLM's SamplingParams; plain JSON values."""

    @property
    def num_samples(self) -> int:
        """Completions requested."""
        return int(self.params["n"])

    def to_json(self) -> dict[str, Any]:
        """Return the body for `/inference/v1/generate`; the local process reads the same JSON."""
        return {"token_ids": list(self.token_ids), "sampling_params": dict(self.params)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One completion as vLLM returned it, not yet checked."""

    token_ids: tuple[int, ...]
    log_probs: tuple[float, ...]
    finish_reason: str | None
    versions: tuple[str, ...]
    """Versions of the weights that sampled the tokens, in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """vLLM's answer to all requests of one call of `sample`."""

    choices: tuple[tuple[Choice, ...], ...]
    """By request, then by sample."""
    num_prefill_tokens: int
    """Context tokens run through the model, without those found in the prefix cache."""


def sample_requests(
    contexts: Sequence[Context],
    sampling: SamplingConfig,
    *,
    seed: int,
    stop_ids: tuple[int, ...],
) -> list[SampleRequest]:
    """Build one request per context, in order; for greedy sampling one request per sample.

    The seed of a request depends only on `seed` and its context's stream; vLLM draws sample i with
    seed + i. vLLM rejects greedy requests for several samples.

    Raises:
        ConfigError: The temperature is higher than vLLM accepts.

    >>> context = Context(token_ids=(5, 6), num_samples=3, max_new_tokens=9)
    >>> request = sample_requests([context], SamplingConfig(top_k=4), seed=1, stop_ids=(2,))[0]
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
        # 0: only the sampled token's log-probability.
        "logprobs": 0,
        # stop_ids contain the codec's end tokens; the end token in the model's config is ignored.
        # vLLM would remove a stop token from text, but keeps it in the ids.
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
                "seed": request_seed(seed, stream),
            },
        )
        for index, (stream, context) in enumerate(zip(streams_of(contexts), contexts, strict=True))
        for _ in range(context.num_samples if sampling.is_greedy else 1)
    ]


def request_seed(seed: int, index: int) -> int:
    """Derive a request's seed, 0..2^62 - 1; seeds of requests lie far apart, as samples add i."""
    entropy = np.random.SeedSequence([seed % 2**64, index])
    return int(entropy.generate_state(1, np.uint64)[0] >> 2)


def read_completions(
    answer: Answer,
    requests: Sequence[SampleRequest],
    *,
    vocab_size: int,
    version: str,
) -> list[tuple[Completion, ...]]:
    """Check an answer; return the completions of each context.

    Args:
        answer: The engine's answer.
        requests: The requests that it answers.
        vocab_size: Sampled ids must be below this number.
        version: Version of the weights that must have sampled the tokens.

    Raises:
        EngineFailure: A completion is missing or malformed, or comes from other weights.
    """
    if len(answer.choices) != len(requests):
        raise EngineFailure(f"got answers to {len(answer.choices)} of {len(requests)} requests")
    by_context: dict[int, list[Completion]] = {}
    for request, choices in zip(requests, answer.choices, strict=True):
        if len(choices) != request.num_samples:
            raise EngineFailure(f"got {len(choices)} of {request.num_samples} completions")
        for choice in choices:
            _check(choice, request, vocab_size=vocab_size, version=version)
        stops = set(request.params["stop_token_ids"])
        by_context.setdefault(request.context, []).extend(
            Completion(
                token_ids=choice.token_ids,
                log_probs=choice.log_probs,
                is_finished=choice.token_ids[-1] in stops,
            )
            for choice in choices
        )
    return [tuple(completions) for completions in by_context.values()]


def _check(choice: Choice, request: SampleRequest, *, vocab_size: int, version: str) -> None:
    ids, limit = choice.token_ids, int(request.params["max_tokens"])
    stops = set(request.params["stop_token_ids"])
    if set(choice.versions) != {version}:
        raise EngineFailure(
            f"a completion was sampled from weights {choice.versions}, not from {version!r}"
        )
    if choice.finish_reason not in ("stop", "length"):
        raise EngineFailure(f"a completion has finish reason {choice.finish_reason!r}")
    if not 1 <= len(ids) <= limit or len(choice.log_probs) != len(ids):
        raise EngineFailure(
            f"a completion of at most {limit} tokens has {len(ids)} ids and "
            f"{len(choice.log_probs)} log-probabilities"
        )
    if not all(0 <= token < vocab_size for token in ids):
        raise EngineFailure(f"a completion has an id outside 0..{vocab_size - 1}: {max(ids)}")
    if not all(math.isfinite(number) and number <= 1e-4 for number in choice.log_probs):
        raise EngineFailure("a log-probability is above 0 or not finite")
    if any(token in stops for token in ids[:-1]):
        raise EngineFailure("a completion continues after a stop token")
    if ids[-1] not in stops and len(ids) != limit:
        raise EngineFailure(
            f"a completion ended after {len(ids)} of {limit} tokens without a stop token"
        )
