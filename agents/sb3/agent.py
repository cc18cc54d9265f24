"""Agent: an algorithm of Stable-Baselines3 as the learner of a run, an iteration at a time.

An iteration is what `learn` does in one: `collect_rollouts`, then `train`. All randomness comes
from seeds: torch's and NumPy's global generators, which Stable-Baselines3 draws from, have the seed
of the iteration inside a call and their former state after it. With the weights, the optimizer and
the open episodes, which `state_dict` holds, an agent therefore continues exactly.

Not covered: callbacks and TensorBoard of Stable-Baselines3; a run has its own metrics.
"""

# Stable-Baselines3 is partly untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false

import math
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from sb3_contrib import MaskablePPO
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from reason_env.agents.learning import LearnerConfig, schedule_factor
from reason_env.agents.methods import (
    ActorCriticConfig,
    SB3Config,
    SB3GRPOConfig,
    SB3MaskablePPOConfig,
    SB3PPOConfig,
)
from reason_env.agents.metrics import Number
from reason_env.agents.policy import LanguageModelPolicy
from reason_env.agents.rollout import Trajectory
from reason_env.agents.sb3.gradient_norms import GradientNorms
from reason_env.agents.sb3.grpo import GRPO, EpisodeBuffer
from reason_env.agents.sb3.language_model import MaskableTokenPolicy, TokenPolicy
from reason_env.agents.sb3.recorded import NextGroup, OpenEpisode, RecordedEpisodes
from reason_env.codec import Codec
from reason_env.errors import TrainingError
from reason_env.vector_env import ReasonVectorEnv


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """What an agent collected in an iteration."""

    trajectories: tuple[Trajectory, ...]
    """The episodes that ended, in the order of their environments if each plays one, else in the
    order of their ends."""
    advantages: tuple[float, ...] | None
    """Advantage of each of them; None if an advantage belongs to a token."""
    num_steps: int
    """Environment steps, each of one generated token."""


