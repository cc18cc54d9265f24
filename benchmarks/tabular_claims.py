"""Each theoretical statement beside its measured figure: holds, or does not hold.

    python -m benchmarks.tabular_claims                # 3,800 random MDPs; about two minutes
    python -m benchmarks.tabular_claims --quick        # 200 MDPs, two seeds

Bounds are checked as inequalities on random MDPs (dense, 2 to 6 states, discounts 0.1 to 0.99; with
a horizon, 1 to 6 steps), powers of p by least squares on log axes with an interval over seeds. A
statement that does not hold is printed like any other, with what was found.
"""

# ruff: noqa: N803, N806 (axis letters, as in agents/tabular)

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks import garnet
from reason_env.agents.tabular import bounds, families, restarts
from reason_env.agents.tabular import horizon as finite
from reason_env.agents.tabular.ablations import Row
from reason_env.agents.tabular.improve import (
    conservative_policy_iteration,
    softmax_policy_gradient,
)
from reason_env.agents.tabular.mdp import (
    Array,
    TabularMDP,
    evaluate,
    greedy,
    mismatch,
    mix,
    occupancy,
    optimal_policy,
    performance,
    performance_difference,
    policy_advantage,
)
from reason_env.agents.tabular.resets import (
    oracle_reset_step,
    random_reset_step,
    reverse_policy_search,
    search_gap_bound,
)
from reason_env.agents.tabular.runner import run_setting
from reason_env.agents.tabular.slopes import fitted_slope
from reason_env.tabular_model import restart_chain

ROUNDING = 1e-10


@dataclass(frozen=True, slots=True)
class Claim:
    """A statement, what was measured, and whether it holds."""

    statement: str
    measured: str
    holds: bool


def discounted_margins(num_mdps: int) -> dict[str, list[float]]:
    """Returns, for each discounted statement, realised minus promised on every random MDP."""
    margins: dict[str, list[float]] = {}
    for seed in range(num_mdps):
        rng = np.random.default_rng([seed, 11])
        mdp = families.dense_mdp(
            num_states=int(rng.integers(2, 7)),
            num_actions=int(rng.integers(2, 5)),
            discount=float(rng.choice([0.1, 0.5, 0.9, 0.99])),
            rng=rng,
        )
        mu_S = rng.dirichlet(np.ones(mdp.num_states))
        old = evaluate(mdp, families.random_policy(mdp, rng), mu_S)
        candidate_SA = families.random_policy(mdp, rng) if seed % 2 else greedy(old.action_value_SA)
        for name, margin in _margins(mdp, old.policy_SA, mu_S, candidate_SA, rng.random()):
            margins.setdefault(name, []).append(margin)
    return margins


def _margins(
    mdp: TabularMDP, policy_SA: Array, mu_S: Array, candidate_SA: Array, step: float
) -> Iterator[tuple[str, float]]:
    old = evaluate(mdp, policy_SA, mu_S)
    before = float(mu_S @ old.value_S)
    advantage_S = (candidate_SA * old.advantage_SA).sum(-1)
    advantage = policy_advantage(old, candidate_SA)
    safe = {
        "policy_advantage": advantage,
        "policy_distance": float(np.abs(candidate_SA - policy_SA).sum(-1).max()),
        "advantage_range": float(np.ptp(advantage_S)),
        "discount": mdp.discount,
    }

    def gain(size: float) -> float:
        return performance(mdp, mix(policy_SA, candidate_SA, size), mu_S) - before

    yield "difference", -abs(performance_difference(mdp, old, candidate_SA) - gain(1.0))
    promised = bounds.mixture_gain(
        step_size=step,
        policy_advantage=advantage,
        max_advantage=float(np.abs(advantage_S).max()),
        discount=mdp.discount,
    )
    yield "mixture", gain(step) - promised
    reward = mdp.max_reward
    size = bounds.cpi_step_size(
        policy_advantage=advantage, max_reward=reward, discount=mdp.discount
    )
    yield "step", gain(size) - bounds.cpi_gain(policy_advantage=advantage, max_reward=reward)
    yield "safe", gain(step) - bounds.safe_gain(step_size=step, **safe)
    size = bounds.safe_step_size(**safe)
    yield "safe_step", gain(size) - bounds.safe_gain(step_size=size, **safe)
    best_SA = optimal_policy(mdp)
    best_S = occupancy(mdp, best_SA)
    gap = performance(mdp, best_SA) - float(mdp.start_S @ old.value_S)
    left = policy_advantage(old, greedy(old.action_value_SA))
    tight = bounds.optimality_gap(
        optimal_policy_advantage=left,
        occupancy_mismatch=mismatch(best_S, old.occupancy_S),
        discount=mdp.discount,
    )
    loose = bounds.restart_gap(
        optimal_policy_advantage=left,
        restart_mismatch=mismatch(best_S, mu_S),
        discount=mdp.discount,
    )
    yield "gap", tight - gap
    yield "restart_gap", loose - gap


