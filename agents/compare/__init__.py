"""Compare methods at an equal budget of tokens over several seeds."""

from reason_env.agents.compare.config import (
    CompareConfig,
    arm,
    arms_of,
    arms_of_file,
    losses_of,
    shared_settings,
    slug,
    with_loss,
)
from reason_env.agents.compare.here import run_here
from reason_env.agents.compare.run import (
    THREADS,
    Run,
    Status,
    end_with_parent,
    tokens_of,
)
from reason_env.agents.compare.runner import Comparison, Progress, num_cores
from reason_env.agents.compare.sentence import FEWEST_FOR_INTERVAL
from reason_env.agents.compare.statistics import (
    Floats,
    area,
    band,
    curve_of,
    over_seeds,
    paired_difference,
    preparation_tokens,
    sign_flip_p,
    tokens_to_level,
)
from reason_env.agents.compare.summary import summary

__all__ = [
    "FEWEST_FOR_INTERVAL",
    "THREADS",
    "CompareConfig",
    "Comparison",
    "Floats",
    "Progress",
    "Run",
    "Status",
    "area",
    "arm",
    "arms_of",
    "arms_of_file",
    "band",
    "curve_of",
    "end_with_parent",
    "losses_of",
    "num_cores",
    "over_seeds",
    "paired_difference",
    "preparation_tokens",
    "run_here",
    "shared_settings",
    "sign_flip_p",
    "slug",
    "summary",
    "tokens_of",
    "tokens_to_level",
    "with_loss",
]