class Agent:
    """An algorithm with its environments and its language model."""

    def __init__(
        self,
        model: Any,
        episodes: RecordedEpisodes,
        policy: LanguageModelPolicy,
        next_group: NextGroup,
    ) -> None:
        """Take an algorithm that has not learned yet.

        Args:
            model: The algorithm, on `episodes`.
            episodes: Its environments.
            policy: The language model in its policy.
            next_group: Draws starts for environments without an episode.
        """
        self._next_group = next_group
        self.model: Any = model
        self._plays_once = isinstance(model, GRPO)
        self.episodes = episodes
        self.policy = policy
        self.model.set_logger(Logger(None, []))
        self.model.policy.register_forward_hook(self._note)
        self.model.policy.optimizer.register_step_post_hook(lambda *_: policy.mark_updated())
        self._norms = GradientNorms(self.model.policy, self.model.policy.optimizer)
        self._callback: Any = None

    def collect(self, seed: int) -> Rollout:
        """Collect an iteration's steps.

        Args:
            seed: Of the actions.
        """
        model, episodes = self.model, self.episodes
        before = episodes.num_steps
        if not self._has_open_episodes:
            self._begin()
        if self._callback is None:
            _, self._callback = model._setup_learn(1, None, reset_num_timesteps=False)
        with seeded(seed, model.device):
            model.collect_rollouts(
                episodes, self._callback, model.rollout_buffer, n_rollout_steps=model.n_steps
            )
        ended = episodes.take()
        advantages = None
        if self._plays_once:
            ended.sort(key=lambda pair: pair[0])
            advantages = tuple(float(model.advantages_B[index]) for index, _ in ended)
        return Rollout(
            trajectories=tuple(item for _, item in ended),
            advantages=advantages,
            num_steps=episodes.num_steps - before,
        )

    def update(self, seed: int, run_share: float) -> dict[str, Number]:
        """Learn from what was collected last; return the metrics of the update.

        Args:
            seed: Of the order of the samples.
            run_share: Share of the run that was done before the iteration, for the schedule.

        Raises:
            TrainingError: Weights are not finite; the last checkpoint holds the run.
        """
        model = self.model
        model._current_progress_remaining = 1.0 - run_share
        version = self.policy.policy_version
        with seeded(seed, model.device):
            model.train()
        self._check_finite()
        logged = dict(model.logger.name_to_value)
        model.logger.name_to_value.clear()
        norm = self._norms.take_mean()
        return {
            **update_metrics(logged, model),
            **({} if norm is None else {"update/grad_norm": norm}),
            "update/num_updates": self.policy.policy_version - version,
        }

    def give_every_episode_a_signal(self) -> None:
        """Replace the advantages of the episodes collected last by 1 and -1, for a measurement."""
        advantages_B = self.model.advantages_B
        self.model.advantages_B = 1.0 - 2.0 * (np.arange(len(advantages_B)) % 2)

    def state_dict(self) -> dict[str, Any]:
        """Return what continues the agent, besides the language model's weights."""
        return {
            "optimizer": self.model.policy.optimizer.state_dict(),
            "critic": dict(self._critic),
            "num_timesteps": self.model.num_timesteps,
            "episodes": [own.to_dict() for own in self.episodes.open if own is not None]
            if self._has_open_episodes
            else [],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned; the language model is loaded already."""
        model = self.model
        model.policy.optimizer.load_state_dict(state["optimizer"])
        for name, value in self._critic.items():
            value.data.copy_(state["critic"][name])
        model.num_timesteps = state["num_timesteps"]
        codec = self.policy.codec
        found = [OpenEpisode.from_dict(own, codec) for own in state["episodes"]]
        if found:
            self._continue(found)

    def _check_finite(self) -> None:
        broken = sum(not value.isfinite().all() for value in self.model.policy.parameters())
        if broken:
            raise TrainingError(
                f"weights must be finite after an update, got {broken} tensors with others after "
                f"update {self.policy.policy_version}; lower the learning rate, and start again "
                "from the model of the last checkpoint"
            )

    @property
    def _has_open_episodes(self) -> bool:
        """Whether episodes go on from the last iteration."""
        return not self._plays_once and None not in self.episodes.open

    @property
    def _critic(self) -> dict[str, torch.nn.Parameter]:
        """The parameters that the language model does not have, by name."""
        shared = {id(value) for value in self.policy.model.parameters()}
        named = self.model.policy.named_parameters()
        return {name: value for name, value in named if id(value) not in shared}

    def _begin(self) -> None:
        found: list[OpenEpisode] = []
        while len(found) < self.episodes.num_envs:
            found += self._next_group()
        self._continue(found)

    def _continue(self, found: Sequence[OpenEpisode]) -> None:
        model, episodes = self.model, self.episodes
        episodes.begin(found)
        # GRPO resets its groups itself; any observation keeps `_setup_learn` from a reset.
        model._last_obs = np.zeros(0) if self._plays_once else episodes.reset()
        model._last_episode_starts = np.array([not own.token_ids for own in found])

    def _note(self, module: Any, inputs: Any, output: Any) -> None:
        """Give the environments the log-probabilities of the actions that come next."""
        self.episodes.note(output[2].detach().flatten().tolist())


def update_metrics(logged: Mapping[str, Any], model: Any) -> dict[str, Number]:
    """Convert what an algorithm logged in an update to metrics of a run."""
    found: dict[str, Number] = {
        "update/learning_rate": float(logged["train/learning_rate"]),
        "update/tokens": int(model.rollout_buffer.pos * model.n_envs),
    }
    if isinstance(model.rollout_buffer, EpisodeBuffer):
        found["update/tokens"] = int(model.rollout_buffer.is_step_TB.sum())
        if "train/loss" not in logged:  # no group had a signal
            return found
        return found | {
            "loss/total": float(logged["train/loss"]),
            "update/entropy": float(logged["train/entropy"]),
            "update/kl_old_policy": float(logged["train/approx_kl"]),
            "update/clip_fraction": float(logged["train/clip_fraction"]),
        }
    policy = logged.get("train/policy_gradient_loss", logged.get("train/policy_loss"))
    entropy = float(logged["train/entropy_loss"])
    parts = {
        "loss/policy": float(policy),
        "loss/value": model.vf_coef * float(logged["train/value_loss"]),
        "loss/entropy": model.ent_coef * entropy,
    }
    variance = float(logged["train/explained_variance"])
    found |= parts | {
        "loss/total": sum(parts.values()),
        "update/entropy": -entropy,
        # Undefined while all returns are equal.
        "update/explained_variance": variance if math.isfinite(variance) else None,
        "advantage/mean_abs": float(np.abs(model.rollout_buffer.advantages).mean()),
    }
    if "train/approx_kl" in logged:
        found["update/kl_old_policy"] = float(logged["train/approx_kl"])
        found["update/clip_fraction"] = float(logged["train/clip_fraction"])
    return found


@contextmanager
def seeded(seed: int, device: torch.device) -> Generator[None]:
    """Give torch's and NumPy's global generators a seed inside the block.

    >>> with seeded(7, torch.device("cpu")):
    ...     first = torch.rand(1).item(), np.random.rand()
    >>> _ = torch.rand(1), np.random.rand()
    >>> with seeded(7, torch.device("cpu")):
    ...     first == (torch.rand(1).item(), np.random.rand())
    True
    """
    state = np.random.get_state()
    with torch.random.fork_rng(devices=[] if device.type == "cpu" else [device]):
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)
        try:
            yield
        finally:
            np.random.set_state(state)


def build_agent(
    config: SB3Config,
    learner: LearnerConfig,
    *,
    model: str,
    codec: Codec,
    envs: ReasonVectorEnv,
    stack: gym.Env[Any, Any],
    next_group: NextGroup,
    device: str,
    max_batch_size: int,
    seed: int,
) -> Agent:
    """Build an algorithm of Stable-Baselines3.

    Args:
        config: Which algorithm, and its numbers.
        learner: With a number as learning rate.
        model: The language model that the policy begins as.
        codec: The model's, with the steps of the environment.
        envs: One environment for each episode that runs at once.
        stack: The run's environment.
        next_group: Draws the next start of the run.
        device: Where the policy computes.
        max_batch_size: Sequences that evaluation samples at once.
        seed: Of random weights.
    """
    is_grpo = isinstance(config, SB3GRPOConfig)
    episodes = RecordedEpisodes(envs, stack=stack, next_group=next_group, goes_on=not is_grpo)
    rate = learner.learning_rate
    assert rate is not None, "with_learning_rate has chosen one"
    epochs, updates = config.num_updates
    shared: dict[str, Any] = {
        "env": episodes,
        "learning_rate": lambda left: rate * schedule_factor(learner.schedule, 1.0 - left),
        "gamma": config.discount,
        "max_grad_norm": math.inf if learner.max_grad_norm is None else learner.max_grad_norm,
        "policy_kwargs": {
            "model": model,
            "weights": config.weights,
            "optimizer_class": torch.optim.AdamW,
            "optimizer_kwargs": {"betas": learner.betas, "weight_decay": learner.weight_decay},
        },
        "device": device,
    }
    with seeded(seed, torch.device(device)):
        if isinstance(config, SB3GRPOConfig):
            algorithm: OnPolicyAlgorithm = GRPO(
                TokenPolicy,
                n_steps=envs.env.rules.max_tokens,
                group_size=config.group_size,
                batch_size=envs.num_envs // updates,
                n_epochs=epochs,
                advantage=config.advantage,
                loss=config.loss,
                **shared,
            )
        else:
            algorithm = _actor_critic(config, shared, envs.num_envs)
    extractor: Any = algorithm.policy.features_extractor
    policy = LanguageModelPolicy(
        extractor.model, codec, device=device, max_batch_size=max_batch_size
    )
    return Agent(algorithm, episodes, policy, next_group)


def _actor_critic(config: SB3Config, shared: dict[str, Any], num_envs: int) -> OnPolicyAlgorithm:
    assert isinstance(config, ActorCriticConfig), "the other algorithm is GRPO"
    numbers: dict[str, Any] = {
        "n_steps": config.num_steps,
        "gae_lambda": config.gae_lambda,
        "ent_coef": config.entropy_coefficient,
        "vf_coef": config.value_coefficient,
    }
    numbers |= shared
    if not isinstance(config, SB3PPOConfig):
        return A2C(TokenPolicy, **numbers)
    numbers |= {
        "batch_size": num_envs * config.num_steps // config.updates_per_epoch,
        "n_epochs": config.num_epochs,
        "clip_range": config.clip_range,
    }
    if isinstance(config, SB3MaskablePPOConfig):
        return MaskablePPO(MaskableTokenPolicy, **numbers)
    return PPO(TokenPolicy, **numbers)
