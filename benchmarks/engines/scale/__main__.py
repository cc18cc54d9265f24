"""Print the tables of docs/scale.md; see the package."""

import argparse
import statistics
from collections.abc import Iterable, Iterator, Sequence

from benchmarks.engines.scale.iteration import Layout, Lengths, Load, iteration_s, mean_age
from benchmarks.engines.scale.measure import report
from benchmarks.engines.scale.memory import device_memory, kv_bytes, rows_that_fit
from benchmarks.engines.scale.rates import DEVICES, PASS_BYTES, gather_s, rates
from benchmarks.engines.scale.simulate import simulate
from benchmarks.engines.scale.sizes import QWEN3, Architecture

DEVICE = DEVICES["H100 80 GB"]
LENGTHS = Lengths(median=1_500.0, spread=0.8, limit=8_192)
PROMPT_TOKENS = 256
GROUP_SIZE = 8
RESPONSES = 1024
COUNTS = (1, 8, 64, 512)
MICRO_BATCH_TOKENS = 16_384
FREE_SHARE = 0.8
"""Of a device's memory that weights and keys may take; the rest is for activations."""
SEEDS = range(5)
PARTS = ("sampling", "learning", "sending", "iteration", "simulated")


def sampler_devices(model: Architecture, count: int) -> int | None:
    """None: `--devices` fits, with all weights in each process; else devices of an engine.

    An engine is divided by the fewest devices that leave it at most half of the memory's weights.
    """
    if device_memory(model, count).total <= FREE_SHARE * DEVICE.memory_bytes:
        return None
    weights = 2 * model.parameters
    return next(own for own in (1, 2, 4, 8) if weights / own <= 0.5 * DEVICE.memory_bytes)


def layout(model: Architecture, count: int, load: Load) -> Layout | None:
    """Some devices that sample and learn in turns; None if the model does not fit."""
    divided = sampler_devices(model, count)
    free = FREE_SHARE * DEVICE.memory_bytes - device_memory(model, count, divided).total
    longest = load.prompt_tokens + load.lengths.limit
    slots = rows_that_fit(model, free, longest, tensor_parallel=divided or 1)
    if not slots or (divided or 1) > count:
        return None
    return Layout(
        num_engines=count // (divided or 1),
        slots=slots,
        num_learners=count,
        gather_s=gather_s(model, count, DEVICE, PASS_BYTES),
        micro_batch_tokens=MICRO_BATCH_TOKENS,
        send_s=gather_s(model, count, DEVICE, 4 if divided is None else 2),
    )


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Write the lines of a Markdown table."""
    for cells in (head, ["---"] * len(head), *rows):
        yield "| " + " | ".join(str(cell) for cell in cells) + " |"


def memory_table() -> Iterator[str]:
    """Bytes on a device, by size and number of devices."""
    counts = [f"{count} GPU{'s' * (count > 1)}" for count in COUNTS]
    return table(
        ["model", "parameters", "keys and values of a token", *counts],
        (
            [
                model.name,
                f"{model.parameters / 1e9:.2f} B",
                f"{kv_bytes(model) / 1e3:.0f} kB",
                *(f"{device_memory(model, count).total / 1e9:,.0f} GB" for count in COUNTS),
            ]
            for model in QWEN3.values()
        ),
    )


def iteration_row(model: Architecture, count: int, load: Load) -> list[object]:
    """Seconds of an iteration, by arithmetic and simulated."""
    own, divided = layout(model, count, load), sampler_devices(model, count)
    if own is None:
        return [model.name, count, "does not fit", *[""] * 6]
    speed = rates(
        model,
        DEVICE,
        tensor_parallel=divided or 1,
        context=load.prompt_tokens + mean_age(load.lengths.survivals),
    )
    found = iteration_s(load, own, speed)
    simulated = statistics.mean(simulate(load, own, speed, seed).total for seed in SEEDS)
    return [
        model.name,
        count,
        "`--devices`" if divided is None else f"engines of {divided}",
        own.slots,
        f"{found.sampling:.0f}",
        f"{found.learning:.0f}",
        f"{found.sending:.1f}",
        f"{found.total:.0f}",
        f"{simulated:.0f}",
    ]


def iteration_table(responses: int = RESPONSES, num_waves: int = 1) -> Iterator[str]:
    """One row for each size and number of devices."""
    load = Load(
        responses=responses // num_waves,
        group_size=GROUP_SIZE,
        prompt_tokens=PROMPT_TOKENS,
        lengths=LENGTHS,
        num_waves=num_waves,
    )
    return table(
        ["model", "GPUs", "sampler", "slots", *(f"{name}, s" for name in PARTS)],
        (iteration_row(model, count, load) for model in QWEN3.values() for count in COUNTS),
    )


def main() -> None:
    """Print the tables, or the comparison with this machine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measure", action="store_true", help="against this machine")
    parser.add_argument("--waves", type=int, default=1, help="of an iteration; see iteration.py")
    given = parser.parse_args()
    if given.measure:
        print(report())
        return
    print("\n".join(memory_table()), end="\n\n")
    print("\n".join(iteration_table(num_waves=given.waves)))


if __name__ == "__main__":
    main()
