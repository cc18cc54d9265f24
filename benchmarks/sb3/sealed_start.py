"""PPO where the start is sealed: alone, and with starts along the reference solution.

    OMP_NUM_THREADS=1 python -m benchmarks.sb3.sealed_start [--quick] [--figure FILE.png]

Design, fixed before the runs: `CombinationLock-v0` with 10 digits of 4 actions, one right at each
step, which the uniform policy finds once in 1,048,576 episodes. PPO of Stable-Baselines3 (8
environments, 32 steps, batches of 64, 10 epochs, learning rate 1e-3, discount 0.99, advantages
not normalised) trains for 40,000 steps alone, and with `TabularPrefixRollin(steps=(0, 9))`: each
episode starts after a uniformly drawn number of right digits, so that some starts lie one step
before the goal. Every 4,000 steps 50 episodes from the true start, without the wrapper, give the
success. Five seeds.

Why advantages are not normalised: with PPO's default one seed of five (0) solved the lock and lost
it again. Once all episodes succeed, advantages are errors of the critic alone; on seed 0 their
standard deviation was 0.0002 when one update, which divides by it, took the probability of the
right action in one state from 0.998 to 0.0001. The seeds below are others.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy

import reason_env  # noqa: F401 - registers the ids
from reason_env.wrappers import TabularPrefixRollin

SEEDS = (10, 11, 12, 13, 14)
EVERY, POINTS = 4000, 10
NUM_DIGITS = 10


def alone() -> gym.Env[Any, Any]:
    """Make the lock."""
    return gym.make("CombinationLock-v0", num_steps=NUM_DIGITS, num_actions=4)


def with_prefixes() -> gym.Env[Any, Any]:
    """Make the lock with starts along the reference solution."""
    return TabularPrefixRollin(alone(), steps=(0, NUM_DIGITS - 1))


ARMS: dict[str, Callable[[], gym.Env[Any, Any]]] = {
    "PPO alone": alone,
    "PPO with PrefixRollin": with_prefixes,
}


def run(make: Callable[[], gym.Env[Any, Any]], seed: int) -> list[float]:
    """Train; return the success from the true start at each point."""
    envs = make_vec_env(make, n_envs=8, seed=seed)
    true_start = make_vec_env(alone, n_envs=10, seed=10_000 + seed)
    model = PPO(
        "MlpPolicy",
        envs,
        n_steps=32,
        batch_size=64,
        n_epochs=10,
        learning_rate=1e-3,
        normalize_advantage=False,
        seed=seed,
        device="cpu",
    )
    rates: list[float] = []
    for _ in range(POINTS):
        model.learn(EVERY, reset_num_timesteps=False)
        found: Any = evaluate_policy(model, true_start, n_eval_episodes=50, deterministic=False)
        rates.append(float(found[0]))
    return rates


def draw(curves: dict[str, list[list[float]]], path: Path) -> None:
    """Draw the mean of each arm, with a thin line for each seed."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3.5))
    steps = EVERY * np.arange(1, POINTS + 1) / 1000
    for color, (label, own) in zip(("tab:gray", "tab:blue"), curves.items(), strict=True):
        for seed in own:
            axes.plot(steps, seed, color=color, alpha=0.3, linewidth=0.8)
        axes.plot(steps, np.mean(own, axis=0), color=color, label=label)
    axes.set(xlabel="environment steps (thousands)", ylabel="success from the true start")
    axes.set_ylim(-0.03, 1.03)
    axes.legend(loc="center right")
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main() -> int:
    """Print the success of each arm and seed at all points, and draw it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one seed")
    parser.add_argument("--figure", type=Path, help="write the picture here")
    given = parser.parse_args()
    torch.set_num_threads(1)
    seeds = SEEDS[: 1 if given.quick else None]
    curves: dict[str, list[list[float]]] = {label: [] for label in ARMS}
    print(f"success from the true start, every {EVERY:,} steps", flush=True)
    for label, make in ARMS.items():
        for seed in seeds:
            rates = run(make, seed)
            curves[label].append(rates)
            print(
                f"{label:22} seed {seed}: {' '.join(f'{rate:.2f}' for rate in rates)}", flush=True
            )
    if given.figure is not None:
        draw(curves, given.figure)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
