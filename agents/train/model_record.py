"""ModelRecord: how a saved model was trained, as `reason_env.json` beside its weights.

A model that was trained with one prompt, limit or grader and is measured with another looks worse
than it is. `reason-env eval` therefore reads the record and evaluates as the run did. Reading is
strict: a record of a later format, or with a key that is not known here, is an error.
"""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import gymnasium as gym

from reason_env.agents.evaluate import EvalConfig
from reason_env.agents.policy import LoraConfig
from reason_env.agents.runs import config_json, write_text
from reason_env.agents.train.config import TrainConfig
from reason_env.codec import Codec
from reason_env.env import EnvConfig
from reason_env.errors import CheckpointError, ConfigError

RECORD_FILE = "reason_env.json"
RECORD_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRecord:
    """The settings of a run that the use of its model depends on."""

    format: int = RECORD_FORMAT
    """Version of the record."""
    method: str
    """Name of the method, as in `reason-env train METHOD`."""
    base_model: str
    """The model that training began from."""
    iteration: int
    """Iterations of training."""
    temperature: float
    """Sampling temperature during training."""
    precision: str = "float32"
    """What the model computed in."""
    lora: LoraConfig = field(default_factory=LoraConfig)
    """The adapter that was trained; rank 0: all weights."""
    env: EnvConfig
    """Prompts, limits, stops, grading, and the training problems."""
    eval: EvalConfig = field(default_factory=EvalConfig)
    """The evaluation problems, and how they were sampled."""

    @classmethod
    def of(cls, config: TrainConfig, iteration: int) -> "ModelRecord":
        """Describe the model of a run after an iteration.

        Args:
            config: The session's, in which nothing is left to be resolved.
            iteration: The iteration that has ended.
        """
        return cls(
            method=config.name,
            base_model=config.model,
            iteration=iteration,
            temperature=config.sampling.temperature,
            precision=config.precision,
            lora=config.lora,
            env=config.env,
            eval=replace(config.eval, cache_dir=None),
        )

    def write(self, model_dir: Path) -> None:
        """Write the record beside the weights in a model directory."""
        write_text(model_dir / RECORD_FILE, config_json.dump(self) + "\n")

    def eval_env(self, codec: Codec, **changes: Any) -> gym.Env[Any, Any]:
        """Make the environment that the run evaluates in, with `changes` of its arguments.

        Raises:
            ConfigError: The run had no problems to evaluate on, and `changes` name none.
        """
        if {"problems", "split"} & set(changes):
            own = {"size": None, "split": self.eval.split}
            if "problems" in changes:
                own["hold_out"] = None
            return self.env.make_bare(codec, **own | changes)
        env = self.eval.make_env(self.env, codec, **changes)
        if env is None:
            raise no_eval_problems(self.env.source)
        return env


def read_record(model_dir: str | Path) -> ModelRecord | None:
    """Read the record beside the weights in a model directory; None if there is none.

    Raises:
        CheckpointError: The record is damaged, or of a format that is not known here.
    """
    path = Path(model_dir) / RECORD_FILE
    if not path.is_file():
        return None
    text = path.read_text(encoding="utf-8")
    try:
        found = json.loads(text)["format"]
        if found == RECORD_FORMAT:
            return config_json.load(ModelRecord, text)
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"'{path}' must hold the record of a model, got a damaged one ({error}); restore it, "
            "or remove it and give the model's settings as flags"
        ) from error
    raise CheckpointError(
        f"'{path}' must be of format {RECORD_FORMAT}, got {found!r}; use the version of reason-env "
        "that wrote it, or remove it and give the model's settings as flags"
    )


def no_eval_problems(source: str) -> ConfigError:
    """The error about a model whose run had no problems to evaluate on."""
    return ConfigError(
        f"a model must be evaluated on problems that it was not trained on, got none held out of "
        f"{source!r}; give --problems FILE, or --split train for the training problems"
    )
