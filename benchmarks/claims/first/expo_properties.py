"""Two properties that make an explanation worth imitating: it is likely, and leads to the answer.

    likelier   log pi(c | x) a token of explanations c ~ pi(. | x, answer), minus that of an
               expert's chain
    leads on   log pi(answer | x, c) of explanations, minus that of the policy's own chains
               c ~ pi(. | x)

The expert's chain is the reference in words that the policy does not use (`experts.py`). The first
property is also printed against the reference itself, on which the base model was pretrained.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.claims.first.experiments import Preset
from benchmarks.claims.first.experts import foreign_response
from benchmarks.claims.first.finding import Claim, Finding, Row, mean_of, verdict_of
from benchmarks.claims.first.untrained import Env, rows_by_seed
from reason_env.agents.engines import SamplingConfig
from reason_env.agents.policy import LanguageModelPolicy
from reason_env.agents.rollout import Start, Trajectory, collect, initial_states
from reason_env.env import reason_env_of
from reason_env.problems import reference_response
from reason_env.state import ReasonState, answer_guidance

CLAIM = Claim(
    text=(
        "explanations of the given answer are likelier under the policy than expert chains, and "
        "make the answer likelier than the policy's own chains do"
    ),
    paper="ExPO, arXiv 2507.02834",
)
USES = ()


def run(preset: Preset, seeds: int | None = None) -> list[dict[str, Any]]:
    """Measure, one row a seed, mean differences of log-probabilities over problems, in nats."""
    return rows_by_seed(_differences, "inverse", preset, seeds)


def score(rows: Mapping[str, Sequence[Row]]) -> Finding:
    """Score both differences over seeds."""
    own = rows[__name__]
    likelier = mean_of([row["likelier"] for row in own])
    leads_on = mean_of([row["leads_on"] for row in own])
    familiar = mean_of([row["familiar"] for row in own])
    return Finding(
        claim=CLAIM,
        verdict=verdict_of([likelier, leads_on]),
        measures=(
            f"log-probability a token, explanation - expert chain: {likelier} nats",
            "log-probability of the answer, after an explanation - after the policy's own chain: "
            f"{leads_on}",
            f"explanation - expert chain in the policy's notation: {familiar}",
        ),
    )


def _differences(policy: LanguageModelPolicy, env: Env, seed: int) -> dict[str, float]:
    inner = reason_env_of(env)
    states = initial_states(env, [problem.problem_id for problem in inner.problems], seed=seed)
    found: dict[str, dict[str, Trajectory]] = {}
    for role in ("explain", "plain"):
        starts = [_start(state, role) for state in states]
        batch = collect(starts, env=env, policy=policy, sampling=SamplingConfig(), seed=seed)
        found[role] = {item.start.group: item for item in batch.trajectories}

    def log_probs(texts: Sequence[tuple[ReasonState, str, str]]) -> list[tuple[float, ...]]:
        contexts = [
            inner.prompt.token_ids(state) + policy.codec.encode(before)
            for state, before, _ in texts
        ]
        completions = [policy.codec.encode(text) for _, _, text in texts]
        return policy.score(contexts, completions, SamplingConfig())

    chains = {
        role: [_chain(own[state.problem.problem_id]) for state in states]
        for role, own in found.items()
    }
    familiar = [reference_response(state.problem).rpartition("#### ")[0] for state in states]
    expert = [foreign_response(state.problem) for state in states]
    likely = {
        name: [float(np.mean(item)) for item in log_probs(
            [(state, "", chain) for state, chain in zip(states, texts, strict=True)]
        )]
        for name, texts in (
            ("explain", chains["explain"]), ("familiar", familiar), ("expert", expert)
        )
    }  # fmt: skip
    answered = {
        role: [float(np.sum(item)) for item in log_probs(
            [(state, chain, f"#### {state.problem.answer}")
             for state, chain in zip(states, texts, strict=True)]
        )]
        for role, texts in chains.items()
    }  # fmt: skip
    return {
        "likelier": float(np.mean(np.subtract(likely["explain"], likely["expert"]))),
        "familiar": float(np.mean(np.subtract(likely["explain"], likely["familiar"]))),
        "leads_on": float(np.mean(np.subtract(answered["explain"], answered["plain"]))),
    }


def _start(state: ReasonState, role: str) -> Start:
    shown = state
    if role == "explain":
        piece = answer_guidance(state.problem)
        assert piece is not None, "a problem has an answer"
        shown = state.with_guidance(piece)
    return Start(
        state=shown, num_samples=1, learn_from=state, group=state.problem.problem_id, role=role
    )


def _chain(item: Trajectory) -> str:
    """Return the steps before the answer line, each with its delimiter."""
    return item.final_state.text.rpartition("#### ")[0]
