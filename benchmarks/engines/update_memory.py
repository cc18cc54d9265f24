"""Peak memory of an update with a vocabulary of 49,152 ids: projected rows against all logits.

    python -m benchmarks.engines.update_memory [--rows 16] [--tokens 512]

A small body (Qwen3 of 2 layers and 64 channels), so that the logits are what counts; rows of
`--tokens` tokens, half prompt and half response, no two alike, in one micro-batch. Each method runs
in a process of its own and reports the largest resident set of that process, less that of a process
that only loads the model and takes one row through an update; so the number is what the rows cost.
Memory grows with the tokens of a micro-batch, not with the number of micro-batches: 256 rows of 512
tokens need what one micro-batch of them needs.
"""

import argparse
import json
import resource
import subprocess
import sys

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from reason_env.agents.policy import LanguageModelPolicy
from reason_env.codec import ByteCodec

VOCAB_SIZE = 49_152
METHODS = ("projected", "checkpointed", "all logits")


class _Codec(ByteCodec):
    """The built-in codec with as many ids as the model."""

    @property
    def vocab_size(self) -> int:
        return VOCAB_SIZE


def peak_bytes(method: str, rows: int, tokens: int) -> int:
    """Take one forward and backward pass; return the process's largest resident set."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=VOCAB_SIZE,
        hidden_size=64,
        intermediate_size=192,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=32,
        tie_word_embeddings=True,
        max_position_embeddings=1024,
    )
    policy = LanguageModelPolicy(Qwen3ForCausalLM(config), _Codec())
    if method == "all logits":
        policy.forget_structure()
    ids = torch.randint(3, VOCAB_SIZE, (rows, tokens))
    is_response = torch.arange(tokens).expand(rows, tokens) >= tokens // 2
    log_probs, _ = policy.token_log_probs(
        ids,
        torch.ones_like(ids),
        action_mask_BT=is_response,
        with_entropy=True,
        checkpointing=method == "checkpointed",
    )
    log_probs.sum().backward()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measured(method: str, rows: int, tokens: int) -> int:
    """Run `peak_bytes` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.engines.update_memory", "--one", method]
    command += ["--rows", str(rows), "--tokens", str(tokens)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return int(json.loads(done.stdout))


def main() -> None:
    """Print the peaks and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--one", choices=METHODS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(peak_bytes(args.one, args.rows, args.tokens)))
        return
    peaks: dict[str, int] = {}
    for method in METHODS:
        base = measured(method, 1, 8)
        peaks[method] = measured(method, args.rows, args.tokens) - base
        print(f"{method}: {peaks[method] / 2**20:,.0f} MiB over {base / 2**20:,.0f} MiB")
    for method in METHODS[:2]:
        share = peaks[method] / peaks["all logits"]
        print(f"{method} / all logits: {share:.3f}, {args.rows} x {args.tokens} tokens")


if __name__ == "__main__":
    main()
