import importlib
import math

import pytest

from benchmarks.claims.__main__ import CLAIMS, main
from benchmarks.claims.experiments import EXPERIMENTS
from benchmarks.claims.finding import difference, mean_of, verdict_of

MODULES = {name: importlib.import_module(f"benchmarks.claims.{name}") for name in CLAIMS}


def row(arm, seed, first, at_k, **more):
    curve = [(0, 0, 0.0, 0.1), (10, 1000, first, at_k)]
    base = {"arm": arm, "seed": seed, "pass_at_1": first, "pass_at_k": at_k, "curve": curve}
    return base | {"first_pass_at_1": 0.0, "first_pass_at_k": 0.02, "iterations": 10} | more


def test_a_mean_has_students_interval_worked_out_by_hand():
    found = mean_of([0.1, 0.2, 0.6])
    # Standard deviation sqrt(0.07), standard error sqrt(0.07 / 3), t(0.975, 2) = 4.3027.
    half = 4.302653 * math.sqrt(0.07 / 3)
    assert found.mean == pytest.approx(0.3)
    assert (found.low, found.high) == pytest.approx((0.3 - half, 0.3 + half), rel=1e-5)
    assert math.isnan(mean_of([0.5]).low)


def test_differences_are_paired_by_seed():
    rows = [row("a", 0, 0.5, 0.6), row("a", 1, 0.9, 0.6), row("b", 1, 0.2, 0.1)]
    assert difference(rows, "a", "b", "pass_at_1").mean == pytest.approx(0.7)
    with pytest.raises(KeyError, match="no run of arm 'c' has finished"):
        difference(rows, "c", "b", "pass_at_1")


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([[0.10, 0.11, 0.12]], "reproduced"),
        ([[0.10, 0.11, 0.12], [0.1, -0.1, 0.0]], "not reproduced"),
        ([[0.10, 0.11, 0.12], [-0.10, -0.11, -0.12]], "opposite"),
        ([[0.10, 0.11]], "too few seeds"),
    ],
)
def test_a_verdict_needs_every_interval_on_its_side(values, verdict):
    assert verdict_of([mean_of(own) for own in values]) == verdict


@pytest.mark.parametrize("preset", ["full", "quick"])
def test_every_experiment_is_a_comparison_at_one_budget(preset, tmp_path):
    for experiment in EXPERIMENTS.values():
        config = experiment.config(preset, None, tmp_path)
        assert list(config.arms) == list(experiment.arms)
        assert len(config.seeds) == {"full": 5, "quick": 2}[preset]
        run = config.run_config(config.sources[0], config.baseline, 0)
        assert run.max_generated_tokens == config.budget
        assert run.eval.split == "hard"


@pytest.mark.parametrize("name", [name for name in CLAIMS if MODULES[name].USES])
def test_every_claim_is_scored_from_rows_of_its_experiments(name):
    module = MODULES[name]
    rows = {
        own: [
            row(arm, seed, 0.1 + 0.01 * seed + 0.05 * place, 0.2 + 0.01 * seed + 0.05 * place)
            for place, arm in enumerate(EXPERIMENTS[own].arms)
            for seed in range(5)
        ]
        for own in module.USES
    }
    found = module.score(rows)
    assert found.claim is module.CLAIM
    assert found.verdict in ("reproduced", "not reproduced", "opposite")
    assert "nan" not in found.measured


def test_grpo_has_left_zero_where_its_pass_at_k_has():
    score = MODULES["grpo_sharpening"].score
    low = {"unlock": [row("grpo", seed, 0.0, 0.02 + 0.01 * seed) for seed in range(3)]}
    high = {"unlock": [row("grpo", seed, 0.5, 0.82 + 0.01 * seed) for seed in range(3)]}
    assert (score(low).verdict, score(high).verdict) == ("reproduced", "opposite")


def test_the_largest_fall_is_from_the_highest_place_before():
    fallen = row("rrpo", 0, 0.4, 0.5)
    fallen["curve"] = [(0, 0, 0.1, 0.2), (1, 9, 0.5, 0.6), (2, 20, 0.2, 0.3), (3, 31, 0.4, 0.5)]
    assert MODULES["cpi_monotone"].drawdown(fallen) == pytest.approx(0.3)


def test_the_late_fall_begins_at_half_of_the_tokens():
    own = row("lte", 0, 0.4, 0.9)
    own["curve"] = [(0, 0, 0.1, 0.2), (1, 50, 0.2, 0.4), (2, 100, 0.4, 0.9)]
    assert MODULES["lte_never_solved"].late_fall(own) == pytest.approx(0.5)


def test_an_unknown_claim_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["pope_lifts", "srpo_ordre"])
    assert "no claim 'srpo_ordre' among grpo_sharpening" in capsys.readouterr().err
