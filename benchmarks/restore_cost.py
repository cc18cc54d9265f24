"""What a fork costs: snapshot and restore of a stack, against deepcopy of it.

    python benchmarks/restore_cost.py [--small]

The three calls are timed in turns, in one process on one thread, and each has the median of its
turns, in microseconds, because the machine may be shared. `restore x` is deepcopy over restore, the
median of the turns' own ratios; the claim is at least 10 in every row. `both x` is deepcopy over
snapshot and restore together: what it costs to copy once. `cold x` is a restore of a snapshot of
another problem into a fork that has only been made, where nothing can be reused.

Rows differ in the number of problems (deepcopy copies the set), the tokens of the response, the
form, and the stack: the environment alone, as `gym.make` makes it, three wrappers on that, all six
that remember something, and those with 64 chains in two archives.
"""

import argparse
import copy
import gc
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import gymnasium as gym

import reason_env  # noqa: F401 - registers the ids
from reason_env.env import ReasonEnv
from reason_env.snapshot import restore, snapshot
from reason_env.wrappers import (
    Curriculum,
    Hint,
    PrefixRollin,
    RecordEpisodes,
    ResetToState,
    RewardShaping,
)

TURNS = 9
NUM_CHAINS = 64
STACKS = ("alone", "gym.make", "three", "six", "six, 64 chains")
STEP = "A:1+1 x=2 123456789\n"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One row."""

    num_problems: int
    num_tokens: int
    form: str
    stack: str


SETTINGS = tuple(
    Setting(num_problems=num_problems, num_tokens=num_tokens, form=form, stack=stack)
    for num_problems, num_tokens, form, stack in product(
        (1, 500, 4000), (0, 200, 1000), ("text", "tokens"), STACKS
    )
)


def made(setting: Setting, folder: Path) -> gym.Env[Any, Any]:
    """Returns the stack of a row, as it is made; nothing has been reset."""
    given: dict[str, Any] = {
        "problems": "chain",
        "size": setting.num_problems,
        "format": setting.form,
        "max_tokens": 1200,
    }
    if setting.stack == "alone":
        return ReasonEnv(**given)
    env: gym.Env[Any, Any] = gym.make("MathReason-v0", **given)
    if setting.stack == "gym.make":
        return env
    env = Hint(PrefixRollin(ResetToState(env, probability=0.5), steps=0), trigger=0.5)
    if setting.stack == "three":
        return env
    env = RewardShaping(Curriculum(env, by="level"), progress=0.5)
    return RecordEpisodes(env, folder / "episodes.jsonl")


def played(setting: Setting, env: gym.Env[Any, Any], seed: int) -> str:
    """Returns a snapshot in the middle of an episode."""
    inner: Any = env.unwrapped
    env.reset(seed=seed)
    ids = inner.codec.encode(STEP)
    if "chains" in setting.stack:
        chain = inner.initial_state(inner.problems[0]).extend(ids * 10)
        for _ in range(NUM_CHAINS):
            env.get_wrapper_attr("archive").add(chain)
    for _ in range(setting.num_tokens // len(ids)):
        env.step(STEP if setting.form == "text" else ids)
    return snapshot(env)


def seconds(call: Callable[[], object], number: int) -> float:
    """Returns the mean CPU time of a call, the collector off: it would clear others' rubbish."""
    gc.collect()
    gc.disable()
    begin = time.process_time()
    for _ in range(number):
        call()
    took = (time.process_time() - begin) / number
    gc.enable()
    return took


def run(setting: Setting) -> dict[str, float]:
    """Returns the figures of a row."""
    with tempfile.TemporaryDirectory() as folder:
        env, fork = made(setting, Path(folder)), made(setting, Path(folder))
        saved, other = played(setting, env, 0), played(setting, fork, 1)
        calls: dict[str, Callable[[], object]] = {
            "deepcopy": lambda: copy.deepcopy(env),
            "snapshot": lambda: snapshot(env),
            "restore": lambda: restore(env, saved),
        }
        blank = snapshot(made(setting, Path(folder)))
        turns: dict[str, list[float]] = {name: [] for name in (*calls, "cold")}
        for turn in range(-1, TURNS):
            for name, call in calls.items():
                number = 1 if name == "deepcopy" else 8
                took = seconds(call, number)
                if turn >= 0:
                    turns[name].append(1e6 * took)
            restore(fork, blank)
            took = seconds(lambda: restore(fork, other), 1)
            if turn >= 0:
                turns["cold"].append(1e6 * took)
    rows = {f"{name}_us": statistics.median(values) for name, values in turns.items()}
    deep = turns["deepcopy"]
    both = [sum(pair) for pair in zip(turns["snapshot"], turns["restore"], strict=True)]
    for name, values in (("restore", turns["restore"]), ("both", both), ("cold", turns["cold"])):
        ratios = [one / other for one, other in zip(deep, values, strict=True)]
        rows[f"{name}_ratio"] = statistics.median(ratios)
    return rows | {"bytes": len(saved)}


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--small", action="store_true", help="sets of one problem only")
    small = parser.parse_args().small
    print(
        "problems tokens form   stack           deepcopy us  snapshot us  restore us"
        "  restore x  both x  cold x  bytes"
    )
    ratios: dict[str, list[float]] = {"restore": [], "both": [], "cold": []}
    for setting in SETTINGS:
        if small and setting.num_problems > 1:
            continue
        row = run(setting)
        for name, values in ratios.items():
            values.append(row[f"{name}_ratio"])
        print(
            f"{setting.num_problems:>8} {setting.num_tokens:>6} {setting.form:<6} "
            f"{setting.stack:<15} {row['deepcopy_us']:>11.0f} {row['snapshot_us']:>12.1f} "
            f"{row['restore_us']:>11.1f} {row['restore_ratio']:>10.1f} {row['both_ratio']:>7.1f} "
            f"{row['cold_ratio']:>7.1f} {row['bytes']:>6.0f}"
        )
    smallest = ", ".join(f"{name} {min(values):.1f}" for name, values in ratios.items())
    print(f"smallest ratios: {smallest}")


if __name__ == "__main__":
    main()
