"""Compares the reward curves of training with vLLM and with the torch engine.

    .venv-vllm/bin/python -m benchmarks.engines.vllm_training --seeds 5 --iterations 5

Trains GRPO and SRPO for a few iterations with the same settings and seeds on each engine. The
engines draw different random numbers, so the comparison is between means and their spread over
seeds. One vLLM process serves all runs; each run loads its initial weights into it. `make
test-vllm` builds the environment `.venv-vllm`.
"""

import argparse
import json
import math
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from reason_env.agents.engines import EngineConfig
from reason_env.agents.engines.vllm.engine import VLLMEngine
from reason_env.agents.evaluate import EvalConfig
from reason_env.agents.learning import LearnerConfig
from reason_env.agents.methods import method_config
from reason_env.agents.train import TrainConfig, build_session, iterate, prepare
from reason_env.env import EnvConfig

SETTINGS = ("grpo", "srpo")
ENGINES = ("torch", "vllm")
REPORTED = (
    "pass_rate",
    "mismatch_mean",
    "mismatch_max",
    "mismatch_kl_behavior_policy",
    "mismatch_effective_sample_fraction",
    "engine_restarts",
)


def config_of(
    method: str, engine: str, *, seed: int, iterations: int, problems: int
) -> TrainConfig:
    """Build a run's config: small, on problems whose pass rate can rise."""
    return TrainConfig(
        method=method_config(method),
        env=EnvConfig(levels=(8, 12), size=256),
        eval=EvalConfig(num_problems=1, samples=1, k=1, greedy=False),
        # At 1e-3 the runs of both engines rise and collapse within five iterations.
        learner=LearnerConfig(learning_rate=3e-4),
        problems_per_iteration=problems,
        iterations=iterations,
        engine=EngineConfig(kind=engine),  # pyright: ignore[reportArgumentType]
        seed=seed,
    )


def run(
    setting: str,
    *,
    seeds: int,
    iterations: int,
    problems: int,
    shared: list[VLLMEngine],
    on_row: Callable[[dict[str, Any]], None],
) -> None:
    """Train with each engine and seed in turn; call `on_row` with one row per iteration."""
    for seed in range(seeds):
        for engine in ENGINES:
            config = config_of(setting, engine, seed=seed, iterations=iterations, problems=problems)
            session = build_session(config)
            if isinstance(session.policy.engine, VLLMEngine):
                if shared:
                    session.policy.engine.close()
                    shared[0].rebind(session.policy.model)
                else:
                    shared.append(session.policy.engine)
                session.policy.engine = shared[0]
            prepare(session)
            for iteration in range(1, iterations + 1):
                metrics = iterate(session).metrics
                names = {name: metrics[f"rollout/{name}"] for name in REPORTED}
                row = {"setting": setting, "engine": engine, "seed": seed, "iteration": iteration}
                on_row(row | names)


def score(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Compute per method and iteration the mean of each engine and their difference.

    `difference` is the difference of the means over seeds, `error` its standard error (the root of
    the sum of both variances over the number of seeds), `spread` the range of the torch engine's
    seeds.
    """
    found: list[dict[str, Any]] = []
    for setting in dict.fromkeys(row["setting"] for row in rows):
        for iteration in sorted({row["iteration"] for row in rows}):
            rates = {
                engine: [
                    row["pass_rate"]
                    for row in rows
                    if (row["setting"], row["iteration"], row["engine"])
                    == (setting, iteration, engine)
                ]
                for engine in ENGINES
            }
            means = {engine: statistics.mean(rates[engine]) for engine in ENGINES}
            errors = [statistics.variance(rates[engine]) / len(rates[engine]) for engine in ENGINES]
            found.append(
                {
                    "setting": setting,
                    "iteration": iteration,
                    **means,
                    "difference": means["vllm"] - means["torch"],
                    "error": math.sqrt(sum(errors)),
                    "spread": (min(rates["torch"]), max(rates["torch"])),
                    "is_within": min(rates["torch"]) <= means["vllm"] <= max(rates["torch"]),
                }
            )
    return found


def main() -> None:
    """Print the table; write the rows to `--out`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--iterations", type=int, default=5)
    parser.add_argument("--problems", type=int, default=16, help="problems per iteration")
    parser.add_argument("--settings", nargs="*", default=list(SETTINGS), choices=SETTINGS)
    parser.add_argument("--out", type=Path, default=None, help="JSON lines file for the rows")
    args = parser.parse_args()
    torch.set_num_threads(1)
    shared: list[VLLMEngine] = []
    rows: list[dict[str, Any]] = []

    def on_row(row: dict[str, Any]) -> None:
        rows.append(row)
        if args.out is not None:
            with args.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")

    try:
        for setting in args.settings:
            run(
                setting,
                seeds=args.seeds,
                iterations=args.iterations,
                problems=args.problems,
                shared=shared,
                on_row=on_row,
            )
    finally:
        for engine in shared:
            engine.close()
    print("| method | iteration | torch | vLLM | difference | torch's seeds | within |")
    print("|---|---|---|---|---|---|---|")
    for item in score(rows):
        low, high = item["spread"]
        print(
            f"| {item['setting']} | {item['iteration']} | {item['torch']:.3f} | "
            f"{item['vllm']:.3f} | {item['difference']:+.3f} +- {item['error']:.3f} | "
            f"{low:.3f} to {high:.3f} | {'yes' if item['is_within'] else 'no'} |"
        )
    for engine in ENGINES:
        own = [row for row in rows if row["engine"] == engine]
        print(
            f"{engine}: mismatch mean {statistics.mean(r['mismatch_mean'] for r in own):.2e}, "
            f"largest {max(r['mismatch_max'] for r in own):.2e}, KL "
            f"{statistics.mean(r['mismatch_kl_behavior_policy'] for r in own):.2e}, smallest "
            "effective sample fraction "
            f"{min(r['mismatch_effective_sample_fraction'] for r in own):.6f}, restarts "
            f"{sum(r['engine_restarts'] for r in own)}"
        )


if __name__ == "__main__":
    main()
