"""Algorithms of Stable-Baselines3 as methods: their numbers, under the names of `reason-env train`.

They step the environment themselves, one token a step, so they have rewards for each token, a
critic and fixed numbers of steps instead of `Start`s and groups. `agents/sb3/` runs them; this file
imports nothing of Stable-Baselines3, so that a config is read where it is not installed.

The policy is the language model, with a critic on its last hidden state. `problems_per_iteration`
episodes run at once (GRPO: groups of them), and an environment step is a generated token, so the
budget of generated tokens counts both. Learning rate, schedule, `betas`, `weight_decay` and
`max_grad_norm` are those of the run's learner; epochs and updates are the algorithm's own. The
optimizer is AdamW, also for A2C.

    sb3-ppo           clipped surrogate with a critic; Schulman et al. 2017, arXiv 1707.06347
    sb3-maskable-ppo  the same on the environment's action masks; Huang, Ontanon 2020, 2006.14171
    sb3-a2c           policy gradient with a critic; Mnih et al. 2016, arXiv 1602.01783
    sb3-grpo          groups of episodes instead of a critic; Shao et al. 2024, arXiv 2402.03300

Not covered: combinations with other methods, CPI, LoRA, bfloat16, vLLM.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal, get_args

import numpy as np
import tyro

from reason_env.agents.learning import AdvantageConfig, LossConfig
from reason_env.agents.methods.protocol import (
    MethodBase,
    MethodConfig,
    check_names,
    problem_starts,
)
from reason_env.agents.methods.row import Row
from reason_env.agents.rollout import Start
from reason_env.errors import ConfigError
from reason_env.state import ReasonState

Weights = Literal["pretrained", "random"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SB3Config(MethodConfig):
    """What all algorithms share.

    Raises:
        ConfigError: A number is out of its range.
    """

    weights: Weights = "pretrained"
    """pretrained: begin as --model; random: from scratch, with its architecture alone."""
    discount: float = 1.0
    """Discount of a reward for each token before it, above 0 and at most 1."""

    def __post_init__(self) -> None:
        check_names(self, {"weights": get_args(Weights)})
        self._check_range("discount", above=0, most=1)

    def num_episodes(self, num_problems: int) -> int:
        """Count the episodes that run at once."""
        return num_problems

    def num_samples(self, num_problems: int) -> int:
        """Count what an epoch splits into its updates: steps, or whole episodes."""
        raise NotImplementedError(f"{type(self).__name__} must count its samples")

    @property
    def num_updates(self) -> tuple[int, int]:
        """Epochs of an iteration, and updates of an epoch."""
        return 1, 1

    def check_updates(self, num_problems: int) -> None:
        """Check that the updates of an epoch have equal parts, of at least 2 samples.

        Raises:
            ConfigError: They have not.
        """
        total, (_, updates) = self.num_samples(num_problems), self.num_updates
        if total < 2:
            raise ConfigError(
                f"an iteration of {self.kind} must have at least 2 samples, got {total}; raise "
                "num_steps or problems_per_iteration"
            )
        if total % updates or total < 2 * updates:
            most = min(updates, total // 2)
            fitting = next(number for number in range(most, 0, -1) if total % number == 0)
            raise ConfigError(
                f"updates_per_epoch must divide the {total:,} samples of an iteration of "
                f"{self.kind} into parts of at least 2, got {updates!r}; with "
                f"problems_per_iteration {num_problems} take {fitting}"
            )

    def _check_range(
        self, name: str, *, least: float = -math.inf, above: float = -math.inf, most: float
    ) -> None:
        value = getattr(self, name)
        if not (above < value <= most and value >= least and math.isfinite(value)):
            low = f"above {above:g}" if above > -math.inf else f"at least {least:g}"
            high = f" and at most {most:g}" if most < math.inf else " and finite"
            raise ConfigError(f"{name} must be {low}{high}, got {value!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ActorCriticConfig(SB3Config):
    """What the algorithms with a critic share."""

    num_steps: int = 64
    """Tokens of each episode that an iteration collects; episodes go on over iterations."""
    gae_lambda: float = 1.0
    """Weight of longer returns in the advantages, 0..1; 1: the whole return less the value."""
    entropy_coefficient: float = 0.0
    """Weight of the entropy in the loss."""
    value_coefficient: float = 0.5
    """Weight of the critic's squared error in the loss."""

    def __post_init__(self) -> None:
        SB3Config.__post_init__(self)
        self._check_range("num_steps", least=1, most=math.inf)
        self._check_range("gae_lambda", least=0, most=1)
        self._check_range("entropy_coefficient", least=0, most=math.inf)
        self._check_range("value_coefficient", least=0, most=math.inf)

    def num_samples(self, num_problems: int) -> int:
        """Count the steps of an iteration."""
        return num_problems * self.num_steps


