"""Claim: the six methods and their control arms, at one budget of generated tokens and one loss.

    python -m benchmarks.method_table --setting built_in --out runs/method_table.jsonl
    python -m benchmarks.method_table --out runs/method_table.jsonl --score

A row is one arm with one seed: what a new run of the base model scores on held-out problems before
and after. Rows are appended as they end, and those that are there are not run again, so the table
can be stopped and gone on with. All arms of a seed share the order of problems and the evaluation,
so the differences to GRPO are taken seed by seed.

Equal are: generated tokens (searches, localisations, seeds and discarded tries included; a run ends
with the iteration that reaches the budget, and what it used is in the row), the loss of policy
tokens (the setting's, in every arm but those named for another one), learning rate, problems,
seeds, evaluation. Offline ExP-DPO generates before training only: it takes as many iterations as
`offline_iterations` says.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from reason_env.agents.advantage import AdvantageConfig
from reason_env.agents.compare_statistics import Estimate, over_seeds, paired_difference
from reason_env.agents.env_config import EnvConfig
from reason_env.agents.evaluate import EvalConfig
from reason_env.agents.learner import LearnerConfig
from reason_env.agents.loss_config import LossConfig
from reason_env.agents.methods import (
    ComposedConfig,
    ExPDPOConfig,
    ExPOConfig,
    GRPOConfig,
    LTEConfig,
    MethodConfig,
    POPEConfig,
    RRPOConfig,
    SFTConfig,
    SRPOConfig,
)
from reason_env.agents.methods.rrpo import paper_loss
from reason_env.agents.run_dir import RunDir
from reason_env.agents.train import train
from reason_env.agents.train_config import TrainConfig
from reason_env.agents.training import Training

Row = dict[str, Any]
BASELINE = "grpo"
PASS_RATES = ("pass_at_1", "pass_at_k")
NO_LIMIT = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One table: which problems and model, at which budget."""

    env: EnvConfig = field(default_factory=EnvConfig)
    """Training problems: family or file, split, levels, size, token budget."""
    eval: EvalConfig = field(default_factory=EvalConfig)
    """Held-out problems, samples a problem and k."""
    model: str = "base"
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    max_generated_tokens: int = 2_000_000
    problems_per_iteration: int = 32
    group_size: int = 8
    learner: LearnerConfig = field(default_factory=LearnerConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    """Of policy tokens, in every arm."""
    hard_samples: int = 16
    """POPE's K, for the hard set and for each prefix length."""
    grid: float = 0.0625
    """Spacing of POPE's prefix lengths, as a part of the solution."""
    offline_iterations: int = 40
    """Iterations of offline ExP-DPO."""
    arms: tuple[str, ...] = ()
    """Names of `ARMS`; all of them if empty."""


SETTINGS: dict[str, Setting] = {
    "built_in": Setting(
        env=EnvConfig(problems="unlock", levels=(8, 10), size=32),
        eval=EvalConfig(split="hard", num_problems=64, samples=8, k=8, greedy=False, every=0),
        max_generated_tokens=300_000,
        problems_per_iteration=8,
        hard_samples=4,
        grid=0.25,
    ),
    "smoke": Setting(
        env=EnvConfig(problems="chain", levels=(6, 8), size=8, max_tokens=64),
        eval=EvalConfig(num_problems=2, samples=2, k=2, greedy=False),
        seeds=(0, 1),
        max_generated_tokens=400,
        problems_per_iteration=2,
        group_size=5,
        hard_samples=2,
        offline_iterations=1,
        arms=("grpo", "srpo+lte"),
    ),
}


def _grpo(setting: Setting, **changes: Any) -> GRPOConfig:
    return replace(GRPOConfig(group_size=setting.group_size, loss=setting.loss), **changes)


def _lte(setting: Setting, **changes: Any) -> LTEConfig:
    return LTEConfig(group_size=setting.group_size, loss=setting.loss, **changes)


def _pope(setting: Setting, **changes: Any) -> POPEConfig:
    return POPEConfig(
        group_size=setting.group_size,
        hard_samples=setting.hard_samples,
        probe_samples=setting.hard_samples,
        grid=setting.grid,
        loss=setting.loss,
        **changes,
    )


def _expo(setting: Setting, **changes: Any) -> ExPOConfig:
    return ExPOConfig(group_size=setting.group_size, loss=setting.loss, **changes)


def _reset(setting: Setting, kind: type[RRPOConfig] = SRPOConfig, **changes: Any) -> RRPOConfig:
    return replace(kind(loss=setting.loss), **changes)


def _both(*methods: Any) -> ComposedConfig:
    return ComposedConfig(methods=methods)


ARMS: dict[str, Callable[[Setting], MethodConfig]] = {
    "grpo": _grpo,
    "rrpo": lambda s: _reset(s, RRPOConfig),
    "srpo": _reset,
    "pope": _pope,
    "lte": _lte,
    "expo": _expo,
    "exp-dpo online": lambda s: ExPDPOConfig(sampled="online"),
    "exp-dpo offline": lambda s: ExPDPOConfig(sampled="offline"),
    # Control arms.
    "grpo + entropy bonus": lambda s: _grpo(s, loss=replace(s.loss, entropy_coefficient=0.01)),
    "grpo, clip higher": lambda s: _grpo(s, loss=replace(s.loss, clip_high=0.28)),
    "grpo, pass@k": lambda s: _grpo(s, advantage=AdvantageConfig(kind="pass_at_k", k=4)),
    "grpo + sft on reference": lambda s: SFTConfig(group_size=s.group_size, loss=s.loss),
    "lte, no hint (GRPOExtra)": lambda s: _lte(s, extra="unhinted"),
    "rrpo, unclipped": lambda s: _reset(s, RRPOConfig, loss=paper_loss()),
    "srpo, unclipped": lambda s: _reset(s, loss=paper_loss()),
    "srpo, step checker": lambda s: _reset(s, localiser="checker"),
    "srpo, random step": lambda s: _reset(s, localiser="random"),
    "srpo, answer shown": lambda s: _reset(s, show_answer=True),
    "srpo, seed kept": lambda s: _reset(s, seed_policy="extra"),
    "pope, wide clip and sum": lambda s: replace(_pope(s), loss=POPEConfig().loss),
    "pope, hard prefix": lambda s: _pope(s, conditioning="response"),
    "pope, guided only": lambda s: _pope(s, copies="guided_only"),
    "pope, easy mixed in": lambda s: _pope(s, easy="mix"),
    "expo, expert chains": lambda s: _expo(s, explanations="expert"),
    "exp-dpo, expert chains": lambda s: ExPDPOConfig(explanations="expert"),
    # In combination.
    "srpo+lte": lambda s: _both(_reset(s), _lte(s)),
    "pope+rrpo": lambda s: _both(_pope(s), _reset(s, RRPOConfig)),
    "lte+expo": lambda s: _both(_lte(s), _expo(s)),
    "srpo+lte+expo": lambda s: _both(_reset(s), _lte(s), _expo(s)),
    "pope+sft": lambda s: _both(_pope(s), SFTConfig()),
}
"""Name in the table -> the method, in the setting's numbers."""


def arm_config(setting: Setting, arm: str, seed: int) -> TrainConfig:
    """Returns the run of one arm with one seed."""
    is_offline = arm == "exp-dpo offline"
    return TrainConfig(
        method=ARMS[arm](setting),
        env=setting.env,
        eval=setting.eval,
        learner=setting.learner,
        model=setting.model,
        problems_per_iteration=setting.problems_per_iteration,
        iterations=setting.offline_iterations if is_offline else NO_LIMIT,
        max_generated_tokens=setting.max_generated_tokens,
        episodes_per_iteration=0,
        seed=seed,
    )


def run_arm(setting: Setting, arm: str, seed: int) -> Row:
    """Returns the row of one arm with one seed."""
    torch.set_num_threads(1)
    config = arm_config(setting, arm, seed)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        training = Training(config)
        with RunDir.create(Path(folder) / "run", config, command=["method_table"]) as place:
            rows = train(training, place)
    first, last = rows[0], rows[-1]
    return {
        "arm": arm,
        "seed": seed,
        "setting": repr(setting),
        "tokens": last["rollout/sampled_tokens_total"],
        "iterations": last["iteration"],
        "updates": last["update/num_updates_total"],
        "seconds": time.perf_counter() - began,
        "k": last["eval/k"],
        **{
            f"{name}_{when}": row[f"eval/{name}"]
            for when, row in (("before", first), ("after", last))
            for name in PASS_RATES
        },
    }


def run(setting: Setting, out: Path | None = None, processes: int | None = None) -> list[Row]:
    """Returns the rows of a setting, those of `out` included; missing ones are run and appended.

    Args:
        setting: One table. An arm whose construction is refused stops it before anything runs.
        out: JSONL file of rows; None keeps none.
        processes: At once; None takes one a core. Each uses one thread.
    """
    arms = setting.arms or tuple(ARMS)
    for arm in arms:
        arm_config(setting, arm, 0)
    rows = [row for row in read_rows(out) if row["setting"] == repr(setting)]
    known = {(row["arm"], row["seed"]) for row in rows}
    tasks = [(arm, seed) for seed in setting.seeds for arm in arms if (arm, seed) not in known]
    cores = os.cpu_count() or 1
    workers = min(cores, processes or cores, max(1, len(tasks)))
    if workers == 1:
        for arm, seed in tasks:
            rows.append(_written(run_arm(setting, arm, seed), out))
        return rows
    with ProcessPoolExecutor(workers) as pool:
        futures = [pool.submit(run_arm, setting, arm, seed) for arm, seed in tasks]
        for future in as_completed(futures):
            rows.append(_written(future.result(), out))
    return rows


def read_rows(out: Path | None) -> list[Row]:
    """Returns the rows of a file; a last line that a kill has cut is left out and run again."""
    if out is None or not out.is_file():
        return []
    lines = out.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def _written(row: Row, out: Path | None) -> Row:
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        text = out.read_text(encoding="utf-8") if out.is_file() else ""
        whole = text[: text.rfind("\n") + 1]
        if whole != text:
            out.write_text(whole, encoding="utf-8")
        with out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
    return row


def score(rows: Sequence[Row]) -> dict[str, dict[str, Estimate | None]]:
    """Returns, per arm: pass@1 and pass@k after, gains, and the difference to GRPO; over seeds.

    Intervals are 95 %, bootstrap over seeds; differences are paired by seed, None without a pair.
    """
    by_arm: dict[str, dict[int, Row]] = {}
    for row in rows:
        by_arm.setdefault(row["arm"], {})[row["seed"]] = row

    def values(arm: str, name: str) -> dict[int, float]:
        return {seed: row[name] for seed, row in by_arm.get(arm, {}).items()}

    return {
        arm: {
            "tokens": over_seeds(values(arm, "tokens")),
            **{name: over_seeds(values(arm, f"{name}_after")) for name in PASS_RATES},
            **{
                f"{name} - {BASELINE}": paired_difference(
                    values(arm, f"{name}_after"), values(BASELINE, f"{name}_after")
                )
                for name in PASS_RATES
            },
        }
        for arm in by_arm
    }


def table(rows: Sequence[Row]) -> str:
    """Returns the scores as a Markdown table, arms in the order of `ARMS`."""
    scores = score(rows)
    names = list(next(iter(scores.values())))
    lines = ["| arm | seeds | " + " | ".join(names) + " |", "|---" * (len(names) + 2) + "|"]
    for arm in (name for name in ARMS if name in scores):
        cells = [_cell(name, scores[arm][name]) for name in names]
        num_seeds = len({row["seed"] for row in rows if row["arm"] == arm})
        lines.append(f"| {arm} | {num_seeds} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(name: str, value: Estimate | None) -> str:
    if value is None:
        return "-"
    if name == "tokens":
        return f"{value.mean:,.0f}"
    if value.low is None:
        return f"{value.mean:.3f}"
    return f"{value.mean:.3f} [{value.low:.3f}, {value.high:.3f}]"


def main() -> None:
    """Runs what is missing of a setting, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--setting", choices=SETTINGS, default="built_in")
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("--processes", type=int, default=None)
    parser.add_argument("--score", action="store_true", help="print what is there, run nothing")
    given = parser.parse_args()
    setting = SETTINGS[given.setting]
    rows = (
        [row for row in read_rows(given.out) if row["setting"] == repr(setting)]
        if given.score
        else run(setting, given.out, given.processes)
    )
    print(table(rows) if rows else f"no rows of setting {given.setting!r} in {given.out}")


if __name__ == "__main__":
    main()
