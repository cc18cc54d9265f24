"""Checks each theoretical statement and prints whether it holds, with the measurement.

    python -m benchmarks.tabular.claims                # 3,800 random MDPs; about five minutes
    python -m benchmarks.tabular.claims --quick        # 200 MDPs, two seeds

Checks bounds as inequalities on random MDPs (dense, 2 to 6 states, discounts 0.1 to 0.99; with a
horizon, 1 to 6 steps), and fits powers of p by least squares on log axes, with an interval over
seeds.
"""

import argparse
import sys
from collections.abc import Iterator

import numpy as np

from benchmarks.tabular import garnet
from benchmarks.tabular.examples import Claim, example_claims, own_failure_claims, sampled_claims
from benchmarks.tabular.margins import discounted_margins, horizon_margins
from reason_env.agents.tabular.ablations import Row, run_setting
from reason_env.agents.tabular.ablations.settings import garnet_name
from reason_env.agents.tabular.sampled.slopes import fitted_slope

ROUNDING = 1e-10

STATEMENTS = {
    "difference": "K&L Lemma 6.1: performance difference is an equality",
    "mixture": "K&L Theorem 4.1: gain of a mixture, any alpha",
    "step": "K&L Corollary 4.2: gain >= A^2 / 8R at alpha = (1-g)A/4R",
    "gap": "K&L Corollary 4.5: gap <= OPT/(1-g) * mismatch(d_pi*, d_pi,mu)",
    "restart_gap": "K&L Corollary 4.5: gap <= OPT/(1-g)^2 * mismatch(d_pi*, mu)",
    "safe": "Pirotta 2013: gain of a mixture, any alpha",
    "safe_step": "Pirotta 2013: gain at alpha* = (1-g)A / (g |pi'-pi| range)",
    "random": "horizon, random resets: gain >= Abar^2 / 4R",
    "random_worst": "horizon, random resets: Abar^2 / 4R >= p^2 tau^2 / 4R",
    "oracle": "horizon, oracle resets: gain >= p tau^2 / 4R",
    "ours": "horizon, exactly greedy, alpha = 1/H: gain >= (1-1/H)^(H-1) Abar",
    "search": "PSDP: gap <= sum_h mismatch_h * error_h",
    "search_exact": "PSDP with full support and exact choices is optimal",
}


def bound_claims(margins: dict[str, list[float]]) -> Iterator[Claim]:
    """Yield a claim for each statement about random MDPs."""
    for name, values in margins.items():
        least, wrong = min(values), sum(value < -ROUNDING for value in values)
        measured = f"{wrong} violations in {len(values)}; least margin {least:.1e}"
        yield Claim(STATEMENTS[name], measured, wrong == 0)


ESTIMATORS = [
    # resets, noise, baseline, column, power, statement
    ("random", 1, 0, "worst_case", -2.0, "random resets: samples by range only (theory) ~ p^-2"),
    ("random", 1, 0, "samples", -2.0, "random resets: samples ~ p^-2, noisy verdict, no baseline"),
    ("random", 1, 1, "samples", -2.0, "the same, noisy verdict, value baseline"),
    ("random", 0, 0, "samples", -2.0, "the same, exact verdict, no baseline"),
    ("random", 0, 1, "samples", -2.0, "the same, exact verdict, value baseline"),
    ("random", 0, 1, "samples", -1.0, "exact verdict, value baseline: samples ~ p^-1"),
    ("random_still", 1, 0, "samples", -1.0, "candidate changes only improvable states: ~ p^-1"),
    ("oracle", 1, 0, "worst_case", 0.0, "oracle resets: samples by range only ~ p^0"),
    ("oracle", 1, 0, "samples", 0.0, "oracle resets: samples ~ p^0, noisy verdict, no baseline"),
    ("oracle", 0, 1, "samples", 0.0, "the same, exact verdict, value baseline"),
    ("random", 1, 0, "guaranteed_gain", 2.0, "random resets: guaranteed gain ~ p^2"),
    ("oracle", 1, 0, "guaranteed_gain", 1.0, "oracle resets: guaranteed gain ~ p"),
    ("random", 1, 0, "realised_gain", 2.0, "random resets: realised gain ~ p^2"),
    ("oracle", 1, 0, "realised_gain", 1.0, "oracle resets: realised gain ~ p"),
]


def slope_claims(rows: list[Row]) -> Iterator[Claim]:
    """Yield the powers of p in samples and gain, for small p; larger p also change the values."""
    for resets, noise, baseline, column, power, statement in ESTIMATORS:
        mine = [
            row
            for row in rows
            if (row["resets"], row["noise"], row["baseline"]) == (resets, noise, baseline)
            and float(row["critical_rate"]) <= 0.04
        ]
        slope = fitted_slope(
            [float(row["coverage"]) for row in mine],
            [float(row[column]) for row in mine],
            [int(row["seed"]) for row in mine],
        )
        yield Claim(statement, f"slope {slope}", abs(slope.estimate - power) <= 0.15)
    drawn = [row for row in rows if float(row["samples"]) < 50_000 and row["resets"] == "random"]
    slope = fitted_slope(
        [float(row["samples"]) for row in drawn],
        [float(row["sampled"]) for row in drawn],
        [int(row["seed"]) for row in drawn],
    )
    yield Claim(
        "samples counted from drawn resets agree with the exact count",
        f"slope {slope} over {len(drawn)} cells",
        slope.low <= 1.0 <= slope.high or abs(slope.estimate - 1) < 0.05,
    )
    errors = np.array([float(row["error_of_mean"]) for row in rows])
    within = float((np.abs(errors) < 1.96).mean())
    yield Claim(
        "Monte-Carlo means lie in their 95 % intervals of the exact value",
        f"{within:.1%} of {len(errors)}",
        within > 0.90,
    )


