"""The training loop: prepare, evaluate, then iterate, write metrics and save checkpoints.

Random streams are seeded per iteration (`TrainConfig.seed_of`) and every checkpoint holds the
learner and what the wrappers remember, so a run that is killed at any moment and resumed ends with
the same weights and the same metrics.jsonl. A checkpoint is written beside the next iteration, and
is whole before that iteration's metrics are written.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from reason_env.agents.metrics import Number
from reason_env.agents.policy import UNKNOWN, licence_of
from reason_env.agents.processes import check_shared
from reason_env.agents.runs import (
    CheckpointWriter,
    RunDir,
    export_model,
    latest_checkpoint,
    save_checkpoint,
)
from reason_env.agents.train.agent import AgentSession, AnySession, iterate_agent
from reason_env.agents.train.evaluation import evaluate_policy, initial_metrics
from reason_env.agents.train.iterate import Written, iterate
from reason_env.agents.train.model_card import SavedModel, model_card
from reason_env.agents.train.model_record import ModelRecord
from reason_env.agents.train.preparation import prepare
from reason_env.agents.train.session import RunSession
from reason_env.env import recorders

Row = dict[str, Any]
OnRow = Callable[[Row], None]


def train(
    session: AnySession,
    run: RunDir,
    *,
    on_row: OnRow = lambda row: None,
    deadline: float | None = None,
) -> list[Row]:
    """Train until the session is over and return the rows of metrics.jsonl.

    Args:
        session: Just built; to resume, from the run's newest checkpoint.
        run: Just created, or resumed at `session.iteration`.
        on_row: Called with each row once it is written.
        deadline: `time.monotonic()` after which no iteration starts; None for no limit.

    Raises:
        TrainingError: Too many updates in a row were not finite; the last checkpoint holds the run.
    """
    config = session.config
    if not session.processes.is_alone:
        check_shared(run.path / "provenance.json", session.processes)
    run.note_recordings({own.path: own.begin for own in recorders(session.env)})
    prepare(session, deadline=deadline)
    licence = _licence(session, run)
    if run.last_iteration is None:
        tokens = session.sampled_tokens_total
        prepared = {"rollout/preparation_tokens": tokens} if tokens else {}
        _write(run, 0, {**prepared, **initial_metrics(session)}, on_row)
    with CheckpointWriter() as writer:
        while not session.is_over:
            found = _iterate(session)
            writer.wait()
            metrics, number = found.metrics, session.iteration
            has_diverged = session.has_diverged
            is_late = deadline is not None and time.monotonic() > deadline
            is_last = session.is_over or is_late or has_diverged
            every = config.eval.every
            if is_last or (every and number % every == 0):
                began = time.perf_counter()
                report = evaluate_policy(session)
                if report is not None:
                    metrics |= report.metrics | {"time/eval_s": time.perf_counter() - began}
            run.write_episodes(number, found.episodes)
            _write(run, number, metrics, on_row)
            if is_last or config.checkpoint.is_due(number, num_iterations=config.iterations):
                saved = _saved_model(session, run, licence)
                # Checkpoints hold the model in parts: an adapter without its base, or shares.
                is_in_parts = config.lora.is_on or not session.processes.is_alone
                if is_last and not has_diverged and is_in_parts:
                    # Before the last checkpoint: a run that is finished has its model.
                    export_model(run, _saver(session), saved)
                save_checkpoint(
                    run,
                    number,
                    session.saved_policy,
                    session.learner_state,
                    session.progress,
                    config=config.checkpoint,
                    record=saved,
                    writer=writer,
                )
            if is_last:
                break
    session.check_finite()
    return run.read_metrics()


def _iterate(session: AnySession) -> Written:
    return iterate_agent(session) if isinstance(session, AgentSession) else iterate(session)


def _licence(session: AnySession, run: RunDir) -> str:
    """Read the licence of the weights; a resumed run has it in its own card."""
    checkpoint = latest_checkpoint(run)
    own = UNKNOWN if checkpoint is None else licence_of(str(checkpoint / "model"))
    return licence_of(session.config.model) if own == UNKNOWN else own


def _saved_model(session: AnySession, run: RunDir, licence: str) -> SavedModel:
    record = ModelRecord.of(session.config, session.iteration)
    card = model_card(
        record,
        session.config,
        run.read_metrics(),
        problem_sets=session.problem_sets,
        licence=licence,
    )
    return SavedModel(record=record, card=card)


def _saver(session: RunSession) -> Callable[[Path], None]:
    """Choose how an adapter becomes a model: added to the weights, or alone."""
    policy, lora = session.policy, session.config.lora
    return policy.save_merged if lora.is_on and lora.export == "merged" else policy.save


def _write(run: RunDir, iteration: int, metrics: Mapping[str, Number], on_row: OnRow) -> None:
    run.write_metrics(iteration, metrics)
    on_row({"iteration": iteration, **metrics})
