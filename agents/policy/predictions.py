"""Predictions: what a model's pass says about the next tokens, before the logits are computed.

One pass serves several uses: the log-probabilities of the tokens that follow, and whole
distributions, some rows at a time. `ProjectedPredictions` keeps hidden states and the head;
`LogitPredictions` the logits of a model whose head is more than one product.

Axis letters: B sequences, T tokens, V vocabulary, C channels, N rows (distributions), M different
targets, K wanted places.
"""

from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from reason_env.agents.policy.log_probs import (
    next_token_log_probs,
    placed,
    projected_log_probs,
)
from reason_env.agents.policy.prefix_tree import PrefixTree


class Predictions(Protocol):
    """The predictions of one pass at the wanted places of its rows of tokens."""

    @property
    def row_of_each(self) -> Tensor:
        """[K], the distribution of each wanted place, in the order of a boolean index."""
        ...

    @property
    def vocab_size(self) -> int:
        """V."""
        ...

    def log_probs(self, *, temperature: float, with_entropy: bool) -> tuple[Tensor, Tensor | None]:
        """Compute the tokens' log-probabilities and, if asked, the entropies, [B, T], in nats."""
        ...

    def logits(self, rows_n: Tensor) -> Tensor:
        """Compute the logits [n, V] of some distributions; differentiable."""
        ...

    def kept(self) -> "Predictions":
        """Copy what a later change of the model's weights would change."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ProjectedPredictions:
    """Hidden states, the head, and M different targets, wanted perhaps often."""

    hidden_NC: Tensor
    """One row for each distinct sequence of tokens before a wanted token."""
    weight_VC: Tensor
    bias_V: Tensor | None
    rows_M: Tensor
    """Row of each target."""
    targets_M: Tensor
    """Token ids."""
    number_of_each: Tensor
    """Number of the target of each wanted place, in the order of a boolean index."""
    wanted_BT: Tensor
    """True on the wanted places."""
    gradient_dtype: torch.dtype | None
    """Of the backward pass's products; see `projected_log_probs`."""

    @property
    def row_of_each(self) -> Tensor:
        """[K], the row of each wanted place."""
        return self.rows_M[self.number_of_each]

    @property
    def vocab_size(self) -> int:
        """V."""
        return len(self.weight_VC)

    def log_probs(self, *, temperature: float, with_entropy: bool) -> tuple[Tensor, Tensor | None]:
        """Compute the tokens' log-probabilities and the entropies; see `Predictions`."""
        log_probs_M, entropy_N = projected_log_probs(
            self.hidden_NC,
            self.weight_VC,
            self.bias_V,
            self.rows_M,
            self.targets_M,
            temperature=temperature,
            with_entropy=with_entropy,
            gradient_dtype=self.gradient_dtype,
        )
        shape, places = self.wanted_BT.shape, self.wanted_BT.flatten().nonzero()[:, 0]
        log_probs_BT = placed(log_probs_M[self.number_of_each], places, shape)
        if not with_entropy:
            return log_probs_BT, None
        entropy_M = entropy_N[self.rows_M]
        return log_probs_BT, placed(entropy_M[self.number_of_each], places, shape)

    def logits(self, rows_n: Tensor) -> Tensor:
        """Project some hidden states; the caller asks for few enough rows."""
        hidden_nC = self.hidden_NC[rows_n]
        bias = None if self.bias_V is None else self.bias_V.to(hidden_nC.dtype)
        return torch.nn.functional.linear(hidden_nC, self.weight_VC.to(hidden_nC.dtype), bias)

    def kept(self) -> "ProjectedPredictions":
        """Copy the head."""
        bias = None if self.bias_V is None else self.bias_V.detach().clone()
        return replace(self, weight_VC=self.weight_VC.detach().clone(), bias_V=bias)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LogitPredictions:
    """The logits of all positions, [B, T, V]."""

    logits_BTV: Tensor
    token_ids_BT: Tensor
    wanted_BT: Tensor
    """True on the wanted places, never on a row's first token."""
    vocab_size: int

    @property
    def row_of_each(self) -> Tensor:
        """[K], the flat position before each wanted place."""
        return self.wanted_BT.flatten().nonzero()[:, 0] - 1

    def log_probs(self, *, temperature: float, with_entropy: bool) -> tuple[Tensor, Tensor | None]:
        """Compute the tokens' log-probabilities and the entropies; see `Predictions`."""
        return next_token_log_probs(
            self.logits_BTV,
            self.token_ids_BT,
            self.wanted_BT,
            temperature=temperature,
            vocab_size=self.vocab_size,
            with_entropy=with_entropy,
        )

    def logits(self, rows_n: Tensor) -> Tensor:
        """Select the logits after some flat positions."""
        return self.logits_BTV.flatten(0, 1)[rows_n, : self.vocab_size]

    def kept(self) -> "LogitPredictions":
        """Return the predictions: the logits are computed."""
        return self


def of_tree(tree: PrefixTree, wanted_BT: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Number the distributions and targets of a tree's wanted tokens, each once.

    Returns:
        The distinct tokens whose hidden states predict them, [N]; the row of each target among
        these, [M]; the targets' ids, [M]; and the target of each wanted place, [K].
    """
    nodes_M, number_of_each = tree.place_BT[wanted_BT].unique(return_inverse=True)
    parents_N, rows_M = tree.parent_N[nodes_M].unique(return_inverse=True)
    return parents_N, rows_M, tree.token_ids_N[nodes_M], number_of_each