def horizon_margins(num_mdps: int) -> dict[str, list[float]]:
    """Returns the same for the statements with a horizon."""
    margins: dict[str, list[float]] = {}
    for seed in range(num_mdps):
        rng = np.random.default_rng([seed, 12])
        steps = int(rng.integers(1, 7))
        dense = families.dense_mdp(
            num_states=int(rng.integers(2, 6)), num_actions=int(rng.integers(2, 4)), rng=rng
        )
        mdp = TabularMDP(
            transition_SAS=dense.transition_SAS,
            reward_SA=dense.reward_SA / steps,
            start_S=dense.start_S,
            horizon=steps,
        )
        shape = (steps, mdp.num_states)
        policy_HSA = rng.dirichlet(np.full(mdp.num_actions, 0.5), size=shape)
        threshold = float(rng.choice([0.01, 0.05, 0.2]))
        old = finite.evaluate(mdp, policy_HSA)
        random = random_reset_step(mdp, policy_HSA, threshold=threshold)
        oracle = oracle_reset_step(mdp, policy_HSA, threshold=threshold)
        candidate_HSA = finite.everywhere_candidate(old)
        full = finite.evaluate(mdp, mix(old.policy_HSA, candidate_HSA, 1 / steps))
        ours = bounds.greedy_horizon_gain(
            step_size=1 / steps,
            policy_advantage=finite.policy_advantage(old, candidate_HSA),
            horizon=steps,
        )
        worst = bounds.random_reset_gain(
            policy_advantage=random.coverage * threshold, max_return=1.0
        )
        mu_HS = rng.dirichlet(np.ones(mdp.num_states), size=steps)
        best = finite.evaluate(mdp, finite.optimal_policy(mdp)).performance
        *_, searched = reverse_policy_search(mdp, policy_HSA, mu_HS)
        found = {
            "random": random.realised_gain - random.guaranteed_gain,
            "random_worst": random.guaranteed_gain - worst,
            "oracle": oracle.realised_gain - oracle.guaranteed_gain,
            "ours": full.performance - old.performance - ours,
            "search": search_gap_bound(mdp, policy_HSA, mu_HS) - (best - old.performance),
            "search_exact": searched.performance - best,
        }
        for name, margin in found.items():
            margins.setdefault(name, []).append(margin)
    return margins


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
    """Yields a claim for each statement that was checked on random MDPs."""
    for name, values in margins.items():
        least, wrong = min(values), sum(value < -ROUNDING for value in values)
        measured = f"{wrong} violations in {len(values)}; least margin {least:.1e}"
        yield Claim(STATEMENTS[name], measured, wrong == 0)


