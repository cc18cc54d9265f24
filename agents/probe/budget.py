"""Blocks of problems within a time: more time adds blocks and changes none.

Block n has a fixed size and a fixed seed, so a probe of ten minutes contains the episodes of one of
five. The first blocks are small, to learn what a problem costs; later ones are as large as an
iteration, whose speed is the one that matters. A block begins only if it would end in time.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

Clock = Callable[[], float]
Item = TypeVar("Item")
Row = TypeVar("Row")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When blocks must end, on a clock in seconds; None for no limit."""

    own: float | None
    """For all blocks but the first."""
    last: float | None
    """For the first block: a measurement of a few problems is better than none."""
    expected_s: float = 0.0
    """Expected seconds of an item, before one was measured."""


def block_sizes(num_items: int, first: int, largest: int) -> list[int]:
    """Return the sizes of the blocks of some items: first, first, twice that, ..., largest.

    >>> block_sizes(40, 4, 16), block_sizes(3, 4, 16), block_sizes(9, 4, 2)
    ([4, 4, 8, 16, 8], [3], [2, 2, 2, 2, 1])
    """
    sizes: list[int] = []
    while sum(sizes) < num_items:
        size = first if len(sizes) < 2 else 2 * sizes[-1]
        sizes.append(min(size, largest, num_items - sum(sizes)))
    return sizes


def run_blocks(
    items: Sequence[Item],
    measure: Callable[[Sequence[Item], int], Sequence[Row]],
    *,
    sizes: Sequence[int],
    seed: Sequence[int],
    limits: Limits,
    clock: Clock = time.monotonic,
) -> tuple[list[Row], int]:
    """Measure items block by block while time is left; return the rows and the items measured.

    Args:
        items: In a fixed order.
        measure: (items of a block, seed of the block) -> rows.
        sizes: Of the blocks; see `block_sizes`.
        seed: Entropy that all blocks share.
        limits: A block begins only if it would end in time at the last block's speed.
        clock: In seconds.
    """
    rows: list[Row] = []
    done, each = 0, limits.expected_s
    for number, size in enumerate(sizes):
        began = clock()
        limit = limits.own if number else limits.last
        if limit is not None and began + each * size >= limit:
            break
        rows += measure(items[done : done + size], block_seed((*seed, number)))
        done += size
        each = (clock() - began) / size
    return rows, done


def block_seed(entropy: Sequence[int]) -> int:
    """Derive a seed below 2^62."""
    return int(np.random.SeedSequence(list(entropy)).generate_state(1, np.uint64)[0] >> 2)
