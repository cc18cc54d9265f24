"""Rows: what is published of a design, one for each arm and seed, and the checks on them.

A claim that is measured without training has one row a seed, of the arm `UNTRAINED`.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.claims.design import LEAST_UPDATES, MOST_BUDGET_GAP, UNTRAINED, Design
from benchmarks.claims.evaluated import evaluated
from reason_env.agents.compare import Run, preparation_tokens
from reason_env.agents.runs import write_text
from reason_env.errors import ConfigError

Row = dict[str, Any]


def read_rows(file: Path) -> list[Row]:
    """Read one JSON object a line; none if there is no file."""
    if not file.is_file():
        return []
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def write_rows(file: Path, found: Sequence[Row]) -> None:
    """Write one JSON object a line."""
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, "".join(json.dumps(row) + "\n" for row in found))


def in_order(found: Sequence[Row]) -> list[Row]:
    """Sort rows by seed; rows of one seed keep their order."""
    return sorted(found, key=lambda row: row["seed"])


def row_of(run: Run, label: str, design: str) -> Row:
    """Summarise a finished run.

    Args:
        run: Finished.
        label: Of its arm.
        design: Hash of its design.
    """
    metrics = run.metrics()
    facts = json.loads((run.path / "provenance.json").read_text(encoding="utf-8"))
    timings = (run.path / "timings.jsonl").read_text(encoding="utf-8").splitlines()
    times = [json.loads(line) for line in timings]
    return {
        "design": design,
        "arm": label,
        "seed": run.seed,
        "started": facts["started"],
        "seconds": round(
            sum(
                row.get(f"time/{what}_s") or 0.0 for row in times for what in ("iteration", "eval")
            ),
            1,
        ),
        "prepared_tokens": int(preparation_tokens(metrics)),
        "updates": _total(metrics, "update/num_updates"),
        "planned_updates": _total(metrics, "update/num_updates")
        + _total(metrics, "update/num_skipped"),
        **_tested(metrics),
    } | evaluated(metrics)


def _tested(metrics: Sequence[Row]) -> Row:
    """Summarise CPI's tests, if the run has any: how many it accepted, and what others would gain.

    >>> tested = [{"cpi/accepted": 1}, {"cpi/accepted": 0, "cpi/rejected": -0.25},
    ...           {"cpi/accepted": 0, "cpi/rejected": 0.05}, {"cpi/accepted": 0}]
    >>> _tested(tested)
    {'accepted': 1, 'tested': 4, 'rejected_gain': -0.1, 'rejected_losses': 1, 'rejected': 2}
    """
    accepted = [row["cpi/accepted"] for row in metrics if row.get("cpi/accepted") is not None]
    if not accepted:
        return {}
    gains = [row["cpi/rejected"] for row in metrics if row.get("cpi/rejected") is not None]
    return {
        "accepted": sum(accepted),
        "tested": len(accepted),
        "rejected_gain": round(float(np.mean(gains)), 4) if gains else None,
        "rejected_losses": sum(gain < 0 for gain in gains),
        "rejected": len(gains),
    }


def _total(metrics: Sequence[Row], name: str) -> int:
    return int(sum(row.get(name) or 0 for row in metrics))


def labels_of(design: Design) -> tuple[str, ...]:
    """Return the arms that each seed has a row of."""
    return tuple(design.arms) or (UNTRAINED,)


def whole_seeds(design: Design, found: Sequence[Row]) -> list[int]:
    """Return the seeds that every arm has a row of, in the design's order."""
    known = {(row["arm"], row["seed"]) for row in found}
    labels = labels_of(design)
    return [seed for seed in design.seeds if all((label, seed) in known for label in labels)]


def budget_gap(found: Sequence[Row]) -> float:
    """Compute the largest relative difference of generated tokens between arms of a seed.

    >>> row = lambda seed, tokens: {"seed": seed, "tokens": tokens}
    >>> round(budget_gap([row(0, 100), row(0, 104), row(1, 120), row(1, 117)]), 3)
    0.04
    """
    by_seed: dict[int, list[int]] = {}
    for row in found:
        by_seed.setdefault(row["seed"], []).append(row["tokens"])
    # Rounded, so that 3150 is within 5 % of 3000.
    return round(max(max(tokens) / min(tokens) - 1 for tokens in by_seed.values()), 9)


def check_rows(design: Design, found: Sequence[Row]) -> None:
    """Check that rows are those of a design: whole seeds, their updates and equal budgets.

    Seeds may be missing: then the claim has no verdict yet.

    Raises:
        ConfigError: They are not.
    """
    name = f"the rows of {design.claim!r}"
    others = {row["design"] for row in found} - {design.content_hash}
    if others:
        raise ConfigError(
            f"{name} must be of design {design.content_hash}, got rows of {min(others)}; publish "
            "the runs of the design that is committed"
        )
    wanted = sorted((label, row["seed"]) for label in labels_of(design) for row in _firsts(found))
    pairs = sorted((row["arm"], row["seed"]) for row in found)
    strange = {row["seed"] for row in found} - set(design.seeds)
    if pairs != wanted or strange:
        raise ConfigError(
            f"{name} must have each arm of a seed of the design once, got {len(pairs)} rows for "
            f"{len(wanted)}{f' and seed {min(strange)}' if strange else ''}; run the rest"
        )
    if not design.arms:
        return
    fewest = min(found, key=lambda row: row["planned_updates"])
    if fewest["planned_updates"] < LEAST_UPDATES:
        raise ConfigError(
            f"{name} must have at least {LEAST_UPDATES} updates, got "
            f"{fewest['planned_updates']} in {fewest['arm']!r} of seed {fewest['seed']}; make its "
            "iterations smaller in another design"
        )
    gap = budget_gap(found)
    if gap > MOST_BUDGET_GAP:
        raise ConfigError(
            f"{name} must have budgets within {MOST_BUDGET_GAP:.0%}, got a difference of "
            f"{gap:.1%}; make iterations smaller in another design"
        )


def _firsts(found: Sequence[Row]) -> list[Row]:
    """Return one row of each seed."""
    return list({row["seed"]: row for row in found}.values())
