"""Which tokens of new contexts need a forward pass: each common prefix is computed once.

Contexts form a tree by their prefixes, of any depth: problem, prefix, hint, branch. The first
context that reaches a node computes it; every other one copies its keys (a graft). Contexts whose
donors are ready form a wave, one forward pass after the other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MIN_SHARED_TOKENS = 16
"""Shorter common prefixes are computed again: one more pass costs more than they do."""


@dataclass(frozen=True, slots=True)
class Graft:
    """Where a new context's first keys come from."""

    index: int
    """Of the context among the new ones."""
    donor: int | None
    """Pool row of a context that is there already, or -1 - the index of a new one; None without."""
    num_shared: int
    """Tokens whose keys are copied, fewer than the context has."""


def common_length(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    """Return the length of the longest common prefix.

    >>> common_length((5, 6, 7, 8), (5, 6, 9))
    2
    """
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[:middle] == other[:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def in_sharing_order(contexts: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Return contexts that share half of themselves side by side; shortest clusters first."""
    clusters: list[list[tuple[int, ...]]] = []
    for token_ids in sorted(contexts):
        if clusters and 2 * common_length(clusters[-1][-1], token_ids) >= len(token_ids):
            clusters[-1].append(token_ids)
        else:
            clusters.append([token_ids])
    clusters.sort(key=lambda cluster: max(map(len, cluster)))
    return [token_ids for cluster in clusters for token_ids in cluster]


def plan_waves(
    new: Sequence[tuple[int, ...]], pool: Mapping[int, tuple[int, ...]]
) -> list[list[Graft]]:
    """Plan the forward passes over new, distinct contexts.

    Args:
        new: The contexts' ids.
        pool: Contexts whose keys exist, by row.

    >>> first, second = plan_waves([tuple(range(20)), (*range(18), 30)], {})
    >>> first, second
    ([Graft(index=0, donor=None, num_shared=0)], [Graft(index=1, donor=-1, num_shared=18)])
    """
    waves: list[list[Graft]] = []
    wave_of: dict[int, int] = {}
    grafts: dict[int, Graft] = {}
    # Of all contexts before it in this order, the neighbour has the longest prefix in common.
    order = sorted(range(len(new)), key=lambda index: new[index])
    for before, index in zip([None, *order[:-1]], order, strict=True):
        token_ids, wave = new[index], 0
        graft = _from_pool(index, token_ids, pool)
        if before is not None:
            shared = common_length(new[before], token_ids)
            if shared >= MIN_SHARED_TOKENS and shared > graft.num_shared:
                # A donor's own donor may have the whole prefix already, one wave earlier.
                donor: int = before
                while (above := grafts[donor]).num_shared >= shared and above.donor is not None:
                    if above.donor >= 0:
                        graft = Graft(index, above.donor, shared)
                        break
                    donor = -1 - above.donor
                else:
                    graft, wave = Graft(index, -1 - donor, shared), wave_of[donor] + 1
        grafts[index], wave_of[index] = graft, wave
        while len(waves) <= wave:
            waves.append([])
        waves[wave].append(graft)
    return waves


def _from_pool(
    index: int, token_ids: tuple[int, ...], pool: Mapping[int, tuple[int, ...]]
) -> Graft:
    lengths = {
        # The last token is computed even if its keys exist: sampling needs the logits after it.
        row: min(common_length(other, token_ids), len(token_ids) - 1)
        for row, other in pool.items()
    }
    donor = max(lengths, key=lengths.__getitem__, default=None)
    if donor is None or lengths[donor] < MIN_SHARED_TOKENS:
        return Graft(index, None, 0)
    return Graft(index, donor, lengths[donor])
