"""The run that `probe` and `bench` measure without starting it, as flags."""

from dataclasses import dataclass, field
from typing import Annotated

from reason_env.agents.engines import EngineConfig, SamplingConfig
from reason_env.agents.learning import LearnerConfig
from reason_env.agents.methods import GRPOConfig
from reason_env.agents.policy import LoraConfig
from reason_env.agents.runs import FLAT, model_directory
from reason_env.agents.train import TrainConfig
from reason_env.env import EnvConfig


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A run of GRPO, by the flags of `reason-env train`."""

    env: Annotated[EnvConfig, FLAT] = field(default_factory=EnvConfig)
    sampling: Annotated[SamplingConfig, FLAT] = field(default_factory=SamplingConfig)
    learner: Annotated[LearnerConfig, FLAT] = field(default_factory=LearnerConfig)
    lora: LoraConfig = field(default_factory=LoraConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    model: str = "base"
    """The model: "base", "late", "sealed", "smollm2", a model directory (also model/ of a
    checkpoint), a run, a GGUF file, or a hub name."""
    device: str = "cpu"
    """cpu, cuda, cuda:1, ..."""
    precision: str = "float32"
    """float32, or bf16-mixed: matrix products in bfloat16, with float32 weights."""
    max_batch_size: int = 256
    """Sequences sampled in one batch."""
    group_size: int = 8
    """Responses a problem (G)."""
    problems_per_iteration: int = 32
    """Problems of an iteration."""
    seed: int = 0
    """Chooses the problems, and seeds the samples."""
    trust: str | None = None
    """Modules, joined by commas, whose wrappers a spec may name: their code runs."""

    def config(self) -> TrainConfig:
        """Build the config of the run."""
        return TrainConfig(
            method=GRPOConfig(group_size=self.group_size),
            env=self.env,
            sampling=self.sampling,
            learner=self.learner,
            lora=self.lora,
            engine=self.engine,
            model=model_directory(self.model),
            device=self.device,
            precision=self.precision,
            max_batch_size=self.max_batch_size,
            problems_per_iteration=self.problems_per_iteration,
            seed=self.seed,
        )
