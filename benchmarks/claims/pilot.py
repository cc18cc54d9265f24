"""The pilot of a plan, and the design that its rows decide.

The pilot runs each arm at each learning rate of the plan, on the plan's pilot seeds. Then

    learning rate    the one with the highest mean final pass@1 over the pilot's seeds; of equal
                     ones the smallest
    problems         an iteration's tokens at that rate, scaled so that the budget, less what the
                     arm spends before the first iteration, holds `plan.iterations` of them
    seeds            the fewest that see every smallest effect of interest at the standard deviation
                     of the contrasts over the pilot's seeds, within `plan.fewest_seeds` and
                     `plan.most_seeds`

The design's seeds begin at `plan.first_seed`; the pilot's are below `FIRST_SEED`. The pilot of a
claim without arms measures its seeds, and decides the number of seeds alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.claims.design import AT, FIRST_SEED, UNTRAINED, Arm, Design, Plan, design_of
from benchmarks.claims.power import seeds_needed
from benchmarks.claims.rows import labels_of
from reason_env.agents.compare import arm, shared_settings
from reason_env.errors import ConfigError

Row = Mapping[str, Any]
Contrasts = Callable[[Mapping[str, Row]], Mapping[str, float]]
"""Label -> row of one seed -> contrast -> value; the claim expects each to be above 0."""


def pilot_of(claim: str, plan: Plan) -> Design:
    """Build the pilot: each arm at each learning rate."""
    return design_of(
        claim,
        plan,
        arms={
            f"{label}{AT}{rate:g}": Arm(
                text=text,
                learning_rate=rate,
                problems_per_iteration=_first_problems(plan, text),
                run_s=0.0,
            )
            for label, text in plan.arms.items()
            for rate in plan.rates
        },
        seeds=_pilot_seeds(plan),
        pilot_sd={},
    )


def from_pilot(claim: str, plan: Plan, rows: Sequence[Row], contrasts: Contrasts) -> Design:
    """Decide the design of a plan by the rows of its pilot.

    Raises:
        ConfigError: A run of the pilot is missing.
    """
    _check_whole(claim, plan, rows)
    chosen = {label: best_rate(rows, label, plan.rates) for label in plan.arms}
    own = {label: _rows_of(rows, label, rate) for label, rate in chosen.items()}
    sd = spread(own or {UNTRAINED: rows}, contrasts)
    needed = [
        seeds_needed(sd[name], effect, most=plan.most_seeds) or plan.most_seeds
        for name, effect in plan.effects.items()
    ]
    num_seeds = max(plan.fewest_seeds, *needed)
    return design_of(
        claim,
        plan,
        arms={
            label: Arm(
                text=text,
                learning_rate=chosen[label],
                problems_per_iteration=scaled_problems(
                    own[label],
                    problems=_first_problems(plan, text),
                    budget=plan.budget,
                    iterations=plan.iterations,
                ),
                run_s=round(float(np.mean([row["seconds"] for row in own[label]])), 1),
            )
            for label, text in plan.arms.items()
        },
        seeds=tuple(range(plan.first_seed, plan.first_seed + num_seeds)),
        pilot_sd={name: round(value, 6) for name, value in sd.items()},
    )


def best_rate(rows: Sequence[Row], label: str, rates: Sequence[float]) -> float:
    """Choose the rate with the highest mean final pass@1; of equal ones the smallest.

    >>> def row(arm, seed, value):
    ...     return {"arm": arm, "seed": seed, "pass_at_1": value}
    >>> rows = [row("a @ 0.1", 0, 0.2), row("a @ 0.1", 1, 0.4), row("a @ 0.3", 0, 0.5),
    ...         row("a @ 0.3", 1, 0.0)]
    >>> best_rate(rows, "a", (0.3, 0.1))  # 0.30 beats 0.25
    0.1
    """

    def mean(rate: float) -> float:
        return float(np.mean([row["pass_at_1"] for row in _rows_of(rows, label, rate)]))

    return max(sorted(rates), key=mean)


def scaled_problems(rows: Sequence[Row], *, problems: int, budget: int, iterations: int) -> int:
    """Scale an iteration so that the budget holds as many as planned.

    Tokens before training are the mean of the runs, and an iteration's the mean over all of them.
    1,000 tokens, 100 of them before training, in 6 iterations: 150 each; (700 - 100) / 3 each are
    wanted.

    >>> row = {"tokens": 1000, "prepared_tokens": 100, "iterations": 6}
    >>> scaled_problems([row], problems=6, budget=700, iterations=3)
    8

    Raises:
        ConfigError: Not even one problem an iteration fits.
    """
    prepared = float(np.mean([row["prepared_tokens"] for row in rows]))
    spent = sum(row["tokens"] - row["prepared_tokens"] for row in rows)
    each = spent / sum(row["iterations"] for row in rows)
    found = int(problems * (budget - prepared) / iterations / each)
    if found < 1:
        raise ConfigError(
            f"budget must hold {iterations} iterations of a problem, got {budget:,} tokens, of "
            f"which {prepared:,.0f} are spent before training, at {each:,.0f} tokens for "
            f"{problems} problems; raise it"
        )
    return found


def spread(own: Mapping[str, Sequence[Row]], contrasts: Contrasts) -> dict[str, float]:
    """Compute the standard deviation of each contrast over the pilot's seeds.

    Args:
        own: Label -> rows of the pilot at the chosen rate, one a seed.
        contrasts: Of the claim.
    """
    by_seed = {
        row["seed"]: {label: _of_seed(rows, row["seed"]) for label, rows in own.items()}
        for row in next(iter(own.values()))
    }
    found = [contrasts(rows) for rows in by_seed.values()]
    return {name: float(np.std([one[name] for one in found], ddof=1)) for name in found[0]}


def _rows_of(rows: Sequence[Row], label: str, rate: float) -> list[Row]:
    return [row for row in rows if row["arm"] == f"{label}{AT}{rate:g}"]


def _of_seed(rows: Sequence[Row], seed: int) -> Row:
    return next(row for row in rows if row["seed"] == seed)


def _first_problems(plan: Plan, text: str) -> int:
    """Return the problems an iteration that an arm's text gives, else the plan's."""
    shared = replace(shared_settings(), problems_per_iteration=plan.first_problems)
    return arm(text, shared).problems_per_iteration


def _pilot_seeds(plan: Plan) -> tuple[int, ...]:
    if len(plan.pilot_seeds) < 2 or max(plan.pilot_seeds) >= FIRST_SEED:
        raise ConfigError(
            f"a pilot must have at least two seeds below {FIRST_SEED}, got {plan.pilot_seeds}"
        )
    return plan.pilot_seeds


def _check_whole(claim: str, plan: Plan, rows: Sequence[Row]) -> None:
    pilot = pilot_of(claim, plan)
    wanted = {(label, seed) for label in labels_of(pilot) for seed in pilot.seeds}
    missing = sorted(wanted - {(row["arm"], row["seed"]) for row in rows})
    others = {row["design"] for row in rows} - {pilot.content_hash}
    if missing or others:
        what = f"{missing[0][0]!r} of seed {missing[0][1]}" if missing else "those of another plan"
        raise ConfigError(
            f"the pilot of {claim!r} must have run each arm at each rate, got {len(missing)} runs "
            f"missing, first {what}; run: python -m benchmarks.claims --pilot {claim}"
        )
