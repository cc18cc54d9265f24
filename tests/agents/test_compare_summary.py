import json

import pytest

from reason_env.agents.compare import Comparison
from reason_env.agents.compare_statistics import area, curve_of
from reason_env.agents.compare_summary import sentence, summary

ARMS = {
    "grpo": (0.02, ("base",)),
    "lte": (0.05, ("base", "hinted")),
    "expo": (0.02, ("base", "explanation")),
}


@pytest.fixture
def comparison(build, tmp_path):
    return build["comparison"](tmp_path / "cmp", ARMS, num_seeds=5, leave_out=(("expo", 2),))


def test_every_number_is_that_of_the_runs(comparison):
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


def test_what_is_reached_beyond_the_budget_does_not_count(build, tmp_path):
    comparison = build["comparison"](tmp_path / "cmp", {"grpo": (0.05, ("base",))}, num_seeds=1)
    (run,) = comparison.runs
    rows = run.metrics()
    rows[-1]["eval/pass_at_1"] = 0.99
    rows[-1]["rollout/sampled_tokens_total"] = 90_000
    rows[-1]["rollout/sampled_tokens"] = 20_000
    run.path.joinpath("metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    part = summary(comparison)["by_source"]["chain"]["arms"]["grpo"]
    assert part["tokens_to_level"] == {"values": {"0": None}, "num_reached": 0, "median": None}


def test_a_comparison_without_any_result_says_so(build, tmp_path):
    comparison = build["comparison"](
        tmp_path / "cmp", {"grpo": (0.0, ("base",))}, num_seeds=1, leave_out=(("grpo", 0),)
    )
    part = summary(Comparison.open(comparison.path))["by_source"]["chain"]
    assert part["arms"] == {}
    assert part["level"] is None
    assert part["without_result"] == ["grpo"]


def estimate(mean, low, high, pairs=5):
    return {"mean": mean, "low": low, "high": high, "values": dict.fromkeys(range(pairs), mean)}


def arm(difference, *, gain=(0.2, 0.1, 0.3), seeds=5, reached=3, median=1234.5, p=0.0625):
    return {
        "num_seeds": seeds,
        "first_pass_at_1": estimate(0.3, 0.2, 0.4),
        "final_pass_at_1": estimate(0.5, 0.45, 0.55),
        "gain": estimate(*gain),
        "tokens_to_level": {"num_reached": reached, "median": median},
        "differences": difference
        and {"final_pass_at_1": estimate(*difference) | {"sign_flip_p": p}},
    }


@pytest.fixture
def config(comparison):
    return comparison.config


@pytest.mark.parametrize(
    ("own", "text"),
    [
        (
            arm((0.1, 0.05, 0.15)),
            "lte: pass@1 went from 0.300 to 0.500 [0.450, 0.550] (5 seeds); 0.100 above grpo, "
            "[+0.050, +0.150] over 5 pairs, sign-flip p 0.062; it reached 0.400 in 3 of 5, at the "
            "median after 1,234 tokens.",
        ),
        (
            arm((-0.1, -0.15, -0.05), reached=0, median=None, p=None),
            "lte: pass@1 went from 0.300 to 0.500 [0.450, 0.550] (5 seeds); 0.100 below grpo, "
            "[-0.150, -0.050] over 5 pairs; it reached 0.400 in 0 of 5.",
        ),
        (
            arm((0.1, -0.05, 0.25), gain=(0.0, -0.1, 0.1)),
            "lte: pass@1 went from 0.300 to 0.500 [0.450, 0.550] (5 seeds, no change shown); no "
            "difference to grpo shown: +0.100 [-0.050, +0.250] over 5 pairs; it reached 0.400 in 3 "
            "of 5, at the median after 1,234 tokens.",
        ),
        (
            arm((0.1, 0.05, 0.15, 4), seeds=4),
            "lte: pass@1 went from 0.300 to 0.500 [0.450, 0.550] (4 seeds); 0.100 above grpo, "
            "[+0.050, +0.150] over 4 pairs, too few to claim it; it reached 0.400 in 3 of 4, at "
            "the median after 1,234 tokens; 1 of its 5 runs did not finish.",
        ),
        (
            arm((0.1, None, None, 1)),
            "lte: pass@1 went from 0.300 to 0.500 [0.450, 0.550] (5 seeds); 0.100 above grpo, but "
            "one seed shows no difference; it reached 0.400 in 3 of 5, at the median after 1,234 "
            "tokens.",
        ),
        (
            arm(None),
            "lte: pass@1 went from 0.300 to 0.500 [0.450, 0.550] (5 seeds); the baseline has no "
            "result.",
        ),
    ],
)
def test_a_sentence_claims_what_the_interval_shows_and_no_more(config, own, text):
    assert sentence("lte", own, config=config, level=0.4) == text
