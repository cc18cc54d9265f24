"""What this machine does with a model: its limit, sampling, learning, grading, a whole iteration.

The measurements take turns until the time is up, so that whatever else the machine does disturbs
all of them; each figure is the median of its turns, with the range, and each share of the limit is
that of one turn. The session's own objects do the work, on its own problems; weights, optimizer and
method are put back after each turn.

Sampling takes an iteration's prompts at the full length of a response (no end token stops it), so
its speed does not depend on what the model says. The iteration is a whole one, except that every
response has an advantage, whatever its reward: what is learned does not depend on what the model
can do. Learning is that iteration's optimizer step; its tokens are distinct ones: a shared prefix
counts once.
"""

import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from reason_env.agents.bench.limit import (
    linear_shapes,
    product_rate,
    seconds_of,
    token_flop,
    training_flop,
)
from reason_env.agents.engines import Context, product_dtype
from reason_env.agents.rollout import TrainingSample, initial_states
from reason_env.agents.train import Session, iterate, restored
from reason_env.env import reason_env_of
from reason_env.errors import ConfigError

LEAST_TURNS = 3
ROWS = (8, 16, 32, 64, 128, 256)
"""Sequences at once for which the limit of sampling is measured."""
NEAR_BEST = 0.8
"""More rows are advised if the limit at the present number is below this share of the best."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """One figure: the median of its turns, and the range."""

    name: str
    label: str
    unit: str
    median: float
    low: float
    high: float
    share: float | None = None
    """Median share of the limit of the same turn, 0..1; None where there is no limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchReport:
    """A machine's speeds with a model, and what would raise them."""

    model: str
    problems: str
    device: str
    precision: str
    num_threads: int
    num_parameters: int
    num_rows: int
    """Responses of an iteration."""
    prompt_tokens: int
    """Mean tokens of a prompt."""
    max_tokens: int
    """Tokens of each sampled response."""
    num_turns: int
    seconds: float
    speeds: tuple[Speed, ...]
    advice: tuple[str, ...]
    """What to change to go faster, each with its measured gain; empty if nothing was found."""

    def speed(self, name: str) -> Speed:
        """Return the figure of this name.

        Raises:
            KeyError: There is none.
        """
        return {item.name: item for item in self.speeds}[name]


def bench(
    session: Session,
    *,
    seconds: float = 120.0,
    on_turn: Callable[[int], None] = lambda turn: None,
) -> BenchReport:
    """Measure a session's machine; leaves the session as it was, to the bit.

    Args:
        session: Before its first iteration; its config says how many problems an iteration has, how
            many responses each, how long they may be, and the precision.
        seconds: No turn begins later, except that there are at least `LEAST_TURNS`.
        on_turn: Called before each turn with its number, and with 0 before an iteration of one
            problem that only warms up.

    Raises:
        ConfigError: The time is not positive.
    """
    if not seconds > 0:
        raise ConfigError(f"seconds must be above 0, got {seconds!r}; give 120")
    policy, config = session.policy, session.config
    shapes = linear_shapes(policy.model)
    device = policy.device
    dtype = product_dtype(config.precision, device)
    contexts = _contexts(session)
    num_rows = sum(context.num_samples for context in contexts)
    began = time.perf_counter()
    on_turn(0)
    with restored(session):
        _iteration(replace(session, config=replace(config, problems_per_iteration=1)))
    turns: list[dict[str, float]] = []
    while len(turns) < LEAST_TURNS or time.perf_counter() - began < seconds:
        on_turn(len(turns) + 1)
        found = {
            "limit/sampling": product_rate(shapes, num_rows, dtype=dtype, device=device),
            "limit/learning": product_rate(
                shapes,
                config.learner.micro_batch_tokens,
                dtype=dtype,
                device=device,
                is_backward=True,
            ),
        }
        with restored(session):
            turns.append(found | _turn(session, contexts, found))
    return BenchReport(
        model=config.model,
        problems=config.env.source,
        device=str(device),
        precision=config.precision,
        num_threads=torch.get_num_threads(),
        num_parameters=sum(value.numel() for value in policy.model.parameters()),
        num_rows=num_rows,
        prompt_tokens=round(statistics.mean(len(context.token_ids) for context in contexts)),
        max_tokens=contexts[0].max_new_tokens,
        num_turns=len(turns),
        seconds=time.perf_counter() - began,
        speeds=_speeds(turns),
        advice=tuple(_advice(session, num_rows, turns)),
    )


_FIGURES = (
    ("limit/sampling", "limit of sampling: products of an iteration's rows", "GFLOP/s", None),
    ("limit/learning", "limit of learning: products of a micro-batch", "GFLOP/s", None),
    ("sampling", "sampling, responses of full length", "tokens/s", "sampling/share"),
    ("learning", "learning, distinct tokens, with the optimizer", "tokens/s", "learning/share"),
    ("grading", "grading the iteration's responses", "responses/s", None),
    ("iteration", "a whole iteration, generated tokens", "tokens/s", None),
    ("iteration/seconds", "a whole iteration", "s", None),
    ("iteration/rest", "of it, neither sampling nor learning", "%", None),
)


