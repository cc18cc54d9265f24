"""Prolong a run: the same config with later limits, for `reason-env train --resume RUN`.

With a constant learning rate, a prolonged run ends with the weights of a run that was planned for
as many iterations from the start, bit for bit: nothing else of an iteration depends on the limits.
Its metrics.jsonl holds one more evaluation, after the iteration that was the last one. A learning
rate that decays to the end of the run decays to the new end from there on, so the weights differ.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from reason_env.agents.train.config import TrainConfig
from reason_env.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits that a resumed run may change; None keeps the run's."""

    iterations: int | None = None
    """Iterations of the whole run, those before included."""
    max_generated_tokens: int | None = None
    """Budget of generated tokens of the whole run, those before included."""
    max_minutes: float | None = None
    """Minutes after which no iteration starts, counted from this start."""


def prolonged(config: TrainConfig, limits: Limits, rows: Sequence[dict[str, Any]]) -> TrainConfig:
    """Give the config of a run with changed limits.

    Args:
        config: The run's.
        limits: The changed limits.
        rows: The rows of its metrics.jsonl up to the checkpoint that it continues from.

    Raises:
        ConfigError: A limit leaves nothing to run.
    """
    done, tokens = progress_of(rows)
    given = {
        "iterations": limits.iterations,
        "max_generated_tokens": limits.max_generated_tokens,
        "max_minutes": limits.max_minutes,
    }
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if limits.iterations is not None and limits.iterations != config.iterations:
        if limits.iterations <= done:
            raise ConfigError(
                f"iterations must be more than the {done} that have run, got {limits.iterations!r};"
                " it counts those too"
            )
        changes["prolonged_from"] = (*config.prolonged_from, config.iterations)
    if limits.max_generated_tokens is not None and limits.max_generated_tokens <= tokens:
        raise ConfigError(
            f"max_generated_tokens must be more than the {tokens} that were generated, got "
            f"{limits.max_generated_tokens!r}; it counts those too"
        )
    return replace(config, **changes)


def progress_of(rows: Sequence[dict[str, Any]]) -> tuple[int, int]:
    """Give the last iteration of some rows, and all tokens generated up to it.

    >>> progress_of([{"iteration": 0}, {"iteration": 1, "rollout/sampled_tokens_total": 512}])
    (1, 512)
    """
    last = rows[-1] if rows else {}
    tokens = last.get("rollout/sampled_tokens_total") or last.get("rollout/preparation_tokens") or 0
    return int(last.get("iteration", 0)), int(tokens)
