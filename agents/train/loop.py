"""The loop, read top to bottom: choose problems, collect through the environment, learn, write.

Nothing random outlives an iteration (`TrainConfig.seed_of`) and every checkpoint holds the learner,
so a run that is killed anywhere and resumed ends in the same weights and the same metrics.jsonl.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

from reason_env.agents.metrics import Number
from reason_env.agents.runs import RunDir, save_checkpoint
from reason_env.agents.train.session import Training

Row = dict[str, Any]
OnRow = Callable[[Row], None]


def train(
    training: Training,
    run: RunDir,
    *,
    on_row: OnRow = lambda row: None,
    deadline: float | None = None,
) -> list[Row]:
    """Runs the loop to its end and returns the rows of metrics.jsonl.

    Args:
        training: As made, or as resumed from the run's newest checkpoint.
        run: Created, or resumed at `training.iteration`.
        on_row: Told of each row once it is written.
        deadline: `time.monotonic()` after which no iteration starts; None for none.
    """
    config = training.config
    training.prepare(deadline=deadline)
    if run.last_iteration is None:
        _write(run, 0, {**_prepared(training), **training.first_metrics()}, on_row)
    while not training.is_over:
        metrics, _ = training.iterate()
        number = training.iteration
        is_last = training.is_over or (deadline is not None and time.monotonic() > deadline)
        every = config.eval.every
        if is_last or (every and number % every == 0):
            began = time.perf_counter()
            report = training.evaluate()
            if report is not None:
                metrics |= report.metrics | {"time/eval_s": time.perf_counter() - began}
        run.write_episodes(number, training.episodes)
        _write(run, number, metrics, on_row)
        if is_last or config.checkpoint.is_due(number, num_iterations=config.iterations):
            save_checkpoint(
                run,
                number,
                training.policy,
                training.learner.state_dict(),
                training.progress,
                config=config.checkpoint,
            )
        if is_last:
            break
    return run.read_metrics()


def _prepared(training: Training) -> Row:
    tokens = training.sampled_tokens_total
    return {"rollout/preparation_tokens": tokens} if tokens else {}


def _write(run: RunDir, iteration: int, metrics: Mapping[str, Number], on_row: OnRow) -> None:
    run.write_metrics(iteration, metrics)
    on_row({"iteration": iteration, **metrics})
