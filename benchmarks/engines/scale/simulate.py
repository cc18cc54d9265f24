"""An iteration response by response: drawn lengths, slots that are refilled, the slowest engine.

Nothing here uses a mean or a survival: the arithmetic of `iteration.py` is held against it.
"""

import heapq
import math
from collections.abc import Sequence

import numpy as np

from benchmarks.engines.scale.iteration import Layout, Lengths, Load, Seconds
from benchmarks.engines.scale.rates import Rates


def drawn(lengths: Lengths, count: int, rng: np.random.Generator) -> list[int]:
    """Draw lengths of responses, in tokens."""
    found = np.exp(rng.normal(math.log(lengths.median), lengths.spread, count))
    return [int(value) for value in np.clip(np.ceil(found), 1, lengths.limit)]


def engine_s(lengths: Sequence[int], prompt_tokens: int, slots: int, own: Rates) -> float:
    """Seconds of one engine that samples responses in order, refilling each slot that is free.

    Time passes from one end of a response to the next; between them the rows are the same.
    """
    waiting = iter(lengths)
    ends: list[int] = []
    begins: list[tuple[int, int]] = []
    step, keys, seconds = 0, 0, 0.0
    while True:
        while len(ends) < slots and (length := next(waiting, None)) is not None:
            heapq.heappush(ends, step + length)
            heapq.heappush(begins, (step + length, step))
            keys += prompt_tokens
        if not ends:
            return seconds
        passed = ends[0] - step
        rows = len(ends)
        # Each step adds a key a row: the mean of the first and the last step.
        context = (keys + rows * (passed - 1) / 2) / rows
        seconds += passed * own.step_s(rows, context) + own.change_s
        step += passed
        keys += rows * passed
        while ends and ends[0] == step:
            heapq.heappop(ends)
            _, begun = heapq.heappop(begins)
            keys -= prompt_tokens + step - begun


def simulate(load: Load, layout: Layout, own: Rates, seed: int) -> Seconds:
    """One iteration with drawn lengths.

    Args:
        load: What it samples.
        layout: Response i of a wave is engine i mod E's, and a wave ends with its last engine.
        own: Rates of each engine and learner.
        seed: Of the lengths.
    """
    rng = np.random.default_rng(seed)
    sampling, tokens = 0.0, 0
    for _ in range(load.num_waves):
        lengths = drawn(load.lengths, load.responses, rng)
        tokens += sum(lengths) + round(load.distinct_prompt_tokens)
        sampling += max(
            engine_s(lengths[at :: layout.num_engines], load.prompt_tokens, layout.slots, own)
            for at in range(layout.num_engines)
        )
    learners = [0.0] * layout.num_learners
    left, at = tokens, 0
    while left > 0:
        size = min(layout.micro_batch_tokens, left)
        learners[at % layout.num_learners] += max(size * own.token_s, layout.gather_s)
        left, at = left - size, at + 1
    return Seconds(
        sampling=sampling,
        learning=max(learners),
        sending=layout.send_s / (layout.max_staleness + 1),
        is_overlapped=layout.is_overlapped,
    )
