"""One training run: its config, its live objects and the loop."""

from reason_env.agents.train.config import TrainConfig
from reason_env.agents.train.loop import train
from reason_env.agents.train.session import Training

__all__ = [
    "TrainConfig",
    "Training",
    "train",
]
