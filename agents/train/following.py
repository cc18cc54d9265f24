"""What the other processes of a run do: the calls of the first one, on their own objects."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from reason_env.agents.engines import Context, SamplingConfig
from reason_env.agents.processes import END, Processes, check_shared
from reason_env.agents.rollout import TrainingSample
from reason_env.agents.train.config import TrainConfig
from reason_env.agents.train.session import Session, build_session
from reason_env.errors import ProcessError, ReasonEnvError

SILENT_S = 5.0
"""Seconds before this process says what it cannot do: what none can, the first one says, and this
process is ended meanwhile."""


def follow(processes: Processes) -> None:
    """Build a session when the first process does, and make its calls until it ends.

    Raises:
        ReasonEnvError: This process cannot do what the first one does.
        OSError: What all write together could not be written.
    """
    try:
        _follow(processes)
    except (ReasonEnvError, OSError) as error:
        if not isinstance(error, ProcessError):
            time.sleep(SILENT_S)
        raise


def _follow(processes: Processes) -> None:
    session: Session | None = None
    while True:
        name, arguments = processes.next_call()
        if name == END:
            return
        if name == "build":
            session = _built(processes, *arguments)
            continue
        assert session is not None, "the first call builds it"
        _call(session, name, arguments)


def _built(processes: Processes, config: TrainConfig, checkpoint: Path | None) -> Session:
    return build_session(config, checkpoint, processes=processes)


def _call(session: Session, name: str, arguments: tuple[Any, ...]) -> None:
    engine, learner = session.policy.engine, session.learner

    def sample(
        contexts: Sequence[Context], sampling: SamplingConfig, seed: int, stops: tuple[int, ...]
    ) -> None:
        engine.sample(contexts, sampling, seed=seed, stop_ids=stops)

    def update(
        samples: Sequence[TrainingSample],
        rng: np.random.Generator,
        run_share: tuple[float, float],
    ) -> None:
        learner.update(samples, rng, run_share=run_share)

    def check(file: Path) -> None:
        check_shared(file, session.processes)

    calls = {
        "sample": sample,
        "update": update,
        "state_dict": learner.state_dict,
        "check_shared": check,
        "save_model": session.saved_policy.save,
        "save_learner": learner.save_shares,
    }
    calls[name](*arguments)