def ablation_claims(rows_of: dict[str, list[Row]]) -> Iterator[Claim]:
    """Yield the claims of the other ablations."""
    steps = rows_of["step_size"]
    wrong = sum(
        float(row["realised_gain"])
        < max(float(row["mixture_bound"]), float(row["safe_bound"])) - ROUNDING
        for row in steps
    )
    yield Claim("step sizes on Garnets: both bounds below", f"{wrong} of {len(steps)}", wrong == 0)
    mus = rows_of["restart"]
    wrong = sum(float(row["gap"]) > max(0.0, float(row["bound"])) + ROUNDING for row in mus)
    yield Claim("mu: the final gap is within Corollary 4.5", f"{wrong} of {len(mus)}", wrong == 0)
    near = [float(row["gap"]) for row in mus if float(row["mismatch"]) <= 30]
    far = [float(row["mismatch"]) for row in mus if float(row["gap"]) > 0.01]
    yield Claim(
        "mu: a small mismatch means a small gap",
        f"mismatch <= 30: largest gap {max(near):.1e}; gap > 1 %: mismatch >= {min(far):.0f}",
        max(near) < 0.01,
    )
    gap_of = {
        name: float(
            np.mean(
                [
                    float(row["gap"])
                    for row in mus
                    if row["restart"] == name and row["world"] != "tree"
                ]
            )
        )
        for name in ("own_failures", "initial", "uniform")
    }
    yield Claim(
        "chain and lock: CPI escapes with restarts from its failures (RRPO)",
        f"gap {gap_of['own_failures']:.2f} of the optimum, from the start "
        f"{gap_of['initial']:.2f}, from uniform mu {gap_of['uniform']:.2f}",
        gap_of["own_failures"] < 0.01,
    )
    for share, words in ((0.0, "mistakes are final"), (0.5, "half can be repaired")):
        mean = {
            offset: np.mean(
                [
                    float(row["gain"])
                    for row in rows_of["localisation"]
                    if (row["offset"], row["repairable"]) == (offset, share)
                ]
            )
            for offset in range(-4, 5)
        }
        shown = ", ".join(f"{offset:+d}: {mean[offset] / mean[0]:.2f}" for offset in (-4, -1, 1, 4))
        best = max(mean, key=lambda offset: float(mean[offset]))
        yield Claim(f"localisation: exact is best, {words}", f"gain {shown} of exact", best == 0)
    longest = [row for row in rows_of["chain"] if row["length"] == 12]
    share_of = {
        name: float(np.mean([float(row["escaped"]) for row in longest if row["restart"] == name]))
        for name in ("initial", "uniform")
    }
    yield Claim(
        "chain of 12: uniform restarts escape, the start distribution does not",
        f"uniform {share_of['uniform']:.0%}, initial {share_of['initial']:.0%} of seeds",
        share_of["uniform"] == 1 and share_of["initial"] < 0.5,
    )
    lock = [row for row in rows_of["curriculum"] if row["length"] == 12]
    backwards = np.mean([float(row["backwards_transitions"]) for row in lock])
    forwards = np.mean([float(row["from_start_transitions"]) for row in lock])
    solved = min(float(row["backwards_success"]) for row in rows_of["curriculum"])
    yield Claim(
        "PSDP backwards solves a lock of 12 in n^2 transitions, not A^n",
        f"{backwards:.0f} against {forwards:,.0f} to a first success; success {solved:.0f}",
        bool(solved == 1.0 and backwards < 144),
    )


def main(argv: list[str]) -> int:
    """Print every claim; return 1 if a bound is violated."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args(argv).quick
    num_mdps, num_seeds = (200, 2) if quick else (3_800, None)
    margins = discounted_margins(num_mdps) | horizon_margins(num_mdps)
    claims = [*bound_claims(margins)]
    num_violated = sum(not claim.holds for claim in claims)
    claims += example_claims()
    claims += sampled_claims(num_seeds=2 if quick else 20)
    claims += own_failure_claims()
    claims += slope_claims(run_setting("coverage", num_seeds=num_seeds))
    names = ("step_size", "restart", "localisation", "chain", "curriculum")
    claims += ablation_claims({name: run_setting(name, num_seeds=num_seeds) for name in names})
    for reading in ("value", "constant"):
        rows = run_setting(garnet_name(50, reading), num_seeds=2 if quick else 10)
        claims += [
            Claim(f"{finding} [noise: {reading}]", measured, holds)
            for finding, measured, holds in garnet.findings(rows)
        ]
    width = max(len(claim.statement) for claim in claims)
    for claim in claims:
        verdict = "holds" if claim.holds else "does NOT hold"
        print(f"{verdict:13}  {claim.statement:{width}}  {claim.measured}")
    print(f"{num_violated} bounds violated on {num_mdps} random MDPs each")
    return int(num_violated > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
