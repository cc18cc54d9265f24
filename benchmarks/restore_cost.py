"""What a fork costs: snapshot and restore of a stack, against deepcopy of it.

    python benchmarks/restore_cost.py

Best of several repeats of each call, in microseconds. The ratio is deepcopy over restore; the
claim is at least 10. Rows differ in the number of problems (deepcopy copies the set), the tokens of
the response, and the stack.
"""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium as gym

import reason_env  # noqa: F401 - registers the ids
from reason_env.snapshot import restore, snapshot
from reason_env.wrappers import Hint, PrefixRollin, ResetToState

REPEATS = 7


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One row."""

    num_problems: int
    num_tokens: int
    stack: str


SETTINGS = tuple(
    Setting(num_problems=num_problems, num_tokens=num_tokens, stack=stack)
    for num_problems in (1, 500, 4000)
    for num_tokens in (0, 200)
    for stack in ("bare", "three wrappers")
)


def made(setting: Setting) -> gym.Env[Any, Any]:
    """Returns the environment of a row, in the middle of an episode."""
    env = gym.make(
        "MathReason-v0", problems="chain", size=setting.num_problems, disable_env_checker=True
    )
    if setting.stack != "bare":
        env = Hint(PrefixRollin(ResetToState(env, probability=0.5), steps=0), trigger=0.5)
    env.reset(seed=0)
    for _ in range(setting.num_tokens // 20):
        env.step("A:1+1 x=2 1234567890"[:19] + "\n")
    return env


def best_us(call: Callable[[], object]) -> float:
    """Returns the shortest time of one call, microseconds."""
    number = 1
    while True:
        begin = time.perf_counter()
        for _ in range(number):
            call()
        if time.perf_counter() - begin > 0.02:
            break
        number *= 2
    best = float("inf")
    for _ in range(REPEATS):
        begin = time.perf_counter()
        for _ in range(number):
            call()
        best = min(best, (time.perf_counter() - begin) / number)
    return 1e6 * best


def run(setting: Setting) -> dict[str, float]:
    """Returns the three times of a row and the size of the snapshot."""
    env = made(setting)
    saved = snapshot(env)
    return {
        "deepcopy_us": best_us(lambda: copy.deepcopy(env)),
        "snapshot_us": best_us(lambda: snapshot(env)),
        "restore_us": best_us(lambda: restore(env, saved)),
        "bytes": len(saved),
    }


def main() -> None:
    """Prints the table."""
    print("problems tokens stack           deepcopy us  snapshot us  restore us  ratio  bytes")
    ratios: list[float] = []
    for setting in SETTINGS:
        row = run(setting)
        ratios.append(row["deepcopy_us"] / row["restore_us"])
        print(
            f"{setting.num_problems:>8} {setting.num_tokens:>6} {setting.stack:<15} "
            f"{row['deepcopy_us']:>11.0f} {row['snapshot_us']:>12.1f} {row['restore_us']:>11.1f} "
            f"{ratios[-1]:>6.1f} {row['bytes']:>6.0f}"
        )
    print(f"smallest ratio {min(ratios):.1f}")


if __name__ == "__main__":
    main()
