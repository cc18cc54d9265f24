"""Speed of sampling a pretrained model, against this machine's limit and `generate`.

    python -m benchmarks.engines.fused_speed --model smollm2 [--threads 2] [--repeats 5]

Methods take turns in one process; the table gives medians and ranges of tokens a second, and tokens
a second of processor time, which other programs on the machine disturb less.

* `limit`: rate of bf16-mixed's products at the model's own shapes and 64 rows, divided by the
  products of one sampled token.
* `bf16-mixed`, `float32`: TorchEngine, 8 contexts with 8 samples each.
* `no fork`: TorchEngine in bf16-mixed with 64 different contexts of the same length.
* `model`: TorchEngine in float32 through the model's own forward pass.
* `generate`: of transformers, in float32, with every context eight times in the batch.

Every sequence samples as many tokens as it may: no stops. The limit counts no prefill, no attention
and no draw; the engines' seconds hold all of them.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from reason_env.agents.engines import (
    Context,
    SamplingConfig,
    TorchEngine,
    product_dtype,
    torch_engine,
)
from reason_env.agents.policy import load_model

GROUP_SIZE = 8
METHODS = ("bf16-mixed", "float32", "no fork", "model", "generate")


def product_seconds(model: Any, num_rows: int) -> tuple[float, float]:
    """Return the seconds, and those of processor time, of one token of every row in bf16-mixed."""
    dtype = product_dtype("bf16-mixed", model.device)
    weights = [
        module.weight.detach().to(dtype)
        for module in model.modules()
        if isinstance(module, torch.nn.Linear)
    ]
    inputs = {
        size: torch.randn(num_rows, size, dtype=dtype)
        for size in {weight.shape[1] for weight in weights}
    }
    begin, begin_cpu = time.perf_counter(), time.process_time()
    for weight in weights:
        torch.nn.functional.linear(inputs[weight.shape[1]], weight)
    return time.perf_counter() - begin, time.process_time() - begin_cpu


def contexts_of(args: argparse.Namespace, *, is_forked: bool, vocab_size: int) -> list[Context]:
    """Build contexts of random ids, of equal length, for `args.rows` sequences."""
    count = args.rows // GROUP_SIZE if is_forked else args.rows
    generator = torch.Generator().manual_seed(1)
    rows = torch.randint(3, vocab_size, (count, args.prompt), generator=generator).tolist()
    return [
        Context(
            token_ids=tuple(row),
            num_samples=args.rows // count,
            max_new_tokens=args.tokens,
        )
        for row in rows
    ]


@torch.inference_mode()
def run_generate(model: Any, contexts: list[Context]) -> None:
    """Sample with transformers."""
    ids = torch.tensor([item.token_ids for item in contexts for _ in range(item.num_samples)])
    num_tokens = contexts[0].max_new_tokens
    model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        max_new_tokens=num_tokens,
        min_new_tokens=num_tokens,
        pad_token_id=0,
    )


def runners(model: Any, args: argparse.Namespace, vocab_size: int) -> dict[str, Callable[[], None]]:
    """Return what each method runs; the engines keep their weights between runs, as in training."""
    forked = contexts_of(args, is_forked=True, vocab_size=vocab_size)
    apart = contexts_of(args, is_forked=False, vocab_size=vocab_size)
    engines = {
        precision: TorchEngine(model, vocab_size=vocab_size, precision=precision)
        for precision in ("float32", "bf16-mixed")
    }

    def sample(precision: str, contexts: list[Context], smallest: int) -> None:
        torch_engine.MIN_FUSED_PARAMETERS = smallest
        engines[precision].sample(contexts, SamplingConfig(), seed=0, stop_ids=())

    return {
        "bf16-mixed": lambda: sample("bf16-mixed", forked, 0),
        "float32": lambda: sample("float32", forked, 0),
        "no fork": lambda: sample("bf16-mixed", apart, 0),
        "model": lambda: sample("float32", forked, 10**18),
        "generate": lambda: run_generate(model, forked),
    }


def measure(model: Any, args: argparse.Namespace, vocab_size: int) -> dict[str, list[float]]:
    """Return tokens a second of each method, one for each repeat."""
    found: dict[str, list[float]] = {"limit": [], "limit cpu": []}
    chosen = runners(model, args, vocab_size)
    for repeat in range(-1, args.repeats):
        for method in args.methods:
            # The limit is the best of several beside each method: nothing may go faster.
            pairs = [product_seconds(model, args.rows) for _ in range(3)]
            best, best_cpu = (min(numbers) for numbers in zip(*pairs, strict=True))
            begin, begin_cpu = time.perf_counter(), time.process_time()
            chosen[method]()
            seconds = time.perf_counter() - begin
            if repeat >= 0:
                found["limit"].append(args.rows / best)
                found["limit cpu"].append(args.rows / best_cpu)
                found.setdefault(method, []).append(args.rows * args.tokens / seconds)
                seconds_cpu = time.process_time() - begin_cpu
                found.setdefault(f"{method} cpu", []).append(args.rows * args.tokens / seconds_cpu)
    return found


def main() -> None:
    """Print the table, and write the numbers as JSON if a path is given."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--prompt", type=int, default=150)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--methods", nargs="*", default=list(METHODS), choices=METHODS)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model, codec = load_model(args.model)
    found = measure(model.eval(), args, codec.vocab_size)
    limit, limit_cpu = (statistics.median(found[name]) for name in ("limit", "limit cpu"))
    print(f"{args.rows} sequences x {args.tokens} tokens after {args.prompt}, groups of 8")
    print("| method | tokens/s | range | of the limit | a cpu second | of its limit |")
    print("|---|---|---|---|---|---|")
    for name in ("limit", *args.methods):
        rates = found[name]
        middle, middle_cpu = statistics.median(rates), statistics.median(found[f"{name} cpu"])
        print(
            f"| {name} | {middle:,.0f} | {min(rates):,.0f} - {max(rates):,.0f} | "
            f"{middle / limit:.0%} | {middle_cpu:,.0f} | {middle_cpu / limit_cpu:.0%} |"
        )
    print(f"{args.repeats} repeats, {args.threads} threads, torch {torch.__version__}")
    if args.json:
        args.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
