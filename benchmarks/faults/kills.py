"""Kill runs by SIGKILL at random moments, resume them, and compare with runs that nobody killed.

    python -m benchmarks.faults.kills                  # 500 kills, about an hour on two cores
    python -m benchmarks.faults.kills --kills 60

Each case is a small run: every method, compositions, CPI, LoRA, a stack of wrappers, and a
comparison. A run is killed after a random share of the time that the whole run takes, resumed,
killed again, until it ends by itself; then its metrics, its episodes and its last checkpoint
(weights, optimizer, progress) must equal those of the whole run byte by byte. The moments are drawn
from `--seed`, but what they hit depends on the machine.

Runs are forked from a process that has imported torch and computed nothing, so that most of their
time is training. Not covered: a machine that loses power, more than one thread.
"""

import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import gymnasium as gym
import numpy as np
import torch
import tyro

from reason_env import cli
from reason_env.agents.methods import method_names, sb3_names
from reason_env.wrappers import Curriculum, Hint, PrefixRollin, RecordEpisodes, ResetToState

TINY = (
    "--problems-per-iteration", "2", "--iterations", "3", "--checkpoint.every", "2",
    "--learning-rate", "2e-4", "--eval.num-problems", "1", "--eval.samples", "1",
    "--eval.k", "1", "--eval.greedy", "False", "--eval.every", "1",
)  # fmt: skip
PROBLEMS = ("--levels", "3", "5", "--size", "4", "--max-tokens", "64")
GROUP = ("--group-size", "2")
SMALL: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("grpo", "lte", "expo", "sft", "adaback", "prefix-sampling", "sage"), GROUP),
    **dict.fromkeys(("sdpo", "vppo", "int", "sb3-grpo"), GROUP),
    **dict.fromkeys(("sb3-ppo", "sb3-maskable-ppo", "sb3-a2c"), ("--num-steps", "24")),
    "rrpo": ("--num-base", "2", "--num-reset", "2"),
    "srpo": ("--num-base", "2", "--num-reset", "2"),
    "pope": (*GROUP, "--hard-samples", "2", "--probe-samples", "1"),
    "vineppo": (*GROUP, "--value-samples", "2"),
    "spo": (*GROUP, "--value-samples", "2", "--cut-interval", "9"),
    "spo-tree": ("--branch-factors", "2", "2", "--segment-tokens", "12"),
    "treerl": (*GROUP, "--branches", "1"),
    "prefixrl": (*GROUP, "--attempts", "4"),
    "failure-prefix": (*GROUP, "--attempts", "4", "--probe-samples", "2",
                       "--saturated-pass-rate", "0.25"),
    "cpi": ("--restart", "rrpo", "--cpi.num-restarts", "2", "--cpi.samples", "2"),
}  # fmt: skip
"""Method -> flags that make its iterations short."""
CASES: dict[str, tuple[str, ...]] = {
    **{
        name: ("train", name, *SMALL.get(name, ()), *PROBLEMS, *TINY)
        for name in (*method_names(), *sb3_names(), "cpi", "srpo+lte", "rrpo+lte")
    },
    "lora": ("train", "grpo", *GROUP, "--lora.rank", "2", *PROBLEMS, *TINY),
    "stack": ("train", "grpo", *GROUP, "--env", "STACK", *TINY),
    "compare": ("compare", "grpo", "rrpo", "--budget", "600", "--seeds", "1", "--workers", "2",
                *PROBLEMS, *TINY[:2], *TINY[4:]),
}  # fmt: skip
"""Name -> the words of its command, without --out."""
# Imported before any fork, because a command imports them when it begins.
for _module in (
    "transformers", "peft", "reason_env.agents.sb3", "reason_env.cli.train",
    "reason_env.cli.compare",
):  # fmt: skip
    import_module(_module)
MOST_S = 300.0
"""A run that takes longer hangs."""


@dataclass(frozen=True, kw_only=True)
class Kills:
    """Kill runs at random moments and compare what they end with."""

    kills: int = 500
    """Kills, spread evenly over the cases."""
    seed: int = 0
    """Draws the moments."""
    cases: tuple[str, ...] = tuple(CASES)
    """The cases to run."""
    json: Path | None = None
    """File for the figures."""


class UnequalError(Exception):
    """A resumed run ended with other bytes, or failed."""


def main(given: Kills) -> dict[str, dict[str, float]]:
    """Run all cases; return the figures of each.

    Raises:
        UnequalError: A run failed, or ended with other bytes.
    """
    found: dict[str, dict[str, float]] = {}
    for number, name in enumerate(given.cases):
        share = given.kills // len(given.cases) + (number < given.kills % len(given.cases))
        with tempfile.TemporaryDirectory() as folder:
            rng = np.random.default_rng([given.seed, number])
            found[name] = killed(name, Path(folder), share, rng)
        print(name, json.dumps(found[name]), flush=True)
    total = Counter[str]()
    for figures in found.values():
        total.update({key: value for key, value in figures.items() if key != "whole_s"})
    print("all", json.dumps(total), flush=True)
    return found


