"""Speed of learning: shared prefixes against plain passes, and the share of the machine's limit.

    python -m benchmarks.engines.learning_speed [--model smollm2] [--precision bf16-mixed]

One update's forward and backward pass, in micro-batches of 4,096 tokens, over groups of 8 responses
after one prompt; two methods take turns in one process on one thread:

* `shared`: each distinct token once (`LanguageModelPolicy.token_log_probs`);
* `plain`: each row with its own copy of the prompt, padded, and the logits of all positions.

The limit is a matrix product at the model's own shapes and precision, measured between the two; the
share counts 6 FLOP for each parameter and distinct token. Seconds are those of the processor that
the process used, so that other programs disturb less. `small` is that of `small_model.py`.
"""

import argparse
import statistics
import time

import torch

from benchmarks.engines.small_model import VOCAB_SIZE, small_model
from reason_env.agents.engines import PRECISIONS, product_dtype
from reason_env.agents.learning import TokenBatch, make_batch
from reason_env.agents.policy import LanguageModelPolicy
from reason_env.agents.rollout import TrainingSample
from reason_env.codec import ByteCodec

GROUP_SIZE = 8
MICRO_BATCH_TOKENS = 4096
SETTINGS: dict[str, tuple[int, int, int]] = {
    "small, prompt 16": (32, 16, 64),
    "small, prompt 256": (32, 256, 64),
    "smollm2, prompt 150": (4, 150, 32),
}
"""Groups, tokens of the prompt, tokens of each response."""


class _Codec(ByteCodec):
    """The built-in codec with as many ids as the small model."""

    @property
    def vocab_size(self) -> int:
        return VOCAB_SIZE


def build_policy(model: str, precision: str) -> LanguageModelPolicy:
    """Load the model, or build the small one."""
    if model != "small":
        return LanguageModelPolicy.load(model, precision=precision)
    return LanguageModelPolicy(small_model().eval(), _Codec(), precision=precision)


def batch_of(setting: str, vocab_size: int) -> TokenBatch:
    """Build random groups."""
    groups, prompt, response = SETTINGS[setting]
    generator = torch.Generator().manual_seed(0)

    def draw(count: int) -> tuple[int, ...]:
        return tuple(torch.randint(3, vocab_size, (count,), generator=generator).tolist())

    samples: list[TrainingSample] = []
    for group in range(groups):
        context = draw(prompt)
        samples += [
            TrainingSample(
                context_ids=context,
                token_ids=draw(response),
                action_mask=(True,) * response,
                behavior_log_probs=(0.0,) * response,
                advantage=1.0,
                role="base",
                group=str(group),
            )
            for _ in range(GROUP_SIZE)
        ]
    return make_batch(samples, pad_id=0)


def update(policy: LanguageModelPolicy, batch: TokenBatch, *, is_shared: bool) -> None:
    """Accumulate the gradient of the mean log-probability and the entropy's value."""
    split = batch.split_prefixes if is_shared else batch.split_rows
    for rows in split(MICRO_BATCH_TOKENS):
        part = batch.select(rows)
        log_probs, _ = policy.token_log_probs(
            part.token_ids_BT,
            part.attention_mask_BT,
            action_mask_BT=part.action_mask_BT,
            with_entropy=True,
        )
        (log_probs * part.action_mask_BT).sum().backward()
    policy.model.zero_grad(set_to_none=True)


def limit(policy: LanguageModelPolicy) -> float:
    """Measure FLOP a second of the model's largest product in a layer, forward and backward."""
    config = policy.model.config
    dtype = product_dtype(policy.precision, policy.device)
    rows = torch.randn(MICRO_BATCH_TOKENS // 2, config.hidden_size, dtype=dtype)
    weight = torch.randn(config.intermediate_size, config.hidden_size, dtype=dtype)
    rates: list[float] = []
    for _ in range(5):
        began = time.process_time()
        for _ in range(4):
            product = rows @ weight.t()
            _ = product @ weight
            _ = product.t() @ rows
        flop = 4 * 3 * 2 * rows.numel() * len(weight)
        rates.append(flop / (time.process_time() - began))
    return max(rates)


def run(setting: str, *, model: str, precision: str, repeats: int) -> dict[str, float]:
    """Measure both methods in turn; return medians."""
    policies = {name: build_policy(model, precision) for name in ("shared", "plain")}
    policies["plain"].forget_structure()
    batch = batch_of(setting, policies["shared"].codec.vocab_size)
    seconds: dict[str, list[float]] = {name: [] for name in policies}
    rates: list[float] = []
    for repeat in range(-1, repeats):
        for name, policy in policies.items():
            began = time.process_time()
            update(policy, batch, is_shared=name == "shared")
            if repeat >= 0:
                seconds[name].append(time.process_time() - began)
        rates.append(limit(policies["shared"]))
    distinct, rows = batch.num_distinct_tokens(), int(batch.attention_mask_BT.sum())
    parameters = sum(weight.numel() for weight in policies["shared"].model.parameters())
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    flop = 6 * parameters * distinct
    return {
        "row tokens": rows,
        "distinct tokens": distinct,
        **{f"{name} s": value for name, value in medians.items()},
        "plain / shared": medians["plain"] / medians["shared"],
        "tokens/s": distinct / medians["shared"],
        "limit GFLOP/s": statistics.median(rates) / 1e9,
        "share of the limit": flop / medians["shared"] / statistics.median(rates),
    }


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default="small", help="small, smollm2, or a model directory")
    parser.add_argument("--precision", default="float32", choices=PRECISIONS)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    kind = "small" if args.model == "small" else "smollm2"
    for setting in (name for name in SETTINGS if name.startswith(kind)):
        found = run(setting, model=args.model, precision=args.precision, repeats=args.repeats)
        print(f"{setting}, {args.precision}: ", end="")
        print(", ".join(f"{name} {value:,.4g}" for name, value in found.items()))


if __name__ == "__main__":
    main()
