"""Imitation before GRPO: what is trained on what, and what the rows say."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.claims import imitation, registry
from benchmarks.claims.design import Arm, read_design
from benchmarks.claims.experts import solution_of
from benchmarks.claims.rows import read_rows
from reason_env.codec import ByteCodec
from reason_env.env import reason_env_of
from reason_env.problems import load_problems


@pytest.fixture(scope="module")
def design():
    """POPE's design, as small as a design may be."""
    number = registry.numbers(imitation.CLAIM)[-1]
    own = read_design(registry.design_file(imitation.CLAIM, number))
    grpo = Arm(text="grpo:group_size=2", learning_rate=1e-4, problems_per_iteration=1, run_s=0.0)
    return replace(
        own, arms={"grpo": grpo}, seeds=(7,), budget=300, iterations=25, train_size=2, eval_size=1,
        eval_samples=1, evaluations=1,
    )  # fmt: skip


def test_the_expert_s_problems_are_those_of_the_run_that_follows(design, tmp_path):
    rl = design.comparison(7).run_config(design.source, "grpo", 7)
    sft = imitation.imitating(rl, design, tmp_path)
    assert (sft.method.kind, sft.method.group_size, sft.iterations) == ("sft", 0, 25)
    assert sft.learner == rl.learner
    envs = [reason_env_of(own.env.make(ByteCodec())).problems for own in (sft, rl)]
    assert [one.question for one in envs[0]] == [one.question for one in envs[1]]
    held_out = [reason_env_of(own.make_eval_env(ByteCodec())).problems for own in (sft, rl)]
    assert [one.question for one in held_out[0]] == [one.question for one in held_out[1]]


@pytest.mark.slow
def test_a_seed_has_a_row_a_stage_with_entropies_and_distances(design, tmp_path):
    own = tmp_path / design.content_hash
    # What a killed command left.
    (own / "seed_7" / "imitation").mkdir(parents=True)
    (own / "seed_7" / "imitation" / "config.json").write_text("{}")
    first, imitated, last = imitation.run(design, tmp_path)
    assert imitation.run(design, tmp_path) == [first, imitated, last]
    assert tuple(row["stage"] for row in (first, imitated, last)) == imitation.STAGES
    assert min(row["entropy"] for row in (first, imitated, last)) > 0
    assert first["entropy"] != imitated["entropy"]
    rl = json.loads((own / "seed_7" / "then_grpo" / "config.json").read_text())
    assert Path(rl["model"]).is_relative_to(own / "seed_7" / "imitation")
    for row in (first, imitated, last):
        assert row["design"] == design.content_hash
        assert row["expert_nats"] == first["expert_nats"] > 0
        assert math.isfinite(row["explanation_nats"])


def test_the_table_has_each_seed_s_value_in_each_stage():
    def row(stage, seed, value):
        return {
            "stage": stage, "seed": seed, "pass_at_1": value, "pass_at_k": 2 * value, "entropy": 0.5
        }  # fmt: skip

    rows = [
        row(stage, seed, 0.1 * at + 0.05 * seed)
        for seed in (1, 2)
        for at, stage in enumerate(imitation.STAGES)
    ]
    assert imitation.table(rows).splitlines()[2:] == [
        "| untrained | 0.05, 0.10 | 0.10, 0.20 | 0.5000, 0.5000 |",
        "| after imitation | 0.15, 0.20 | 0.30, 0.40 | 0.5000, 0.5000 |",
        "| after GRPO | 0.25, 0.30 | 0.50, 0.60 | 0.5000, 0.5000 |",
    ]


def test_the_page_of_results_has_the_published_table():
    page = (Path(__file__).parents[2] / "docs" / "results.md").read_text(encoding="utf-8")
    rows = read_rows(imitation.PUBLISHED)
    _, design = registry.current(imitation.CLAIM)
    assert [(row["design"], row["seed"], row["stage"]) for row in rows] == [
        (design.content_hash, seed, stage)
        for seed in design.seeds[: imitation.NUM_SEEDS]
        for stage in imitation.STAGES
    ]
    assert imitation.table(rows) in page


def test_an_expert_on_problems_of_sealed_says_some_steps_in_other_words():
    problems = load_problems("sealed", size=40, seed=5)
    own = [step for problem in problems for step in problem.solution]
    said = [step for problem in problems for step in solution_of(problem, imitation.SHARE)]
    changed = sum(one != other for one, other in zip(own, said, strict=True))
    # About 440 steps at 0.025: 11 are expected, standard error 3.3.
    assert 2 <= changed <= 22
