"""Advantages, batches of training samples, losses, and the learner that takes optimizer steps."""

from reason_env.agents.learning.advantage import AdvantageConfig, group_advantages
from reason_env.agents.learning.aggregate import LossTotals
from reason_env.agents.learning.batch import TokenBatch, make_batch
from reason_env.agents.learning.distillation import (
    AVERAGE,
    INITIAL,
    POLICY,
    DistillationConfig,
)
from reason_env.agents.learning.dpo import PairLearner
from reason_env.agents.learning.learner import Learner, TrainablePolicy
from reason_env.agents.learning.learner_config import LearnerConfig
from reason_env.agents.learning.learning_rate import (
    default_learning_rate,
    learning_rate_line,
    schedule_factor,
    with_learning_rate,
)
from reason_env.agents.learning.loss import policy_loss
from reason_env.agents.learning.loss_config import LossConfig, PairLossConfig
from reason_env.agents.learning.report import UpdateReport
from reason_env.agents.learning.surrogate import (
    SurrogateFunction,
    SurrogateInput,
    SurrogateOutput,
    exp_ratio,
    register_surrogate,
)

__all__ = [
    "AVERAGE",
    "INITIAL",
    "POLICY",
    "AdvantageConfig",
    "DistillationConfig",
    "Learner",
    "LearnerConfig",
    "LossConfig",
    "LossTotals",
    "PairLearner",
    "PairLossConfig",
    "SurrogateFunction",
    "SurrogateInput",
    "SurrogateOutput",
    "TokenBatch",
    "TrainablePolicy",
    "UpdateReport",
    "default_learning_rate",
    "exp_ratio",
    "group_advantages",
    "learning_rate_line",
    "make_batch",
    "policy_loss",
    "register_surrogate",
    "schedule_factor",
    "with_learning_rate",
]
