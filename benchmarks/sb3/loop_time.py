"""Share of the environment in the CPU time of a PPO loop.

    OMP_NUM_THREADS=1 python -m benchmarks.sb3.loop_time

Design: 64 environments of the `chain` family, levels 1 to 4, 64 steps an iteration, in batches of
512; the first iteration is not counted, the next two are. "language model" is MaskablePPO from the
base model with one epoch; "MLP" is PPO with the default policy and the default 10 epochs. The
environment's time is all that happens inside `TokenVecEnv`: steps, automatic resets, grading and
masks, in CPU time of this process. The claim is a share below 20 %.
"""

import time
from typing import Any

import torch
from sb3_contrib import MaskablePPO
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback

from reason_env.agents.sb3 import MaskableTokenPolicy, TokenVecEnv

NUM_ENVS, NUM_STEPS, ITERATIONS = 64, 64, 3


class TimedVecEnv(TokenVecEnv):
    """Sums the CPU time inside the adapter."""

    seconds = 0.0

    def step_wait(self) -> Any:
        """Step, timed."""
        began = time.process_time()
        found = super().step_wait()
        self.seconds += time.process_time() - began
        return found

    def env_method(self, *args: Any, **settings: Any) -> list[Any]:
        """Call a method, timed."""
        began = time.process_time()
        found = super().env_method(*args, **settings)
        self.seconds += time.process_time() - began
        return found


class Warm(BaseCallback):
    """Starts the clocks after the first iteration."""

    began = 0.0

    def __init__(self, envs: TimedVecEnv) -> None:
        super().__init__()
        self.envs = envs

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        if self.num_timesteps == NUM_ENVS * NUM_STEPS:
            self.envs.seconds, self.began = 0.0, time.process_time()


def environments() -> TimedVecEnv:
    """Make the environments."""
    return TimedVecEnv.make(
        NUM_ENVS, problems="chain", levels=(1, 4), max_tokens=80, max_prompt_tokens=64
    )


def language_model(envs: TimedVecEnv) -> MaskablePPO:
    """Make the agent that begins as the base model."""
    return MaskablePPO(
        MaskableTokenPolicy,
        envs,
        n_steps=NUM_STEPS,
        batch_size=512,
        n_epochs=1,
        gamma=1.0,
        learning_rate=1e-5,
        seed=0,
        device="cpu",
    )


def mlp(envs: TimedVecEnv) -> PPO:
    """Make Stable-Baselines3's default agent."""
    return PPO("MlpPolicy", envs, n_steps=NUM_STEPS, batch_size=512, seed=0, device="cpu")


def main() -> int:
    """Print the share of both agents."""
    torch.set_num_threads(1)
    steps = NUM_ENVS * NUM_STEPS * (ITERATIONS - 1)
    shares: list[float] = []
    for name, make in (("language model", language_model), ("MLP", mlp)):
        envs = environments()
        warm = Warm(envs)
        make(envs).learn(NUM_ENVS * NUM_STEPS * ITERATIONS, callback=warm)
        total = time.process_time() - warm.began
        shares.append(envs.seconds / total)
        print(
            f"{name:14}: {steps / total:6.0f} steps a second of CPU time; environment "
            f"{shares[-1]:.1%} of the loop, {1e6 * envs.seconds / steps:.0f} us a step",
            flush=True,
        )
    return 0 if max(shares) < 0.2 else 1


if __name__ == "__main__":
    raise SystemExit(main())
