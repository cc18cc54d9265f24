"""What a fork costs: snapshot and restore of a stack, against deepcopy of it.

    python benchmarks/environments/restore_cost.py [--small]

The calls are timed in turns, in one process on one thread, and each has the median of its turns, in
microseconds, because the machine may be shared. The environment that is copied has been played, and
never restored; it is restored into others made alike.

`restore x` is deepcopy over restore, the median of the turns' own ratios: the cost of going back to
where an episode branches, here two places of it in turns. The claim is at least 10 in every row.
`first x` is the same where each snapshot is restored once only, `both x` with the taking of it:
what it costs to copy once. `cold x` is a first restore into forks that have only been made, where
nothing can be reused.

Rows differ in the number of problems (deepcopy copies the set), the tokens of the response, the
form, and the stack: the environment alone, as `gym.make` makes it, three wrappers on that, all six
that remember something, and those with 64 chains, no two alike, in each of two archives.
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
from reason_env.env import ReasonEnv
from reason_env.snapshot import restore, snapshot
from reason_env.wrappers.curriculum import Curriculum
from reason_env.wrappers.hint import Hint
from reason_env.wrappers.prefix_rollin import PrefixRollin
from reason_env.wrappers.record_episodes import RecordEpisodes
from reason_env.wrappers.reset_to_state import ResetToState
from reason_env.wrappers.reward_shaping import RewardShaping
from reason_env.wrappers.start import layers_of

TURNS = 9
CALLS = {1: 32, 500: 2, 4000: 1}
"""Calls that one timing takes the mean of, by the number of problems."""
NUM_FIRST, NUM_COLD = 16, 4
"""Snapshots that are restored once only in a turn, and forks that they are restored into."""
NUM_CHAINS = 64
RATIOS = ("restore", "first", "both", "cold")
STACKS = ("alone", "gym.make", "three", "six", "six, 64 chains")


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


def played(setting: Setting, env: gym.Env[Any, Any], seed: int) -> tuple[str, str]:
    """Returns snapshots in the middle of an episode: a step from where it is then, and there."""
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
    """Returns the mean CPU time of a call, the collector off: it would clear others' rubbish."""
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
    """Returns the figures of a row."""
    number = CALLS[setting.num_problems]
    with tempfile.TemporaryDirectory() as folder:
        env, fork, *forks = (made(setting, Path(folder)) for _ in range(2 + NUM_COLD))
        blank, places = snapshot(fork), cycle(played(setting, env, 0))
        again = partial(_restore_next, cycle([fork]), places)
        turns: dict[str, list[float]] = {
            name: [] for name in ("deepcopy", "snapshot", "restore", "first", "cold")
        }
        for turn in range(-1, TURNS):
            gc.collect()
            for each in forks:
                restore(each, blank)
            seeds = range(NUM_FIRST * (turn + 1) + 1, NUM_FIRST * (turn + 2) + 1)
            news = [played(setting, env, seed)[1] for seed in seeds]
            first = partial(_restore_next, cycle([fork]), iter(news))
            cold = partial(_restore_next, iter(forks), iter(news))
            took = {
                "deepcopy": seconds(lambda: copy.deepcopy(env), number),
                "snapshot": seconds(lambda: snapshot(env), number),
                "restore": seconds(again, number),
                "first": seconds(first, NUM_FIRST),
                "cold": seconds(cold, NUM_COLD),
            }
            for name, values in turns.items():
                if turn >= 0:
                    values.append(1e6 * took[name])
        num_bytes = len(snapshot(env))
    rows = {f"{name}_us": statistics.median(values) for name, values in turns.items()}
    turns["both"] = [sum(pair) for pair in zip(turns["snapshot"], turns["first"], strict=True)]
    for name in RATIOS:
        ratios = [one / other for one, other in zip(turns["deepcopy"], turns[name], strict=True)]
        rows[f"{name}_ratio"] = statistics.median(ratios)
    return rows | {"bytes": num_bytes}


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser()
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