def example_claims() -> Iterator[Claim]:
    """Yields the two examples of Kakade and Langford, and the number of CPI's calls."""
    worst = 0.0
    for length in range(2, 21):
        step_SS = restart_chain(num_states=length).transition.mean(1)[:-1, :-1]
        hitting = np.linalg.solve(np.eye(length - 1) - step_SS, np.ones(length - 1))[0]
        worst = max(worst, abs(hitting / (3 * (2**length - length - 1)) - 1))
    yield Claim(
        "K&L chain: uniform policy needs 3(2^n - n - 1) steps",
        f"n = 2..20, largest relative error {worst:.1e}",
        worst < 1e-6,
    )
    mdp = families.two_state_plateau()
    logits_SA = np.log(families.plateau_policy())
    performances = [
        one.performance
        for one in softmax_policy_gradient(
            mdp,
            logits_SA,
            restart=restarts.Initial(),
            num_iterations=1000,
            learning_rate=0.1,
        )
    ]
    slow = next(index for index, value in enumerate(performances) if value > 1.5)
    flat = sum(0.9 <= value <= 1.1 for value in performances)
    exact = conservative_policy_iteration(
        mdp,
        families.plateau_policy(),
        restart=restarts.Uniform(),
        num_iterations=5,
        step_rule=_full_step,
    )
    fast = next(index for index, one in enumerate(exact) if one.performance > 1.5)
    yield Claim(
        "two-state plateau: softmax gradient waits near value 1",
        f"{flat} of its first {slow} iterations in 0.9..1.1; greedy from uniform mu: {fast}",
        flat > slow / 3 and fast < slow,
    )
    small = families.garnet(
        num_states=10, num_actions=3, branching=2, discount=0.5, rng=np.random.default_rng(0)
    )
    accuracy = 0.05
    *iterates, last = conservative_policy_iteration(
        small,
        np.full((10, 3), 1 / 3),
        restart=restarts.Initial(),
        num_iterations=100_000,
        stop_below=2 * accuracy / 3,
    )
    gap = performance(small, optimal_policy(small)) - last.performance
    most = bounds.cpi_num_calls(max_reward=small.max_reward, accuracy=accuracy)
    yield Claim(
        "K&L Theorem 4.4: CPI stops within 72 R^2 / eps^2 calls",
        f"{len(iterates)} <= {most}, at a gap of {gap:.3f}",
        0 < len(iterates) <= most,
    )


def _full_step(*_: object) -> tuple[float, float]:
    return 1.0, -np.inf


def slope_claims(rows: list[Row]) -> Iterator[Claim]:
    """Yields the powers of p of samples and gain, for small p: beyond, values change as well."""
    expected = [
        ("random", 1, 0, "samples", -2.0, "random resets: samples ~ p^-2 (noisy verdict)"),
        ("random", 1, 1, "samples", -2.0, "the same, with a value baseline"),
        ("random", 0, 1, "samples", -2.0, "the same, with a baseline and an exact verdict"),
        ("oracle", 1, 0, "samples", 0.0, "oracle resets: samples ~ p^0"),
        ("random", 1, 0, "guaranteed_gain", 2.0, "random resets: guaranteed gain ~ p^2"),
        ("oracle", 1, 0, "guaranteed_gain", 1.0, "oracle resets: guaranteed gain ~ p"),
        ("random", 1, 0, "realised_gain", 2.0, "random resets: realised gain ~ p^2"),
        ("oracle", 1, 0, "realised_gain", 1.0, "oracle resets: realised gain ~ p"),
    ]
    for resets, noise, baseline, column, power, statement in expected:
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
    """Yields what the other ablations should show."""
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
    failed = [
        float(r["gap"]) for r in mus if r["restart"] == "own_failures" and r["world"] != "tree"
    ]
    yield Claim(
        "mu: restarts from own failures escape the chain and the lock",
        f"gap {np.mean(failed):.2f}: failures end where the policy already goes",
        float(np.mean(failed)) < 0.01,
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
    """Prints every claim; returns 1 if a bound is violated."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args(argv).quick
    num_mdps, num_seeds = (200, 2) if quick else (3_800, None)
    margins = discounted_margins(num_mdps) | horizon_margins(num_mdps)
    claims = [*bound_claims(margins)]
    num_violated = sum(not claim.holds for claim in claims)
    claims += example_claims()
    claims += slope_claims(run_setting("coverage", num_seeds=num_seeds))
    names = ("step_size", "restart", "localisation", "chain", "curriculum")
    claims += ablation_claims({name: run_setting(name, num_seeds=num_seeds) for name in names})
    rows = run_setting("garnet_50", num_seeds=2 if quick else 10)
    claims += [Claim(*found) for found in garnet.findings(rows)]
    width = max(len(claim.statement) for claim in claims)
    for claim in claims:
        verdict = "holds" if claim.holds else "does NOT hold"
        print(f"{verdict:13}  {claim.statement:{width}}  {claim.measured}")
    print(f"{num_violated} bounds violated on {num_mdps} random MDPs each")
    return int(num_violated > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
