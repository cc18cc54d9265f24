"""GRPO as an algorithm of Stable-Baselines3: groups of episodes from one state, no critic.

An iteration resets the environments in groups, each group to one state, and plays one episode in
each environment. The advantage of an episode is that of its return within its group, the same at
each of its steps; the loss is `agents/learning`'s, a row an episode and a token a step. Both are
the functions that train language models, so every estimator and surrogate of theirs works here.

An environment whose episode is over goes on until the slowest of the iteration is over, since a
`VecEnv` steps all of them. Those steps count in `num_timesteps` and are not trained on.

Axis letters: B episodes (one in each environment), T steps, M steps of several episodes together.
Not covered: a reference policy (KL), values of truncated episodes, dict observations.
"""

# Stable-Baselines3 and Gymnasium's spaces are partly untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from collections.abc import Iterator
from typing import Any, ClassVar, Self

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import ActorCriticCnnPolicy, ActorCriticPolicy, BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, Schedule
from stable_baselines3.common.utils import obs_as_tensor
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from reason_env.agents.learning import (
    AdvantageConfig,
    LossConfig,
    LossTotals,
    group_advantages,
    policy_loss,
)
from reason_env.agents.sb3.group_starts import reset_groups
from reason_env.errors import ConfigError

Ints = np.ndarray[Any, np.dtype[np.int64]]
Bools = np.ndarray[Any, np.dtype[np.bool_]]


class EpisodeBuffer(RolloutBuffer):
    """One episode of each environment; `is_step_TB` marks its steps."""

    is_step_TB: Bools

    def reset(self) -> None:
        """Forget all steps."""
        super().reset()
        self.is_step_TB = np.zeros((self.buffer_size, self.n_envs), dtype=np.bool_)

    def mark(self, is_open_B: Bools) -> None:
        """Say of which environments the step that `add` stored last belongs to the episode."""
        self.is_step_TB[self.pos - 1] = is_open_B

    def episode_returns(self, gamma: float) -> np.ndarray[Any, Any]:
        """Compute the return of each episode, [B]."""
        powers_T1 = gamma ** np.arange(self.buffer_size)[:, None]
        return (self.rewards * self.is_step_TB * powers_T1).sum(axis=0, dtype=np.float64)


