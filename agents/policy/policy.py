"""A language model as a policy: it samples completions, scores them, and gives gradients.

The distribution is over the codec's ids only. Embeddings are often padded beyond the tokenizer's
vocabulary; an id without text could be sampled there, and the environment could not decode it.
Sampling, scoring and training all leave those ids out, so that their log-probabilities agree.

Axis letters: B sequences, T tokens, V vocabulary.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from reason_env.agents.engines import (
    Completion,
    Context,
    Engine,
    EngineConfig,
    SamplingConfig,
    TorchEngine,
    build_engine,
    evaluating,
    processed_log_probs,
    quiet_transformers,
)
from reason_env.agents.policy.load import CODEC_KEY, checked_device, context_length_of, load_model
from reason_env.agents.policy.log_probs import next_token_log_probs
from reason_env.codec import ByteCodec, Codec, HuggingFaceCodec, check_token_ids
from reason_env.errors import ConfigError, ModelError, shown

__all__ = ["Context", "LanguageModelPolicy", "Policy", "SamplingConfig"]

DEFAULT_BATCH_SIZE = 256
MAX_SCORED_LOGITS = 2**26
"""Logits that one forward pass of `score` computes, padding included."""


class Policy(Protocol):
    """What collecting and evaluating ask of a policy; a scripted one fits too."""

    codec: Codec

    @property
    def policy_version(self) -> int:
        """Updates the policy has seen."""
        ...

    def sample(
        self,
        contexts: Sequence[Context],
        sampling: SamplingConfig,
        *,
        seed: int,
        stop_ids: tuple[int, ...] | None = None,
    ) -> list[tuple[Completion, ...]]:
        """Returns `num_samples` completions of each context, in the order of the contexts.

        Args:
            contexts: What is conditioned on, and how many completions of each.
            sampling: Temperature and truncation.
            seed: Equal seeds give equal completions.
            stop_ids: A completion ends with the first of these; the codec's end token if None.
        """
        ...


class LanguageModelPolicy:
    """A causal language model with the codec of its ids."""

    def __init__(
        self,
        model: Any,
        codec: Codec,
        *,
        device: str = "cpu",
        max_batch_size: int = DEFAULT_BATCH_SIZE,
        engine: Engine | None = None,
    ) -> None:
        """Moves the model to the device and switches its dropout off.

        Args:
            model: A `transformers` causal language model that takes `position_ids`.
            codec: Gives its ids their meaning.
            device: A torch device.
            max_batch_size: Sequences sampled at once.
            engine: Samples; a `TorchEngine` of the model if None.

        Raises:
            ModelError: The codec has ids that the model does not, or the model states no context
                length, or keeps another state than keys and values.
            ConfigError: The device does not exist here.
        """
        self.model = model.to(checked_device(device)).eval()
        self.codec = codec
        model_size = int(model.get_input_embeddings().weight.shape[0])
        if codec.vocab_size > model_size:
            raise ModelError(
                f"the codec's vocabulary must fit the model's {model_size} ids, got "
                f"{codec.vocab_size} ids of {shown(codec.codec_id)}; use the model's own tokenizer"
            )
        self.context_length = context_length_of(model.config)
        self.engine: Engine = (
            TorchEngine(model, vocab_size=codec.vocab_size, max_batch_size=max_batch_size)
            if engine is None
            else engine
        )
        self._policy_version = 0

    @classmethod
    def load(
        cls,
        name: str,
        *,
        device: str = "cpu",
        dtype: str = "float32",
        step_delimiter: str = "\n",
        max_batch_size: int = DEFAULT_BATCH_SIZE,
        engine: EngineConfig | None = None,
    ) -> "LanguageModelPolicy":
        """Returns the policy of a model directory, a hub name, or "base", the shipped model.

        Args:
            name: Where the model lies.
            device: A torch device.
            dtype: float32, bfloat16 or float16; of the weights.
            step_delimiter: The text that ends a reasoning step.
            max_batch_size: Sequences sampled at once.
            engine: What samples; torch if None.

        Raises:
            ModelError: No model, or no codec for it, can be loaded from there.
            ConfigError: The device or the dtype does not exist here, or the engine's package.
        """
        checked_device(device)
        model, codec = load_model(name, dtype=dtype, step_delimiter=step_delimiter)
        built = build_engine(
            engine or EngineConfig(),
            model,
            vocab_size=codec.vocab_size,
            context_length=context_length_of(model.config),
            max_batch_size=max_batch_size,
        )
        return cls(model, codec, device=device, max_batch_size=max_batch_size, engine=built)

    def save(self, directory: str | Path) -> None:
        """Writes the model in Hugging Face's layout with what `load` needs; nothing is pickled."""
        if isinstance(self.codec, ByteCodec):
            setattr(self.model.config, CODEC_KEY, "bytes")
        with quiet_transformers():
            self.model.save_pretrained(directory)
        if isinstance(self.codec, HuggingFaceCodec):
            self.codec.tokenizer.save_pretrained(directory)

    @property
    def device(self) -> torch.device:
        """Where the model's weights are."""
        return self.model.device

    @property
    def policy_version(self) -> int:
        """Updates the policy has seen."""
        return self._policy_version

    def mark_updated(self, version: int | None = None) -> None:
        """Counts one update, or takes the count of a checkpoint."""
        self._policy_version = self._policy_version + 1 if version is None else version

    def sample(
        self,
        contexts: Sequence[Context],
        sampling: SamplingConfig,
        *,
        seed: int,
        stop_ids: tuple[int, ...] | None = None,
    ) -> list[tuple[Completion, ...]]:
        """Returns `num_samples` completions of each context; see `Policy.sample`.

        Raises:
            ModelError: A context with its new tokens is longer than the model's context.
            CodecError: An id lies outside the codec's vocabulary.
        """
        stops = (self.codec.eos_id,) if stop_ids is None else stop_ids
        check_token_ids(self.codec, stops)
        for context in contexts:
            check_token_ids(self.codec, context.token_ids)
            self._check_length(len(context.token_ids), context.max_new_tokens)
        return self.engine.sample(contexts, sampling, seed=seed, stop_ids=stops)

    def _check_length(self, num_context: int, num_new: int) -> None:
        if not num_context:
            raise ModelError(
                "a context must hold at least one token, got none; give the prompt a text"
            )
        if num_context + num_new > self.context_length:
            raise ModelError(
                f"a context and its new tokens must fit the model's {self.context_length} tokens, "
                f"got {num_context} + {num_new}; shorten the prompt or lower max_new_tokens"
            )

    @torch.inference_mode()
    def score(
        self,
        contexts: Sequence[Sequence[int]],
        completions: Sequence[Sequence[int]],
        sampling: SamplingConfig,
    ) -> list[tuple[float, ...]]:
        """Returns each completion token's log-probability, in nats, as sampling records it.

        They agree to rounding. A truncation is a step, though: where the rounding of another batch
        shape moves a token across its edge, that token has -inf here, and the others of its
        position share one token's probability more or less.

        Args:
            contexts: Ids before each completion, at least one.
            completions: Ids to score, one completion per context.
            sampling: Temperature and truncation.

        Raises:
            ModelError: A context with its completion is longer than the model's context.
            CodecError: An id lies outside the codec's vocabulary.
        """
        pairs = [(tuple(a), tuple(b)) for a, b in zip(contexts, completions, strict=True)]
        for context, completion in pairs:
            check_token_ids(self.codec, context + completion)
            self._check_length(len(context), len(completion))
        order = sorted(range(len(pairs)), key=lambda index: sum(map(len, pairs[index])))
        scores: list[tuple[float, ...]] = [()] * len(pairs)
        with evaluating(self.model):
            while order:
                # Longest first: it sets the width, which the rest of the batch is padded to.
                width = sum(map(len, pairs[order[-1]]))
                size = max(1, MAX_SCORED_LOGITS // (width * self.codec.vocab_size))
                batch, order = order[-size:], order[:-size]
                found = self._score_batch([pairs[index] for index in batch], sampling)
                for index, numbers in zip(batch, found, strict=True):
                    scores[index] = numbers
        return scores

    def _score_batch(
        self, pairs: list[tuple[tuple[int, ...], tuple[int, ...]]], sampling: SamplingConfig
    ) -> list[tuple[float, ...]]:
        """Scores pairs of context and completion in one forward pass."""
        width = max(len(context) + len(completion) for context, completion in pairs)
        first = min(len(context) for context, _ in pairs) - 1
        ids = torch.zeros((len(pairs), width), dtype=torch.long)
        mask, counts = torch.zeros_like(ids), torch.zeros_like(ids, dtype=torch.bool)
        for row, (context, completion) in enumerate(pairs):
            length = len(context) + len(completion)
            ids[row, :length] = torch.tensor(context + completion)
            mask[row, :length] = 1
            counts[row, len(context) - 1 : length - 1] = True
        ids, mask, counts = (item.to(self.device) for item in (ids, mask, counts))
        output = self.model(
            input_ids=ids, attention_mask=mask, use_cache=False, logits_to_keep=width - first
        )
        logits = output.logits[counts[:, first:]][:, : self.codec.vocab_size]
        targets = ids.roll(-1, dims=1)[counts]
        log_probs = processed_log_probs(logits, sampling).gather(-1, targets[:, None])[:, 0]
        pieces = log_probs.split([len(completion) for _, completion in pairs])
        return [tuple(piece.tolist()) for piece in pieces]

    def token_log_probs(
        self,
        token_ids_BT: Tensor,
        attention_mask_BT: Tensor,
        *,
        temperature: float = 1.0,
        with_entropy: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Returns log pi(token t | tokens before t) and the entropy there, both differentiable.

        log_probs_BT[b, t] = z[token t] - logsumexp(z), z = logits after token t-1 / temperature;
        no truncation. Both are 0 at t = 0 and on padding, whatever the model gives there.

        Args:
            token_ids_BT: Right-padded sequences.
            attention_mask_BT: 1 or True on tokens, 0 or False on padding.
            temperature: Above 0.
            with_entropy: Whether to give the entropy, in nats, too.

        Raises:
            ConfigError: The temperature is not above 0.
        """
        if not temperature > 0:
            raise ConfigError(
                f"temperature must be above 0 for training, got {temperature!r}; use 1.0"
            )
        mask_BT = attention_mask_BT.bool()
        output = self.model(input_ids=token_ids_BT, attention_mask=mask_BT.long(), use_cache=False)
        return next_token_log_probs(
            output.logits,
            token_ids_BT,
            mask_BT,
            temperature=temperature,
            vocab_size=self.codec.vocab_size,
            with_entropy=with_entropy,
        )
