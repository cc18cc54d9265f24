"""Tokens a second of the torch engine, transformers' `generate`, and vLLM.

    .venv-vllm/bin/python -m benchmarks.engines.vllm_speed --repeats 5

The three take turns, after a warm-up of each, with the same contexts and the same number of new
tokens. vLLM runs in a separate process with the same number of threads. Its time includes the work
of the engine: checksum of the weights, messages, checks. `make test-vllm` builds the environment
`.venv-vllm`.
"""

import argparse
import statistics
import time
from typing import Any

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from reason_env.agents.engines import (
    Context,
    EngineConfig,
    SamplingConfig,
    TorchEngine,
    build_engine,
)
from reason_env.agents.policy.load import load_model

METHODS = ("torch", "generate", "vllm")
VOCAB_SIZE = 258
NUM_CONTEXTS, GROUP_SIZE, NUM_PROMPT, NUM_TOKENS = 16, 8, 96, 64
SETTINGS: dict[str, str] = {"base": "the shipped base model", "qwen3": "a random Qwen3 of 10 M"}


def build_model(setting: str) -> Any:
    """Build the setting's model."""
    if setting == "base":
        return load_model("base")[0].eval()
    torch.manual_seed(3)
    config = Qwen3Config(
        vocab_size=VOCAB_SIZE,
        hidden_size=320,
        intermediate_size=960,
        num_hidden_layers=8,
        num_attention_heads=5,
        num_key_value_heads=5,
        head_dim=64,
        max_position_embeddings=512,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=None,
    )
    return Qwen3ForCausalLM(config).eval()


def contexts() -> list[Context]:
    """Build the contexts, which are the same for every method."""
    generator = torch.Generator().manual_seed(1)
    rows = torch.randint(0, 256, (NUM_CONTEXTS, NUM_PROMPT), generator=generator).tolist()
    return [
        Context(token_ids=tuple(row), num_samples=GROUP_SIZE, max_new_tokens=NUM_TOKENS)
        for row in rows
    ]


@torch.inference_mode()
def generate(model: Any) -> int:
    """Sample with transformers; return the number of tokens."""
    ids = torch.tensor([context.token_ids for context in contexts()])
    found = model.generate(
        ids.repeat_interleave(GROUP_SIZE, dim=0),
        attention_mask=torch.ones(NUM_CONTEXTS * GROUP_SIZE, NUM_PROMPT, dtype=torch.long),
        do_sample=True,
        top_k=0,
        max_new_tokens=NUM_TOKENS,
        min_new_tokens=NUM_TOKENS,
        eos_token_id=1,
        pad_token_id=0,
    )
    return found[:, NUM_PROMPT:].numel()


def run(setting: str, *, repeats: int = 5, threads: int = 1) -> list[dict[str, Any]]:
    """Measure one row per method and repeat."""
    model = build_model(setting)
    engines: dict[str, Any] = {
        "torch": TorchEngine(model, vocab_size=VOCAB_SIZE),
        "vllm": build_engine(
            EngineConfig(kind="vllm", threads=threads),
            model,
            vocab_size=VOCAB_SIZE,
            context_length=512,
            max_batch_size=256,
        ),
    }
    rows: list[dict[str, Any]] = []
    try:
        for repeat in range(-1, repeats):
            for method in METHODS:
                begin = time.perf_counter()
                if method == "generate":
                    tokens = generate(model)
                else:
                    # Each repeat has another seed; vLLM's prefix cache still holds the contexts.
                    found = engines[method].sample(
                        contexts(), SamplingConfig(), seed=repeat + 1, stop_ids=()
                    )
                    tokens = sum(len(item.token_ids) for own in found for item in own)
                seconds = time.perf_counter() - begin
                if repeat >= 0:
                    row = {"setting": setting, "method": method}
                    rows.append(row | {"seconds": seconds, "tokens": tokens})
    finally:
        engines["vllm"].close()
    return rows


def score(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Compute per setting the median tokens a second of each method."""
    scores: dict[str, dict[str, float]] = {}
    for setting in dict.fromkeys(row["setting"] for row in rows):
        scores[setting] = {
            method: statistics.median(
                row["tokens"] / row["seconds"]
                for row in rows
                if (row["setting"], row["method"]) == (setting, method)
            )
            for method in METHODS
        }
    return scores


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--settings", nargs="*", default=list(SETTINGS), choices=list(SETTINGS))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows = [
        row
        for name in args.settings
        for row in run(name, repeats=args.repeats, threads=args.threads)
    ]
    print("| model | torch engine | generate | vLLM | vLLM / torch engine |")
    print("|---|---|---|---|---|")
    for name, found in score(rows).items():
        print(
            f"| {SETTINGS[name]} | {found['torch']:,.0f} | {found['generate']:,.0f} | "
            f"{found['vllm']:,.0f} | {found['vllm'] / found['torch']:.2f}x |"
        )
    print(
        f"tokens a second, median of {args.repeats}, {args.threads} thread(s), {NUM_CONTEXTS} "
        f"contexts of {NUM_PROMPT} tokens x {GROUP_SIZE} samples x {NUM_TOKENS} new tokens"
    )


if __name__ == "__main__":
    main()
