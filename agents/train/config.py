"""TrainConfig: everything that decides a run, as one value; and the live objects made from it.

`config.json` of a run directory is this value; the same value gives the same run. Where the run is
written is not part of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import gymnasium as gym
import numpy as np
import tyro

from reason_env.agents.cpi import CPIConfig
from reason_env.agents.engines import EngineConfig, SamplingConfig
from reason_env.agents.evaluate import EvalConfig
from reason_env.agents.learning import LearnerConfig
from reason_env.agents.methods import AnyMethodConfig, GRPOConfig, method_name
from reason_env.agents.runs import CheckpointConfig
from reason_env.codec import Codec
from reason_env.env import EnvConfig
from reason_env.errors import ConfigError

FLAT = tyro.conf.arg(name="")
"""Its fields are flags without a prefix: --problems, not --env.problems."""
STREAMS = (
    "problems",
    "starts",
    "sampling",
    "updates",
    "evaluation",
    "preparation",
    "merging",
    "conservative",
)


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
    """"base" (the shipped model), a model directory, or a Hugging Face hub name."""
    device: str = "cpu"
    """cpu, cuda, cuda:1, ..."""
    dtype: str = "float32"
    """float32, bfloat16 or float16."""
    max_batch_size: int = 256
    """Sequences sampled at once."""
    engine: EngineConfig = field(default_factory=EngineConfig)
    iterations: int = 40
    """Collect-and-update rounds."""
    problems_per_iteration: int = 32
    max_minutes: float | None = None
    """No iteration starts after this many minutes, and a preparation that takes longer is an error;
    None: no limit."""
    max_generated_tokens: int | None = None
    """Budget of generated tokens, those of the preparation and discarded ones included. The run
    ends with the first iteration whose `rollout/sampled_tokens_total` reaches it, so it overshoots
    by less than that iteration; None: no limit."""
    max_ungraded_fraction: float = 0.5
    """The run stops if the verifier fails on more of an iteration's episodes than this."""
    episodes_per_iteration: int = 32
    """Episodes written in full to episodes/, each iteration."""
    cpi: Annotated[CPIConfig | None, tyro.conf.Suppress] = None
    """Takes each update behind the test of conservative policy iteration; None: takes it."""
    zero_advantages: bool = False
    """Control: every advantage is set to 0, so nothing can be learned."""
    seed: int = 0
    """Decides everything that is random."""

    def __post_init__(self) -> None:
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
        if self.sampling.is_greedy:
            raise ConfigError(
                "sampling temperature must be above 0 for training, got 0; greedy episodes of a "
                "problem are all the same and teach nothing"
            )

    @property
    def name(self) -> str:
        """What `reason-env train` calls the run: its method, or cpi."""
        return method_name(self.method) if self.cpi is None else "cpi"

    def make_eval_env(self, codec: Codec, **changes: Any) -> gym.Env[Any, Any] | None:
        """Returns the environment to evaluate in, without wrappers; None if there is none.

        There is none if nothing was said of evaluation and the source has no test split (one file).

        Args:
            codec: The policy's.
            changes: Further arguments of `gym.make`.
        """
        own = self.eval
        is_silent = own.problems is None and own.split == EvalConfig().split
        if is_silent and not self.env.has_split(own.split):
            return None
        place = {"size": own.num_problems} if own.problems is None else {"problems": own.problems}
        return self.env.make_bare(codec, **{"size": None, "split": own.split} | place | changes)

    def seed_of(self, stream: str, iteration: int) -> int:
        """Returns the seed of one stream in one iteration: nothing random outlives an iteration."""
        entropy = [self.seed, STREAMS.index(stream), iteration]
        return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> 1)

    def chosen(self, ids: Sequence[str], iteration: int) -> list[str]:
        """Returns the problems of an iteration (1, 2, ...): each once an epoch, in random order."""
        begin = (iteration - 1) * self.problems_per_iteration
        positions = range(begin, begin + self.problems_per_iteration)
        epochs = {position // len(ids) for position in positions}
        orders = {
            epoch: np.random.default_rng(self.seed_of("problems", epoch)).permutation(len(ids))
            for epoch in epochs
        }
        return [ids[int(orders[at // len(ids)][at % len(ids)])] for at in positions]