def killed(name: str, folder: Path, kills: int, rng: np.random.Generator) -> dict[str, float]:
    """Kill runs of a case this often in all; return what the kills hit.

    Raises:
        UnequalError: A run failed, or ended with other bytes.
    """
    begin = _command(name, folder, "whole")
    began = time.monotonic()
    _wait(_forked(begin, folder / "whole.log"), MOST_S, folder / "whole.log")
    whole_s = time.monotonic() - began
    expected = contents(folder / "whole", folder / "whole.recorded")
    hit = Counter[str]()
    number = 0
    while sum(hit.values()) < kills:
        out, log = folder / f"run{number}", folder / f"run{number}.log"
        number += 1
        while sum(hit.values()) < kills:
            child = _forked(_next_command(name, folder, out), log)
            if not _is_killed(child, float(rng.uniform(0, whole_s)), log):
                break
            hit[_moment(out)] += 1
        else:
            _wait(_forked(_next_command(name, folder, out), log), MOST_S, log)
        found = contents(out, folder / f"{out.name}.recorded")
        unequal = sorted(
            path for path in {*expected, *found} if expected.get(path) != found.get(path)
        )
        if unequal:
            kept = Path(tempfile.mkdtemp(prefix="unequal_"))
            shutil.copytree(folder, kept / name)
            raise UnequalError(f"{name}: {', '.join(unequal)} differ; both runs are in '{kept}'")
        shutil.rmtree(out)
    return {"runs": number, "whole_s": round(whole_s, 2), **dict(sorted(hit.items()))}


def contents(out: Path, recorded: Path) -> dict[str, bytes]:
    """Read what two equal runs have in common, by path; in a comparison of each of its runs."""
    runs = sorted(file.parent for file in out.rglob("metrics.jsonl"))
    files = [file for run in runs for file in [run / "metrics.jsonl", *_files(run / "episodes")]]
    for run in runs:
        last = max(path for path in (run / "checkpoints").iterdir() if path.name[0] != ".")
        # The record of the model holds the paths of the run, and the manifest its hash.
        files += [*last.glob("state.*"), *last.glob("model/*.safetensors")]
    found = {str(file.relative_to(out)): file.read_bytes() for file in files}
    return found | ({"recorded": recorded.read_bytes()} if recorded.is_file() else {})


def _files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _moment(out: Path) -> str:
    """Say what a kill hit, as far as the files tell."""
    if any(out.rglob(".partial_*")):
        return "while a file was written"
    if not any(out.rglob("metrics.jsonl")):
        return "before the first evaluation ended"
    if not any(out.rglob("checkpoints/iteration_*")):
        return "before the first checkpoint"
    return "after a checkpoint"


def _command(name: str, folder: Path, own: str) -> list[str]:
    words = list(CASES[name])
    if "STACK" in words:
        spec = folder / f"{own}.json"
        spec.write_text(_stack(folder / f"{own}.recorded"), encoding="utf-8")
        words[words.index("STACK")] = str(spec)
    return [*words, "--out", str(folder / own)]


def _next_command(name: str, folder: Path, out: Path) -> list[str]:
    """Give the command that begins the run, or goes on with what a kill left."""
    if (out / "config.json").is_file():
        return [CASES[name][0], "--resume", str(out)]
    return _command(name, folder, out.name)


def _stack(recorded: Path) -> str:
    env: gym.Env[str, str] = gym.make(
        "MathReason-v0", problems="chain", levels=(3, 5), size=4, max_tokens=64
    )
    env = PrefixRollin(ResetToState(env, keep="failures", probability=0.5), schedule="linear")
    env = Curriculum(Hint(env, "mistakes", trigger="after_failure"))
    spec = RecordEpisodes(env, recorded).spec
    assert spec is not None, "every stack on a registered environment has a spec"
    recorded.unlink()
    return spec.to_json()


def _forked(words: Sequence[str], log: Path) -> int:
    """Run a command in a child process; return its id."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        # Also Python's own streams: a test replaces them.
        sys.stdout = sys.stderr = log.open("a", encoding="utf-8", buffering=1)
        for stream in (1, 2):
            os.dup2(sys.stdout.fileno(), stream)
        torch.set_num_threads(1)
        cli.main(words)
        status = 0
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    finally:
        sys.stdout.flush()
        # Not exit(): what the parent registered is not the child's.
        os._exit(status)


def _is_killed(child: int, seconds: float, log: Path) -> bool:
    """Kill a child after some seconds; False if it ended by itself before.

    Raises:
        UnequalError: It failed.
    """
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            _check(status, log)
            return False
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return True
    _check(status, log)
    return False


def _wait(child: int, seconds: float, log: Path) -> None:
    if _is_killed(child, seconds, log):
        raise UnequalError(f"a run must end within {seconds} s, got one that hangs; log: '{log}'")


def _check(status: int, log: Path) -> None:
    code = os.waitstatus_to_exitcode(status)
    if code:
        tail = log.read_text(encoding="utf-8")[-2000:]
        raise UnequalError(f"a run must end with status 0, got {code}: {tail}")


if __name__ == "__main__":
    own = tyro.cli(Kills)
    figures = main(own)
    if own.json is not None:
        own.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")
