"""One real run, from a pretrained model to a report: probe, choose a task, train, compare.

    python -m benchmarks.methods.real_run [--out runs/real] [--model smollm2]     # make real

1. `reason-env probe` measures the model on every level of `--levels`.
2. The task is the hardest level on which GRPO has something to learn from: pass@8, the share of
   groups with a success, is at least `LEAST_SIGNAL` (a group without one has no gradient).
3. `reason-env train grpo` trains on that level, at the default learning rate of the model's size.
4. pass@1 on held-out problems before and after, with intervals over problems.

Exit status 1 if no level qualifies, or if the intervals before and after overlap: this is a check
of the whole way, not a tuned result. Every command is printed as it is run. The episodes of the
first and the last iteration are on the run's page, `OUT/grpo/report.html`.
"""

import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from reason_env.agents.probe import ProbeReport
from reason_env.agents.runs import RunDir

LEAST_SIGNAL = 0.2
LEAST_PROBLEMS = 8
GROUP_SIZE = 8
PROMPT = "--template gsm8k-fewshot --num-examples 4 --max-prompt-tokens 2048 --max-tokens 60"
TEMPERATURE = "0.7"
"""Of training and evaluation: at 1 the model succeeds a third as often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """The model, and how long each part takes."""

    model: str = "smollm2"
    problems: str = "stories"
    levels: tuple[int, int] = (1, 2)
    """The levels to choose from."""
    minutes: float = 2.0
    """Of the probe."""
    iterations: int = 20
    """Of GRPO."""
    out: Path = Path("runs/real")
    """A new directory."""


def main(setting: Setting) -> int:
    """Probe, choose, train, compare."""
    shared = [
        *("--model", setting.model, "--problems", setting.problems),
        *("--precision", "bf16-mixed", "--temperature", TEMPERATURE, *shlex.split(PROMPT)),
    ]
    levels = [str(level) for level in setting.levels]
    probe = setting.out / "probe"
    _run("probe", *shared, "--levels", *levels, "--minutes", str(setting.minutes), out=probe)
    report = ProbeReport.from_json((probe / "probe.json").read_text(encoding="utf-8"))
    level = chosen_level(report, setting.levels)
    if level is None:
        print(f"no level of {levels} has a pass@{GROUP_SIZE} of at least {LEAST_SIGNAL}")
        return 1
    print(f"\ntask: level {level}, the hardest with a pass@{GROUP_SIZE} of at least {LEAST_SIGNAL}")
    run = setting.out / "grpo"
    _run(
        *("train", "grpo", *shared, "--levels", str(level), str(level)),
        *("--group-size", str(GROUP_SIZE), "--problems-per-iteration", "16"),
        *("--iterations", str(setting.iterations), "--checkpoint.keep-last", "1"),
        *("--eval.num-problems", "100", "--eval.samples", "4", "--eval.k", "4"),
        *("--eval.temperature", TEMPERATURE),
        out=run,
    )
    before, after = evaluations(RunDir.open(run).read_metrics())
    print(f"\nheld-out pass@1: {interval(before)} before, {interval(after)} after")
    is_apart = after["eval/pass_at_1_low"] > before["eval/pass_at_1_high"]
    print("the intervals are apart" if is_apart else "the intervals OVERLAP")
    return 0 if is_apart else 1


def chosen_level(report: ProbeReport, levels: tuple[int, int]) -> int | None:
    """Choose the hardest level whose groups have signal often enough; None if none has."""
    for level in range(levels[1], levels[0] - 1, -1):
        figure = report.figures.get(f"success/level_{level}/pass_at_{GROUP_SIZE}")
        if figure is None or figure.num_problems < LEAST_PROBLEMS:
            continue
        if figure.estimate >= LEAST_SIGNAL:
            return level
    return None


def evaluations(rows: list[dict[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the rows of the first and of the last evaluation."""
    evaluated = [row for row in rows if row.get("eval/pass_at_1") is not None]
    return evaluated[0], evaluated[-1]


def interval(row: dict[str, Any]) -> str:
    """Format pass@1 with its 95 % limits."""
    low, high = row["eval/pass_at_1_low"], row["eval/pass_at_1_high"]
    return f"{row['eval/pass_at_1']:.3f} [{low:.3f}, {high:.3f}]"


def _run(*words: str, out: Path) -> None:
    command = ["reason-env", *words, "--out", str(out)]
    print(f"\n$ {shlex.join(command)}", flush=True)
    program = Path(sys.executable).with_name("reason-env")
    subprocess.run([str(program), *command[1:]], check=True)


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Setting)))
