"""TrainConfig: everything that decides a run, as one value; and the live objects made from it.

`config.json` of a run directory is this value; the same value gives the same run. Where the run is
written is not part of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import gymnasium as gym
import numpy as np
import tyro

from reason_env.agents.checkpoint import CheckpointConfig
from reason_env.agents.evaluate import EvalConfig
from reason_env.agents.learner import LearnerConfig
from reason_env.agents.methods import GRPOConfig, MethodConfig
from reason_env.agents.policy import SamplingConfig
from reason_env.codec import Codec
from reason_env.errors import ConfigError
from reason_env.problems import problem_sources
from reason_env.prompt import PromptTemplate
from reason_env.reward import RewardConfig

FLAT = tyro.conf.arg(name="")
"""Its fields are flags without a prefix: --problems, not --env.problems."""
STREAMS = ("problems", "starts", "sampling", "updates", "evaluation", "preparation", "merging")


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvConfig:
    """The environment, as `gym.make("MathReason-v0", ...)` takes it."""

    problems: str = "chain"
    """A family, gsm8k:PATH, hub:NAME, or a .jsonl or .parquet file; `reason-env problems list`."""
    split: str = "train"
    """Split of the training problems, where the source has splits."""
    size: int | None = None
    """Number of problems; None for all of a file, or the family's default."""
    levels: tuple[int, int] | None = None
    """Lowest and highest level, both included; None for all."""
    problem_seed: int = 0
    """Chooses a family's problems."""
    max_tokens: int = 256
    """Tokens of a response, prefixes included, before it is truncated."""
    max_steps: int = 64
    """Reasoning steps of a response before it is truncated."""
    max_prompt_tokens: int = 1024
    """Longest prompt, tokens."""
    stop_at_answer: bool = True
    """End an episode with the first closed step after which an answer stands."""
    columns: dict[str, str] = field(default_factory=dict)
    """Problem field -> column of a file or hub set: `--columns question problem answer final`."""
    allow_ungradable: bool = False
    """Keep rows whose reference answer does not grade as correct against itself."""
    grading: str = "strict"
    """What the grader forgives: strict, gsm8k, math or text (`reason_env.verify.PRESETS`)."""
    prompt: Literal["plain", "chat"] = "plain"
    """"chat" uses the tokenizer's chat template."""
    system: str = ""
    """System message of chat prompts."""
    reward: RewardConfig = field(default_factory=RewardConfig)
    """The reward of each outcome."""

    def make(self, codec: Codec, **changes: Any) -> gym.Env[Any, Any]:
        """Returns the environment with format "tokens" and whole responses as actions."""
        arguments: dict[str, Any] = {
            "problems": self.problems,
            "split": self.split,
            "size": self.size,
            "levels": self.levels,
            "problem_seed": self.problem_seed,
            "max_tokens": self.max_tokens,
            "max_steps": self.max_steps,
            "max_prompt_tokens": self.max_prompt_tokens,
            "stop_at_answer": self.stop_at_answer,
            "columns": self.columns or None,
            "allow_ungradable": self.allow_ungradable,
            "grading": self.grading,
            "prompt": PromptTemplate(kind=self.prompt, system=self.system),
            "reward": self.reward,
            "granularity": "response",
            "format": "tokens",
        }
        return gym.make(
            "MathReason-v0", codec=codec, disable_env_checker=True, **(arguments | changes)
        )

    @property
    def has_splits(self) -> bool:
        """True if the source has other splits to evaluate on; one file has none."""
        head, _, argument = self.problems.partition(":")
        if head in ("gsm8k", "file"):
            return Path(argument).is_dir()
        return head in {source.name for source in problem_sources()}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """One training run."""

    method: Annotated[MethodConfig, FLAT] = field(default_factory=GRPOConfig)
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
    iterations: int = 40
    """Collect-and-update rounds."""
    problems_per_iteration: int = 32
    max_minutes: float | None = None
    """No iteration starts after this many minutes; None: no limit."""
    max_ungraded_fraction: float = 0.5
    """The run stops if the verifier fails on more of an iteration's episodes than this."""
    episodes_per_iteration: int = 32
    """Episodes written in full to episodes/, each iteration."""
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
        if not 0 <= self.max_ungraded_fraction <= 1:
            raise ConfigError(
                f"max_ungraded_fraction must lie in 0..1, got {self.max_ungraded_fraction!r}"
            )
        if self.sampling.is_greedy:
            raise ConfigError(
                "sampling temperature must be above 0 for training, got 0; greedy episodes of a "
                "problem are all the same and teach nothing"
            )

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
