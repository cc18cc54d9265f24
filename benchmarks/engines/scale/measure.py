"""This machine's own rates, and its waves beside the simulator's: whether the simulator is right.

The small model samples fixed numbers of tokens with the fused sampler, which gives the rates of a
step by least squares. A wave of drawn lengths gives the seconds of a change of rows. Then further
waves are sampled, at once and in slots, and the simulator is given the same lengths. Seconds of the
processor, one thread.
"""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from benchmarks.engines.scale.iteration import Lengths
from benchmarks.engines.scale.rates import Rates
from benchmarks.engines.scale.simulate import drawn, engine_s
from benchmarks.engines.small_model import VOCAB_SIZE, small_model
from reason_env.agents.engines import Context, SamplingConfig, TorchEngine

ROWS = (1, 8, 32, 64)
CONTEXTS = (16, 256)
STEPS = 32
PROMPT_TOKENS = 16
REPEATS = 3
FITTED = (64, 64)
"""Responses and slots of the wave that gives the seconds of a change."""
WAVES = ((64, 64), (24, 24), (64, 32), (64, 16))
"""Of the waves that are compared; other lengths."""
LENGTHS = Lengths(median=40.0, spread=0.7, limit=128)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wave:
    """One wave, measured and simulated."""

    responses: int
    slots: int
    lengths: tuple[int, ...]
    measured_s: float
    simulated_s: float


def sampled_s(model: object, lengths: Sequence[int], prompt_tokens: int, slots: int) -> float:
    """Sample responses of given lengths after one prompt each; return seconds, prefill included."""
    engine = TorchEngine(model, vocab_size=VOCAB_SIZE, max_batch_size=slots, precision="bf16-mixed")
    rng = np.random.default_rng(0)
    contexts = [
        Context(
            token_ids=tuple(int(value) for value in rng.integers(3, VOCAB_SIZE, prompt_tokens)),
            num_samples=1,
            max_new_tokens=length,
        )
        for length in lengths
    ]
    begin = time.process_time()
    engine.sample(contexts, SamplingConfig(), seed=0, stop_ids=())
    return time.process_time() - begin


def step_rates(model: object) -> Rates:
    """Fit seconds of a step to fixed + rows + rows * keys, from differences of two lengths."""
    equations: list[tuple[float, float, float]] = []
    seconds: list[float] = []
    for rows in ROWS:
        for context in CONTEXTS:
            found = [
                sampled_s(model, [1 + 2 * STEPS] * rows, context, rows)
                - sampled_s(model, [1 + STEPS] * rows, context, rows)
                for _ in range(REPEATS)
            ]
            equations.append((1.0, rows, rows * (context + 1.5 * STEPS)))
            seconds.append(statistics.median(found) / STEPS)
    # Relative errors, or the largest batches would decide alone.
    scale = 1.0 / np.array(seconds)
    solution = np.linalg.lstsq(
        np.array(equations) * scale[:, None], np.ones(len(scale)), rcond=None
    )
    fixed, row, key = (float(value) for value in solution[0])
    return Rates(step_fixed_s=fixed, step_row_s=row, step_key_s=key, token_s=0.0)


def wave(own: Rates, model: object, responses: int, slots: int, *, seed: int) -> Wave:
    """Sample a wave of drawn lengths; give the simulator the same lengths, and the prefill."""
    lengths = drawn(LENGTHS, responses, np.random.default_rng(seed))
    each = [
        (
            sampled_s(model, [1] * responses, PROMPT_TOKENS, slots),
            sampled_s(model, lengths, PROMPT_TOKENS, slots),
        )
        for _ in range(REPEATS)
    ]
    prefill, measured = (statistics.median(column) for column in zip(*each, strict=True))
    # The prefill gives the first token.
    rest = [length - 1 for length in lengths if length > 1]
    return Wave(
        responses=responses,
        slots=slots,
        lengths=tuple(lengths),
        measured_s=measured,
        simulated_s=prefill + engine_s(rest, PROMPT_TOKENS + 1, slots, own),
    )


def with_changes(own: Rates, model: object) -> Rates:
    """Add the seconds of a change of rows: what the simulator lacks in one wave."""
    found = wave(own, model, *FITTED, seed=0)
    lacking = found.measured_s - found.simulated_s
    return replace(own, change_s=max(0.0, lacking / len(set(found.lengths))))


def report() -> str:
    """Measure, and write the comparison as a Markdown table."""
    torch.set_num_threads(1)
    model = small_model().eval()
    sampled_s(model, [8] * 8, PROMPT_TOKENS, 8)
    own = with_changes(step_rates(model), model)
    found = [wave(own, model, *sizes, seed=at) for at, sizes in enumerate(WAVES, start=1)]
    return "\n".join(
        [
            f"a step: {1e3 * own.step_fixed_s:.2f} ms, {1e6 * own.step_row_s:.1f} us a row, "
            f"{1e9 * own.step_key_s:.0f} ns a key; a change: {1e3 * own.change_s:.2f} ms\n",
            "| responses | slots | measured, s | simulated, s | simulated / measured |",
            "|---|---|---|---|---|",
            *(
                f"| {one.responses} | {one.slots} | {one.measured_s:.3f} | {one.simulated_s:.3f} | "
                f"{one.simulated_s / one.measured_s:.2f} |"
                for one in found
            ),
        ]
    )
