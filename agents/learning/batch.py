"""TokenBatch: training samples as tensors, padded on the right.

A row holds the context, then the response. The action mask is True only on response tokens that the
policy sampled; prompts, prefixes and end tokens of the environment are context. Values outside the
mask are zero, and the loss never reads them.

Axis letters: B sequences, T tokens (context and response).
"""

# torch leaves tolist, backward and step untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from reason_env.agents.policy import Ints, num_distinct, split_by_distinct
from reason_env.agents.rollout import TrainingSample
from reason_env.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TokenBatch:
    """Rows of tokens to train on. All tensors are [B, T], on one device.

    >>> sample = TrainingSample(
    ...     context_ids=(5, 6), token_ids=(8, 9), action_mask=(False, True),
    ...     behavior_log_probs=(0.0, -0.5), advantage=0.75, role="base", group="toy/train/0")
    >>> batch = make_batch([sample], pad_id=0)
    >>> batch.token_ids_BT.tolist(), batch.action_mask_BT.tolist()
    ([[5, 6, 8, 9]], [[False, False, False, True]])
    >>> batch.advantages_BT.tolist()
    [[0.0, 0.0, 0.0, 0.75]]
    """

    token_ids_BT: Tensor
    """int64; the codec's pad id after a row's end."""
    attention_mask_BT: Tensor
    """int64; 1 on the row's tokens, 0 on padding (the form that transformers models expect)."""
    action_mask_BT: Tensor
    """bool; True if the policy sampled the token at t in this episode."""
    behavior_log_probs_BT: Tensor
    """Nats, of the token at t under the sampling context; 0 outside the action mask."""
    advantages_BT: Tensor
    """Reward units (or standard deviations of them); 0 outside the action mask."""

    @property
    def num_rows(self) -> int:
        """B."""
        return self.token_ids_BT.shape[0]

    def to(self, device: torch.device | str) -> "TokenBatch":
        """Copy the batch to another device."""
        return replace(self, **{f.name: getattr(self, f.name).to(device) for f in fields(self)})

    def select(self, rows_b: Tensor) -> "TokenBatch":
        """Take these rows, in this order, cut to the longest of them.

        Args:
            rows_b: int64 row numbers, on the batch's device.
        """
        width = int(self.attention_mask_BT[rows_b].sum(dim=1).max())
        cut = {f.name: getattr(self, f.name)[rows_b, :width] for f in fields(self)}
        return replace(self, **cut)

    def split_rows(self, max_tokens: int) -> list[Tensor]:
        """Split the row numbers into micro-batches of at most `max_tokens` tokens, with padding.

        Rows are taken from the longest to the shortest (ties in order), so that a micro-batch has
        little padding. A row longer than `max_tokens` is a micro-batch alone.

        Raises:
            ConfigError: `max_tokens` is not positive.
        """
        if max_tokens < 1:
            raise ConfigError(f"max_tokens must be at least 1, got {max_tokens!r}")
        lengths_B = self.attention_mask_BT.sum(dim=1).tolist()
        order = sorted(range(self.num_rows), key=lambda row: -lengths_B[row])
        parts: list[list[int]] = []
        for row in order:
            # The first row of a part is its longest, so it sets the padded width.
            if parts and lengths_B[parts[-1][0]] * (len(parts[-1]) + 1) <= max_tokens:
                parts[-1].append(row)
            else:
                parts.append([row])
        return [torch.tensor(part, device=self.token_ids_BT.device) for part in parts]

    def split_prefixes(self, max_tokens: int) -> list[Tensor]:
        """Split the row numbers into micro-batches of at most `max_tokens` distinct tokens.

        Rows that share a prefix stay together, and its tokens count once. A row longer than
        `max_tokens` is a micro-batch alone.
        """
        parts = split_by_distinct(*self._ids_and_lengths(), max_tokens)
        return [torch.tensor(part, device=self.token_ids_BT.device) for part in parts]

    def num_distinct_tokens(self) -> int:
        """Count the tokens of the rows, those of a shared prefix once."""
        return num_distinct(*self._ids_and_lengths())

    def _ids_and_lengths(self) -> tuple[Ints, Ints]:
        return self.token_ids_BT.cpu().numpy(), self.attention_mask_BT.sum(dim=1).cpu().numpy()


def make_batch(
    samples: Sequence[TrainingSample],
    pad_id: int,
    *,
    dtype: torch.dtype = torch.float32,
) -> TokenBatch:
    """Pad the samples to one batch on the CPU, row i from `samples[i]`.

    Args:
        samples: At least one.
        pad_id: Fills a row after its end; never attended to.
        dtype: Type of the log-probabilities and advantages.

    Raises:
        ConfigError: There is no sample, a sampled token's behavior log-probability or a sample's
            advantage is not finite, or a row begins with a sampled token.
    """
    if not samples:
        raise ConfigError("a batch must hold at least one training sample, got none")
    _check_finite(samples)
    _check_first_token(samples)
    rows = [sample.context_ids + sample.token_ids for sample in samples]
    width = max(map(len, rows))

    def padded(values: Sequence[Sequence[float]], fill: float, kind: torch.dtype) -> Tensor:
        return torch.tensor([[*row, *[fill] * (width - len(row))] for row in values], dtype=kind)

    mask = [(False,) * len(s.context_ids) + s.action_mask for s in samples]
    log_probs = [(0.0,) * len(s.context_ids) + s.behavior_log_probs for s in samples]
    mask_BT = padded(mask, False, torch.bool)
    advantages = [(0.0,) * len(s.context_ids) + s.advantages for s in samples]
    return TokenBatch(
        token_ids_BT=padded(rows, pad_id, torch.int64),
        attention_mask_BT=padded([[1] * len(row) for row in rows], 0, torch.int64),
        action_mask_BT=mask_BT,
        behavior_log_probs_BT=padded(log_probs, 0.0, dtype).masked_fill(~mask_BT, 0.0),
        advantages_BT=padded(advantages, 0.0, dtype),
    )


def _check_finite(samples: Sequence[TrainingSample]) -> None:
    values = torch.tensor(
        [
            value
            for sample in samples
            for value, sampled in zip(sample.behavior_log_probs, sample.action_mask, strict=True)
            if sampled
        ],
        dtype=torch.float64,
    )
    num_bad = int((~torch.isfinite(values)).sum())
    if num_bad:
        raise ConfigError(
            f"{num_bad} of {len(values)} sampled tokens have a non-finite behavior "
            "log-probability; drop these trajectories before batching"
        )
    num_bad = sum(not all(map(math.isfinite, sample.advantages)) for sample in samples)
    if num_bad:
        raise ConfigError(
            f"{num_bad} of {len(samples)} samples have a non-finite advantage; "
            "drop these trajectories before batching"
        )


def _check_first_token(samples: Sequence[TrainingSample]) -> None:
    num_bad = sum(not sample.context_ids and sample.action_mask[0] for sample in samples)
    if num_bad:
        raise ConfigError(
            f"{num_bad} of {len(samples)} samples begin with a sampled token, which has no "
            "probability without a preceding token; give them a context of at least one token"
        )
