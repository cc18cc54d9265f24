"""Write run directories as `train` does, in milliseconds, to test comparisons and reports."""

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reason_env.agents.compare import CompareConfig, Comparison, arms_of, shared_settings
from reason_env.agents.rollout import Start, Trajectory, episode_rows, training_sample
from reason_env.agents.runs import config_json
from reason_env.agents.train import TrainConfig
from reason_env.codec import ByteCodec
from reason_env.problem import Problem
from reason_env.state import Guidance, ReasonState
from reason_env.verdict import Outcome, Verdict

CODEC = ByteCodec()
NUMBERS = itertools.count()


def problem_state(number: int, *, question: str | None = None, steps: int = 5) -> ReasonState:
    problem = Problem(
        problem_id=f"toy/train/{number}",
        question=question or f"x={number % 10} A..{chr(64 + steps)}",
        answer="702",
        solution=tuple(f"{chr(65 + at)}:{number % 10}+{at}" for at in range(steps)),
        level=3,
    )
    return ReasonState(problem=problem, codec=CODEC)


def finished(state: ReasonState, text: str, *, outcome: str, answer: str | None) -> ReasonState:
    whole = state.extend((*CODEC.encode(text), CODEC.eos_id))
    return replace(whole, verdict=Verdict(Outcome(outcome), answer, "made for a test"))


def trajectory(
    start: ReasonState,
    text: str,
    *,
    role: str = "base",
    outcome: str = "incorrect",
    answer: str | None = "35",
    learn_from: ReasonState | None = None,
    group: str = "0:toy",
    log_prob: float = -0.25,
    index: int = 0,
) -> Trajectory:
    final = finished(start, text, outcome=outcome, answer=answer)
    own = len(final.response) - len(start.response)
    learned = learn_from or start
    context = tuple(CODEC.encode(start.problem.question))
    shown = (7,) * len(start.guidance)
    return Trajectory(
        trajectory_id=f"0/{next(NUMBERS)}",
        start=Start(
            state=start,
            num_samples=1,
            learn_from=learned,
            group=group,
            role=role,
            is_auxiliary=role == "localise",
        ),
        index=index,
        final_state=final,
        prompt_ids=context + shown,
        learn_prompt_ids=context + (7,) * len(learned.guidance),
        behavior_log_probs=tuple(log_prob - 0.001 * at for at in range(own)),
        sampled_ids=(*final.response[len(final.response) - own :], 5),
        episode_return=1.0 if outcome == "correct" else 0.0,
        is_success=outcome == "correct",
        outcome=outcome,
        policy_version=0,
        is_left_out=outcome in ("timeout", "error"),
    )


def chain(rng: np.random.Generator, steps: int, *, begin: int = 0, error: float = 0.4) -> str:
    digits = [int(rng.integers(10)) if rng.random() < error else 5 for _ in range(begin, steps)]
    lines = [f"{chr(65 + at)}:{at}*3 z={d}\n" for at, d in enumerate(digits, start=begin)]
    return "".join(lines) + f"#### {'702' if digits == [5] * len(digits) else sum(digits)}\n"


def some_episodes(rng: np.random.Generator, number: int, count: int, roles: tuple[str, ...]):
    """Returns trajectories of one problem: chains, then resets of the first, then hinted ones."""
    state = problem_state(number)

    def one(start, text, **options):
        right = text.endswith("702\n")
        return trajectory(
            start,
            text,
            outcome="correct" if right else "incorrect",
            answer=text.split("#### ")[1].strip(),
            group=f"0:{state.problem.problem_id}",
            **options,
        )

    found = [one(state, chain(rng, 5), index=at) for at in range(count)]
    if "reset" in roles:
        kept = found[0].final_state.cut(2, source="reset")
        found += [one(kept, chain(rng, 5, begin=2), role="reset", index=at) for at in range(4)]
    if "hinted" in roles:
        told = state.with_guidance(Guidance("mistakes", ("35", "<b>37</b>")))
        found += [
            one(told, chain(rng, 5, error=0.1), role="hinted", learn_from=state, index=at)
            for at in range(4)
        ]
    if "localise" in roles:
        asked = state.with_guidance(Guidance("text", ("First wrong step?",)))
        found.append(trajectory(asked, "\\boxed{2}\n", role="localise", outcome="no_answer"))
    return found


def written(trajectories: list[Trajectory], limit: int = 10_000) -> list[dict[str, Any]]:
    """Convert trajectories to the rows that a run writes; the first has no training sample."""
    trained = [item for item in trajectories[1:] if not item.start.is_auxiliary]
    samples = [training_sample(item, item.episode_return - 0.5) for item in trained]
    rows: list[int | None] = [None if item not in trained else 0 for item in trajectories]
    numbers = iter(range(len(samples)))
    rows = [None if row is None else next(numbers) for row in rows]
    old = {
        at: torch.tensor(item.behavior_log_probs) + (0.5 if item.start.role == "hinted" else 0.0)
        for at, item in enumerate(trained)
    }
    return episode_rows(trajectories, limit, samples=samples, rows=rows, old_log_probs=old)


