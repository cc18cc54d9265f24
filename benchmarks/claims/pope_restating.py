"""If the policy must not restate the shown prefix, it transfers less to the unguided problem.

The instruction goes with the prefix into the prompt. The claim presumes that the policy restates
the prefix when it is free to, and less when it is told not to: otherwise both arms are one method.

With the same prefix the base model succeeds about half as often under the instruction, so that arm
would train fewer guided successes. It gets a longer prefix, chosen on problems that neither gates
nor runs have (seed 998: success 0.41 free with a quarter of the steps; forbidden 0.25, 0.35 and
0.39 with 6, 7 and 8 sixteenths). The search of POPE is off: `grid` leaves one length.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.claims.claim import Claim
from benchmarks.claims.design import Plan
from reason_env.agents.methods.pope import prefix_lengths
from reason_env.agents.probe import Findings, Gate, Subject, difference_figure, rate_figure
from reason_env.agents.rollout import Group, Start, initial_states
from reason_env.state import Guidance, solution_guidance

CLAIM = Claim(
    text="forbidding the policy to restate the prefix hurts the transfer to unguided problems",
    paper="POPE, arXiv 2601.18779",
)
INSTRUCTION = "Do not restate."
SHARES = {"free": 0.25, "forbidden": 0.4375}
"""Arm -> share of the solution that is shown, rounded down to whole steps."""
_POPE = (
    "pope:hard_samples=4,probe_samples=4,loss.clip_low=0.2,loss.clip_high=0.2,"
    "loss.aggregation=token_mean,max_fraction={share},grid={share}"
)
PLAN = Plan(
    source="mix:precedence@7-10",
    arms={
        "free": _POPE.format(share=SHARES["free"]),
        "forbidden": f"{_POPE.format(share=SHARES['forbidden'])},instruction={INSTRUCTION}",
    },
    effects={"free - forbidden, pass@1": 0.05, "free - forbidden, pass@8": 0.1},
    gates=(
        Gate(
            rule="the instruction makes the policy restate the prefix less often",
            figures=("own/restated_less",),
            above=0.5,
            reason="A policy that does not follow the instruction is the same in both arms. At a "
            "half, the instruction decides most responses.",
        ),
        Gate(
            rule="guided responses succeed often enough to learn from",
            figures=("own/free",),
            above=0.15,
            reason="Both arms need guided success near 0.3; below half of that, most guided groups "
            "of eight have one success or none.",
        ),
        Gate(
            rule="they succeed often enough under the instruction, too",
            figures=("own/forbidden",),
            above=0.15,
            reason="With fewer guided successes the arm trains less, whatever it restates.",
        ),
        Gate(
            rule="both succeed about as often",
            figures=("own/gap",),
            below=0.2,
            reason="The arms are to train as many guided successes. Of 48 problems the interval is "
            "a tenth to either side.",
        ),
    ),
    gate_problems=48,
    budget=120_000,
    rates=(1e-4, 3e-4),
    first_problems=6,
    pilot_seeds=(100, 101, 102),
    most_seeds=12,
)


def contrasts(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Subtract the pass rates of one seed under the instruction from those without."""
    free, forbidden = rows["free"], rows["forbidden"]
    return {
        f"free - forbidden, pass@{k}": free[key] - forbidden[key]
        for k, key in (("1", "pass_at_1"), ("8", "pass_at_k"))
    }


def figures(subject: Subject, seed: int) -> Findings:
    """Sample guided copies with and without the instruction: success, and whether they restate."""
    session = subject.session
    starts: list[Start] = []
    for state in initial_states(session.env, session.problem_ids, seed=seed):
        for name, share in SHARES.items():
            (steps,) = prefix_lengths(len(state.problem.solution), max_fraction=share, grid=share)
            piece = solution_guidance(state.problem, steps, delimiter=state.codec.step_delimiter)
            assert piece is not None, "a family has reference solutions"
            asked = (Guidance("instruction", (INSTRUCTION,)),) if name == "forbidden" else ()
            shown = state.with_guidance(piece, *asked)
            key = f"{name}:{state.problem.problem_id}"
            starts.append(
                Start(
                    state=shown,
                    num_samples=subject.again,
                    learn_from=shown,
                    group=key,
                    role="probe",
                )
            )
    groups = subject.collect(starts, seed).groups
    own = {
        name: [group for group in groups if group.key.startswith(f"{name}:")]
        for name in ("free", "forbidden")
    }
    free, forbidden = ([_restated(group) for group in own[name]] for name in own)
    return Findings(
        figures=(
            *(
                rate_figure(f"own/{name}", f"guided success, {name}", _successes(found))
                for name, found in own.items()
            ),
            difference_figure(
                "own/gap",
                "guided success, free - forbidden",
                _successes(own["free"]),
                _successes(own["forbidden"]),
            ),
            rate_figure("own/restates", "guided responses that restate the prefix", free),
            difference_figure(
                "own/restated_less",
                "share of responses that restate the prefix, free - forbidden",
                free,
                forbidden,
            ),
        )
    )


def _successes(groups: Sequence[Group]) -> list[float]:
    return [float(np.mean([item.is_success for item in group.graded])) for group in groups]


def _restated(group: Group) -> float:
    """Return the share of responses that begin with the shown steps."""
    state = group.trajectories[0].start.state
    shown = tuple(state.guidance[0].pieces)
    begun = [tuple(item.final_state.steps[: len(shown)]) for item in group.graded]
    return float(np.mean([steps == shown for steps in begun]))
