"""Print the tables of docs/scale.md; see the package."""

import argparse
import statistics
from collections.abc import Iterator

from benchmarks.engines.scale.iteration import Layout, Lengths, Load, iteration_s, mean_age
from benchmarks.engines.scale.measure import report
from benchmarks.engines.scale.memory import kv_bytes, learning_memory, rows_that_fit
from benchmarks.engines.scale.rates import DEVICES, gather_s, rates, send_s
from benchmarks.engines.scale.simulate import simulate
from benchmarks.engines.scale.sizes import QWEN3

DEVICE = DEVICES["H100 80 GB"]
LENGTHS = Lengths(median=1_500.0, spread=0.8, limit=8_192)
PROMPT_TOKENS = 256
GROUP_SIZE = 8
COUNTS = (1, 8, 64, 512)
MICRO_BATCH_TOKENS = 16_384
FREE_SHARE = 0.9
"""Of a device's memory that may be used."""
SEEDS = range(5)


def tensor_parallel(name: str) -> int:
    """Devices of an engine: the fewest that leave at least half of the memory to keys."""
    weights = 2 * QWEN3[name].parameters
    return next(own for own in (1, 2, 4, 8) if weights / own <= 0.5 * DEVICE.memory_bytes)


def layout(name: str, count: int, num_responses: int) -> tuple[Load, Layout, int]:
    """The load and the layout of a model on some devices that sample and learn in turns."""
    model = QWEN3[name]
    parallel = min(tensor_parallel(name), count)
    free = FREE_SHARE * DEVICE.memory_bytes - 2 * model.parameters / parallel
    longest = PROMPT_TOKENS + LENGTHS.limit
    slots = rows_that_fit(model, free, longest, tensor_parallel=parallel)
    load = Load(
        responses=num_responses,
        group_size=GROUP_SIZE,
        prompt_tokens=PROMPT_TOKENS,
        lengths=LENGTHS,
    )
    return (
        load,
        Layout(
            num_engines=max(1, count // parallel),
            slots=slots,
            num_learners=count,
            gather_s=gather_s(model, count, DEVICE),
            micro_batch_tokens=MICRO_BATCH_TOKENS,
            send_s=0.0 if count <= DEVICE.per_machine else send_s(model, DEVICE),
        ),
        parallel,
    )


def memory_table() -> Iterator[str]:
    """Bytes on a device, by size and number of devices."""
    yield (
        "| model | parameters | keys and values of a token | sampler | "
        + " | ".join(f"{count} GPU{'s' * (count > 1)}" for count in COUNTS)
        + " |"
    )
    yield "|---" * (4 + len(COUNTS)) + "|"
    for name, model in QWEN3.items():
        for sampler in ("torch", "server"):
            cells = [
                f"{learning_memory(model, count, sampler).total / 1e9:,.0f} GB" for count in COUNTS
            ]
            yield (
                f"| {name} | {model.parameters / 1e9:.2f} B | {kv_bytes(model) / 1e3:.0f} kB | "
                f"{sampler} | {' | '.join(cells)} |"
            )


def iteration_table(num_responses: int = 1024) -> Iterator[str]:
    """Seconds of an iteration, by arithmetic and simulated."""
    yield (
        "| model | GPUs | engines x devices | slots | sampling, s | learning, s | sending, s | "
        "iteration, s | simulated, s |"
    )
    yield "|---" * 9 + "|"
    for name, model in QWEN3.items():
        for count in COUNTS:
            share = 16 * model.parameters / count
            if share > FREE_SHARE * DEVICE.memory_bytes:
                continue
            load, own, parallel = layout(name, count, num_responses)
            speed = rates(
                model,
                DEVICE,
                tensor_parallel=parallel,
                context=PROMPT_TOKENS + mean_age(LENGTHS.survivals),
            )
            found = iteration_s(load, own, speed)
            drawn = statistics.mean(simulate(load, own, speed, seed).total for seed in SEEDS)
            yield (
                f"| {name} | {count} | {own.num_engines} x {parallel} | {own.slots} | "
                f"{found.sampling:.0f} | {found.learning:.0f} | {found.sending:.1f} | "
                f"{found.total:.0f} | {drawn:.0f} |"
            )


def main() -> None:
    """Print the tables, or the comparison with this machine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measure", action="store_true", help="against this machine")
    given = parser.parse_args()
    if given.measure:
        print(report())
        return
    print("\n".join(memory_table()), end="\n\n")
    print("\n".join(iteration_table()))


if __name__ == "__main__":
    main()
