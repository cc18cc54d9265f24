"""Environment steps until an agent of Stable-Baselines3 solves a small world: GRPO against PPO.

    OMP_NUM_THREADS=1 python -m benchmarks.sb3.steps_to_target [--quick] [--world lock]

Design, fixed before the runs:

* "lock": `CombinationLock-v0` with 6 digits of 4 actions; reward 1 for the whole combination, which
  the uniform policy finds once in 4,096 episodes. "cartpole": `CartPole-v1`, whose environments
  begin from cloned states (`CopiedState`).
* An arm's settings are the same for all seeds; PPO's on CartPole are those of RL Baselines3 Zoo
  (with a constant learning rate and clip range). The size of the lock and GRPO's groups on it were
  chosen on seed 100, which is not among the five of the table; nothing else was tuned here.
* Every 2,000 (lock: 1,000) environment steps or more, the policy as it samples plays 50 episodes
  (CartPole: 20) in environments of its own. Solved means: success in 90 % of them; on CartPole a
  mean return of 450, 90 % of the largest.
* The number is `num_timesteps` at the first such evaluation: all steps of all environments, with
  those that GRPO takes in episodes that are over. A run that does not get there within the budget
  counts as the budget.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecEnv

import reason_env  # noqa: F401 - registers the ids
from reason_env.agents.sb3 import GRPO, CopiedState, StateOption

SEEDS = (0, 1, 2, 3, 4)


@dataclass(frozen=True, kw_only=True)
class World:
    """What is learned, and when it counts as solved."""

    make: Callable[[], gym.Env[Any, Any]]
    every: int
    episodes: int
    target: float
    budget: int


@dataclass(frozen=True, kw_only=True)
class Arm:
    """An algorithm with its settings."""

    algorithm: type[Any]
    num_envs: int
    settings: dict[str, Any]


def lock() -> gym.Env[Any, Any]:
    """Make the sparse lock."""
    return gym.make("CombinationLock-v0", num_steps=6, num_actions=4)


def cartpole() -> gym.Env[Any, Any]:
    """Make CartPole with starts from cloned states."""
    return StateOption(CopiedState(gym.make("CartPole-v1")))


WORLDS = {
    "lock": World(make=lock, every=1000, episodes=50, target=0.9, budget=200_000),
    "cartpole": World(make=cartpole, every=2000, episodes=20, target=450.0, budget=200_000),
}
ARMS = {
    "lock": {
        "ppo": Arm(
            algorithm=PPO,
            num_envs=8,
            settings={"n_steps": 32, "batch_size": 64, "n_epochs": 10, "learning_rate": 1e-3},
        ),
        "sb3-grpo": Arm(
            algorithm=GRPO,
            num_envs=32,
            settings={"n_steps": 6, "group_size": 32, "n_epochs": 10, "learning_rate": 1e-3},
        ),
    },
    "cartpole": {
        "ppo": Arm(
            algorithm=PPO,
            num_envs=8,
            settings={
                "n_steps": 32,
                "batch_size": 256,
                "gae_lambda": 0.8,
                "gamma": 0.98,
                "n_epochs": 20,
                "learning_rate": 1e-3,
            },
        ),
        "sb3-grpo": Arm(
            algorithm=GRPO,
            num_envs=16,
            settings={"n_steps": 500, "group_size": 8, "n_epochs": 10, "learning_rate": 3e-3},
        ),
    },
}


class FirstTime(BaseCallback):
    """Evaluates at intervals of environment steps and stops at the target."""

    def __init__(self, world: World, envs: VecEnv) -> None:
        super().__init__()
        self.world, self.envs = world, envs
        self.next = world.every
        self.solved_at: int | None = None

    def _on_step(self) -> bool:
        return self.solved_at is None

    def _on_rollout_start(self) -> None:
        if self.num_timesteps < self.next:
            return
        self.next = self.num_timesteps + self.world.every
        found, _ = evaluate_policy(
            self.model, self.envs, n_eval_episodes=self.world.episodes, deterministic=False
        )
        if float(found) >= self.world.target:  # pyright: ignore[reportArgumentType]
            self.solved_at = self.num_timesteps


def run(world: World, arm: Arm, seed: int) -> int:
    """Train until solved; return the environment steps."""
    envs = make_vec_env(world.make, n_envs=arm.num_envs, seed=seed)
    own = make_vec_env(world.make, n_envs=10, seed=10_000 + seed)
    model = arm.algorithm("MlpPolicy", envs, seed=seed, device="cpu", **arm.settings)
    callback = FirstTime(world, own)
    model.learn(world.budget, callback=callback)
    return callback.solved_at or world.budget


def main() -> int:
    """Print the steps of each world, arm and seed, and their median."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one seed")
    parser.add_argument("--world", choices=[*WORLDS], help="only one world")
    parser.add_argument("--seed", type=int, help="only this seed")
    given = parser.parse_args()
    torch.set_num_threads(1)
    seeds = (given.seed,) if given.seed is not None else SEEDS[: 1 if given.quick else None]
    for name in [given.world] if given.world else WORLDS:
        for label, arm in ARMS[name].items():
            began = time.process_time()
            found = [run(WORLDS[name], arm, seed) for seed in seeds]
            seconds = time.process_time() - began
            print(
                f"{name:9} {label:9} median {int(statistics.median(found)):7}  "
                f"{' '.join(f'{one:7}' for one in found)}  ({seconds:.0f} s)",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
