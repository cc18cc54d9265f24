"""The values that flow through training: Start -> Trajectory -> Group -> TrainingSample.

A type that exists is complete: nothing here waits to be filled. Each stage is another type.
Axis letters: T tokens of a response, G trajectories of a group.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from reason_env.errors import ConfigError
from reason_env.state import ReasonState, TokenSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Where some episodes begin, and under which context their tokens are learned.

    Raises:
        ConfigError: No sample is asked for, or the trained response is not the sampled one.
    """

    state: ReasonState
    """Sampled from this state: its prompt (with guidance) and its response so far."""
    num_samples: int
    """Episodes from this state."""
    learn_from: ReasonState
    """The state whose prompt the tokens are trained under; `state` itself unless a method hides
    its guidance. The response so far is the same."""
    group: str
    """Explicit key of the group that the episodes are compared in."""
    role: str = "base"
    """What the episodes are for: "base", "reset", "hinted", ... Metrics are given per role."""
    is_auxiliary: bool = False
    """True where the return means nothing (a localisation reply): its tokens are counted, its
    outcome is in no pass rate, and it is never trained on."""
    temperature: float | None = None
    """Sampling temperature of these episodes; None takes the run's."""
    draw: int | None = None
    """Which of the states given to a method's `plan` the episodes belong to, from 0: an iteration
    may draw a problem twice. None outside methods (evaluation, measurements)."""
    max_new_tokens: int | None = None
    """Fewer new tokens than the environment's budget leaves; None for all of them."""

    def __post_init__(self) -> None:
        if self.num_samples < 1:
            raise ConfigError(f"num_samples must be at least 1, got {self.num_samples!r}")
        if self.max_new_tokens is not None and self.max_new_tokens < 1:
            raise ConfigError(f"max_new_tokens must be at least 1, got {self.max_new_tokens!r}")
        if self.learn_from.response != self.state.response:
            raise ConfigError(
                "learn_from must hold the same response as state, got another one; "
                "change only its guidance"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Trajectory:
    """The data of one episode, as the environment ended it."""

    start: Start
    index: int
    """Which of the start's samples, 0..num_samples-1."""
    final_state: ReasonState
    """Where the episode ended; its response begins with `start.state.response`."""
    prompt_ids: tuple[int, ...]
    """[P], the prompt that was sampled under (guidance included)."""
    learn_prompt_ids: tuple[int, ...]
    """[P'], the prompt that it is trained under."""
    behavior_log_probs: tuple[float, ...]
    """[T] nats, for the policy's tokens of this episode, in order."""
    sampled_ids: tuple[int, ...]
    """[S], what the engine generated, the tokens that the environment left out included."""
    episode_return: float
    """Sum of the environment's rewards."""
    is_success: bool
    outcome: str
    """`correct`, `incorrect`, `no_answer`, `timeout`, `error` or `truncated`."""
    policy_version: int
    """Updates the sampling policy had seen."""

    @property
    def num_sampled_tokens(self) -> int:
        """S: what the episode cost."""
        return len(self.sampled_ids)

    @property
    def reply(self) -> str:
        """All that was sampled, as text: what stands behind an answer too, unlike the response."""
        return self.final_state.codec.decode(self.sampled_ids)

    @property
    def prefix_length(self) -> int:
        """Response tokens that were there at the start."""
        return len(self.start.state.response)

    @property
    def completion_ids(self) -> tuple[int, ...]:
        """[T'], what came after the start: the policy's tokens, then at most an env end token."""
        return self.final_state.response[self.prefix_length :]

    @property
    def completion_sources(self) -> tuple[TokenSource, ...]:
        """[T'], who wrote each completion token."""
        return self.final_state.sources[self.prefix_length :]

    @property
    def is_graded(self) -> bool:
        """False where the verifier failed: nothing is known, nothing is trained."""
        return self.outcome not in ("timeout", "error")


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The trajectories of one group key, in order of sampling."""

    key: str
    trajectories: tuple[Trajectory, ...]

    @property
    def graded(self) -> tuple[Trajectory, ...]:
        """Those whose return means something."""
        return tuple(item for item in self.trajectories if item.is_graded)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSample:
    """Tokens to train on, under which context, with which weight.

    >>> sample = TrainingSample(
    ...     context_ids=(5, 6, 7), token_ids=(8, 9, 2), action_mask=(False, True, True),
    ...     behavior_log_probs=(0.0, -0.5, -1.2), advantage=0.75, role="base", group="toy/train/0")
    >>> len(sample.token_ids), sum(sample.action_mask)
    (3, 2)
    """

    context_ids: tuple[int, ...]
    """[P], the prompt trained under."""
    token_ids: tuple[int, ...]
    """[T], the response: prefix and completion."""
    action_mask: tuple[bool, ...]
    """[T], True on the tokens that the policy sampled in this episode."""
    behavior_log_probs: tuple[float, ...]
    """[T] nats under the sampling context; 0 where the mask is False."""
    advantage: float
    """Reward units (or standard deviations of them)."""
    role: str
    group: str
    source: TokenSource = "policy"
    """Who wrote the tokens that are trained: the policy, but where a method imitates a reference
    by an explicit option."""

    def __post_init__(self) -> None:
        if not len(self.token_ids) == len(self.action_mask) == len(self.behavior_log_probs):
            raise ConfigError(
                f"token_ids, action_mask and behavior_log_probs must have one length, got "
                f"{len(self.token_ids)}, {len(self.action_mask)}, {len(self.behavior_log_probs)}"
            )
        if not any(self.action_mask):
            raise ConfigError(
                f"a training sample must hold a sampled token, got none in group {self.group!r}; "
                "drop it before batching"
            )

    def to_dict(self) -> dict[str, Any]:
        """Returns the sample as JSON can hold it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "TrainingSample":
        """Returns the sample of `to_dict`'s value, after JSON or not."""
        return cls(
            context_ids=tuple(value["context_ids"]),
            token_ids=tuple(value["token_ids"]),
            action_mask=tuple(value["action_mask"]),
            behavior_log_probs=tuple(value["behavior_log_probs"]),
            advantage=value["advantage"],
            role=value["role"],
            group=value["group"],
            source=value["source"],
        )


def training_sample(trajectory: Trajectory, advantage: float) -> TrainingSample:
    """Returns the sample that trains exactly the tokens which the policy sampled.

    Tokens of the start's prefix, and an end token that the environment added, are context only.
    """
    prefix = trajectory.prefix_length
    policy = [source == "policy" for source in trajectory.completion_sources]
    log_probs = iter(trajectory.behavior_log_probs)
    return TrainingSample(
        context_ids=trajectory.learn_prompt_ids,
        token_ids=trajectory.final_state.response,
        action_mask=(False,) * prefix + tuple(policy),
        behavior_log_probs=(0.0,) * prefix
        + tuple(next(log_probs) if sampled else 0.0 for sampled in policy),
        advantage=advantage,
        role=trajectory.start.role,
        group=trajectory.start.group,
    )
