"""Updates that are kept only if they pass a test on fresh restarts do not lower the pass rate.

Both arms take GRPO's updates at one learning rate, because the claim is about steps that are too
large: `rates` has one, and no rate is chosen. The first contrast is the drawdown, the largest fall
of pass@1 from an earlier evaluation of the run. The second is what the accepted updates gain, since
a test that rejects every update lets nothing fall.

The first was chosen without thought of one thing: evaluations are samples, which show falls where
there are none, but not between evaluations of equal weights, which repeat. So the plain arm has
falls by sampling and the accepted one hardly any. `fall_of_sampling` says how large they are, and
docs/results.md what is left.

Each rejected step is measured again on fresh problems, which decides nothing: rows say how many
would have lost.

The claim presumes groups with signal, and a test that can see an advantage as large as one of the
first updates has.

The rate was chosen on problems of seeds 50 and 51, which no run has, with five of RRPO's updates an
iteration. At 1e-3 nothing of 0.12 is left at the first evaluation, at 3e-4 at the second, so that
little is left to fall; at 1e-4 plain updates reach 0.88 and 0.89, then fall to 0.41 in both. A
pilot of RRPO showed falls of 0.31 to 0.58 against none. But its test spends 33,000 tokens, most of
them to find restarts, so that an arm has 12 iterations; GRPO's restarts are the problems.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.claims.claim import Claim
from benchmarks.claims.design import Plan
from reason_env.agents.probe import Gate

CLAIM = Claim(
    text="CPI-style acceptance keeps improvement monotone; plain updates fall back",
    paper="Kakade and Langford 2002",
)
FALL, GAIN = "largest fall of pass@1, plain - accepted", "accepted, gained of pass@1"
PLAN = Plan(
    source="mix:chain@8-10",
    arms={
        "plain": "grpo:problems_per_iteration=24",
        "accepted": 'grpo:cpi={"step_size":1.0,"num_restarts":24,"realised_problems":0,'
        '"rejected_problems":32},'
        "problems_per_iteration=8",
    },
    effects={FALL: 0.1, GAIN: 0.1},
    gates=(
        Gate(
            rule="some groups hold both successes and failures",
            figures=("success/signal",),
            above=0.1,
            reason="Without signal there is no update to accept.",
        ),
        Gate(
            rule="CPI's test can see an advantage of a tenth",
            figures=("success/cpi_resolution",),
            below=0.06,
            reason="Large first updates gain several tenths; a test that cannot see one rejects "
            "everything, and a policy that never changes falls never. The figure is for 64 "
            "restarts; with this plan's 24 it is sqrt(64 / 24) times as large, 0.1.",
        ),
    ),
    gate_problems=48,
    budget=400_000,
    rates=(1e-4,),
    train_size=64,
    eval_size=32,
    eval_samples=4,
    iterations=20,
    updates_per_iteration=6,
    evaluations=10,
    pilot_seeds=(110, 111, 112),
    fewest_seeds=12,
    most_seeds=12,
)


def drawdown(row: Mapping[str, Any]) -> float:
    """Compute the largest fall of pass@1 from an earlier evaluation of the run."""
    first = np.asarray([place[2] for place in row["curve"]], dtype=np.float64)
    return float(np.max(np.maximum.accumulate(first) - first))


def rising(values: Sequence[float]) -> list[float]:
    """Find the values that never fall and are nearest in squares (isotonic regression).

    Neighbours that fall are replaced by their mean until none do. Source: Ayer et al. 1955,
    doi 10.1214/aoms/1177728423.

    >>> rising([0.1, 0.5, 0.3, 0.6])
    [0.1, 0.4, 0.4, 0.6]
    """
    blocks: list[list[float]] = []
    for value in values:
        blocks.append([value])
        while len(blocks) > 1 and np.mean(blocks[-2]) > np.mean(blocks[-1]):
            last = blocks.pop()
            blocks[-1] += last
    return [float(np.mean(block)) for block in blocks for _ in block]


def fall_of_sampling(row: Mapping[str, Any], samples: int, draws: int = 4000) -> float:
    """Estimate the drawdown that sampling alone shows of a policy that never falls.

    The policy's pass@1 are the rising values nearest to the run's. Samples of one problem are drawn
    as if of different ones, which is more noise than there is.

    Args:
        row: Of a run.
        samples: Responses of an evaluation.
        draws: Simulated runs, whose mean is returned.
    """
    rates = rising([place[2] for place in row["curve"]])
    drawn = np.random.default_rng(0).binomial(samples, rates, (draws, len(rates))) / samples
    falls: np.ndarray = np.maximum.accumulate(drawn, axis=1) - drawn
    return float(falls.max(axis=1).mean())


def contrasts(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Compare the largest falls of one seed, and see what the accepted updates gained."""
    accepted = rows["accepted"]
    gained = accepted["curve"][-1][2] - accepted["curve"][0][2]
    return {FALL: drawdown(rows["plain"]) - drawdown(accepted), GAIN: gained}
