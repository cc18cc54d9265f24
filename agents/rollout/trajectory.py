"""The values that flow through training: Start -> Trajectory -> Group -> TrainingSample.

Each stage is another type, complete when it is constructed: no field is filled in later.
Axis letters: T tokens of a response, G trajectories of a group.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from reason_env.errors import ConfigError
from reason_env.state import ReasonState, TokenSource

UNDECIDED = ("timeout", "error")
"""Outcomes of a verifier that could not decide."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Where some episodes begin, and under which context their tokens are trained.

    Raises:
        ConfigError: A count is below 1, or `learn_from` holds another response than `state`.
    """

    state: ReasonState
    """The episodes continue this state: its prompt (with guidance) and its response so far."""
    num_samples: int
    """Episodes from this state."""
    learn_from: ReasonState
    """The state whose prompt the tokens are trained under: `state` itself or, if a method hides the
    guidance, a state with the same response and less guidance."""
    group: str
    """Key of the group whose members the episodes are compared with."""
    role: str = "base"
    """Purpose of the episodes: "base", "reset", "hinted", ... Metrics are reported by role."""
    is_auxiliary: bool = False
    """True if the return means nothing (a localisation reply): the tokens are counted, but the
    outcome enters no pass rate, and the episode is never trained on."""
    temperature: float | None = None
    """Sampling temperature of these episodes; None: that of the run."""
    draw: int | None = None
    """Which of the states given to a method's `plan` the episodes belong to, from 0: an iteration
    may draw a problem twice. None outside methods (evaluation, measurements)."""
    max_new_tokens: int | None = None
    """Limit of new tokens below what the environment's budget leaves; None: only the budget."""
    parent_id: str | None = None
    """The trajectory that the state is cut out of, if the episodes are its branches: the state
    holds its first `len(state.response)` tokens. None: no branches."""
    keeps_entropies: bool = False
    """Whether the trajectories keep the entropy of each sampled token's distribution; set for all
    starts of a method with `needs_entropies`."""

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
    """The data of one finished episode."""

    trajectory_id: str
    """Unique in a run: the seed of the `collect` and a number within it."""
    start: Start
    index: int
    """Number among the start's samples, 0..num_samples-1."""
    final_state: ReasonState
    """State at the end of the episode; the response begins with `start.state.response`."""
    prompt_ids: tuple[int, ...]
    """[P], the prompt that the policy sampled under (guidance included)."""
    learn_prompt_ids: tuple[int, ...]
    """[P'], the prompt that the tokens are trained under."""
    behavior_log_probs: tuple[float, ...]
    """[T] nats, of the tokens that the policy sampled in this episode, in order."""
    sampled_ids: tuple[int, ...]
    """[S], all generated tokens, with those that the environment dropped after the end."""
    episode_return: float
    """Sum of the environment's rewards."""
    is_success: bool
    outcome: str
    """`correct`, `incorrect`, `no_answer`, `timeout`, `error` or `truncated`."""
    policy_version: int
    """Updates before the episode was sampled."""
    is_left_out: bool = False
    """True if the verifier could not decide and `RewardConfig.undecided` leaves that out."""
    entropies: tuple[float, ...] | None = None
    """[T] nats, of the distributions that the tokens of `behavior_log_probs` were drawn from; None
    if the start keeps none."""
    staleness: int = 0
    """Changes of the weights between those that it was sampled from and the policy's."""

    @property
    def num_sampled_tokens(self) -> int:
        """S, the generated tokens that a budget counts."""
        return len(self.sampled_ids)

    @property
    def reply(self) -> str:
        """Everything that was sampled, as text; unlike the response, text after an answer too."""
        return self.final_state.codec.decode(self.sampled_ids)

    @property
    def prefix_length(self) -> int:
        """Response tokens of the start state."""
        return len(self.start.state.response)

    @property
    def completion_ids(self) -> tuple[int, ...]:
        """[T'], the tokens after the start: the policy's, then at most an end token of the env."""
        return self.final_state.response[self.prefix_length :]

    @property
    def completion_sources(self) -> tuple[TokenSource, ...]:
        """[T'], who wrote each completion token."""
        return self.final_state.sources[self.prefix_length :]

    @property
    def is_undecided(self) -> bool:
        """True if the verifier failed or ran out of its budget."""
        return self.outcome in UNDECIDED

    @property
    def is_graded(self) -> bool:
        """False if the episode is left out: it enters no mean, and nothing is trained on it."""
        return not self.is_left_out


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The trajectories of one group key, in order of sampling."""

    key: str
    trajectories: tuple[Trajectory, ...]

    @property
    def graded(self) -> tuple[Trajectory, ...]:
        """The trajectories that count: all but those that are left out."""
        return tuple(item for item in self.trajectories if item.is_graded)

    @property
    def decided(self) -> tuple[Trajectory, ...]:
        """The trajectories that the verifier could judge; evaluation counts only these."""
        return tuple(item for item in self.trajectories if not item.is_undecided)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSample:
    """Tokens to train on, the context they are trained under, and their weight.

    >>> sample = TrainingSample(
    ...     context_ids=(5, 6, 7), token_ids=(8, 9, 2), action_mask=(False, True, True),
    ...     behavior_log_probs=(0.0, -0.5, -1.2), advantage=0.75, role="base", group="toy/train/0")
    >>> len(sample.token_ids), sum(sample.action_mask), sample.advantages
    (3, 2, (0.0, 0.75, 0.75))
    >>> sample.scaled(2.0).advantage, replace(sample, advantage=(0.0, 0.5, -1.0)).advantages
    (1.5, (0.0, 0.5, -1.0))
    """

    context_ids: tuple[int, ...]
    """[P], the prompt that the tokens are trained under."""
    token_ids: tuple[int, ...]
    """[T], the response: prefix and completion."""
    action_mask: tuple[bool, ...]
    """[T], True on the tokens that the policy sampled in this episode."""
    behavior_log_probs: tuple[float, ...]
    """[T] nats under the sampling context; 0 where the mask is False."""
    advantage: float | tuple[float, ...]
    """Reward units (or standard deviations of them): one number for all trained tokens, or [T], a
    number for each token, 0 where the mask is False. `advantages` has the second form of both."""
    role: str
    group: str
    source: TokenSource = "policy"
    """Who wrote the trained tokens: the policy, unless a method's option imitates a reference."""
    trajectory_id: str | None = None
    """The trajectory whose tokens these are; None if they are a reference's."""
    teacher_context_ids: tuple[int, ...] | None = None
    """[P''], the prompt under which a teacher scores the tokens, if the loss has one; None: the
    prompt that they are trained under."""

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
        if isinstance(self.advantage, tuple):
            self._check_advantages(self.advantage)

    def _check_advantages(self, advantages: tuple[float, ...]) -> None:
        if len(advantages) != len(self.token_ids):
            raise ConfigError(
                f"advantages of tokens must be one for each of the {len(self.token_ids)} "
                f"token_ids, got {len(advantages)} in group {self.group!r}; give 0 to tokens that "
                "are not trained, or use training_sample"
            )
        outside = sum(
            value != 0 and not sampled
            for value, sampled in zip(advantages, self.action_mask, strict=True)
        )
        if outside:
            raise ConfigError(
                f"advantages must be 0 where action_mask is False, got {outside} others in group "
                f"{self.group!r}; these tokens are not trained"
            )

    @property
    def advantages(self) -> tuple[float, ...]:
        """[T], the advantage of each token; 0 where the mask is False."""
        if isinstance(self.advantage, tuple):
            return self.advantage
        return tuple(self.advantage if sampled else 0.0 for sampled in self.action_mask)

    @property
    def has_signal(self) -> bool:
        """Whether the advantage of a trained token is not 0."""
        return any(self.advantage) if isinstance(self.advantage, tuple) else self.advantage != 0

    @property
    def mean_abs_advantage(self) -> float:
        """Mean over the trained tokens of the absolute advantage."""
        if isinstance(self.advantage, tuple):
            return sum(map(abs, self.advantage)) / sum(self.action_mask)
        return abs(self.advantage)

    def scaled(self, factor: float) -> "TrainingSample":
        """Multiply the advantage of every token by a factor."""
        own = self.advantage
        scaled = tuple(factor * x for x in own) if isinstance(own, tuple) else own * factor
        return replace(self, advantage=scaled)

    def to_dict(self) -> dict[str, Any]:
        """Convert the sample to a JSON-able dict."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "TrainingSample":
        """Rebuild a sample from `to_dict`'s value, before or after JSON."""
        shown = value.get("teacher_context_ids")
        return cls(
            context_ids=tuple(value["context_ids"]),
            token_ids=tuple(value["token_ids"]),
            action_mask=tuple(value["action_mask"]),
            behavior_log_probs=tuple(value["behavior_log_probs"]),
            advantage=_read_advantage(value["advantage"]),
            role=value["role"],
            group=value["group"],
            source=value["source"],
            # Absent in files of version 0.1.
            trajectory_id=value.get("trajectory_id"),
            teacher_context_ids=None if shown is None else tuple(shown),
        )


