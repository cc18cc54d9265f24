"""Where the policy's entropy lies, and where its chains go wrong.

    top decile      share of a response's entropy in the tenth of its tokens with the most of it
    step n          mean entropy of the tokens of the n-th step, nats a token
    first token     mean entropy of the tokens that begin a step, against the others

With a step checker: in which step failed chains first go wrong. Entropies are at temperature 1.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from reason_env.agents.engines import evaluating
from reason_env.agents.policy import LanguageModelPolicy
from reason_env.agents.probe.figure import Figure, Findings, mean_figure, rate_figure
from reason_env.agents.probe.subject import Subject, problem_id_of
from reason_env.agents.rollout import Group, Trajectory
from reason_env.state import step_bounds

EPISODES = 2
"""Episodes a problem whose entropies are computed."""
MOST_STEPS = 8
"""Steps that have a figure each."""
LEAST_PROBLEMS = 5
"""Problems that reach a step for it to have a figure."""
MOST_TOKENS = 1024
"""Tokens of one forward pass, padding included."""
LEAST_TOKENS = 10
"""Tokens of a response that has a top decile."""


@dataclass(frozen=True, slots=True)
class EntropyRow:
    """The entropies of one response."""

    problem_id: str
    entropies: tuple[float, ...]
    """[T], nats, of the distribution that each response token was drawn from."""
    bounds: tuple[int, ...]
    """0 and the token index just after each step."""
    is_success: bool
    wrong: int | None
    """First wrong step by the checker; None without one, or if no step is wrong."""


def entropy_rows(subject: Subject, groups: Sequence[Group], seed: int) -> list[EntropyRow]:
    """Compute the entropies of the first responses of each group, by forward passes only."""
    chosen = [
        (group, item)
        for group in groups
        for item in [own for own in group.graded if own.completion_ids][:EPISODES]
    ]
    found = response_entropies(subject.session.policy, [item for _, item in chosen])
    checker = subject.checker
    return [
        EntropyRow(
            problem_id=problem_id_of(group),
            entropies=entropies,
            bounds=step_bounds(item.final_state),
            is_success=item.is_success,
            wrong=None
            if checker is None
            else checker(item.final_state.problem, item.final_state.steps),
        )
        for (group, item), entropies in zip(chosen, found, strict=True)
    ]


@torch.no_grad()
def response_entropies(
    policy: LanguageModelPolicy, items: Sequence[Trajectory]
) -> list[tuple[float, ...]]:
    """Compute the policy's entropy at each response token, nats, at temperature 1."""
    rows = [(item.prompt_ids, item.final_state.response) for item in items]
    order = sorted(range(len(rows)), key=lambda at: -sum(map(len, rows[at])))
    found: list[tuple[float, ...]] = [()] * len(rows)
    with evaluating(policy.model):
        while order:
            width = sum(map(len, rows[order[0]]))
            size = max(1, MOST_TOKENS // width)
            batch, order = order[:size], order[size:]
            ids_BT = torch.full((len(batch), width), policy.codec.pad_id)
            mask_BT = torch.zeros((len(batch), width), dtype=torch.bool)
            for row, at in enumerate(batch):
                tokens = rows[at][0] + rows[at][1]
                ids_BT[row, : len(tokens)] = torch.tensor(tokens)
                mask_BT[row, : len(tokens)] = True
            _, entropy_BT = policy.token_log_probs(
                ids_BT.to(policy.device), mask_BT.to(policy.device), with_entropy=True
            )
            assert entropy_BT is not None, "asked for"
            for row, at in enumerate(batch):
                begin, size = len(rows[at][0]), len(rows[at][1])
                found[at] = tuple(map(float, entropy_BT[row, begin : begin + size]))
    return found


def entropy_findings(rows: Sequence[EntropyRow]) -> Findings:
    """Average the entropies over problems, by place; and count first errors by step."""
    if not rows:
        return Findings(missing={"entropy": "no response has tokens"})
    figures = [
        mean_figure(
            "entropy/mean",
            "entropy",
            _by_problem(rows, lambda row: float(np.mean(row.entropies))),
            unit="nats a token",
        )
    ]
    long = [row for row in rows if len(row.entropies) >= LEAST_TOKENS and any(row.entropies)]
    if long:
        label = "entropy in the tenth of tokens with the most of it"
        shares = _by_problem(long, lambda row: top_decile_share(row.entropies))
        figures.append(rate_figure("entropy/top_decile", label, shares))
    several = [row for row in rows if any(end - begin > 1 for begin, end in pairwise(row.bounds))]
    if several:
        for name, label, place in (
            ("first", "entropy of tokens that begin a step", 0),
            ("others", "entropy of the other tokens", 1),
        ):
            figures.append(
                mean_figure(
                    f"entropy/{name}_token",
                    label,
                    _by_problem(several, lambda row, at=place: _first_and_others(row)[at]),
                    unit="nats a token",
                )
            )
    figures += _step_figures(rows)
    errors, missing = _error_figures(rows)
    return Findings(figures=(*figures, *errors), missing=missing)


def top_decile_share(entropies: Sequence[float]) -> float:
    """Return the share of all entropy that the tenth of tokens with the most of it has.

    >>> round(top_decile_share([9.0] + [1.0] * 9 + [0.5] * 10), 3)  # (9 + 1) of 23
    0.435
    """
    ordered = sorted(entropies, reverse=True)
    return sum(ordered[: max(1, len(ordered) // 10)]) / sum(ordered)


def _step_figures(rows: Sequence[EntropyRow]) -> list[Figure]:
    figures: list[Figure] = []
    for step in range(MOST_STEPS):
        reached = [row for row in rows if len(row.bounds) > step + 1]
        values = _by_problem(
            reached,
            lambda row, at=step: float(np.mean(row.entropies[row.bounds[at] : row.bounds[at + 1]])),
        )
        if len(values) >= LEAST_PROBLEMS:
            label = f"entropy of step {step + 1}"
            figures.append(
                mean_figure(f"entropy/step_{step + 1}", label, values, unit="nats a token")
            )
    return figures


def _error_figures(rows: Sequence[EntropyRow]) -> tuple[list[Figure], dict[str, str]]:
    failed = [row for row in rows if row.wrong is not None and not row.is_success]
    if not failed:
        return [], {"errors": "no step checker finds a wrong step in these responses"}
    figures = [
        rate_figure(
            f"errors/step_{step}",
            f"failed chains whose first wrong step is step {step}",
            _by_problem(failed, lambda row, at=step: float(row.wrong == at)),
        )
        for step in range(1, MOST_STEPS + 1)
        if any(row.wrong == step for row in failed)
    ]
    label = "place of the first wrong step in its chain (0 first, 1 last)"
    places = _by_problem(failed, _relative_place)
    return [*figures, rate_figure("errors/place", label, places)], {}


def _relative_place(row: EntropyRow) -> float:
    assert row.wrong is not None, "only chains with a wrong step"
    return (row.wrong - 1) / max(1, len(row.bounds) - 2)


def _first_and_others(row: EntropyRow) -> tuple[float, float]:
    first = set(row.bounds[:-1])
    inside = range(row.bounds[-1])
    return (
        float(np.mean([row.entropies[at] for at in inside if at in first])),
        float(np.mean([row.entropies[at] for at in inside if at not in first])),
    )


def _by_problem(rows: Sequence[EntropyRow], value: Callable[[EntropyRow], float]) -> list[float]:
    """Average a number over the rows of each problem."""
    found: dict[str, list[float]] = {}
    for row in rows:
        found.setdefault(row.problem_id, []).append(value(row))
    return [float(np.mean(own)) for own in found.values()]
