"""Two properties that make an explanation worth imitating: it is likely, and leads to the answer.

    likelier   log pi(c | x) a token of explanations c ~ pi(. | x, answer), minus that of an
               expert's chain
    leads on   log pi(answer | x, c) of explanations, minus that of the policy's own chains
               c ~ pi(. | x)

Measured without training. The expert says a twelfth of its steps in other words, so it is about 2
nats a token from the policy.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.claims.claim import Claim
from benchmarks.claims.design import Plan
from benchmarks.claims.experts import solution_of
from benchmarks.claims.explained import answer_log_probs, chains_of, log_probs
from reason_env.agents.probe import Findings, Gate, Subject, mean_figure
from reason_env.agents.rollout import initial_states
from reason_env.state import ReasonState

CLAIM = Claim(
    text=(
        "explanations of the given answer are likelier under the policy than expert chains, and "
        "make the answer likelier than the policy's own chains do"
    ),
    paper="ExPO, arXiv 2507.02834",
)
SHARE = 0.08
LIKELIER, LEADS_ON = "explanation - expert, nats a token", "answer after an explanation, nats"
PLAN = Plan(
    source="mix:inverse@8-10",
    effects={LIKELIER: 0.1, LEADS_ON: 0.5},
    gates=(
        Gate(
            rule="the policy is not right without the answer",
            figures=("own/plain",),
            below=0.3,
            reason="Where its own chains lead to the answer, an explanation has nothing to add.",
        ),
        Gate(
            rule="the expert writes otherwise than the policy",
            figures=("own/distance",),
            above=0.5,
            reason="An expert in the policy's own words is no evidence for or against it.",
        ),
    ),
    gate_problems=48,
    train_size=64,
    pilot_seeds=(100, 101, 102, 103),
    most_seeds=12,
)


def measure(subject: Subject, seed: int) -> dict[str, float]:
    """Measure mean differences of log-probabilities over the problems of a seed, in nats.

    A problem that is answered without a step has no explanation, and is left out.
    """
    every = initial_states(subject.session.env, subject.session.problem_ids, seed=seed)
    found = zip(every, chains_of(subject, every, "explain", seed), strict=True)
    kept = [(state, chain.text) for state, chain in found if chain.text]
    states, explained = [state for state, _ in kept], [text for _, text in kept]
    plain = [chain.text for chain in chains_of(subject, states, "plain", seed)]
    own, expert = log_probs(subject, states, explained), _expert(subject, states)
    after = answer_log_probs(subject, states, explained)
    before = answer_log_probs(subject, states, plain)
    return {
        "likelier": float(np.mean(np.subtract(own, expert))),
        "leads_on": float(np.mean(np.subtract(after, before))),
    }


def contrasts(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Take both differences of one seed."""
    (row,) = rows.values()
    return {LIKELIER: row["likelier"], LEADS_ON: row["leads_on"]}


def figures(subject: Subject, seed: int) -> Findings:
    """Measure how often the policy is right by itself, and how far the expert is."""
    states = initial_states(subject.session.env, subject.session.problem_ids, seed=seed)
    plain = chains_of(subject, states, "plain", seed)
    kept = [(s, chain.text) for s, chain in zip(states, plain, strict=True) if chain.text]
    with_steps = [state for state, _ in kept]
    own = log_probs(subject, with_steps, [text for _, text in kept])
    gap = np.subtract(own, _expert(subject, with_steps))
    return Findings(
        figures=(
            mean_figure(
                "own/plain", "success", [float(one.is_right) for one in plain], unit="fraction"
            ),
            mean_figure("own/distance", "own chain - expert", gap.tolist(), unit="nats a token"),
        )
    )


def _expert(subject: Subject, states: Sequence[ReasonState]) -> list[float]:
    texts = ["".join(f"{step}\n" for step in solution_of(s.problem, SHARE)) for s in states]
    return log_probs(subject, states, texts)
