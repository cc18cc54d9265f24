"""RecordedEpisodes: the environments of a run, whose finished episodes become trajectories.

The run draws every start, and each finished response is stepped once more through the run's own
stack. So start wrappers, curricula, shaped rewards and recorders act as they do for language-model
methods, on one stack that all episodes share, and the metrics and the files of a run come from the
same `Trajectory`. The stack's return is the reward of an episode's last token; its other tokens
have 0.

An episode that is over is followed by a new one, or, where each environment plays one episode
(GRPO), by idle steps that nobody records.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np

from reason_env.agents.engines import Completion
from reason_env.agents.rollout import Start, Trajectory, run_episode
from reason_env.agents.sb3.vec_env import TokenVecEnv
from reason_env.codec import Codec
from reason_env.env import StartMemories
from reason_env.errors import ConfigError
from reason_env.state import ReasonState
from reason_env.vector_env import ReasonVectorEnv


@dataclass(slots=True, kw_only=True)
class OpenEpisode:
    """An episode that is not over, with what was sampled in it."""

    start: Start
    memories: StartMemories
    """What the start wrappers of the stack remember of the start."""
    index: int
    """Number among the start's episodes."""
    policy_version: int
    """Updates before its first token."""
    token_ids: list[int]
    log_probs: list[float]

    @property
    def state(self) -> ReasonState:
        """The current state."""
        start = self.start.state
        return start.extend(self.token_ids) if self.token_ids else start

    def to_dict(self) -> dict[str, Any]:
        """Convert the episode to a JSON-able dict."""
        return {
            "state": self.start.state.to_json(),
            "group": self.start.group,
            "memories": [dict(own) for own in self.memories],
            "index": self.index,
            "policy_version": self.policy_version,
            "token_ids": list(self.token_ids),
            "log_probs": list(self.log_probs),
        }

    @classmethod
    def from_dict(cls, value: dict[str, Any], codec: Codec) -> "OpenEpisode":
        """Rebuild an episode from `to_dict`'s value."""
        state = ReasonState.from_json(value["state"], codec)
        return cls(
            start=start_of(state, value["group"]),
            memories=value["memories"],
            index=value["index"],
            policy_version=value["policy_version"],
            token_ids=list(value["token_ids"]),
            log_probs=list(value["log_probs"]),
        )


NextGroup = Callable[[], Sequence[OpenEpisode]]
"""Draws the next start of the run, and gives the episodes that begin there together."""


def start_of(state: ReasonState, group: str, num_samples: int = 1) -> Start:
    """Make a start that is trained under the prompt that it is sampled under."""
    return Start(state=state, num_samples=num_samples, learn_from=state, group=group)


class RecordedEpisodes(TokenVecEnv):
    """Environments that draw starts from a run and give it their trajectories."""

    def __init__(
        self,
        envs: ReasonVectorEnv,
        *,
        stack: gym.Env[Any, Any],
        next_group: NextGroup,
        goes_on: bool,
    ) -> None:
        """Adapt a vector environment.

        Args:
            envs: As for `TokenVecEnv`, with the problems, codec and rules of the stack.
            stack: The run's environment, with whole responses as actions.
            next_group: Draws the start of an episode that follows another.
            goes_on: Whether an episode follows an episode that is over.
        """
        self.open: list[OpenEpisode | None] = [None] * envs.num_envs
        """The episode in each environment; None: idle steps."""
        self.num_steps = 0
        """Environment steps so far, idle ones included."""
        self._run_env, self._next_group, self._goes_on = stack, next_group, goes_on
        self._log_probs: list[float] = [0.0] * envs.num_envs
        self._idle: list[ReasonState] = []
        self._finished: list[tuple[int, Trajectory]] = []
        self._ended: dict[int, Trajectory] = {}
        super().__init__(envs)

    def begin(self, episodes: Sequence[OpenEpisode]) -> None:
        """Continue these episodes, one in each environment, at the next reset."""
        self.open = list(episodes)
        self._idle = [own.start.state for own in episodes]
        self.set_options([{"state": own.state} for own in episodes])

    def note(self, log_probs: Sequence[float]) -> None:
        """Note the log-probabilities of the actions of the next step, in nats."""
        self._log_probs = list(log_probs)

    def take(self) -> list[tuple[int, Trajectory]]:
        """Return (environment, trajectory) of the episodes that ended since the last call."""
        found, self._finished = self._finished, []
        return found

    def step_async(self, actions: np.ndarray[Any, Any]) -> None:
        """Keep the actions for `step_wait`, and record those of open episodes."""
        super().step_async(actions)
        self.num_steps += self.num_envs
        sampled = np.asarray(actions).reshape(-1).tolist()
        for own, token, log_prob in zip(self.open, sampled, self._log_probs, strict=True):
            if own is not None:
                own.token_ids.append(token)
                own.log_probs.append(log_prob)

    def step_wait(self) -> Any:
        """Take one token in each episode; those that are over get the stack's return."""
        self._ended = {}
        ids, rewards, dones, infos = super().step_wait()
        for index, item in self._ended.items():
            if item.outcome != infos[index]["outcome"]:
                raise ConfigError(
                    "the wrappers of a stack must leave a response as it is, got the outcome "
                    f"{item.outcome!r} instead of {infos[index]['outcome']!r}; leave out those "
                    "that change actions"
                )
            rewards[index] = item.episode_return
        return ids, rewards, dones, infos

    def _reset(
        self,
        mask: np.ndarray[Any, Any],
        states: Sequence[ReasonState | None],
        seeds: Sequence[int | None],
    ) -> np.ndarray[Any, Any]:
        """Start the masked episodes; those without a given state are over."""
        chosen = list(states)
        over = [index for index in np.flatnonzero(mask).tolist() if chosen[index] is None]
        for index in over:
            self._finish(index)
        for index in over:
            chosen[index] = self._follow(index)
        return super()._reset(mask, chosen, seeds)

    def _finish(self, index: int) -> None:
        own = self.open[index]
        if own is None:
            return
        completion = Completion(
            token_ids=tuple(own.token_ids), log_probs=tuple(own.log_probs), is_finished=True
        )
        item = run_episode(
            self._run_env,
            own.start,
            own.index,
            memories=own.memories,
            trajectory_id=f"{own.start.group}/{own.index}",
            completion=completion,
            policy_version=own.policy_version,
        )
        self._ended[index] = item
        self._finished.append((index, item))

    def _follow(self, index: int) -> ReasonState:
        """Choose the next start of an environment."""
        if self._goes_on:
            (following,) = self._next_group()
            self.open[index] = following
            return following.state
        # Any start serves the idle steps; its own is known to fit.
        self.open[index] = None
        return self._idle[index]
