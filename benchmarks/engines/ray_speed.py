"""What Ray costs a wave: the torch engine in this process beside the same in 1 and 2 actors.

    .venv-ray/bin/python -m benchmarks.engines.ray_speed --repeats 5

One engine after the other, after a warm-up of each, with the same contexts and seeds, one CPU
thread each; the torch engine first and again at the end. Every wave's weights differ from the last
one's, as in training, unless `--same-weights` is given. The rows of an engine in actors include the
work of the engine: checksum of the weights, their way to the actors, messages, and the way of the
completions back. `make test-ray` builds the environment `.venv-ray`.
"""

import argparse
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from reason_env.agents.engines import (
    Context,
    Engine,
    EngineConfig,
    SamplingConfig,
    build_engine,
)
from reason_env.agents.policy.load import load_model

ENGINES = {
    "torch": EngineConfig(),
    "ray, 1 actor": EngineConfig(kind="ray", actors=1),
    "ray, 2 actors": EngineConfig(kind="ray", actors=2),
}
ORDER = ("torch", "ray, 2 actors", "ray, 1 actor", "torch")
NUM_CONTEXTS, NUM_PROMPT = 32, 96


@dataclass(frozen=True, slots=True)
class Wave:
    """One call of `sample`."""

    engine: str
    seconds: float
    tokens: int


def contexts(vocab_size: int, *, group_size: int, num_tokens: int) -> list[Context]:
    """Build the contexts, which are the same for every engine."""
    generator = torch.Generator().manual_seed(1)
    top = min(vocab_size, 256)
    rows = torch.randint(0, top, (NUM_CONTEXTS, NUM_PROMPT), generator=generator).tolist()
    return [
        Context(token_ids=tuple(row), num_samples=group_size, max_new_tokens=num_tokens)
        for row in rows
    ]


def run(
    name: str, *, repeats: int, group_size: int, num_tokens: int, same_weights: bool
) -> tuple[list[Wave], float]:
    """Measure a wave of each engine and repeat; return them, and the seconds until actors stand."""
    model, codec = load_model(name)
    model.eval()
    asked = contexts(codec.vocab_size, group_size=group_size, num_tokens=num_tokens)
    norm = next(weight for weight in model.parameters() if weight.ndim == 1)
    waves: list[Wave] = []
    start_s = 0.0
    for label in ORDER:
        engine: Any = build_engine(
            ENGINES[label],
            model,
            vocab_size=codec.vocab_size,
            context_length=NUM_PROMPT + num_tokens,
            max_batch_size=256,
        )
        for repeat in range(-1, repeats):
            if not same_weights:
                with torch.no_grad():
                    # By one bit of one number: every engine must take it for new weights.
                    norm[0] = torch.nextafter(norm[0], norm.new_tensor(10.0))
            begin = time.perf_counter()
            tokens = _sampled(engine, asked, seed=repeat + 1)
            seconds = time.perf_counter() - begin
            if repeat >= 0:
                waves.append(Wave(label, seconds, tokens))
            elif label == ORDER[1]:
                start_s = seconds
        if ENGINES[label].kind == "ray":
            # Its actors hold the cores of the cluster, which has as many as the larger engine.
            engine.close()
    return waves, start_s


def _sampled(engine: Engine, asked: Sequence[Context], *, seed: int) -> int:
    found = engine.sample(asked, SamplingConfig(), seed=seed, stop_ids=())
    return sum(len(item.token_ids) for own in found for item in own)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--model", default="base")
    parser.add_argument("--group-size", type=int, default=8)
    parser.add_argument("--num-tokens", type=int, default=64)
    parser.add_argument("--same-weights", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    # By default Ray's workers run at nice 15, and any other process of the machine comes first.
    os.environ.setdefault("RAY_worker_niceness", "0")
    waves, start_s = run(
        args.model,
        repeats=args.repeats,
        group_size=args.group_size,
        num_tokens=args.num_tokens,
        same_weights=args.same_weights,
    )
    print("| engine | seconds a wave | tokens a second | beside torch, seconds |")
    print("|---|---|---|---|")
    plain = statistics.median(wave.seconds for wave in waves if wave.engine == "torch")
    for label in ENGINES:
        own = [wave for wave in waves if wave.engine == label]
        seconds = statistics.median(wave.seconds for wave in own)
        rate = own[0].tokens / seconds
        print(f"| {label} | {seconds:.3f} | {rate:,.0f} | {seconds - plain:+.3f} |")
    print(
        f"{args.model}, median of {args.repeats} waves of {NUM_CONTEXTS} contexts of {NUM_PROMPT} "
        f"tokens x {args.group_size} samples x {args.num_tokens} new tokens; first wave with the "
        f"start of Ray and 2 actors {start_s:.1f} s"
    )


if __name__ == "__main__":
    main()
