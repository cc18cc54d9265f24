"""Steps a second of the native token-level vector environment, against SyncVectorEnv of the same.

    python benchmarks/wrapper_vector.py

256 episodes on one thread. "reference" says each problem's reference solution token by token, so
about every 9th token ends a reasoning step and every episode is graded; "letters" ends neither
steps nor episodes until the budget does; "random" draws any id. The two are interleaved, and the
best of the repeats of each counts, because the machine may be shared. The claim is a ratio of at
least 20. Widths: 1,536 ids an observation is the default; 384 holds the chain family too.
"""

import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np

from reason_env.env import ReasonEnv
from reason_env.problems import reference_response
from reason_env.vector_env import ReasonVectorEnv

NUM_ENVS = 256
NUM_STEPS = 60
REPEATS = 5


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One row."""

    actions: str
    mode: str
    width: int


SETTINGS = tuple(
    Setting(actions=actions, mode=mode, width=width)
    for width in (384, 1536)
    for actions in ("letters", "reference", "random")
    for mode in ("NextStep", "SameStep")
)


def arguments(setting: Setting) -> dict[str, Any]:
    """Returns the arguments of both."""
    max_tokens = 256 if setting.width == 384 else 512
    return {
        "problems": "chain",
        "size": 500,
        "max_tokens": max_tokens,
        "max_prompt_tokens": setting.width - max_tokens,
        "granularity": "token",
        "format": "tokens",
    }


def script(setting: Setting, envs: ReasonVectorEnv, seed: int) -> list[np.ndarray[Any, Any]]:
    """Returns the actions of a run; for "reference" they fit the first episodes."""
    rng = np.random.default_rng(seed)
    size = (NUM_STEPS, NUM_ENVS)
    if setting.actions == "letters":
        return list(rng.integers(97, 123, size=size))
    if setting.actions == "random":
        return list(rng.integers(0, envs.env.codec.vocab_size, size=size))
    texts = [reference_response(state.problem) + "\n" for state in envs.states]
    ids = np.full(size, 97)
    for column, text in enumerate(texts):
        tokens = envs.env.codec.encode(text)[-NUM_STEPS:]
        ids[: len(tokens), column] = tokens
    return list(ids)


def seconds(
    envs: gym.vector.VectorEnv[Any, Any, Any], actions: list[np.ndarray[Any, Any]]
) -> float:
    """Returns how long the steps take, the reset not counted."""
    envs.reset(seed=0)
    begin = time.perf_counter()
    for action in actions:
        envs.step(action)
    return time.perf_counter() - begin


def run(setting: Setting) -> dict[str, float]:
    """Returns the best time of a vector step of each, microseconds."""
    own = ReasonVectorEnv(NUM_ENVS, autoreset_mode=setting.mode, **arguments(setting))
    modes = {mode.value: mode for mode in gym.vector.AutoresetMode}
    make = partial(ReasonEnv, own.env.problems, **_of_one(arguments(setting)))
    other = gym.vector.SyncVectorEnv([make] * NUM_ENVS, autoreset_mode=modes[setting.mode])
    own.reset(seed=0)
    actions = script(setting, own, seed=1)
    times: dict[str, list[float]] = {"native_us": [], "sync_us": []}
    for _ in range(REPEATS):
        times["native_us"].append(seconds(own, actions))
        times["sync_us"].append(seconds(other, actions))
    return {name: 1e6 * min(values) / NUM_STEPS for name, values in times.items()}


def _of_one(given: dict[str, Any]) -> dict[str, Any]:
    return {key: given[key] for key in given if key not in ("problems", "size")}


def main() -> None:
    """Prints the table."""
    print("width actions   autoreset   native us   sync us  ratio  native steps/s")
    ratios: list[float] = []
    for setting in SETTINGS:
        row = run(setting)
        ratios.append(row["sync_us"] / row["native_us"])
        print(
            f"{setting.width:>5} {setting.actions:<9} {setting.mode:<9} {row['native_us']:>11.0f} "
            f"{row['sync_us']:>9.0f} {ratios[-1]:>6.1f} {1e6 * NUM_ENVS / row['native_us']:>15.0f}"
        )
    print(f"smallest ratio {min(ratios):.1f}")


if __name__ == "__main__":
    main()
