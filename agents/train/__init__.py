"""One training run: its config, its session of live objects, and the loop."""

from reason_env.agents.train.agent import AgentSession, AnySession, iterate_agent, session_of
from reason_env.agents.train.config import TrainConfig
from reason_env.agents.train.estimate import Estimate, Memory, estimate, estimate_agent, restored
from reason_env.agents.train.following import follow
from reason_env.agents.train.iterate import Iteration, iterate
from reason_env.agents.train.loop import train
from reason_env.agents.train.model_record import ModelRecord, no_eval_problems, read_record
from reason_env.agents.train.preparation import prepare
from reason_env.agents.train.prolong import Limits, progress_of, prolonged
from reason_env.agents.train.session import Session, build_session

__all__ = [
    "AgentSession",
    "AnySession",
    "Estimate",
    "Iteration",
    "Limits",
    "Memory",
    "ModelRecord",
    "Session",
    "TrainConfig",
    "build_session",
    "estimate",
    "estimate_agent",
    "follow",
    "iterate",
    "iterate_agent",
    "no_eval_problems",
    "prepare",
    "progress_of",
    "prolonged",
    "read_record",
    "restored",
    "session_of",
    "train",
]
