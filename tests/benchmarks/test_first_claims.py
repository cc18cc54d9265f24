import importlib
import math
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.claims.first.__main__ import CLAIMS, main
from benchmarks.claims.first.experiments import ALL, EXPERIMENTS, FURTHER, REFUSED
from benchmarks.claims.first.experiments import VARIATIONS as VARIED
from benchmarks.claims.first.finding import Claim, difference, mean_of, paired_finding, verdict_of
from benchmarks.claims.first.published import published
from benchmarks.claims.first.variations import VARIATIONS
from reason_env.agents.methods import method_names
from reason_env.codec import ByteCodec
from reason_env.env import reason_env_of

MODULES = {name: importlib.import_module(f"benchmarks.claims.first.{name}") for name in CLAIMS}


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
def test_a_claim_is_reproduced_or_opposite_only_if_every_interval_agrees(values, verdict):
    assert verdict_of([mean_of(own) for own in values]) == verdict


@pytest.mark.parametrize("preset", ["full", "quick"])
def test_every_experiment_is_a_comparison_at_one_budget(preset, tmp_path):
    for name, experiment in ALL.items():
        config = experiment.config(preset, None, tmp_path)
        assert list(config.arms) == list(experiment.arms)
        first, last = experiment.seeds
        assert config.seeds == range(first, {"full": last + 1, "quick": first + 1}[preset])
        assert experiment.seeds in ([(5, 9), (5, 14)] if name in VARIED else [(0, 4)])
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


@pytest.mark.parametrize("name", VARIATIONS)
def test_every_variation_is_scored_from_rows_of_its_experiment(name):
    own = VARIATIONS[name]
    rows = {
        used: [
            row(arm, seed, 0.1 + 0.01 * seed + 0.05 * place, 0.2 + 0.01 * seed + 0.05 * place)
            for place, arm in enumerate((EXPERIMENTS | VARIED)[used].arms)
            for seed in range(5, 8)
        ]
        for used in own.USES
    }
    found = own.score(rows)
    assert found.claim.text == f"{own.claim.text}: on {own.experiment}"
    assert found.verdict in ("reproduced", "not reproduced", "opposite")
    assert "nan" not in found.measured


def test_a_claim_is_varied_on_fresh_seeds_with_the_arms_and_settings_of_its_own_experiment():
    for fresh, own in (
        ("precedence, fresh seeds", EXPERIMENTS["precedence"]),
        ("chain, fresh seeds", EXPERIMENTS["chain"]),
    ):
        varied = VARIED[fresh]
        assert varied.arms.items() <= own.arms.items()
        assert replace(own, arms=varied.arms, seeds=varied.seeds, eval_every=0) == varied


def test_slack_relaxes_the_verdict_of_one_arm_and_changes_no_published_number():
    # b - a is -0.01 in all seeds, c - b is 0.1.
    rows = [
        row(arm, seed, value + 0.2 * seed, 0.5)
        for arm, value in (("a", 0.30), ("b", 0.29), ("c", 0.39))
        for seed in range(3)
    ]
    pairs = [("b", "a", "pass_at_1"), ("c", "b", "pass_at_1")]
    claim = Claim(text="c > b >= a", paper="none")
    verdicts = [
        paired_finding(claim, rows, pairs, slack=slack).verdict
        for slack in (None, {"b": 0.02}, {"b": 0.005}, {"c": 0.02})
    ]
    assert verdicts == ["opposite", "reproduced", "opposite", "opposite"]
    eased = paired_finding(claim, rows, pairs, slack={"b": 0.02})
    assert eased.measures[0] == "b - a, pass_at_1: -0.010 [-0.010, -0.010]"


def test_grpo_sharpening_is_reproduced_at_a_low_pass_at_k_and_opposite_at_a_high_one():
    score = MODULES["grpo_sharpening"].score
    low = {"precedence": [row("grpo", seed, 0.0, 0.02 + 0.01 * seed) for seed in range(3)]}
    high = {"precedence": [row("grpo", seed, 0.5, 0.82 + 0.01 * seed) for seed in range(3)]}
    assert (score(low).verdict, score(high).verdict) == ("reproduced", "opposite")


def test_the_verdict_on_srpo_s_order_depends_on_chain_alone():
    def rows_of(values, step):
        return [
            row(arm, seed, value + step * seed, 0.5)
            for arm, value in values.items()
            for seed in range(3)
        ]

    good, bad = {"grpo": 0.1, "rrpo": 0.2, "srpo": 0.4}, {"grpo": 0.3, "rrpo": 0.2, "srpo": 0.1}
    both = {"chain": rows_of(good, 0.01), "inverse": rows_of(bad, 0.01)}
    found = MODULES["srpo_order"].score(both | {"precedence": rows_of(bad, 0.01)})
    assert found.verdict == "reproduced"
    at = "at equal tokens and equal trained samples"
    assert found.measures[0] == f"srpo - rrpo {at}: +0.200 [+0.200, +0.200]"
    assert found.measures[2] == f"srpo - rrpo on inverse {at}: -0.100 [-0.100, -0.100]"
    assert len(found.measures) == 6
    turned = {"chain": rows_of(bad, 0.01), "inverse": rows_of(good, 0.01)}
    assert MODULES["srpo_order"].score(turned | {"precedence": both["chain"]}).verdict == "opposite"


