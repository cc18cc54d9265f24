import json

import pytest

from reason_env.agents.compare import Comparison, curve_of, summary
from reason_env.agents.compare.statistics import area

ARMS = {
    "grpo": (0.02, ("base",)),
    "lte": (0.05, ("base", "hinted")),
    "expo": (0.02, ("base", "explanation")),
}


@pytest.fixture
def comparison(build, tmp_path):
    return build["comparison"](tmp_path / "cmp", ARMS, num_seeds=5, leave_out=(("expo", 2),))


def test_the_summary_has_the_values_of_each_run_s_curve(comparison):
    found = summary(comparison)
    json.dumps(found, allow_nan=False)
    part = found["by_source"]["chain"]
    for label in ARMS:
        curves = {
            str(run.seed): curve_of(run.metrics())
            for run in comparison.runs
            if run.arm == label and run.is_finished
        }
        own = part["arms"][label]
        assert own["final_pass_at_1"]["values"] == {
            seed: curve.pass_at_1[-1] for seed, curve in curves.items()
        }
        assert own["final_pass_at_k"]["values"] == {
            seed: curve.pass_at_k[-1] for seed, curve in curves.items()
        }
        assert own["area"]["values"] == {
            seed: area(curve.tokens, curve.pass_at_1, budget=80_000)
            for seed, curve in curves.items()
        }
    finals = part["arms"]["grpo"]["final_pass_at_1"]["values"].values()
    assert part["level"] == sum(finals) / 5
    assert not part["level_is_chosen"]
    assert part["k"] == 8


def test_differences_are_paired_and_leave_missing_seeds_out(comparison):
    part = summary(comparison)["by_source"]["chain"]
    assert part["arms"]["grpo"]["differences"] is None
    own = part["arms"]["expo"]["differences"]["final_pass_at_1"]
    assert set(own["values"]) == {"0", "1", "3", "4"}
    base = part["arms"]["grpo"]["final_pass_at_1"]["values"]
    mine = part["arms"]["expo"]["final_pass_at_1"]["values"]
    for seed, value in own["values"].items():
        assert value == mine[seed] - base[seed]


def test_unfinished_and_failed_runs_are_named(comparison):
    run = next(run for run in comparison.runs if (run.arm, run.seed) == ("lte", 1))
    run.end_file.write_text('{"status": "failed", "exit_status": 3}', encoding="utf-8")
    run.log.write_text("first\nlast words\n", encoding="utf-8")
    rows = {(row["arm"], row["seed"]): row for row in summary(comparison)["runs"]}
    assert rows["lte", 1]["status"] == "failed"
    assert rows["lte", 1]["exit_status"] == 3
    assert rows["lte", 1]["log_tail"].endswith("last words")
    assert rows["expo", 2]["status"] == "unfinished"
    assert rows["grpo", 0]["status"] == "finished"
    assert rows["grpo", 0]["tokens"] >= 80_000


def test_a_level_reached_beyond_the_budget_does_not_count(build, tmp_path):
    comparison = build["comparison"](tmp_path / "cmp", {"grpo": (0.05, ("base",))}, num_seeds=1)
    (run,) = comparison.runs
    rows = run.metrics()
    rows[-1]["eval/pass_at_1"] = 0.99
    rows[-1]["rollout/sampled_tokens_total"] = 90_000
    rows[-1]["rollout/sampled_tokens"] = 20_000
    run.path.joinpath("metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    part = summary(comparison)["by_source"]["chain"]["arms"]["grpo"]
    assert part["tokens_to_level"] == {"values": {"0": None}, "num_reached": 0, "median": None}


def test_the_summary_of_a_comparison_without_finished_runs_explains_why_it_is_empty(
    build, tmp_path
):
    comparison = build["comparison"](
        tmp_path / "cmp", {"grpo": (0.0, ("base",))}, num_seeds=1, leave_out=(("grpo", 0),)
    )
    part = summary(Comparison.open(comparison.path))["by_source"]["chain"]
    assert part["arms"] == {}
    assert part["level"] is None
    assert part["without_result"] == {
        "grpo": "grpo: its one run has not finished, so nothing can be said about it, and no other "
        "arm can be compared with it."
    }


def test_two_seeds_have_no_interval_and_three_have(build, tmp_path):
    for num_seeds in (2, 3):
        comparison = build["comparison"](tmp_path / f"{num_seeds}", ARMS, num_seeds=num_seeds)
        own = summary(comparison)["by_source"]["chain"]["arms"]["lte"]
        for estimate in (own["final_pass_at_1"], own["area"], *own["differences"].values()):
            assert (estimate["low"] is None) == (estimate["high"] is None) == (num_seeds == 2)


def test_a_baseline_that_solves_nothing_sets_no_level(build, tmp_path):
    comparison = build["comparison"](tmp_path / "cmp", {"grpo": (0.02, ("base",))}, num_seeds=1)
    rewrite(comparison.runs[0], pass_at_1=[0.0] * 5)
    part = summary(comparison)["by_source"]["chain"]
    assert part["level"] is None
    assert part["arms"]["grpo"]["tokens_to_level"]["num_reached"] == 0
    assert "pass@1 was 0 in every evaluation" in part["arms"]["grpo"]["sentence"]


def rewrite(run, **values):
    """Sets columns of a run's evaluations, from first to last."""
    rows = run.metrics()
    evals = [row for row in rows if "eval/pass_at_1" in row]
    for name, column in values.items():
        for row, value in zip(evals, column, strict=True):
            row[f"eval/{name}"] = value
    text = "".join(json.dumps(row) + "\n" for row in rows)
    run.path.joinpath("metrics.jsonl").write_text(text, encoding="utf-8")


def test_a_collapse_is_judged_for_each_seed_against_its_best_evaluation(build, tmp_path):
    comparison = build["comparison"](tmp_path / "cmp", {"grpo": (0.02, ("base",))}, num_seeds=2)
    rewrite(comparison.runs[0], pass_at_1=[0.3, 0.8, 0.6, 0.5, 0.2])
    rewrite(comparison.runs[1], pass_at_1=[0.3, 0.4, 0.5, 0.6, 0.5])
    own = summary(comparison)["by_source"]["chain"]["arms"]["grpo"]
    assert own["best_pass_at_1"]["values"] == {"0": 0.8, "1": 0.6}
    assert own["collapsed_seeds"] == [0]
    assert "it collapsed in 1 of 2 seeds, from 0.800 at its best to 0.200 at" in own["sentence"]


def test_budgets_that_an_iteration_overshoots_by_more_than_a_tenth_are_noted(build, tmp_path):
    comparison = build["comparison"](tmp_path / "cmp", ARMS, num_seeds=1)
    assert summary(comparison)["notes"] == []
    run = next(run for run in comparison.runs if run.arm == "lte")
    rows = run.metrics()
    for tokens, is_noted in ((88_000, False), (88_001, True)):
        rows[-1]["rollout/sampled_tokens_total"] = tokens
        run.path.joinpath("metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
        assert bool(summary(comparison)["notes"]) == is_noted
    # 8,001 tokens over are a tenth of 90,000.
    assert summary(comparison)["notes"] == [
        "The budgets are not equal: a run ends with an iteration, and lte on chain generated "
        "88,001 tokens with a budget of 80,000. Give --budget 90000 or more, or fewer "
        "--problems-per-iteration."
    ]
