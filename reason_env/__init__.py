"""reason-env: reasoning as a resettable MDP on Gymnasium. Importing it loads no torch."""

from gymnasium import register  # pyright: ignore[reportUnknownVariableType]

from reason_env.check import check_reasoning_env
from reason_env.codec import ByteCodec, Codec, HuggingFaceCodec, load_codec
from reason_env.moved import install as _install_moved_paths
from reason_env.problem import Problem, ProblemSet
from reason_env.snapshot import get_state, restore, set_state, snapshot
from reason_env.state import (
    EpisodeRules,
    Guidance,
    PromptTemplate,
    ReasonState,
    is_over,
    is_truncated,
    transition,
)
from reason_env.tabular import register_tabular
from reason_env.verdict import Outcome, Verdict
from reason_env.verify import grade

__all__ = [
    "ByteCodec",
    "Codec",
    "EpisodeRules",
    "Guidance",
    "HuggingFaceCodec",
    "Outcome",
    "Problem",
    "ProblemSet",
    "PromptTemplate",
    "ReasonState",
    "Verdict",
    "check_reasoning_env",
    "get_state",
    "grade",
    "is_over",
    "is_truncated",
    "load_codec",
    "restore",
    "set_state",
    "snapshot",
    "transition",
]

_install_moved_paths()
register(
    id="MathReason-v0",
    entry_point="reason_env.env:ReasonEnv",
    # Not the argument's default, so that a spec of version 0.1 keeps its prompts.
    kwargs={"template": "auto"},
    vector_entry_point="reason_env.vector_env:ReasonVectorEnv",
)
register_tabular()