@dataclass(frozen=True, slots=True, kw_only=True)
class SB3PPOConfig(ActorCriticConfig):
    """PPO's numbers."""

    kind: Annotated[Literal["sb3-ppo"], tyro.conf.Suppress] = "sb3-ppo"
    num_epochs: int = 2
    """How often each step is used in its iteration."""
    updates_per_epoch: int = 1
    """Optimizer steps of an epoch; the steps are split at random."""
    clip_range: float = 0.2
    """The ratio is clipped to 1 - clip_range .. 1 + clip_range."""

    def __post_init__(self) -> None:
        ActorCriticConfig.__post_init__(self)
        self._check_range("num_epochs", least=1, most=math.inf)
        self._check_range("updates_per_epoch", least=1, most=math.inf)
        self._check_range("clip_range", above=0, most=math.inf)

    @property
    def num_updates(self) -> tuple[int, int]:
        """Epochs of an iteration, and updates of an epoch."""
        return self.num_epochs, self.updates_per_epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class SB3MaskablePPOConfig(SB3PPOConfig):
    """MaskablePPO's numbers, which are PPO's."""

    kind: Annotated[Literal["sb3-maskable-ppo"], tyro.conf.Suppress] = "sb3-maskable-ppo"  # pyright: ignore[reportIncompatibleVariableOverride]


@dataclass(frozen=True, slots=True, kw_only=True)
class SB3A2CConfig(ActorCriticConfig):
    """A2C's numbers: one update an iteration."""

    kind: Annotated[Literal["sb3-a2c"], tyro.conf.Suppress] = "sb3-a2c"


@dataclass(frozen=True, slots=True, kw_only=True)
class SB3GRPOConfig(SB3Config):
    """The numbers of GRPO as an algorithm of Stable-Baselines3."""

    kind: Annotated[Literal["sb3-grpo"], tyro.conf.Suppress] = "sb3-grpo"
    group_size: int = 8
    """Episodes a problem (G)."""
    num_epochs: int = 1
    """How often each episode is used in its iteration."""
    updates_per_epoch: int = 1
    """Optimizer steps of an epoch; the episodes are split at random."""
    advantage: AdvantageConfig = field(default_factory=AdvantageConfig)
    loss: LossConfig = field(default_factory=lambda: LossConfig(importance_weight_cap=None))

    def __post_init__(self) -> None:
        SB3Config.__post_init__(self)
        self.advantage.check_size(self.group_size, "group_size")
        self._check_range("num_epochs", least=1, most=math.inf)
        self._check_range("updates_per_epoch", least=1, most=math.inf)
        if self.loss.kl_coefficient > 0 or self.loss.temperature not in (None, 1.0):
            raise ConfigError(
                "loss of sb3-grpo must have kl_coefficient 0 and temperature None, got "
                f"{self.loss.kl_coefficient!r} and {self.loss.temperature!r}; there is no "
                "reference policy, and actions are sampled as they are"
            )

    def num_episodes(self, num_problems: int) -> int:
        """Count the episodes that run at once: a group for each problem."""
        return num_problems * self.group_size

    def num_samples(self, num_problems: int) -> int:
        """Count the episodes of an iteration."""
        return self.num_episodes(num_problems)

    @property
    def num_updates(self) -> tuple[int, int]:
        """Epochs of an iteration, and updates of an epoch."""
        return self.num_epochs, self.updates_per_epoch


DIFFERENCE = (
    "Stable-Baselines3's own algorithm, with numbers for short responses and AdamW as optimizer."
)


def _row(paper: str, difference: str = DIFFERENCE) -> Row:
    return Row(starts="the problem", paper=paper, differences=(difference,))


class SB3Method(MethodBase):
    """What a run asks of any method; the algorithm itself plans, samples and learns."""

    config: SB3Config
    has_follow_up = False

    def plan(self, states: Sequence[ReasonState], rng: np.random.Generator) -> list[Start]:
        """Start an episode, or a group of them, at each problem."""
        return problem_starts(states, self.config.num_episodes(1))


class SB3PPO(SB3Method):
    """PPO."""

    row = _row('arXiv 1707.06347, "Proximal Policy Optimization Algorithms"')


class SB3MaskablePPO(SB3Method):
    """PPO on action masks."""

    row = _row('arXiv 2006.14171, "A Closer Look at Invalid Action Masking"')


class SB3A2C(SB3Method):
    """A2C."""

    row = _row('arXiv 1602.01783, "Asynchronous Methods for Deep Reinforcement Learning"')


class SB3GRPO(SB3Method):
    """GRPO as an algorithm of Stable-Baselines3."""

    row = _row(
        'arXiv 2402.03300, "DeepSeekMath"',
        "As `grpo`, on the environment's steps: episodes that are over wait for the slowest one, "
        "and no key or value is cached.",
    )