def training_sample(trajectory: Trajectory, advantage: float | Sequence[float]) -> TrainingSample:
    """Build the sample that trains exactly the tokens that the policy sampled.

    Tokens of the start's prefix and an end token that the environment added are context only.

    Args:
        trajectory: The episode.
        advantage: One number for all sampled tokens, or one for each of them, in the order of
            `behavior_log_probs`.

    Raises:
        ConfigError: The numbers are not one for each sampled token.
    """
    prefix = trajectory.prefix_length
    is_sampled = tuple(source == "policy" for source in trajectory.completion_sources)
    log_probs = iter(trajectory.behavior_log_probs)
    return TrainingSample(
        context_ids=trajectory.learn_prompt_ids,
        token_ids=trajectory.final_state.response,
        action_mask=(False,) * prefix + is_sampled,
        behavior_log_probs=(0.0,) * prefix
        + tuple(next(log_probs) if own else 0.0 for own in is_sampled),
        advantage=_of_tokens(advantage, prefix, is_sampled),
        role=trajectory.start.role,
        group=trajectory.start.group,
        trajectory_id=trajectory.trajectory_id,
    )


def _of_tokens(
    advantage: float | Sequence[float], prefix: int, is_sampled: Sequence[bool]
) -> float | tuple[float, ...]:
    """Place the advantages of sampled tokens among all tokens of the response."""
    if not isinstance(advantage, Sequence):
        return advantage
    if len(advantage) != sum(is_sampled):
        raise ConfigError(
            f"a sequence of advantages must hold one for each of the {sum(is_sampled)} sampled "
            f"tokens, got {len(advantage)}; give them in the order of behavior_log_probs"
        )
    values = iter(advantage)
    return (0.0,) * prefix + tuple(float(next(values)) if own else 0.0 for own in is_sampled)


def _read_advantage(value: float | Sequence[float]) -> float | tuple[float, ...]:
    """Read the field of a file: a number, as in version 0.1, or a list of them."""
    return tuple(value) if isinstance(value, Sequence) else value
