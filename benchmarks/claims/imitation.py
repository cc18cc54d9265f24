"""Imitation first, then RL, on `sealed`: what becomes of success and of entropy.

    python -m benchmarks.claims.imitation              # run what is missing, write the rows
    python -m benchmarks.claims.imitation --published  # the table of the published rows

The expert says a share of its steps in other words, such that a token of its solutions costs the
policy about twice the nats of one of its own explanations; each row says what was measured. The
policy imitates it alone (`sft:group_size=0`) on the training problems of POPE's runs, and GRPO goes
on from there as in `pope_lifts`. The entropy is the mean over the tokens of responses to the
training problems, in nats. A seed that was killed begins again.

This is no claim with gates and power: it reports what happens. The seeds are the first of
`pope_lifts`, whose rows are on the same problems.
"""

import argparse
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.claims import registry
from benchmarks.claims.design import Design
from benchmarks.claims.evaluated import evaluated
from benchmarks.claims.experts import write_experts
from benchmarks.claims.explained import chains_of, log_probs
from benchmarks.claims.rows import Row, read_rows, write_rows
from benchmarks.claims.runs import make_folder
from reason_env.agents.methods import SFTConfig
from reason_env.agents.probe import Subject
from reason_env.agents.rollout import Start, initial_states
from reason_env.agents.runs import RunDir, model_directory
from reason_env.agents.train import Session, TrainConfig, build_session, train
from reason_env.errors import ReasonEnvError

CLAIM = "pope_lifts"
SHARE = 0.025
"""Of the expert's steps in other words: 2.1 times an explanation's nats, on the problems of seeds
996 to 998."""
NUM_SEEDS = 3
PROBLEMS = 8
"""Of an iteration of imitation."""
OUT = Path("runs/imitation")
PUBLISHED = registry.PUBLISHED / "imitation.jsonl"
STAGES = ("untrained", "after imitation", "after GRPO")
COMMAND = ("python", "-m", "benchmarks.claims.imitation")


def run(design: Design, out: Path) -> list[Row]:
    """Run the missing seeds of a design; return a row for each seed and stage."""
    out = out / design.content_hash
    file = out / "rows.jsonl"
    found = read_rows(file)
    done = {row["seed"] for row in found}
    for seed in design.seeds[:NUM_SEEDS]:
        if seed not in done:
            folder = out / f"seed_{seed}"
            if folder.is_dir():
                shutil.rmtree(folder)
            found += stages(design, seed, out)
            write_rows(file, found)
    return found


def stages(design: Design, seed: int, out: Path) -> list[Row]:
    """Imitate, then train by GRPO; return the rows of a seed, in the order of `STAGES`."""
    rl = design.comparison(seed).run_config(design.source, "grpo", seed)
    folder = out / f"seed_{seed}"
    sft = imitating(rl, design, out / "experts")
    session = build_session(sft)
    distance = nats_a_token(session, seed)
    entropies = [entropy_of(session, seed)]
    first, imitated = _trained(session, sft, folder / "imitation")
    entropies.append(entropy_of(session, seed))
    rl = replace(rl, model=model_directory(str(folder / "imitation")))
    session = build_session(rl)
    _, last = _trained(session, rl, folder / "then_grpo")
    entropies.append(entropy_of(session, seed))
    return [
        {"design": design.content_hash, "seed": seed, "stage": stage, "entropy": entropy}
        | dict(zip(("pass_at_1", "pass_at_k"), passed, strict=True))
        | distance
        for stage, entropy, passed in zip(STAGES, entropies, (first, imitated, last), strict=True)
    ]


def imitating(rl: TrainConfig, design: Design, folder: Path) -> TrainConfig:
    """Build the imitation of the expert that comes before a run: as many updates, no sampling."""
    experts = write_experts(design.source, design.source, rl.env, SHARE, folder)
    return replace(
        rl,
        method=SFTConfig(group_size=0),
        env=replace(rl.env, problems=experts, size=None, problem_seed=0),
        eval=replace(rl.eval, problems=experts),
        iterations=design.iterations,
        problems_per_iteration=PROBLEMS,
        max_generated_tokens=None,
    )


def _trained(
    session: Session, config: TrainConfig, path: Path
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Train; return pass@1 and pass@k before and after."""
    with RunDir.create(
        path, config, command=COMMAND, problem_sets=session.problem_sets, trackers=config.trackers
    ) as own:
        found = evaluated(train(session, own))
    before = found["first_pass_at_1"], found["first_pass_at_k"]
    return before, (found["pass_at_1"], found["pass_at_k"])


def entropy_of(session: Session, seed: int) -> float:
    """Measure the mean entropy of the tokens of four responses a training problem, in nats."""
    states = initial_states(session.env, session.problem_ids, seed=seed)
    starts = [
        Start(
            state=state,
            num_samples=4,
            learn_from=state,
            group=state.problem.problem_id,
            keeps_entropies=True,
        )
        for state in states
    ]
    sampled = Subject(session=session, again=1).collect(starts, seed).trajectories
    return round(float(np.mean([one for item in sampled for one in item.entropies or ()])), 4)


def nats_a_token(session: Session, seed: int) -> dict[str, float]:
    """Measure what a token of an explanation and of the expert costs the untrained policy, in nats.

    Args:
        session: The untrained policy and the expert's problems.
        seed: Of the explanations.
    """
    subject = Subject(session=session, again=1)
    states = initial_states(session.env, session.problem_ids, seed=seed)
    chains = chains_of(subject, states, "explain", seed)
    kept = [(s, chain.text) for s, chain in zip(states, chains, strict=True) if chain.text]
    explained = log_probs(subject, [state for state, _ in kept], [text for _, text in kept])
    solutions = ["".join(f"{step}\n" for step in state.problem.solution) for state in states]
    return {
        "explanation_nats": round(-float(np.mean(explained)), 4),
        "expert_nats": round(-float(np.mean(log_probs(subject, states, solutions))), 4),
    }


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a table of the stages with each seed's values, in the order of seeds."""
    lines = ["| stage | pass@1 | pass@8 | entropy, nats a token |", "|---|---|---|---|"]
    for stage in STAGES:
        own = [row for row in rows if row["stage"] == stage]
        cells = (
            ", ".join(f"{row[name]:.{digits}f}" for row in own)
            for name, digits in (("pass_at_1", 2), ("pass_at_k", 2), ("entropy", 4))
        )
        lines.append(f"| {stage} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> None:
    """Run what is missing, or print the published rows."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.claims.imitation",
        description=(__doc__ or "").split("\n\n", maxsplit=1)[0],
    )
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--published", action="store_true", help="run nothing")
    given = parser.parse_args(words)
    if given.published:
        print(table(read_rows(PUBLISHED)))
        return
    known = registry.current(CLAIM)
    assert known is not None, "the claim has a design"
    try:
        make_folder(given.out)
        rows = run(known[1], given.out)
    except ReasonEnvError as error:
        raise SystemExit(f"error: {error}") from error
    write_rows(PUBLISHED, rows)
    print(table(rows))


if __name__ == "__main__":
    main()
