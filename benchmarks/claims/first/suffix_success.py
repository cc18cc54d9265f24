"""Continuations of a clean prefix succeed more often than of a prefix with an error."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.claims.first.experiments import Preset
from benchmarks.claims.first.finding import Claim, Finding, Row, mean_of, verdict_of
from benchmarks.claims.first.untrained import Env, rows_by_seed
from reason_env.agents.engines import SamplingConfig
from reason_env.agents.policy import LanguageModelPolicy
from reason_env.agents.rollout import Start, Trajectory, collect, initial_states
from reason_env.env import reason_env_of
from reason_env.state import uniform_cut

CLAIM = Claim(
    text="suffixes sampled from clean prefixes succeed more often than from unclean ones",
    paper="SRPO, arXiv 2605.25507",
)
USES = ()
SAMPLES = 4


def run(preset: Preset, seeds: int | None = None) -> list[dict[str, Any]]:
    """Measure, one row a seed, the base policy's success from uniform cuts of its own failures."""
    return rows_by_seed(_rates, "chain", preset, seeds)


def score(rows: Mapping[str, Sequence[Row]]) -> Finding:
    """Score the difference over seeds."""
    own = rows[__name__]
    lead = mean_of([row["clean"] - row["unclean"] for row in own])
    clean, unclean = (float(np.mean([row[name] for row in own])) for name in ("clean", "unclean"))
    share = float(np.mean([row["clean_share"] for row in own]))
    return Finding(
        claim=CLAIM,
        verdict=verdict_of([lead]),
        measures=(
            f"success from clean - from unclean: {lead}",
            f"{clean:.3f} from clean and {unclean:.3f} from unclean",
            f"share of uniform cuts that are clean: {share:.2f}",
        ),
    )


def _rates(policy: LanguageModelPolicy, env: Env, seed: int) -> dict[str, float]:
    problems = reason_env_of(env).problems
    assert problems.checker is not None, "a family has a step checker"
    states = initial_states(env, [problem.problem_id for problem in problems], seed=seed)
    rng = np.random.default_rng(seed)
    sampling = SamplingConfig()
    first = collect(
        [Start(state=s, num_samples=2, learn_from=s, group=s.problem.problem_id, role="base")
         for s in states],
        env=env, policy=policy, sampling=sampling, seed=seed,
    )  # fmt: skip
    failures: dict[str, Trajectory] = {}
    for item in first.trajectories:
        if not item.is_success and len(item.final_state.steps) > 1:
            failures.setdefault(item.start.state.problem.problem_id, item)
    starts: list[Start] = []
    is_clean: dict[str, bool] = {}
    for key, item in failures.items():
        state = item.final_state.cut(uniform_cut(item.final_state, rng))
        is_clean[key] = problems.checker(state.problem, state.steps) is None
        starts.append(
            Start(state=state, num_samples=SAMPLES, learn_from=state, group=key, role="reset")
        )
    resets = collect(starts, env=env, policy=policy, sampling=sampling, seed=seed + 1)
    rates: dict[bool, list[float]] = {True: [], False: []}
    for group in resets.groups:
        rates[is_clean[group.key]].append(
            float(np.mean([item.is_success for item in group.graded]))
        )
    return {
        "clean": float(np.mean(rates[True])),
        "unclean": float(np.mean(rates[False])),
        "clean_share": len(rates[True]) / len(starts),
    }
