"""Cut the contexts of one call of `sample` into shares, one for each actor.

A share is a run of neighbours: contexts of one problem come one after another, and an engine
computes the prefixes that they share once. The shares follow from the contexts and the number of
actors alone, not from which actors live, so a share that is sampled again has the same batches and
gives the same bits.
"""

from collections.abc import Sequence
from dataclasses import replace

from reason_env.agents.engines.sampling import Context, streams_of


def shares_of(contexts: Sequence[Context], num: int) -> list[tuple[Context, ...]]:
    """Cut contexts into `num` runs of about as many tokens to sample; a run may be empty.

    Each context keeps the random stream that it has in the whole call.

    >>> one = Context(token_ids=(1,), num_samples=2, max_new_tokens=5)
    >>> long = Context(token_ids=(1,), num_samples=6, max_new_tokens=5)
    >>> [[context.stream for context in share] for share in shares_of([one, one, one, long], 2)]
    [[0, 1, 2], [3]]
    """
    sizes = [context.num_samples * context.max_new_tokens for context in contexts]
    total, before = sum(sizes), 0
    shares: list[list[Context]] = [[] for _ in range(num)]
    for context, stream, size in zip(contexts, streams_of(contexts), sizes, strict=True):
        # The share that the middle of the context's tokens falls into.
        shares[num * (2 * before + size) // (2 * total)].append(replace(context, stream=stream))
        before += size
    return [tuple(share) for share in shares]
