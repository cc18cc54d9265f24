"""The sequences that are sampled together: which end, which rows stay, what each became.

Axis letters: S sequences, B live sequences, T tokens, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from reason_env.agents.engines.protocol import Completion
from reason_env.agents.engines.sampling import Context
from reason_env.errors import ModelError


def ended_by_rules(
    contexts: Sequence[Context], token_ids_ST: Tensor, rows_B: Tensor, steps_B: Tensor
) -> Tensor:
    """Return which live sequences end with their newest token by their contexts' rules, bool [B].

    Args:
        contexts: The context of each live sequence.
        token_ids_ST: Tokens of all sequences.
        rows_B: Row of each live sequence in it.
        steps_B: Column of each live sequence's newest token.
    """
    newest = token_ids_ST[rows_B, steps_B].tolist()
    ended = [
        (rule := context.end_rule) is not None
        and rule.may_end(token)
        and rule.ends(token_ids_ST[rows_B[at], : int(steps_B[at]) + 1].tolist())
        for at, (context, token) in enumerate(zip(contexts, newest, strict=True))
    ]
    return torch.tensor(ended, dtype=torch.bool, device=rows_B.device)


def kept_rows(rows: Tensor, num_rows: int, holes: Tensor, movers: Tensor) -> Tensor:
    """Return the first `num_rows` rows after moving rows `movers` to `holes`.

    >>> kept_rows(torch.tensor([10, 11, 12, 13]), 2, torch.tensor([1]), torch.tensor([3]))
    tensor([10, 13])
    """
    kept = rows[:num_rows].clone()
    kept[holes] = rows[movers]
    return kept


def completions_by_key(
    keys: Sequence[tuple[int, int]],
    token_ids_ST: Tensor,
    log_probs_ST: Tensor,
    *,
    lengths_S: Tensor,
    is_stop: Tensor,
    entropies_ST: Tensor | None = None,
    keeps_entropies: Sequence[bool] = (),
) -> dict[tuple[int, int], Completion]:
    """Convert recorded tokens and log-probabilities to completions.

    Args:
        keys: Context and sample index of each sequence.
        token_ids_ST: Arbitrary after each sequence's length.
        log_probs_ST: Nats.
        lengths_S: Sampled tokens of each sequence, at least 1.
        is_stop: Whether an id is a stop token, bool [V].
        entropies_ST: Nats; None if no sequence keeps them.
        keeps_entropies: Whether each sequence does; read only with `entropies_ST`.

    Raises:
        ModelError: A log-probability is not finite.
    """
    is_sampled_ST = (
        torch.arange(log_probs_ST.shape[1], device=lengths_S.device) < lengths_S[:, None]
    )
    num_bad = int((is_sampled_ST & ~log_probs_ST.isfinite()).sum())
    if num_bad:
        raise ModelError(
            "the model's log-probabilities must be finite, got "
            f"{num_bad} of {int(lengths_S.sum())} sampled tokens without; its weights have "
            "diverged or are damaged: go back to an earlier checkpoint, with a lower learning rate"
        )
    rows = torch.arange(len(keys), device=lengths_S.device)
    stopped = is_stop[token_ids_ST[rows, lengths_S - 1]]
    completions = {
        key: Completion(
            token_ids=tuple(tokens[:length]),
            log_probs=tuple(numbers[:length]),
            is_finished=is_finished,
        )
        for key, tokens, numbers, length, is_finished in zip(
            keys,
            token_ids_ST.tolist(),
            log_probs_ST.tolist(),
            lengths_S.tolist(),
            stopped.tolist(),
            strict=True,
        )
    }
    if entropies_ST is None:
        return completions
    rows_of = zip(completions.items(), entropies_ST.tolist(), keeps_entropies, strict=True)
    return {
        key: replace(one, entropies=tuple(own[: len(one.token_ids)])) if keeps else one
        for (key, one), own, keeps in rows_of
    }
