"""Cost of forking an environment: snapshot and restore of a stack, compared with deepcopy.

    python -m benchmarks.environments.restore_cost [--small]

The calls take turns in one process on one thread; each figure is the median over the turns, in
microseconds, because the machine may be shared. Snapshots are of an environment that has been
stepped and never restored; they are restored into environments built in the same way.

`restore x` is the time of deepcopy over the time of restore, the median of the ratios within each
turn: the cost of returning to a state where an episode branches, here two states in alternation.
The claim is at least 10 in every row. `first x` restores each snapshot only once, and `both x`
includes taking it: the cost of copying once. `cold x` is the first restore into a new environment,
which can reuse nothing.

Rows differ in the number of problems (deepcopy copies the set), the tokens of the response, the
form, and the stack: the environment alone, the environment from `gym.make`, three wrappers on that,
all six wrappers with state, and those with 64 different chains in each of two archives.
"""

import argparse
import copy
import gc
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import cycle, product
from pathlib import Path
from typing import Any

import gymnasium as gym

import reason_env  # noqa: F401 - registers the ids
from reason_env.env import ReasonEnv, layers_of
from reason_env.snapshot import restore, snapshot
from reason_env.wrappers.curriculum import Curriculum
from reason_env.wrappers.hint import Hint
from reason_env.wrappers.prefix_rollin import PrefixRollin
from reason_env.wrappers.record_episodes import RecordEpisodes
from reason_env.wrappers.reset_to_state import ResetToState
from reason_env.wrappers.reward_shaping import RewardShaping

TURNS = 9
CALLS = {1: 32, 500: 2, 4000: 1}
"""Calls averaged in one timing, by the number of problems."""
NUM_FIRST, NUM_COLD = 16, 4
"""Snapshots that are restored only once in a turn, and new environments to restore them into."""
NUM_CHAINS = 64
RATIOS = ("restore", "first", "both", "cold")
STACKS = ("alone", "gym.make", "three", "six", "six, 64 chains")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """The setting of one row."""

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


def build_stack(setting: Setting, folder: Path) -> gym.Env[Any, Any]:
    """Build the stack of a row, without a reset."""
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


def played(setting: Setting, env: gym.Env[Any, Any], seed: int) -> tuple[str, str]:
    """Step into an episode; return the snapshots before and after its last step."""
    inner: Any = env.unwrapped
    env.reset(seed=seed)
    for layer in layers_of(env):
        if isinstance(layer, (PrefixRollin, ResetToState)) and "chains" in setting.stack:
            for number in range(NUM_CHAINS - len(layer.archive)):
                text = f"A:1+1 x=2 chain {number:02}\n" * 10
                chain = inner.initial_state(inner.problems[0]).extend(inner.codec.encode(text))
                layer.archive.add(chain)
    step = f"A:1+1 x=2 {seed:09}\n"
    ids = inner.codec.encode(step)
    saved = snapshot(env)
    for _ in range(max(1, setting.num_tokens // len(ids))):
        saved = snapshot(env)
        env.step(step if setting.form == "text" else ids)
    return saved, snapshot(env)


def seconds(call: Callable[[], object], number: int) -> float:
    """Measure the mean CPU time of a call, without garbage collection of earlier calls."""
    gc.disable()
    begin = time.process_time()
    for _ in range(number):
        call()
    took = (time.process_time() - begin) / number
    gc.enable()
    return took


def _restore_next(envs: Iterator[gym.Env[Any, Any]], snaps: Iterator[str]) -> None:
    restore(next(envs), next(snaps))


def run(setting: Setting) -> dict[str, float]:
    """Measure a row."""
    number = CALLS[setting.num_problems]
    with tempfile.TemporaryDirectory() as folder:
        env, fork, *forks = (build_stack(setting, Path(folder)) for _ in range(2 + NUM_COLD))
        blank, places = snapshot(fork), cycle(played(setting, env, 0))
        again = partial(_restore_next, cycle([fork]), places)
        turns: dict[str, list[float]] = {
            name: [] for name in ("deepcopy", "snapshot", "restore", "first", "cold")
        }
        for turn in range(-1, TURNS):
            gc.collect()
            for cold_fork in forks:
                restore(cold_fork, blank)
            seeds = range(NUM_FIRST * (turn + 1) + 1, NUM_FIRST * (turn + 2) + 1)
            news = [played(setting, env, seed)[1] for seed in seeds]
            first = partial(_restore_next, cycle([fork]), iter(news))
            cold = partial(_restore_next, iter(forks), iter(news))
            call_s = {
                "deepcopy": seconds(lambda: copy.deepcopy(env), number),
                "snapshot": seconds(lambda: snapshot(env), number),
                "restore": seconds(again, number),
                "first": seconds(first, NUM_FIRST),
                "cold": seconds(cold, NUM_COLD),
            }
            for name, values in turns.items():
                if turn >= 0:
                    values.append(1e6 * call_s[name])
        num_bytes = len(snapshot(env))
    rows = {f"{name}_us": statistics.median(values) for name, values in turns.items()}
    turns["both"] = [sum(pair) for pair in zip(turns["snapshot"], turns["first"], strict=True)]
    for name in RATIOS:
        ratios = [
            copied / ours for copied, ours in zip(turns["deepcopy"], turns[name], strict=True)
        ]
        rows[f"{name}_ratio"] = statistics.median(ratios)
    return rows | {"bytes": num_bytes}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--small", action="store_true", help="sets of one problem only")
    small = parser.parse_args().small
    print(
        "problems tokens form   stack           deepcopy us  snapshot us  restore us  first us"
        "  restore x  first x  both x  cold x  bytes"
    )
    ratios: dict[str, list[float]] = {name: [] for name in RATIOS}
    for setting in SETTINGS:
        if small and setting.num_problems > 1:
            continue
        row = run(setting)
        for name, values in ratios.items():
            values.append(row[f"{name}_ratio"])
        print(
            f"{setting.num_problems:>8} {setting.num_tokens:>6} {setting.form:<6} "
            f"{setting.stack:<15} {row['deepcopy_us']:>11.0f} {row['snapshot_us']:>12.1f} "
            f"{row['restore_us']:>11.1f} {row['first_us']:>9.1f} {row['restore_ratio']:>10.1f} "
            f"{row['first_ratio']:>8.1f} {row['both_ratio']:>7.1f} {row['cold_ratio']:>7.1f} "
            f"{row['bytes']:>6.0f}"
        )
    smallest = ", ".join(f"{name} {min(values):.1f}" for name, values in ratios.items())
    print(f"smallest ratios: {smallest}")


if __name__ == "__main__":
    main()
