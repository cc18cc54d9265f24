"""Claim (arXiv 2507.02834): explanations are likely, and make the answer likelier.

    likelier   log pi(c | x), nats a token: explanations c ~ pi(. | x, answer) against the reference
               solutions that people wrote
    leads on   log pi(answer | x, c): after explanations against after ordinary chains
               c ~ pi(. | x)

A pretrained model on real references; nothing is trained. One explanation and one ordinary chain a
problem are sampled, then forward passes score both; `agents/probe/explanations.py` says exactly
what. Intervals are 95 %, bootstrap over problems; both differences are paired by problem.

    python -m benchmarks.methods.expo_properties --problems gsm8k:DIR --num-problems 200

The rows go to `--out`, one JSON object a problem, as they are measured; the same command continues.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import tyro

from reason_env.agents.methods import GRPOConfig
from reason_env.agents.probe.explanations import (
    ExplanationRow,
    explanation_findings,
    explanation_rows,
)
from reason_env.agents.probe.figure import Findings
from reason_env.agents.probe.subject import Subject
from reason_env.agents.rollout import Start, initial_states
from reason_env.agents.train import TrainConfig, build_session
from reason_env.env import EnvConfig
from reason_env.state import ReasonState


@dataclass(frozen=True, kw_only=True)
class Setting:
    """The model and the problems of the measurement."""

    problems: str
    """Source with reference solutions, as `gsm8k:DIR`."""
    model: str = "smollm2"
    precision: str = "bf16-mixed"
    split: str = "train"
    template: str = "auto"
    num_problems: int = 200
    max_tokens: int = 256
    block: int = 10
    """Problems sampled at once."""
    seed: int = 0
    out: Path = Path("runs/expo_properties.jsonl")
    """The rows, one a problem."""


def run(setting: Setting) -> list[ExplanationRow]:
    """Measure each problem; continue from the rows that `out` holds."""
    env = EnvConfig(
        problems=setting.problems,
        split=setting.split,
        template=setting.template,
        max_tokens=setting.max_tokens,
    )
    config = TrainConfig(
        method=GRPOConfig(group_size=2),
        env=env,
        model=setting.model,
        precision=setting.precision,
        seed=setting.seed,
    )
    session = build_session(config)
    subject = Subject(session=session, again=2)
    order = np.random.default_rng(setting.seed).permutation(len(session.problem_ids))
    chosen = [session.problem_ids[int(at)] for at in order[: setting.num_problems]]
    states = initial_states(session.env, chosen, seed=setting.seed)
    rows = read_rows(setting.out)
    known = {row.problem_id for row in rows}
    setting.out.parent.mkdir(parents=True, exist_ok=True)
    for begin in range(0, len(states), setting.block):
        block = [state for state in states[begin : begin + setting.block] if subject.fits(state)]
        if all(state.problem.problem_id in known for state in block):
            continue
        found = _block_rows(subject, block, seed=setting.seed + begin)
        with setting.out.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(asdict(row)) + "\n" for row in found)
        rows += found
        print(f"{len(rows)} of {len(states)} problems", flush=True)
    return rows


def read_rows(path: Path) -> list[ExplanationRow]:
    """Read the rows that an earlier run wrote; none if there is no file."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    return [ExplanationRow(**json.loads(line)) for line in lines]


def score(rows: list[ExplanationRow]) -> Findings:
    """Average both properties and their parts."""
    return explanation_findings(rows)


def table(found: Findings) -> str:
    """Write the figures as a Markdown table."""
    lines = ["| | measured | problems |", "| --- | --- | --- |"]
    lines += [
        f"| {figure.label} | {figure.text()} | {figure.num_problems} |" for figure in found.figures
    ]
    return "\n".join(lines)


def _block_rows(subject: Subject, states: list[ReasonState], *, seed: int) -> list[ExplanationRow]:
    starts = [
        Start(
            state=state,
            num_samples=1,
            learn_from=state,
            group=f"{at}:{state.problem.problem_id}",
            draw=at,
        )
        for at, state in enumerate(states)
    ]
    groups = subject.collect(starts, 2 * seed).groups
    return explanation_rows(subject, groups, 2 * seed + 1)


if __name__ == "__main__":
    print(table(score(run(tyro.cli(Setting)))))
