"""Samples and gain of random resets and of the oracle, in the theorem's setting and outside.

    python -m benchmarks.tabular.theorem                # seconds
    python -m benchmarks.tabular.theorem --seeds 8      # also the trees of `coverage`

First the smallest world that has the theorem's setting (`two_contexts`), exactly; then, with
--seeds, the trees of the `coverage` ablation with intervals over seeds. A line gives the slope of
the resets that put the candidate's advantage three standard errors above 0, over p on log axes, and
the share of a sample's mean square from states that cannot be improved, at the smallest p.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from reason_env.agents.tabular.ablations import run_setting
from reason_env.agents.tabular.exact import horizon as finite
from reason_env.agents.tabular.exact import (
    oracle_reset_step,
    random_reset_step,
    uniform_policy,
)
from reason_env.agents.tabular.exact.detection import Detection, bernstein_samples, detection
from reason_env.agents.tabular.sampled.slopes import fitted_slope
from reason_env.agents.tabular.worlds.families import two_contexts

SHARES = tuple(float(p) for p in np.geomspace(1e-3, 1e-1, 9))
"""p: the share of the restarts that can be improved."""
THRESHOLD = 0.5
"""tau: the advantage of the right action over the uniform policy."""
NOISY, EXACT = 0.5, 1.0
"""Success where nothing can be improved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An estimator, a candidate and the place of the resets."""

    neutral: float
    has_baseline: bool = False
    is_still: bool = False
    """Whether the candidate changes only what can be improved."""
    is_oracle: bool = False

    @property
    def label(self) -> str:
        """What it is, in words."""
        words = [
            "oracle" if self.is_oracle else "random",
            "noisy verdict" if self.neutral == NOISY else "exact verdict",
            "value baseline" if self.has_baseline else "no baseline",
        ]
        return ", ".join(words) + ("; still candidate" if self.is_still else "")


CASES = (
    Case(neutral=NOISY),
    Case(neutral=EXACT),
    Case(neutral=NOISY, has_baseline=True),
    Case(neutral=EXACT, has_baseline=True),
    Case(neutral=NOISY, is_still=True),
    Case(neutral=NOISY, is_oracle=True),
)


def found_in(case: Case, share: float) -> Detection:
    """Compute the moments of a sample in the world of two contexts."""
    mdp = two_contexts(improvable=share, neutral=case.neutral)
    old = finite.evaluate(mdp, uniform_policy(mdp))
    candidate = finite.everywhere_candidate(old)
    if case.is_still:
        candidate = finite.oracle_candidate(old, THRESHOLD)
    restart = np.zeros_like(old.value_HS)
    # The decision is the first of the two steps.
    restart[0] = np.eye(4)[0] if case.is_oracle else mdp.start_S
    return detection(
        mdp, old, candidate, restart, threshold=THRESHOLD, has_baseline=case.has_baseline
    )


def gains(share: float) -> dict[str, float]:
    """Return the guaranteed and realised gains of a conservative step of either kind."""
    mdp = two_contexts(improvable=share, neutral=NOISY)
    policy = finite.checked_policy(mdp, uniform_policy(mdp))
    own = random_reset_step(mdp, policy, threshold=THRESHOLD)
    oracle = oracle_reset_step(mdp, policy, threshold=THRESHOLD)
    return {
        "random, guaranteed": own.guaranteed_gain,
        "random, realised": own.realised_gain,
        "oracle, guaranteed": oracle.guaranteed_gain,
        "oracle, realised": oracle.realised_gain,
    }


def exact_lines() -> Iterator[str]:
    """Write one line a case of the world of two contexts, and the gains."""
    zeros = [0] * len(SHARES)
    for case in CASES:
        found = [found_in(case, share) for share in SHARES]
        slope = fitted_slope(SHARES, [own.samples() for own in found], zeros).estimate
        yield (
            f"{case.label:55} samples {slope:+.3f}  mean square elsewhere "
            f"{found[0].share_elsewhere:.3f}"
        )
    for is_oracle in (False, True):
        case = Case(neutral=NOISY, is_oracle=is_oracle)
        bound = [
            bernstein_samples(
                num_actions=2,
                max_return=1.0,
                policy_advantage=found_in(case, share).mean,
                failure=0.05,
            )
            for share in SHARES
        ]
        slope = fitted_slope(SHARES, [float(own) for own in bound], zeros).estimate
        label = f"{'oracle' if is_oracle else 'random'}, Bernstein's bound"
        yield f"{label:55} samples {slope:+.3f}"
    by_share = [gains(share) for share in SHARES]
    for name in by_share[0]:
        slope = fitted_slope(SHARES, [own[name] for own in by_share], zeros).estimate
        yield f"{name:55} gain    {slope:+.3f}"


def tree_lines(num_seeds: int) -> Iterator[str]:
    """Write one line an estimator of the `coverage` ablation, p up to 0.033."""
    rows = [
        row
        for row in run_setting("coverage", num_seeds=num_seeds)
        if float(row["critical_rate"]) <= 0.04
    ]
    keys = dict.fromkeys((row["resets"], row["noise"], row["baseline"]) for row in rows)
    for resets, noise, baseline in keys:
        mine = [
            row
            for row in rows
            if (row["resets"], row["noise"], row["baseline"]) == (resets, noise, baseline)
        ]
        slope = fitted_slope(
            [float(row["coverage"]) for row in mine],
            [float(row["samples"]) for row in mine],
            [int(row["seed"]) for row in mine],
        )
        first = min(mine, key=lambda row: float(row["coverage"]))
        label = f"{resets}, {'noisy' if noise else 'exact'} verdict, "
        label += "value baseline" if baseline else "no baseline"
        yield f"{label:55} samples {slope}  elsewhere {float(first['share_elsewhere']):.3f}"


def main(argv: list[str]) -> int:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=0, help="trees; 0: none")
    given = parser.parse_args(argv)
    for line in exact_lines():
        print(line)
    if given.seeds:
        print(f"\ntrees of `coverage`, {given.seeds} seeds")
        for line in tree_lines(given.seeds):
            print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