def test_the_drawdown_is_the_largest_fall_from_an_earlier_maximum():
    fallen = row("rrpo", 0, 0.4, 0.5)
    fallen["curve"] = [(0, 0, 0.1, 0.2), (1, 9, 0.5, 0.6), (2, 20, 0.2, 0.3), (3, 31, 0.4, 0.5)]
    assert MODULES["cpi_monotone"].drawdown(fallen) == pytest.approx(0.3)


def test_the_late_fall_begins_with_lte_s_first_evaluation_in_its_second_half():
    own, other = row("lte", 0, 0.4, 0.9), row("grpo", 0, 0.4, 0.6)
    own["curve"] = [(0, 0, 0.1, 0.2), (1, 40, 0.1, 0.3), (2, 60, 0.2, 0.4), (3, 100, 0.4, 0.9)]
    other["curve"] = [(0, 0, 0.1, 0.2), (3, 100, 0.2, 0.4), (8, 200, 0.4, 0.6)]
    module = MODULES["lte_never_solved"]
    assert module.late_share(own) == pytest.approx(0.6)
    assert module.late_fall(own, 0.6) == pytest.approx(0.5)
    # At 120 of 200 tokens GRPO's line is at 0.44.
    assert module.late_fall(other, 0.6) == pytest.approx(0.16)
    found = module.score({"precedence": [own, other]})
    assert "lte - grpo: +0.340" in found.measures[0]


def test_equal_trained_samples_are_a_separate_comparison_if_iterations_differ():
    figures_of = MODULES["srpo_order"].figures_of
    rows = [row(arm, 0, 0.4, 0.5) for arm in ("grpo", "rrpo", "srpo")]
    assert list(figures_of(rows)) == ["tokens and equal trained samples"]
    rows[0] |= {"iterations": 6}
    assert list(figures_of(rows)) == ["tokens"]
    for own in rows[1:]:
        own["curve"] = [(0, 0, 0.0, 0.1), (4, 400, 0.1, 0.2), (10, 1000, 0.4, 0.5)]
    found = figures_of(rows)
    assert list(found) == ["tokens", "trained samples"]
    # After the six iterations of the shortest: a third of the way from 4 to 10.
    assert found["trained samples"]["srpo"] == {0: pytest.approx(0.2)}
    assert found["tokens"]["srpo"] == {0: 0.4}


def test_expo_is_compared_with_foreign_expert_chains_of_another_experiment():
    own = VARIATIONS["expo_gain, inverse, foreign experts"]
    assert own.USES == ("inverse, foreign experts", "inverse")
    inverse = [row("expo", seed, 0.5, 0.6) for seed in range(3)]
    inverse += [row("grpo", seed, 0.1, 0.2) for seed in range(3)]
    inverse += [row("expo, expert chains", seed, 0.9, 0.9) for seed in range(3)]
    foreign = [row("expo, expert chains", seed, 0.2, 0.3) for seed in range(3)]
    found = own.score({own.USES[0]: foreign, "inverse": inverse})
    assert found.measures[0].endswith("pass_at_1: +0.300 [+0.300, +0.300]")
    assert found.verdict == "reproduced"
    assert MODULES["expo_gain"].score({"inverse": inverse}).verdict == "opposite"


def test_a_difference_can_subtract_rows_of_another_experiment():
    own = [row("expo", 0, 0.5, 0.6), row("expo", 1, 0.9, 0.6), row("expert", 0, 0.5, 0.6)]
    foreign = [row("expert", 0, 0.1, 0.1), row("expert", 1, 0.3, 0.1)]
    assert difference(own, "expo", "expert", "pass_at_1", foreign).mean == pytest.approx(0.5)


def test_arms_of_an_experiment_share_a_loss_except_those_named_after_their_own(tmp_path):
    named = {"grpo, entropy bonus", "grpo, clip higher"}
    for name, experiment in EXPERIMENTS.items():
        config = experiment.config("full", None, tmp_path)
        losses = {arm: own.method.loss for arm, own in config.arms.items() if arm not in named}
        # What a reinforce term never reads is not compared.
        is_paper = name.startswith("chain")
        kinds = {
            (loss.surrogate, loss.aggregation, loss.importance_weight_cap)
            + (() if is_paper else (loss.clip_low, loss.clip_high))
            for loss in losses.values()
        }
        assert len(kinds) == 1, (name, kinds)


