"""Speed of sampling groups: TorchEngine with and without forked contexts, and `generate`.

    python -m benchmarks.engines.sampling_speed [--repeats 5]

The small model (`small_model.py`), 32 contexts with 8 samples each of at most 64 tokens, or one
context with 8. Three methods take turns in one process on one thread:

* `engine`: TorchEngine; it prefills each context once and shares its keys.
* `no_fork`: TorchEngine with as many different contexts of the same length: it shares nothing.
* `generate`: of transformers, with every context eight times in the batch.

`fixed` settings sample 64 tokens in every sequence. `stops` settings end a sequence at 2 of the 52
ids, which random weights sample about every 26 tokens: the engine drops finished sequences, and
`generate` runs until the last sequence ends. Tokens after a stop do not count. Seconds are those of
the processor that the process used, so that other programs disturb less; a ratio is that of one
turn.
"""

import argparse
import statistics
import time
from typing import Any

import torch

from benchmarks.engines.small_model import VOCAB_SIZE, small_model
from reason_env.agents.engines import Context, SamplingConfig, TorchEngine

NUM_CONTEXTS = 32
GROUP_SIZE = 8
NUM_TOKENS = 64
METHODS = ("engine", "no_fork", "generate")

SETTINGS: dict[str, dict[str, Any]] = {
    "one prompt 256, fixed": {"prompt": 256, "stops": (), "contexts": 1},
    "prompt 16, fixed": {"prompt": 16, "stops": ()},
    "prompt 16, stops": {"prompt": 16, "stops": (1, 2)},
    "prompt 64, fixed": {"prompt": 64, "stops": ()},
    "prompt 64, stops": {"prompt": 64, "stops": (1, 2)},
    "prompt 256, fixed": {"prompt": 256, "stops": ()},
    "prompt 256, stops": {"prompt": 256, "stops": (1, 2)},
}


def contexts_of(setting: dict[str, Any], *, is_forked: bool) -> list[Context]:
    """Build contexts with 8 samples each, or eight times as many with one sample each."""
    length, count = setting["prompt"], setting.get("contexts", NUM_CONTEXTS)
    count *= 1 if is_forked else GROUP_SIZE
    generator = torch.Generator().manual_seed(1)
    rows = torch.randint(3, VOCAB_SIZE, (count, length), generator=generator).tolist()
    return [
        Context(
            token_ids=tuple(row),
            num_samples=GROUP_SIZE if is_forked else 1,
            max_new_tokens=NUM_TOKENS,
        )
        for row in rows
    ]


def run_engine(model: Any, setting: dict[str, Any], *, is_forked: bool) -> dict[str, int]:
    """Sample with TorchEngine; return the number of prefilled and sampled tokens."""
    engine = TorchEngine(model, vocab_size=VOCAB_SIZE)
    contexts = contexts_of(setting, is_forked=is_forked)
    engine.sample(contexts, SamplingConfig(), seed=0, stop_ids=setting["stops"])
    return {"prefilled": engine.num_prefill_tokens, "sampled": engine.num_sampled_tokens}


@torch.inference_mode()
def run_generate(model: Any, setting: dict[str, Any]) -> dict[str, int]:
    """Sample with transformers; return the number of prefilled and sampled tokens."""
    rows = [context.token_ids for context in contexts_of(setting, is_forked=True)]
    ids = torch.tensor(rows).repeat_interleave(GROUP_SIZE, dim=0)
    stops = setting["stops"]
    found = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        max_new_tokens=NUM_TOKENS,
        min_new_tokens=None if stops else NUM_TOKENS,
        eos_token_id=list(stops) or 1,
        pad_token_id=0,
    )[:, ids.shape[1] :]
    is_stop = torch.isin(found, torch.tensor(stops, dtype=torch.long))
    sampled = int((is_stop.cumsum(1) - is_stop.long() == 0).sum())
    return {"prefilled": ids.numel(), "sampled": sampled}


def run(setting: str, *, repeats: int = 5) -> list[dict[str, Any]]:
    """Measure one row per method and repeat, after a warm-up of each."""
    model = small_model().eval()
    rows: list[dict[str, Any]] = []
    for repeat in range(-1, repeats):
        for method in METHODS:
            begin = time.process_time()
            if method == "generate":
                counts = run_generate(model, SETTINGS[setting])
            else:
                counts = run_engine(model, SETTINGS[setting], is_forked=method == "engine")
            seconds = time.process_time() - begin
            if repeat >= 0:
                rows.append({"setting": setting, "method": method, "seconds": seconds} | counts)
    return rows


def ratios(rows: list[dict[str, Any]], setting: str, other: str) -> str:
    """Write how many times as fast the engine is as another method: median and range of turns."""
    rates = {
        method: [
            row["sampled"] / row["seconds"]
            for row in rows
            if (row["setting"], row["method"]) == (setting, method)
        ]
        for method in ("engine", other)
    }
    found = [own / its for own, its in zip(rates["engine"], rates[other], strict=True)]
    return f"{statistics.median(found):.2f}x ({min(found):.2f} - {max(found):.2f})"


def score(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Compute per setting the median tokens a second of each method, and their ratios."""
    scores: dict[str, dict[str, Any]] = {}
    for setting in dict.fromkeys(row["setting"] for row in rows):
        found: dict[str, Any] = {}
        for method in METHODS:
            own = [row for row in rows if (row["setting"], row["method"]) == (setting, method)]
            found[method] = statistics.median(row["sampled"] / row["seconds"] for row in own)
            found[f"{method} prefilled"] = own[0]["prefilled"]
        for other in METHODS[1:]:
            found[f"engine / {other}"] = ratios(rows, setting, other)
        scores[setting] = found
    return scores


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--settings", nargs="*", default=list(SETTINGS), choices=list(SETTINGS))
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = [row for name in args.settings for row in run(name, repeats=args.repeats)]
    print(
        "| setting | engine | no fork | generate | engine/generate | engine/no fork | prefilled |"
    )
    print("|---|---|---|---|---|---|---|")
    for name, found in score(rows).items():
        print(
            f"| {name} | {found['engine']:,.0f} | {found['no_fork']:,.0f} | "
            f"{found['generate']:,.0f} | {found['engine / generate']} | "
            f"{found['engine / no_fork']} | {found['engine prefilled']:,.0f} of "
            f"{found['generate prefilled']:,.0f} |"
        )
    print(f"tokens a cpu second, median of {args.repeats}, one thread, torch {torch.__version__}")


if __name__ == "__main__":
    main()