class GRPO(OnPolicyAlgorithm):
    """Group relative policy optimization, for Discrete and Box actions.

    >>> from stable_baselines3.common.env_util import make_vec_env
    >>> import reason_env
    >>> envs = make_vec_env("ReasonTree-v0", n_envs=8, seed=0, env_kwargs={"num_steps": 2})
    >>> model = GRPO("MlpPolicy", envs, n_steps=3, group_size=4, seed=0, device="cpu")
    >>> model.learn(48).num_timesteps
    48

    Source:
        Shao et al. 2024, arXiv 2402.03300.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": ActorCriticPolicy,
        "CnnPolicy": ActorCriticCnnPolicy,
    }

    def __init__(  # noqa: PLR0917 - as SB3's algorithms take them
        self,
        policy: str | type[ActorCriticPolicy],
        env: GymEnv | str,
        learning_rate: float | Schedule = 3e-4,
        n_steps: int = 200,
        group_size: int = 8,
        batch_size: int | None = None,
        micro_batch_size: int = 4096,
        n_epochs: int = 4,
        gamma: float = 1.0,
        advantage: AdvantageConfig | None = None,
        loss: LossConfig | None = None,
        max_grad_norm: float = 0.5,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: torch.device | str = "auto",
        _init_setup_model: bool = True,
    ) -> None:
        """Build the policy; parameters that are not listed are as for SB3's PPO.

        Args:
            policy: "MlpPolicy", "CnnPolicy", `TokenPolicy`, or another actor-critic policy; the
                critic is not trained.
            env: A multiple of `group_size` environments that can start from a state.
            learning_rate: A number, or a function of the remaining share of the run.
            n_steps: Most steps of an episode; a longer one is cut there, with its return so far.
            group_size: Episodes from one state, at least 2.
            batch_size: Episodes of an optimizer step; None for all of an iteration.
            micro_batch_size: Steps that pass through the policy at once; changes no gradient.
            n_epochs: Passes over the episodes in an iteration.
            gamma: Discount of the return within an episode.
            advantage: The estimator; GRPO's if None.
            loss: The loss; the clipped ratio with a mean over steps if None.
            max_grad_norm: The gradient's norm is clipped to it.
            stats_window_size: Episodes that logged means cover.
            tensorboard_log: Directory of TensorBoard's files; None for none.
            policy_kwargs: Arguments of the policy.
            verbose: 0 prints nothing.
            seed: Seeds weights, actions, environments and the order of the episodes.
            device: Where the policy computes.
            _init_setup_model: False only while a saved model is loaded.

        Raises:
            ConfigError: A number is out of range, the environments do not form groups, or the loss
                needs what is not there.
        """
        super().__init__(
            policy,
            env,
            learning_rate=learning_rate,
            n_steps=n_steps,
            gamma=gamma,
            gae_lambda=1.0,
            ent_coef=0.0,
            vf_coef=0.0,
            max_grad_norm=max_grad_norm,
            use_sde=False,
            sde_sample_freq=-1,
            rollout_buffer_class=EpisodeBuffer,
            stats_window_size=stats_window_size,
            tensorboard_log=tensorboard_log,
            policy_kwargs=policy_kwargs,
            verbose=verbose,
            seed=seed,
            device=device,
            _init_setup_model=False,
            supported_action_spaces=(spaces.Box, spaces.Discrete),
        )
        self.group_size = group_size
        self.batch_size = batch_size
        self.micro_batch_size = micro_batch_size
        self.n_epochs = n_epochs
        self.advantage = advantage or AdvantageConfig()
        self.loss = loss or LossConfig(importance_weight_cap=None)
        self.advantages_B: np.ndarray[Any, Any] = np.zeros(0)
        """Advantage of each episode of the last iteration."""
        if _init_setup_model:
            self._setup_model()

    def _setup_model(self) -> None:
        # Here and not in __init__: a loaded model gets its numbers in between.
        self._check()
        super()._setup_model()

    def _check(self) -> None:
        for name in ("n_steps", "n_epochs", "micro_batch_size", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} must be at least 1, got {value!r}")
        if not 0 < self.gamma <= 1:
            raise ConfigError(f"gamma must be above 0 and at most 1, got {self.gamma!r}")
        self.advantage.check_size(self.group_size, "group_size")
        if isinstance(self.observation_space, spaces.Dict):
            raise ConfigError(
                "observations must be one array, got a dict; use gymnasium's FlattenObservation"
            )
        if self.n_envs % self.group_size:
            raise ConfigError(
                f"the number of environments must be a multiple of group_size {self.group_size}, "
                f"got {self.n_envs}; make them with n_envs={self.group_size}"
            )
        if self.loss.kl_coefficient > 0 or self.loss.temperature not in (None, 1.0):
            raise ConfigError(
                "the loss must have kl_coefficient 0 and temperature None here, got "
                f"{self.loss.kl_coefficient!r} and {self.loss.temperature!r}; there is no "
                "reference policy, and actions are sampled as they are"
            )

    def collect_rollouts(
        self,
        env: VecEnv,
        callback: BaseCallback,
        rollout_buffer: RolloutBuffer,
        n_rollout_steps: int,
    ) -> bool:
        """Play one episode in each environment and compute the advantages.

        Returns:
            False if the callback stopped the training.
        """
        buffer = self._episodes
        self.policy.set_training_mode(False)
        buffer.reset()
        obs: Any = reset_groups(env, self.group_size)
        is_open_B = np.ones(env.num_envs, dtype=np.bool_)
        callback.on_rollout_start()
        while is_open_B.any() and buffer.pos < n_rollout_steps:
            with torch.no_grad():
                seen: Any = obs_as_tensor(obs, self.device)
                actions, values, log_probs = self.policy(seen)
            actions = actions.cpu().numpy()
            new_obs, rewards, dones, infos = env.step(self._within_bounds(actions))
            self.num_timesteps += env.num_envs
            callback.update_locals(locals())
            if not callback.on_step():
                return False
            own = np.flatnonzero(is_open_B).tolist()
            self._update_info_buffer([infos[index] for index in own], dones[own])
            buffer.add(obs, actions, rewards, dones, values, log_probs)
            buffer.mark(is_open_B)
            is_open_B = is_open_B & ~dones
            obs = new_obs
        self._last_obs = obs
        self._compare_episodes(buffer)
        callback.update_locals(locals())
        callback.on_rollout_end()
        return True

    @property
    def _episodes(self) -> EpisodeBuffer:
        assert isinstance(self.rollout_buffer, EpisodeBuffer), "made by _setup_model"
        return self.rollout_buffer

    def _within_bounds(self, actions: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        if not isinstance(self.action_space, spaces.Box):
            return actions
        return np.clip(actions, self.action_space.low, self.action_space.high)

    def _compare_episodes(self, buffer: EpisodeBuffer) -> None:
        returns_B = buffer.episode_returns(self.gamma)
        groups = returns_B.reshape(-1, self.group_size)
        parts = [group_advantages(group.tolist(), self.advantage) for group in groups]
        self.advantages_B = np.concatenate(parts)
        silent = [not part.any() for part in parts]
        self.logger.record("rollout/return_mean", float(returns_B.mean()))
        self.logger.record("rollout/groups_without_signal_fraction", float(np.mean(silent)))
        idle = 1 - buffer.is_step_TB.sum() / (buffer.pos * buffer.n_envs)
        self.logger.record("rollout/idle_steps_fraction", float(idle))

    def train(self) -> None:
        """Take the optimizer steps of an iteration, on its episodes in random order."""
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        size = self.batch_size or self.n_envs
        found: list[dict[str, float]] = []
        for _ in range(self.n_epochs):
            # NumPy's global generator, which `set_random_seed` seeds, as all buffers of SB3 do.
            order_B = np.random.permutation(self.n_envs)
            for begin in range(0, self.n_envs, size):
                found += self._update(order_B[begin : begin + size])
        self._n_updates += len(found)
        for name in found[0] if found else ():
            self.logger.record(f"train/{name}", float(np.mean([own[name] for own in found])))
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")

    def _update(self, rows_B: Ints) -> list[dict[str, float]]:
        """Take one optimizer step on some episodes; none if no episode has a gradient."""
        is_step_BT = self._episodes.is_step_TB.T[rows_B]
        totals = LossTotals.of(torch.from_numpy(is_step_BT), max_tokens=self.n_steps)
        trained = self.loss.trains_without_advantage | (self.advantages_B[rows_B] != 0)
        if not trained.any():
            return []
        optimizer: Any = self.policy.optimizer
        optimizer.zero_grad()
        parts = [
            self._accumulate(part_B, totals) for part_B in self._micro_batches(rows_B[trained])
        ]
        torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
        optimizer.step()
        sums = {name: sum(part[name] for part in parts) for name in parts[0]}
        num_steps = sums.pop("tokens")
        return [{"loss": sums.pop("loss")} | {name: sums[name] / num_steps for name in sums}]

    def _micro_batches(self, rows_B: Ints) -> Iterator[Ints]:
        """Split episodes into parts of at most `micro_batch_size` steps, at least one episode."""
        lengths_B = self._episodes.is_step_TB.sum(axis=0)[rows_B]
        part: list[int] = []
        size = 0
        for row, length in zip(rows_B.tolist(), lengths_B.tolist(), strict=True):
            if part and size + length > self.micro_batch_size:
                yield np.array(part)
                part, size = [], 0
            part.append(row)
            size += length
        yield np.array(part)

    def _accumulate(self, rows_B: Ints, totals: LossTotals) -> dict[str, float]:
        """Add the gradient of some episodes' share of the loss; return what to log of it."""
        buffer = self._episodes
        mask_BT = torch.from_numpy(buffer.is_step_TB.T[rows_B]).to(self.device)
        index, times_M = np.nonzero(buffer.is_step_TB.T[rows_B])
        places = (times_M, rows_B[index])
        actions_M: Tensor = buffer.to_torch(buffer.actions[places])
        if isinstance(self.action_space, spaces.Discrete):
            actions_M = actions_M.long().flatten()
        _, log_probs_M, entropy_M = self.policy.evaluate_actions(
            buffer.to_torch(buffer.observations[places]), actions_M
        )

        def placed(values_M: Tensor) -> Tensor:
            return values_M.new_zeros(mask_BT.shape).masked_scatter(mask_BT, values_M)

        old_BT = placed(buffer.to_torch(buffer.log_probs[places]))
        advantages_B1 = buffer.to_torch(self.advantages_B[rows_B].astype(np.float32))[:, None]
        output = policy_loss(
            placed(log_probs_M),
            old_BT,
            advantages_B1.expand(mask_BT.shape),
            mask_BT,
            config=self.loss,
            totals=totals,
            # The policy that sampled is the policy before the first update, number for number.
            behavior_log_probs_BT=old_BT if self.loss.needs_behavior else None,
            # Without a closed form, -log pi is an unbiased estimate.
            entropy_BT=placed(-log_probs_M if entropy_M is None else entropy_M),
        )
        output.loss.backward()
        sums = {name: float(values.sum()) for name, values in output.rows.items()}
        return {
            "loss": output.loss.item(),
            "tokens": sums["tokens"],
            "approx_kl": sums["kl_old_policy"],
            "clip_fraction": sums["clip_low"] + sums["clip_high"],
            "entropy": sums["entropy"],
        }

    def learn(  # noqa: PLR0917 - as the base class has them
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 1,
        tb_log_name: str = "GRPO",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Train until the environments have taken `total_timesteps` steps together."""
        return super().learn(
            total_timesteps,
            callback,
            log_interval,
            tb_log_name,
            reset_num_timesteps,
            progress_bar,
        )