def test_further_methods_run_beside_grpo_as_in_the_table_of_the_six(tmp_path):
    for name, experiment in FURTHER.items():
        own = experiment.config("full", None, tmp_path)
        first = EXPERIMENTS[name.split(",")[0]].config("full", None, tmp_path)
        runs = [config.run_config(config.sources[0], "grpo", 3) for config in (own, first)]
        assert replace(runs[1], eval=replace(runs[1].eval, every=0)) == runs[0]
        six = {"rrpo", "srpo", "pope", "lte", "expo", "sft", "exp-dpo", "spo-tree"}
        missing = set(method_names()) - {arm.method.kind for arm in own.arms.values()}
        assert missing - {"grpo+opsd"} == six


def test_experiments_that_a_claim_subtracts_share_problems_evaluation_and_budget(tmp_path):
    for foreign, own in (
        ("precedence, foreign experts", "precedence"),
        ("inverse, foreign experts", "inverse"),
    ):
        first, second = (
            EXPERIMENTS[name].config("full", None, tmp_path) for name in (foreign, own)
        )
        runs = [c.run_config(c.sources[0], c.baseline, 0) for c in (first, second)]
        # How often a run is evaluated on its way changes nothing of its end.
        assert replace(runs[0].eval, every=0) == replace(runs[1].eval, every=0)
        assert runs[0].max_generated_tokens == runs[1].max_generated_tokens
        assert runs[0].learner == runs[1].learner
        assert runs[0].problems_per_iteration == runs[1].problems_per_iteration
        # The same questions in the same order: the reference alone is in another hand.
        sets = [reason_env_of(run.env.make(ByteCodec())).problems for run in runs]
        assert [p.question for p in sets[0]] == [p.question for p in sets[1]]
        assert all(a.solution != b.solution for a, b in zip(*sets, strict=True))
        assert all(a.answer == b.answer for a, b in zip(*sets, strict=True))


@pytest.mark.parametrize(
    ("page", "words", "count"),
    [
        ("docs/results.md", ["--short"], len(CLAIMS)),
        ("docs/results.md", ["--variations", "--short"], len(VARIATIONS)),
        ("docs/results_tables.md", [], len(CLAIMS)),
        ("docs/results_tables.md", ["--variations"], len(VARIATIONS)),
    ],
)
def test_the_tables_of_claims_are_what_the_published_rows_say(page, words, count, capsys):
    main(["--published", *words])
    printed = capsys.readouterr().out.splitlines()
    rows = [line for line in printed if line.startswith("| ")]
    assert len(rows) == 1 + count
    text = (Path(__file__).parents[2] / page).read_text(encoding="utf-8")
    for line in rows:
        assert line in text, line


def test_published_rows_cover_every_arm_and_seed_and_reach_their_budgets():
    for name, experiment in ALL.items():
        found = published(name)
        first, last = experiment.seeds
        seeds = range(first, last + 1)
        pairs = [(own["arm"], own["seed"]) for own in found]
        arms = [arm for arm in experiment.arms if arm not in REFUSED.get(name, {})]
        assert sorted(pairs) == sorted((arm, seed) for arm in arms for seed in seeds)
        assert all(own["tokens"] >= experiment.budget for own in found)
        # Arms of a seed begin with one evaluation.
        firsts = {(own["seed"], own["first_pass_at_1"], own["first_pass_at_k"]) for own in found}
        assert len(firsts) == len(seeds)


@pytest.mark.parametrize("name", FURTHER)
def test_grpo_beside_the_further_methods_repeats_its_rates(name):
    def rows(own):
        return {
            row["seed"]: (row["pass_at_1"], row["pass_at_k"])
            for row in published(own)
            if row["arm"] == "grpo"
        }

    assert rows(name) == rows(name.split(",")[0])


def test_publishing_rows_of_the_quick_preset_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["--publish", "--preset", "quick"])
    assert "--publish takes the rows of the full preset" in capsys.readouterr().err


def test_missing_rows_and_flags_without_effect_are_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["--published", "--seeds", "2", "lte_gain"])
    assert "--published has the seeds of the full preset" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--publish", "--seeds", "2"])
    assert "--publish takes the rows of the full preset, with its" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="no run of 'precedence' has finished in"):
        main(["--score-only", "--out", str(tmp_path), "lte_gain"])


def test_an_unknown_claim_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["pope_lifts", "srpo_ordre"])
    assert "no claim 'srpo_ordre' among grpo_sharpening" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--variations", "pope_lifts"])
    assert "no claim 'pope_lifts' among grpo_sharpening, precedence" in capsys.readouterr().err