def _speeds(turns: Sequence[dict[str, float]]) -> tuple[Speed, ...]:
    found: list[Speed] = []
    for name, label, unit, share in _FIGURES:
        scale = 1e-9 if unit == "GFLOP/s" else 100.0 if unit == "%" else 1.0
        values = [scale * turn[name] for turn in turns if name in turn]
        if values:
            found.append(
                Speed(
                    name=name,
                    label=label,
                    unit=unit,
                    median=statistics.median(values),
                    low=min(values),
                    high=max(values),
                    share=None
                    if share is None
                    else statistics.median(turn[share] for turn in turns),
                )
            )
    return tuple(found)


def _contexts(session: Session) -> list[Context]:
    """Return the prompts of an iteration's problems."""
    config, inner = session.config, reason_env_of(session.env)
    ids = config.drawn(session.problem_ids, 0, config.problems_per_iteration)
    states = initial_states(session.env, ids, seed=config.seed_of("starts", 1))
    return [
        Context(
            token_ids=tuple(inner.prompt.token_ids(state)),
            num_samples=session.method.planned_responses,
            max_new_tokens=inner.rules.max_tokens,
        )
        for state in states
    ]


def _turn(session: Session, contexts: list[Context], limits: dict[str, float]) -> dict[str, float]:
    policy, config = session.policy, session.config
    sampling_flop = token_flop(linear_shapes(policy.model))
    learning_flop = training_flop(policy.model)
    completions: list[Any] = []

    def sample() -> None:
        completions.extend(policy.engine.sample(contexts, config.sampling, seed=0, stop_ids=()))

    sampling_s = seconds_of(sample, policy.device)
    num_sampled = sum(len(one.token_ids) for group in completions for one in group)
    found = {
        "sampling": num_sampled / sampling_s,
        "sampling/share": num_sampled * sampling_flop / sampling_s / limits["limit/sampling"],
    }
    metrics = _iteration(session)
    num_distinct = _number(metrics, "update/distinct_tokens")
    learning_s = _number(metrics, "time/learning_s")
    found |= {
        "learning": num_distinct / learning_s,
        "learning/share": num_distinct * learning_flop / learning_s / limits["limit/learning"],
    }
    tokens, total = _number(metrics, "rollout/sampled_tokens"), _number(metrics, "time/iteration_s")
    grade_s = _number(metrics, "time/grade_s")
    if grade_s > 0:
        found["grading"] = _number(metrics, "rollout/num_trajectories") / grade_s
    busy = _number(metrics, "time/sampling_s") + _number(metrics, "time/learning_s")
    return found | {
        "iteration": tokens / total,
        "iteration/seconds": total,
        "iteration/rest": 1 - busy / total,
    }


def _iteration(session: Session) -> dict[str, Any]:
    """Run one iteration in which every response has an advantage; return its metrics."""
    own = replace(session, problem_ids=list(session.problem_ids))
    own.is_prepared = True
    return iterate(own, adjust=_with_signal).metrics


def _with_signal(samples: list[TrainingSample]) -> list[TrainingSample]:
    return [
        replace(sample, advantage=1.0 - 2.0 * (number % 2)) for number, sample in enumerate(samples)
    ]


def _number(metrics: dict[str, Any], name: str) -> float:
    return float(metrics[name])


def _advice(session: Session, num_rows: int, turns: Sequence[dict[str, float]]) -> list[str]:
    """Say which settings would raise the limit, from measuring them."""
    policy, config = session.policy, session.config
    shapes, device = linear_shapes(policy.model), policy.device
    found: list[str] = []

    def rate(rows: int, dtype: torch.dtype) -> float:
        return product_rate(shapes, rows, dtype=dtype, device=device)

    dtype = product_dtype(config.precision, device)
    own = rate(num_rows, dtype)
    other = product_dtype("bf16-mixed", device)
    if dtype != other and (gain := rate(num_rows, other) / own) > 1.5:
        found.append(f"--precision bf16-mixed: products {gain:.1f} times as fast")
    rates = {rows: rate(rows, dtype) for rows in ROWS if rows > num_rows}
    if rates and own < NEAR_BEST * max(rates.values()):
        best = max(rates.values())
        rows = min(rows for rows, value in rates.items() if value >= NEAR_BEST * best)
        found.append(
            f"more responses at once: products of {rows} rows are {rates[rows] / own:.1f} times as "
            f"fast a row as those of {num_rows}; raise --problems-per-iteration or --group-size"
        )
    found += _thread_advice(shapes, num_rows, dtype, device, own)
    if policy.prefix_sharing_refusal is not None:
        found.append(
            "learning runs a shared prefix once for each response, because "
            f"{policy.prefix_sharing_refusal}"
        )
    rest = statistics.median(turn["iteration/rest"] for turn in turns)
    if rest > 0.1:
        found.append(
            f"{rest:.0%} of an iteration is neither sampling nor learning: grading, episodes, "
            "metrics; --engine.mismatch.sequences 0 leaves out the check of sampler and trainer"
        )
    return found


def _thread_advice(
    shapes: Any, num_rows: int, dtype: torch.dtype, device: torch.device, own: float
) -> list[str]:
    """Compare the present number of threads with one thread and with a thread a core."""
    if device.type != "cpu":
        return []
    now, cores = torch.get_num_threads(), len(os.sched_getaffinity(0))
    found: list[str] = []
    for other in sorted({1, cores} - {now}):
        torch.set_num_threads(other)
        try:
            gain = product_rate(shapes, num_rows, dtype=dtype, device=device) / own
        finally:
            torch.set_num_threads(now)
        if gain > 1.1:
            found.append(
                f"OMP_NUM_THREADS={other} instead of {now}: products {gain:.1f} times as fast"
            )
    return found
