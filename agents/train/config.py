"""TrainConfig: every setting of a run, as one value, stored as `config.json` of a run directory.

The same value gives the same run. The run directory is not part of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Any

import gymnasium as gym
import numpy as np
import tyro
from gymnasium.envs.registration import WrapperSpec

from reason_env.agents.cpi import CPIConfig
from reason_env.agents.engines import EngineConfig, SamplingConfig, check_precision
from reason_env.agents.evaluate import EvalConfig
from reason_env.agents.learning import LearnerConfig
from reason_env.agents.methods import (
    AnyMethodConfig,
    GRPOConfig,
    SB3Config,
    method_name,
    parts_of,
)
from reason_env.agents.policy import LoraConfig
from reason_env.agents.runs import FLAT, TENSORBOARD, CheckpointConfig, tracker_names
from reason_env.codec import Codec
from reason_env.env import EnvConfig
from reason_env.errors import ConfigError, shown

STREAMS = (
    "problems",
    "starts",
    "sampling",
    "updates",
    "evaluation",
    "preparation",
    "merging",
    "conservative",
    "lora",
    "services",
    "initialisation",
)
"""Random streams; a stream's index is part of its seed, so the order must not change."""
NOT_FOR_SB3: Mapping[str, str] = MappingProxyType(
    {
        "cpi": "leave it out",
        "zero_advantages": "leave it out",
        "precision": "train in float32",
        "lora.rank": "train all weights",
        "engine.kind": "sample in this process",
        "engine.mismatch.sequences": "leave it out",
        "engine.mismatch.limit": "leave it out",
        "engine.mismatch.alarm": "leave it out",
        "sampling.temperature": "actions are sampled from the policy as it is",
        "sampling.top_p": "actions are sampled from the policy as it is",
        "sampling.top_k": "actions are sampled from the policy as it is",
        "learner.epochs": "give num_epochs (sb3-a2c takes one update an iteration)",
        "learner.updates_per_iteration": "give updates_per_epoch (sb3-a2c takes one update)",
        "learner.warmup_updates": "leave it out",
        "learner.max_nonfinite_updates": "the first one ends the run",
        "learner.micro_batch_tokens": "leave it out",
        "learner.gradient_checkpointing": "leave it out",
    }
)
"""Setting that an algorithm of Stable-Baselines3 does not read -> what to do instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """One training run."""

    method: Annotated[AnyMethodConfig, FLAT] = field(default_factory=GRPOConfig)
    env: Annotated[EnvConfig, FLAT] = field(default_factory=EnvConfig)
    sampling: Annotated[SamplingConfig, FLAT] = field(default_factory=SamplingConfig)
    learner: Annotated[LearnerConfig, FLAT] = field(default_factory=LearnerConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    model: str = "base"
    """"base", "late" or "sealed" (shipped models), a model directory, or a hub name."""
    device: str = "cpu"
    """cpu, cuda, cuda:1, ..."""
    precision: str = "float32"
    """float32, or bf16-mixed: matrix products in bfloat16, with float32 weights and optimizer."""
    max_batch_size: int = 256
    """Sequences sampled in one batch."""
    lora: LoraConfig = field(default_factory=LoraConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    iterations: int = 40
    """Iterations: collect episodes, update the policy."""
    problems_per_iteration: int = 32
    """Problems sampled in one iteration; sb3-*: episodes at once, sb3-grpo: groups of them."""
    max_minutes: float | None = None
    """Minutes after which no iteration starts; a preparation that takes longer is an error. None:
    no limit."""
    max_generated_tokens: int | None = None
    """Budget of generated tokens, including preparation and discarded episodes; sb3-*: of
    environment steps, which are the same. The run ends with the iteration that reaches it, so it
    overshoots by less than one iteration. None: no limit."""
    max_ungraded_fraction: float = 0.5
    """Fraction of an iteration's episodes above which verifier failures stop the run."""
    episodes_per_iteration: int = 32
    """Episodes per iteration that are written in full to episodes/."""
    track: str = TENSORBOARD
    """Trackers that get the numbers beside metrics.jsonl, joined by commas: tensorboard, trackio,
    wandb; none for no tracker. Nothing leaves this machine."""
    cpi: Annotated[CPIConfig | None, tyro.conf.Suppress] = None
    """Accept an update only if it passes CPI's test; None: accept every update."""
    zero_advantages: bool = False
    """Control: set every advantage to 0, so that nothing is learned."""
    seed: int = 0
    """Seed of every random stream."""
    prolonged_from: Annotated[tuple[int, ...], tyro.conf.Suppress] = ()
    """Iterations that the run was planned for before each time `--resume` prolonged it."""

    def __post_init__(self) -> None:
        check_precision(self.precision)
        tracker_names(self.track)
        self._check_limits()
        if self.lora.dropout and self.learner.gradient_checkpointing:
            raise ConfigError(
                "lora.dropout must be 0 with gradient_checkpointing, got "
                f"{self.lora.dropout!r}; the second pass would drop other inputs"
            )
        if self.eval.problems is not None and self.env.hold_out is not None:
            raise ConfigError(
                f"eval.problems must be None with hold_out, got {self.eval.problems!r} and "
                f"{self.env.hold_out!r}; evaluate on one of them"
            )
        self._check_returns()
        if isinstance(self.method, SB3Config):
            self._check_sb3(self.method)
        if self.sampling.is_greedy:
            raise ConfigError(
                "sampling temperature must be above 0 for training, got 0; greedy episodes of a "
                "problem are all equal, so nothing is learned from them"
            )

    def _check_limits(self) -> None:
        for name in ("iterations", "problems_per_iteration", "max_batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)!r}")
        if self.episodes_per_iteration < 0:
            raise ConfigError(
                f"episodes_per_iteration must be at least 0, got {self.episodes_per_iteration!r}"
            )
        if self.max_minutes is not None and not self.max_minutes > 0:
            raise ConfigError(f"max_minutes must be above 0, got {self.max_minutes!r}")
        if self.max_generated_tokens is not None and self.max_generated_tokens < 1:
            raise ConfigError(
                f"max_generated_tokens must be at least 1, got {self.max_generated_tokens!r}"
            )
        if not 0 <= self.max_ungraded_fraction <= 1:
            raise ConfigError(
                f"max_ungraded_fraction must lie in 0..1, got {self.max_ungraded_fraction!r}"
            )

    def _check_sb3(self, method: SB3Config) -> None:
        plain = TrainConfig()
        for name, advice in NOT_FOR_SB3.items():
            value, default = (_setting(own, name) for own in (self, plain))
            if value != default:
                raise ConfigError(
                    f"{name} must be {default!r} with {method.kind}, got {shown(value)}; {advice}"
                )
        method.check_updates(self.problems_per_iteration)

    def _check_returns(self) -> None:
        kinds = [
            getattr(getattr(own, "advantage", None), "kind", "") for own in parts_of(self.method)
        ]
        shaping = sum(own.least_shaping for own in parts_of(self.method))
        least = self.env.reward.least + shaping
        if "maxrl" in kinds and least < 0:
            raise ConfigError(
                f"rewards must be at least 0 with advantage kind 'maxrl', got {least!r}; it "
                "divides by the mean return of a group"
            )
        if self.cpi is not None and shaping and least < 0:
            raise ConfigError(
                f"returns must be at least 0 for a conservative step, got {least!r} with the "
                f"penalty of {method_name(self.method)}; set it to 0, or raise the rewards"
            )

    @property
    def wrappers(self) -> tuple[WrapperSpec, ...]:
        """The wrappers that the methods put around the environment."""
        return tuple(item for part in parts_of(self.method) for item in part.wrappers)

    @property
    def trackers(self) -> tuple[str, ...]:
        """Names of the trackers that get the numbers."""
        return tracker_names(self.track)

    @property
    def is_wrapped(self) -> bool:
        """Whether the environment may remember something between episodes."""
        return self.env.stack is not None or bool(self.wrappers)

    @property
    def name(self) -> str:
        """The command `reason-env train NAME` that the config belongs to: its method, or cpi."""
        return method_name(self.method) if self.cpi is None else "cpi"

    def is_over(self, iteration: int, sampled_tokens_total: int) -> bool:
        """Decide whether every iteration has run or the budget of generated tokens is spent."""
        budget = self.max_generated_tokens
        is_spent = budget is not None and sampled_tokens_total >= budget
        return iteration >= self.iterations or is_spent

    def make_eval_env(self, codec: Codec, **changes: Any) -> gym.Env[Any, Any] | None:
        """Make the environment for evaluation, without wrappers; None if there is none.

        There is none if the training source is a single file, without a test split, and neither
        `eval.problems` nor `eval.split` is set.

        Args:
            codec: The policy's.
            changes: Further arguments of `gym.make`.
        """
        return self.eval.make_env(self.env, codec, **changes)

    def seed_of(self, stream: str, iteration: int) -> int:
        """Derive the seed of one stream in one iteration; no generator outlives an iteration."""
        entropy = [self.seed, STREAMS.index(stream), iteration]
        return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> 1)

    def chosen(self, ids: Sequence[str], iteration: int) -> list[str]:
        """Choose the problems of an iteration (1, 2, ...): each once an epoch, in random order."""
        num = self.problems_per_iteration
        return self.drawn(ids, (iteration - 1) * num, num)

    def drawn(self, ids: Sequence[str], begin: int, num: int) -> list[str]:
        """Return `num` draws of a problem, from draw number `begin` (0, 1, ...) of the run on."""
        positions = range(begin, begin + num)
        epochs = {position // len(ids) for position in positions}
        orders = {
            epoch: np.random.default_rng(self.seed_of("problems", epoch)).permutation(len(ids))
            for epoch in epochs
        }
        return [ids[int(orders[at // len(ids)][at % len(ids)])] for at in positions]


def _setting(config: TrainConfig, name: str) -> object:
    value: Any = config
    for part in name.split("."):
        value = getattr(value, part)
    return value
