"""ExPO's explanations teach more than experts, the more so the further the expert is.

Self-explanations need no expert. The claim is about what they are compared with: the same training
on reference solutions at several distances from the policy, in nats a token below its own
explanations. The first contrast is the slope of ExPO's lead over that distance; the second, its
lead over the furthest of them.

The distances were set by the share of steps that are said in other words, on problems that no run
has (seed 998), and are measured again as gates. A pilot of 1e-4 and 3e-4 chose 1e-4 in every arm,
the lower end, so there is a lower one.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.claims.claim import Claim
from benchmarks.claims.design import Plan
from benchmarks.claims.experts import solution_of
from benchmarks.claims.explained import chains_of, log_probs
from reason_env.agents.probe import Figure, Findings, Gate, Subject, mean_figure
from reason_env.agents.rollout import initial_states

CLAIM = Claim(
    text="ExPO beats the same training on expert chains, the more the further the expert is from "
    "the policy",
    paper="ExPO, arXiv 2507.02834",
)
SHARES = {0.0: 0.0, 0.5: 0.02, 1.0: 0.04, 2.0: 0.08}
"""Distance in nats a token -> share of the expert's steps in other words."""
WITHIN = 0.3
"""Nats a token by which a measured distance may miss the named one."""
SLOPE, LEAD = "slope of ExPO's lead over the expert's distance", "expo - expert at 2 nats, pass@1"


def label_of(dose: float) -> str:
    """Name the arm of an expert.

    >>> label_of(0.5)
    'expert at 0.5'
    """
    return f"expert at {dose:g}"


PLAN = Plan(
    source="mix:inverse@8-10",
    arms={"expo": "expo"} | {label_of(dose): "expo:explanations=expert" for dose in SHARES},
    experts={label_of(dose): share for dose, share in SHARES.items()},
    effects={SLOPE: 0.05, LEAD: 0.1},
    gates=(
        *(
            Gate(
                rule=f"the expert at {dose:g} nats is within {WITHIN} of it",
                figures=(f"own/miss_{dose:g}",),
                below=WITHIN,
                reason="The slope is over distances, which must be those that the arms are named "
                "for. The named number is what the whole interval is compared with.",
            )
            for dose in SHARES
        ),
        Gate(
            rule="explanations of the answer are right",
            figures=("own/explained",),
            above=0.3,
            reason="ExPO trains on explanations that end in the answer.",
        ),
    ),
    gate_problems=96,
    budget=120_000,
    rates=(3e-5, 1e-4, 3e-4),
    first_problems=4,
    eval_size=32,
    pilot_seeds=(100, 101, 102),
    fewest_seeds=12,
    most_seeds=16,
)


def contrasts(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Fit the slope of ExPO's lead in final pass@1 over the experts' distance."""
    dose = np.array(list(SHARES))
    own = rows["expo"]["pass_at_1"]
    lead = np.array([own - rows[label_of(one)]["pass_at_1"] for one in SHARES])
    centred = dose - dose.mean()
    return {SLOPE: float(centred @ lead / (centred @ centred)), LEAD: float(lead[-1])}


def figures(subject: Subject, seed: int) -> Findings:
    """Measure how far each expert is from the policy's own explanations, and how those end."""
    every = initial_states(subject.session.env, subject.session.problem_ids, seed=seed)
    explained = chains_of(subject, every, "explain", seed)
    kept = [(s, chain.text) for s, chain in zip(every, explained, strict=True) if chain.text]
    states = [state for state, _ in kept]
    own = log_probs(subject, states, [text for _, text in kept])
    found: list[Figure] = []
    for dose, share in SHARES.items():
        texts = ["".join(f"{step}\n" for step in solution_of(s.problem, share)) for s in states]
        gap = np.subtract(own, log_probs(subject, states, texts)).tolist()
        found += [
            mean_figure(f"own/dose_{dose:g}", f"distance at {share:g}", gap, unit="nats a token"),
            _miss(dose, gap),
        ]
    right = [float(chain.is_right) for chain in explained]
    share_right = mean_figure("own/explained", "right explanations", right, unit="fraction")
    return Findings(figures=(*found, share_right))


def _miss(dose: float, gap: Sequence[float]) -> Figure:
    """How far the mean distance is from the named one: a plain number, compared itself."""
    return Figure(
        name=f"own/miss_{dose:g}",
        label=f"miss of the expert at {dose:g}",
        estimate=abs(float(np.mean(gap)) - dose),
        unit="nats a token",
        num_problems=len(gap),
    )