def write_run(
    path: Path,
    config: TrainConfig,
    *,
    lift: float = 0.05,
    iterations: int = 8,
    roles: tuple[str, ...] = ("base",),
    episodes: list[dict[str, Any]] | None = None,
) -> list[dict[str, Any]]:
    """Writes a run directory and returns the rows of its metrics."""
    rng = np.random.default_rng([config.seed, len(path.parent.name)])
    (path / "episodes").mkdir(parents=True)
    (path / "config.json").write_text(config_json.dump(config), encoding="utf-8")
    (path / "provenance.json").write_text("{}", encoding="utf-8")
    budget = config.max_generated_tokens or 80_000
    rows: list[dict[str, Any]] = []
    total = 0
    for number in range(iterations + 1):
        row: dict[str, Any] = {"iteration": number}
        if number:
            tokens = -(-budget // iterations) + int(rng.integers(50))
            total += tokens
            rate = min(0.95, 0.3 + lift * number + 0.02 * rng.normal())
            row |= {
                "rollout/pass_rate": rate,
                "rollout/sampled_tokens": tokens,
                "rollout/sampled_tokens_total": total,
                "rollout/discarded_tokens": tokens // 10 if len(roles) > 1 else 0,
                "rollout/solved_problems_unaided": 4 + number,
                "rollout/completion_tokens_mean": 80 + rng.normal(),
                "advantage/groups_without_signal_fraction": 0.2 + 0.05 * number,
                "update/entropy": 0.3 / number,
                "update/grad_norm": 0.1 + 0.02 * rng.random(),
                **{
                    f"grade/{name}_fraction": 0.0
                    for name in ("no_answer", "timeout", "error", "truncated")
                },
                "grade/correct_fraction": rate,
                "grade/incorrect_fraction": 1 - rate,
            }
            if len(roles) > 1:
                share = tokens // (len(roles) + 1)
                row |= {f"rollout/sampled_tokens/{role}": share for role in roles[1:]}
                row["rollout/sampled_tokens/base"] = tokens - share * (len(roles) - 1)
                row["rollout/pass_rate/base"] = rate - 0.05
        if number % 2 == 0:
            one = float(np.clip(0.3 + lift * number + 0.03 * rng.normal(), 0, 1))
            at_k = min(1.0, one + 0.25)
            row |= {"eval/k": 8}
            for name, value in (("pass_at_1", one), ("pass_at_k", at_k)):
                row |= {
                    f"eval/{name}": value,
                    f"eval/{name}_low": max(0.0, value - 0.06),
                    f"eval/{name}_high": min(1.0, value + 0.06),
                }
        rows.append(row)
        if number:
            own = (
                episodes if episodes is not None else written(some_episodes(rng, number, 8, roles))
            )
            lines = "".join(json.dumps(item) + "\n" for item in own)
            name = f"iteration_{number:06d}.jsonl"
            (path / "episodes" / name).write_text(lines, encoding="utf-8")
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (path / "metrics.jsonl").write_text(lines, encoding="utf-8")
    return rows


def make_comparison(
    path: Path,
    arms: dict[str, tuple[float, tuple[str, ...]]],
    *,
    sources: tuple[str, ...] = ("chain",),
    num_seeds: int = 5,
    budget: int = 80_000,
    leave_out: tuple[tuple[str, int], ...] = (),
) -> Comparison:
    """Writes a comparison whose runs are finished, but those (arm, seed) that are left out."""
    config = CompareConfig(
        arms=arms_of(list(arms), shared_settings()),
        sources=sources,
        num_seeds=num_seeds,
        budget=budget,
    )
    comparison = Comparison.open_or_create(path, config)
    for run in comparison.runs:
        if (run.arm, run.seed) in leave_out:
            continue
        lift, roles = arms[run.arm]
        own = config.run_config(run.source, run.arm, run.seed)
        write_run(run.path, own, lift=lift, roles=roles)
        run.end_file.write_text('{"status": "finished", "exit_status": 0}', encoding="utf-8")
    return comparison


@pytest.fixture
def build(builders):
    """The builders, for one test."""
    return builders


@pytest.fixture(scope="session")
def builders():
    """The builders, by name: test files cannot import each other."""
    return {
        "trajectory": trajectory,
        "problem_state": problem_state,
        "some_episodes": some_episodes,
        "written": written,
        "write_run": write_run,
        "comparison": make_comparison,
        "chain": chain,
    }
