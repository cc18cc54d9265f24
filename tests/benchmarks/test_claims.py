import hashlib
import importlib
import json
import math
import os
import re
import subprocess
from argparse import Namespace
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.claims import registry
from benchmarks.claims.__main__ import CLAIMS, main
from benchmarks.claims.__main__ import _designs as designs_to_run
from benchmarks.claims.claim import Claim
from benchmarks.claims.design import FIRST_SEED, Arm, Plan, read_design
from benchmarks.claims.experts import other_words, solution_of, write_experts
from benchmarks.claims.gates import Precondition, figures, judge
from benchmarks.claims.pilot import best_rate, from_pilot, pilot_of, scaled_problems
from benchmarks.claims.power import effect_seen, seeds_needed
from benchmarks.claims.rows import check_rows, read_rows, whole_seeds
from benchmarks.claims.runs import (
    expected_hours,
    measure,
    planned,
    rows,
    run,
    run_seconds,
    unfinished,
)
from benchmarks.claims.table import Evidence, contrasts_of, findings, table
from benchmarks.claims.verdict import Contrast, holm, p_of, verdict_of
from reason_env.agents.probe import Figure, Findings, Gate, GateResult
from reason_env.agents.runs import config_json
from reason_env.codec import ByteCodec
from reason_env.env import EnvConfig, reason_env_of
from reason_env.errors import ConfigError, TrainingError
from reason_env.problems import load_problems

ROOT = Path(__file__).parents[2]
MODULES = {name: importlib.import_module(f"benchmarks.claims.{name}") for name in CLAIMS}
GATE = Gate(rule="a is high", figures=("own/a",), above=0.25, reason="because")
PLAN = Plan(
    source="mix:chain@1-2",
    arms={"a": "grpo", "b": "rrpo:problems_per_iteration=5"},
    effects={"b - a": 0.1},
    gates=(GATE,),
    gate_problems=8,
    budget=3000,
    rates=(1e-4, 3e-4),
    pilot_seeds=(100, 101, 102),
    train_size=6,
    eval_size=3,
    eval_samples=2,
)


MEASURED = ("likelier", "leads_on", "clean", "unclean")


def lead(arms):
    return {"b - a": arms["b"]["pass_at_1"] - arms["a"]["pass_at_1"]}


def row(arm, seed, value, design="", **more):
    base = {"arm": arm, "seed": seed, "pass_at_1": value, "pass_at_k": value, "design": design}
    counts = {"tokens": 3000, "prepared_tokens": 0, "iterations": 30, "planned_updates": 120}
    started = {"started": "2026-03-01T10:00:00+00:00", "seconds": 60.0}
    return base | counts | started | more


def pilot_rows(**values):
    """One row for each (arm, rate, seed): `values` has the mean of each "arm_rate"."""
    name = pilot_of("toy", PLAN).content_hash
    spread = {100: 0.0, 101: 0.02, 102: -0.02}
    return [
        row(f"{arm} @ {rate:g}", seed, values[f"{arm}_{place}"] + sign * own, name, seconds=30.0)
        for arm, sign in (("a", 1), ("b", -1))
        for place, rate in enumerate(PLAN.rates)
        for seed, own in spread.items()
    ]


# Power.


def test_the_effect_that_seeds_see_is_worked_out_by_hand():
    # t(0.975, 11) = 2.20099, t(0.8, 11) = 0.87553; 3.07652 * 0.12 / sqrt(12).
    assert effect_seen(0.12, 12) == pytest.approx(0.106574, abs=1e-5)
    # 13 seeds see 0.10156 and 14 see 0.09719.
    assert seeds_needed(0.12, 0.1, most=40) == 14
    assert seeds_needed(0.12, 0.1, most=13) is None
    assert seeds_needed(0.0, 0.1, most=40) == 5
    assert effect_seen(0.12, 12, power=0.9) > effect_seen(0.12, 12)


def test_the_seeds_needed_find_the_effect_in_four_of_five_experiments():
    rng = np.random.default_rng(0)
    seeds = seeds_needed(0.1, 0.08, most=60)
    assert seeds is not None
    draws = rng.normal(0.08, 0.1, size=(2000, seeds))
    error = draws.std(axis=1, ddof=1) / math.sqrt(seeds)
    # t(0.975, n - 1) by its definition: the interval of 0 +- 1 values.
    from reason_env.agents.statistics import t_quantile

    found = float(np.mean(draws.mean(axis=1) > t_quantile(0.975, seeds - 1) * error))
    # 2,000 experiments: standard error 0.009.
    assert found == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: effect_seen(0.1, 1), "num_seeds must be at least 2, got 1; add seeds"),
        (lambda: effect_seen(-0.1, 5), "sd must be at least 0 and finite, got -0.1"),
        (lambda: seeds_needed(0.1, 0.0, most=9), "effect must be above 0, got 0.0"),
    ],
)
def test_power_of_impossible_numbers_is_refused(call, message):
    with pytest.raises(ConfigError, match=message):
        call()


# Verdicts.

UP = (0.10, 0.12, 0.14, 0.11, 0.13)
FLAT = (0.01, -0.01, 0.02, -0.02, 0.0)
WIDE = (0.3, -0.2, 0.25, -0.1, 0.05)


def contrast(values, effect=0.05):
    return Contrast(name="x", values=tuple(values), effect=effect)


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([UP], "reproduced"),
        ([UP, [-own for own in UP]], "opposite"),
        ([[-own for own in UP]], "opposite"),
        # Half-width 0.0196: it excludes 0.05.
        ([FLAT], "absent"),
        ([UP, FLAT], "absent"),
        ([WIDE], "inconclusive"),
        ([UP, WIDE], "inconclusive"),
        ([UP[:4]], "too few seeds"),
    ],
)
def test_a_verdict_needs_every_contrast_and_absent_needs_an_interval_below_the_effect(
    values, verdict
):
    contrasts = [contrast(own) for own in values]
    assert verdict_of(contrasts, p_of(contrasts)) == verdict


def test_absent_depends_on_the_smallest_effect_of_interest():
    # t(0.975, 4) = 2.77645, standard error sqrt(0.00025 / 5): the interval ends at 0.01963.
    assert contrast(FLAT).interval.high == pytest.approx(0.019633, abs=1e-5)
    effects = (0.0197, 0.0196)
    assert [verdict_of([contrast(FLAT, own)], 1.0) for own in effects] == ["absent", "inconclusive"]


def test_a_corrected_p_above_the_level_takes_a_verdict_back():
    assert verdict_of([contrast(UP)], 0.049) == "reproduced"
    assert verdict_of([contrast(UP)], 0.051) == "inconclusive"


def test_the_p_of_a_claim_is_worked_out_by_hand():
    # t = 3.4641 and -2.6458 with 2 degrees of freedom: p = 1 - t / sqrt(t^2 + 2).
    up, more, down = (0.1, 0.2, 0.3), (0.1, 0.11, 0.12), (-0.1, -0.2, -0.4)
    assert p_of([contrast(up)]) == pytest.approx(0.074180, abs=1e-6)
    # "Reproduced" needs all: the largest of 0.0742 and 0.0027.
    assert p_of([contrast(up), contrast(more)]) == p_of([contrast(up)])
    # "Opposite" needs one: the smallest of those below 0, 0.1181, times the number of contrasts.
    assert p_of([contrast(up), contrast(down)]) == pytest.approx(2 * 0.118079, abs=1e-5)
    assert p_of([contrast(up), contrast(more), contrast(down)]) == pytest.approx(0.354, abs=1e-3)


def test_holm_s_correction_is_worked_out_by_hand():
    found = holm({"a": 0.010, "b": 0.004, "c": 0.0041, "d": 0.5}, family=13)
    # 13 x 0.004; 12 x 0.0041 = 0.0492 is below it; 11 x 0.010; 10 x 0.5 is above 1.
    assert found == pytest.approx({"b": 0.052, "c": 0.052, "a": 0.11, "d": 1.0})
    assert holm({"a": 0.01}) == {"a": pytest.approx(0.13)}
    with pytest.raises(ConfigError, match="family must hold every test, got 1 for 2"):
        holm({"a": 0.1, "b": 0.2}, family=1)


def test_under_no_effect_a_claim_of_two_contrasts_is_significant_in_one_of_twenty_at_most():
    rng = np.random.default_rng(1)
    draws = rng.normal(size=(3000, 2, 6))
    p = [p_of([contrast(values) for values in both]) for both in draws]
    # Bounds: 0.05 / 2 on either side. 3,000 draws: standard error 0.004.
    assert float(np.mean(np.array(p) <= 0.05)) < 0.05
    above = [all(values.mean() > 0 for values in both) for both in draws]
    assert min(own for own, is_above in zip(p, above, strict=True) if is_above) > 0.0005


def test_a_contrast_of_one_seed_or_without_an_effect_is_refused():
    with pytest.raises(ConfigError, match="contrast 'x' must have at least two seeds, got 1"):
        contrast([0.1])
    with pytest.raises(ConfigError, match="the effect of interest of 'x' must be above 0, got 0"):
        contrast(UP, 0)


# Gates.


def precondition(status):
    result = GateResult(rule="a", status=status, evidence="a: 0.1; needs > 0.25", reason="r")
    return Precondition(gates="x", started="2026-03-01T10:00:00+00:00", results=(result,))


@pytest.mark.parametrize("status", ["does not hold", "undecided", "not measurable"])
def test_a_claim_whose_gate_does_not_hold_is_not_testable_whatever_its_rows_say(status):
    own = Evidence(
        claim=Claim(text="t", paper="p"),
        gates=precondition(status),
        design=None,
        contrasts=(contrast(UP),),
    )
    held = replace(own, gates=precondition("holds"))
    found = findings({"a": own, "b": held, "c": replace(own, gates=None)})
    verdicts = [one.verdict for one in found.values()]
    # p of UP is 0.00007, times 13.
    assert verdicts == ["not testable here", "reproduced", "not run"]
    assert found["a"].gates == f"a: 0.1; needs > 0.25 ({status})"
    assert found["a"].measured == "-"
    assert "p = 0.001 (Holm)" in found["b"].measured


def test_claims_that_are_not_testable_leave_the_correction_of_the_others_as_it_is():
    # p = 0.00403: 13 times is above 0.05, and 12 times is not.
    near = contrast([4.2 + step for step in (-2, -1, 0, 1, 2)])
    own = Evidence(
        claim=Claim(text="t", paper="p"),
        gates=precondition("holds"),
        design=None,
        contrasts=(near,),
    )
    failed = replace(own, gates=precondition("undecided"), contrasts=(contrast(UP),))
    held = replace(failed, gates=own.gates)
    assert findings({"a": failed, "b": own})["b"].verdict == "inconclusive"
    assert findings({"a": held, "b": own})["b"].verdict == "reproduced"


def test_gates_compare_whole_intervals_with_bounds():
    def status(low, high):
        figure = Figure(name="own/a", label="a", estimate=0.3, low=low, high=high, num_problems=50)
        return judge((GATE,), Findings(figures=(figure,)))[0].status

    assert [status(0.26, 0.4), status(0.2, 0.4), status(0.1, 0.2)] == [
        "holds",
        "undecided",
        "does not hold",
    ]
    (missing,) = judge((GATE,), Findings(missing={"own": "no chain"}))
    assert (missing.status, missing.evidence) == ("not measurable", "no chain")


def test_a_gate_on_an_own_figure_needs_the_claim_s_function():
    with pytest.raises(ConfigError, match="a claim must measure its own figures, got a gate on"):
        figures(PLAN, None)


def test_what_gates_measured_is_read_back_as_it_was_written():
    own = precondition("undecided")
    assert Precondition.from_dict(json.loads(json.dumps(own.to_dict()))) == own


def test_resets_at_the_first_error_are_measured_against_random_ones():
    module = MODULES["localisation_accuracy"]
    plan = replace(module.PLAN, source="mix:chain@6-6", gate_problems=24)
    found = {own.name: own for own in figures(plan, module.figures).figures}
    exact, random = found["own/exact"], found["own/random"]
    assert found["own/gain"].estimate == pytest.approx(exact.estimate - random.estimate)
    assert exact.num_problems == random.num_problems == found["own/kept"].num_problems
    # Chains of six steps: the first error is rarely in the first step, and a random cut keeps it
    # in about half of them.
    assert exact.estimate > random.estimate
    assert 0.5 < found["own/kept"].estimate < 1


def test_restated_prefixes_are_counted_with_and_without_the_instruction():
    module = MODULES["pope_restating"]
    plan = replace(module.PLAN, gate_problems=6)
    found = {own.name: own.estimate for own in figures(plan, module.figures).figures}
    names = ("free", "forbidden", "gap", "restates", "restated_less")
    assert set(found) == {f"own/{name}" for name in names}
    assert found["own/gap"] == pytest.approx(found["own/free"] - found["own/forbidden"])
    assert 0 <= found["own/restates"] <= 1
    assert -1 <= found["own/restated_less"] <= found["own/restates"]


# Experts.


def test_a_larger_share_of_an_expert_s_steps_holds_those_of_a_smaller_one():
    problems = load_problems("inverse", size=40, levels=(8, 10), seed=5)
    steps = sum(len(problem.solution) for problem in problems)
    changed = {
        share: {
            (problem.problem_id, at)
            for problem in problems
            for at, (step, own) in enumerate(
                zip(problem.solution, solution_of(problem, share), strict=True)
            )
            if own != step
        }
        for share in (0.0, 0.08, 0.5, 1.0)
    }
    assert changed[0.0] < changed[0.08] < changed[0.5] < changed[1.0]
    assert len(changed[1.0]) == steps
    # 360 steps: standard errors 0.014 and 0.026.
    assert len(changed[0.08]) / steps == pytest.approx(0.08, abs=0.045)
    assert len(changed[0.5]) / steps == pytest.approx(0.5, abs=0.08)


def test_an_expert_s_source_has_the_problems_of_its_seed_and_other_solutions(tmp_path):
    env = EnvConfig(size=6, problem_seed=3)
    own = load_problems("inverse", size=6, seed=3)
    source = write_experts("inverse", "mix:chain@3-4", env, 1.0, tmp_path)
    read = load_problems(source)
    assert [one.question for one in read] == [one.question for one in own]
    assert [one.answer for one in read] == [one.answer for one in own]
    words = [tuple(map(other_words, one.solution)) for one in own]
    assert [one.solution for one in read] == words
    evaluated = load_problems("mix:chain@3-4", split="hard", seed=3)
    read = load_problems(source, split="hard")
    assert [one.question for one in read] == [one.question for one in evaluated]
    assert [one.solution for one in read] == [one.solution for one in evaluated]
    assert write_experts("inverse", "mix:chain@3-4", env, 1.0, tmp_path) == source
    others = [
        write_experts("inverse", "mix:chain@3-4", env, 0.5, tmp_path),
        write_experts("inverse", "inverse", env, 1.0, tmp_path),
        write_experts("inverse", "mix:chain@3-4", replace(env, problem_seed=4), 1.0, tmp_path),
    ]
    assert len({source, *others}) == 4


def test_all_arms_of_a_seed_are_evaluated_on_the_same_problems(tmp_path):
    design = pilot_of("toy", replace(PLAN, experts={"b": 0.5}, train_size=4))

    def evaluated(label, seed):
        both = design.single(label, seed, tmp_path)
        config = both.run_config(both.sources[0], "arm", seed)
        inner = reason_env_of(config.make_eval_env(ByteCodec()))
        return [one.question for one in inner.problems][: design.eval_size]

    labels = ["a @ 0.0001", "b @ 0.0001"]
    assert evaluated(labels[0], 100) == evaluated(labels[1], 100)
    assert evaluated(labels[0], 101) == evaluated(labels[1], 101)
    assert evaluated(labels[0], 100) != evaluated(labels[0], 101)


# Plans, pilots and designs.


def test_the_pilot_runs_each_arm_at_each_rate_on_seeds_of_its_own():
    pilot = pilot_of("toy", PLAN)
    assert list(pilot.arms) == ["a @ 0.0001", "a @ 0.0003", "b @ 0.0001", "b @ 0.0003"]
    assert [own.problems_per_iteration for own in pilot.arms.values()] == [8, 8, 5, 5]
    # 32 is the default of `reason-env compare`; given in the text, it counts.
    given = replace(PLAN, arms={"a": "grpo:problems_per_iteration=32"})
    assert pilot_of("toy", given).arms["a @ 0.0001"].problems_per_iteration == 32
    assert pilot.seeds == (100, 101, 102)
    with pytest.raises(ConfigError, match="a pilot must have at least two seeds below 1000"):
        pilot_of("toy", replace(PLAN, pilot_seeds=(100, 1000)))


def test_a_design_takes_rates_iterations_and_seeds_from_its_pilot():
    found = pilot_rows(a_0=0.2, a_1=0.3, b_0=0.5, b_1=0.4)
    found = [
        own | ({"tokens": 3700, "prepared_tokens": 700} if own["arm"].startswith("b") else {})
        for own in found
    ]
    design = from_pilot("toy", PLAN, found, lead)
    # a: 3000 tokens in 30 iterations of 8 problems; 100 each are planned.
    # b: 3000 in 30 of 5, 100 each; (3000 - 700) / 30 = 76.7 each are planned: 5 x 0.767 = 3.8.
    assert design.arms["a"] == Arm(
        text="grpo", learning_rate=3e-4, problems_per_iteration=8, run_s=30.0
    )
    assert (design.arms["b"].learning_rate, design.arms["b"].problems_per_iteration) == (1e-4, 3)
    # b - a is 0.2, 0.16, 0.24: sd 0.04; at an effect of 0.1, five seeds see 0.066.
    assert design.pilot_sd == {"b - a": pytest.approx(0.04)}
    assert design.seeds == tuple(range(FIRST_SEED, FIRST_SEED + 5))
    assert design.plan == PLAN.content_hash
    assert design.core_hours == pytest.approx(5 * 60 / 3600)
    wide = [own | {"pass_at_1": own["pass_at_1"] * 4} for own in found]
    # sd 0.16: 23 seeds would be needed.
    assert len(from_pilot("toy", PLAN, wide, lead).seeds) == PLAN.most_seeds == 20


def test_a_plan_gives_the_first_seed_and_the_fewest():
    later = replace(PLAN, first_seed=1200, fewest_seeds=8)
    steady = [
        own | {"design": pilot_of("toy", later).content_hash}
        for own in pilot_rows(a_0=0.2, a_1=0.3, b_0=0.5, b_1=0.4)
    ]
    assert from_pilot("toy", later, steady, lead).seeds == tuple(range(1200, 1208))
    defaults = replace(PLAN, first_seed=FIRST_SEED, fewest_seeds=5)
    assert defaults.content_hash == PLAN.content_hash


def test_of_equally_good_rates_the_smallest_is_chosen():
    found = pilot_rows(a_0=0.3, a_1=0.3, b_0=0.5, b_1=0.4)
    assert best_rate(found, "a", (3e-4, 1e-4)) == 1e-4


def test_a_budget_that_holds_no_iterations_is_refused():
    one = row("a", 0, 0.1, tokens=90_000, prepared_tokens=1000)
    with pytest.raises(ConfigError, match="budget must hold 30 iterations of a problem, got 2,000"):
        scaled_problems([one], problems=8, budget=2000, iterations=30)


def test_a_pilot_that_is_not_whole_or_of_another_plan_is_refused():
    found = pilot_rows(a_0=0.2, a_1=0.3, b_0=0.5, b_1=0.4)
    with pytest.raises(ConfigError, match=r"got 1 runs missing, first 'b @ 0\.0003' of seed 102"):
        from_pilot("toy", PLAN, found[:-1], lead)
    with pytest.raises(ConfigError, match="got 0 runs missing, first those of another plan"):
        from_pilot("toy", replace(PLAN, budget=4000), found, lead)


@pytest.fixture
def design():
    return from_pilot("toy", PLAN, pilot_rows(a_0=0.2, a_1=0.3, b_0=0.5, b_1=0.4), lead)


def test_a_design_is_read_back_with_its_hash_and_every_setting_changes_it(design, tmp_path):
    file = tmp_path / "toy_1.json"
    file.write_text(config_json.dump(design))
    assert read_design(file) == design
    assert read_design(file).content_hash == design.content_hash
    changes = {"budget": 3001, "seeds": (1000, 1001), "effects": {"b - a": 0.11}, "plan": "x"}
    changes |= {"model": "m", "max_tokens": 99, "sources": {"a": "x"}, "experts": {"a": 0.5}}
    hashes = {replace(design, **{name: value}).content_hash for name, value in changes.items()}
    assert len(hashes | {design.content_hash}) == 9
    # Fields at their default are not in the hash, so one that is added later changes no hash.
    tree = json.loads(config_json.dump(design))
    assert (tree.pop("model"), tree.pop("max_tokens")) == ("base", 256)
    assert (tree.pop("sources"), tree.pop("experts")) == ({}, {})
    assert hashlib.sha256(json.dumps(tree).encode()).hexdigest()[:8] == design.content_hash
    gates = replace(PLAN, gates=(replace(GATE, above=0.26),))
    assert gates.content_hash != PLAN.content_hash
    # What was measured stays valid for another budget, and for no other bound, source or number.
    assert replace(PLAN, budget=4000).gates_hash == PLAN.gates_hash
    changes = {"source": "mix:chain@1-3", "gate_problems": 9, "model": "m", "max_tokens": 99}
    others = [gates, *(replace(PLAN, **{name: value}) for name, value in changes.items())]
    assert len({own.gates_hash for own in (*others, PLAN)}) == 6
    with pytest.raises(ConfigError, match="a design must be a file, got"):
        read_design(tmp_path / "none.json")


def test_a_run_is_named_by_what_decides_it_and_by_nothing_else(design):
    own = design.run_hash("a", 1000)
    same = {"claim": "other", "plan": "x", "effects": {"c": 1.0}, "seeds": (1000,), "pilot_sd": {}}
    assert replace(design, **same).run_hash("a", 1000) == own
    moved = replace(design, arms={"x": design.arms["a"]})
    assert moved.run_hash("x", 1000) == own
    changes = {"budget": 3001, "source": "mix:chain@1-3", "model": "m", "max_tokens": 99}
    changes |= {"sources": {"a": "x"}, "experts": {"a": 0.5}, "eval_size": 4}
    others = [replace(design, **{name: value}) for name, value in changes.items()]
    others += [
        replace(design, arms={"a": replace(design.arms["a"], **{name: value})})
        for name, value in {"learning_rate": 1.0, "problems_per_iteration": 99}.items()
    ]
    hashes = {one.run_hash("a", 1000) for one in others}
    assert len(hashes | {own, design.run_hash("a", 1001), design.run_hash("b", 1000)}) == 12


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"iterations": 24}, "must plan at least 100 updates, got 24 iterations of 4"),
        (
            {"iterations": 19, "updates_per_iteration": 9},
            "an iteration of 'toy' must cost at most 5% of the budget, got 19 iterations",
        ),
        ({"evaluations": 31}, r"evaluations must lie in 1\.\.30, got 31"),
        ({"seeds": (1, 1)}, "a design must have effects and different seeds"),
        ({"effects": {"b - a": 0.0}}, "the effect of 'b - a' must be above 0, got 0.0"),
    ],
)
def test_a_design_that_cannot_show_anything_is_refused(design, changes, message):
    with pytest.raises(ConfigError, match=message):
        replace(design, **changes)


def test_arms_of_a_seed_share_problems_and_budget_and_each_seed_has_problems_of_its_own(
    design,
):
    sets = []
    design = replace(design, model="m", max_tokens=99)
    for seed in design.seeds[:2]:
        config = design.comparison(seed)
        runs = [config.run_config(config.sources[0], arm, seed) for arm in config.arms]
        assert [own.learner.learning_rate for own in runs] == [3e-4, 1e-4]
        assert [own.problems_per_iteration for own in runs] == [8, 5]
        assert {own.learner.updates_per_iteration for own in runs} == {4}
        assert {own.max_generated_tokens for own in runs} == {3000}
        assert {own.seed for own in runs} == {seed}
        assert {(own.model, own.env.max_tokens) for own in runs} == {("m", 99)}
        problems = [reason_env_of(own.env.make(ByteCodec())).problems for own in runs]
        assert problems[0].content_hash == problems[1].content_hash
        held_out = runs[0].make_eval_env(ByteCodec())
        sets.append((problems[0], reason_env_of(held_out).problems))
    questions = [{problem.question for problem in own} for both in sets for own in both]
    assert all(
        len(one & other) < len(one) for one in questions for other in questions if one != other
    )
    assert len(set(map(frozenset, questions))) == 4


def test_the_quick_preset_is_one_seed_with_a_share_of_the_budget(design):
    quick = design.quick(0.1)
    assert (quick.seeds, quick.budget, quick.train_size) == ((1000,), 300, 1)


# Runs and rows.


def whole(design, **changes):
    return [
        row(arm, seed, 0.1, design.content_hash) | changes.get(arm, {})
        for arm in design.arms
        for seed in design.seeds
    ]


def test_rows_must_be_of_whole_seeds_of_one_design(design):
    found = whole(design)
    check_rows(design, found)
    # Seeds may be missing, and no arm of one.
    check_rows(design, [row for row in found if row["seed"] != 1003])
    with pytest.raises(
        ConfigError, match="must have each arm of a seed of the design once, got 9 rows for 10"
    ):
        check_rows(design, found[1:])
    others = [row("a", 7, 0.1, design.content_hash), row("b", 7, 0.1, design.content_hash)]
    with pytest.raises(ConfigError, match="got 12 rows for 12 and seed 7"):
        check_rows(design, [*found, *others])
    with pytest.raises(
        ConfigError, match=f"must be of design {design.content_hash}, got rows of x"
    ):
        check_rows(design, [*found[1:], found[0] | {"design": "x"}])


def test_budgets_within_5_percent_and_100_updates_are_checked_on_the_rows(design):
    check_rows(design, whole(design, a={"tokens": 3150}))
    with pytest.raises(ConfigError, match=r"budgets within 5%, got a difference of 5\.1%"):
        check_rows(design, whole(design, a={"tokens": 3153}))
    with pytest.raises(ConfigError, match="must have at least 100 updates, got 99 in 'b' of seed"):
        check_rows(design, whole(design, b={"planned_updates": 99}))


def test_contrasts_are_taken_once_every_seed_has_run(design):
    design = replace(design, seeds=(1000, 1001))
    found = [
        row("a", 1000, 0.1), row("b", 1000, 0.4), row("a", 1001, 0.2), row("b", 1001, 0.3),
    ]  # fmt: skip
    (own,) = contrasts_of(design, found, lead)
    assert own.values == pytest.approx((0.3, 0.1))
    assert (own.name, own.effect) == ("b - a", 0.1)
    # Nothing is concluded before: a look at half of the seeds is a second chance.
    assert contrasts_of(design, found[:3], lead) == ()
    assert whole_seeds(design, found[:3]) == [1000]
    assert contrasts_of(replace(design, seeds=(1000, 1001, 1002)), found, lead) == ()
    with pytest.raises(
        ConfigError, match=r"the contrasts of 'toy' must be \['b - a'\], got \['c'\]"
    ):
        contrasts_of(design, found, lambda arms: {"c": 0.0})


def test_a_claim_with_some_seeds_is_unfinished_and_has_no_figures(design):
    own = Evidence(
        claim=Claim(text="b beats a", paper="none"),
        gates=precondition("holds"),
        design=design,
        contrasts=(),
        num_seeds=3,
    )
    assert table(findings({"toy": own})).endswith("| **unfinished** | 3 of 5 seeds |\n")
    quick = replace(own, design=design.quick(0.1), num_seeds=1)
    assert table(findings({"toy": quick})).endswith("| one seed decides nothing |\n")


def test_a_design_is_run_by_two_processes_and_its_rows_say_what_was_spent(design, tmp_path):
    small = replace(design, budget=400, seeds=(1000, 1001))
    left = unfinished(planned(small, tmp_path))
    assert expected_hours(left, tmp_path, workers=2) == pytest.approx(4 * 30 / 3600 / 2)
    # Without a pilot the time is measured: a run of 400 tokens is one of seconds.
    timeless = replace(
        small, arms={name: replace(own, run_s=0.0) for name, own in small.arms.items()}
    )
    assert all(0 < seconds < 120 for seconds in run_seconds(timeless, tmp_path).values())
    run(left, tmp_path, workers=2)
    assert unfinished(planned(small, tmp_path)) == []
    found = rows(small, tmp_path)
    assert sorted((own["arm"], own["seed"]) for own in found) == [
        ("a", 1000), ("a", 1001), ("b", 1000), ("b", 1001)
    ]  # fmt: skip
    for own in found:
        assert own["design"] == small.content_hash
        assert own["tokens"] >= 400
        assert own["planned_updates"] >= own["updates"]
        assert 0 < own["planned_updates"] <= 4 * own["iterations"]
        assert datetime.fromisoformat(own["started"]) > datetime.now(UTC) - timedelta(minutes=10)
        assert own["seconds"] > 0
        assert [place[0] for place in own["curve"]] == [0, own["iterations"]]
    (firsts,) = [{own["first_pass_at_1"] for own in found if own["seed"] == 1000}]
    assert len(firsts) == 1
    # The evaluation before training is one for both arms of a seed.
    assert len(list((tmp_path / "evaluations").iterdir())) == 2

    # Another claim with an equal run has its row already.
    other = replace(
        small,
        claim="other",
        arms={"x": small.arms["a"], "y": replace(small.arms["b"], learning_rate=1.0)},
    )
    assert [own.label for own in unfinished(planned(other, tmp_path))] == ["y", "y"]
    same = list(rows(other, tmp_path))
    assert [(own["arm"], own["pass_at_1"]) for own in same] == [
        ("x", own["pass_at_1"]) for own in found if own["arm"] == "a"
    ]
    # Published seeds are neither run nor read again.
    known = [own | {"pass_at_1": 0.75} for own in found if own["seed"] == 1000]
    assert planned(small, tmp_path / "empty", known)[0].run.seed == 1001
    assert [own["pass_at_1"] for own in rows(small, tmp_path, known)[:2]] == [0.75, 0.75]


def test_figures_that_are_not_finite_are_no_row(tmp_path):
    plan = Plan(source="mix:chain@1-2", effects={"x": 0.1}, gates=(), gate_problems=8, train_size=2)
    with pytest.raises(TrainingError, match=r"of 'bare' must be finite, got .*seed 100"):
        measure(pilot_of("bare", plan), lambda subject, seed: {"value": math.nan}, tmp_path)
    assert rows(pilot_of("bare", plan), tmp_path) == []


def test_a_claim_without_arms_is_measured_once_a_seed(tmp_path):
    plan = Plan(
        source="mix:chain@1-2",
        effects={"high": 0.1},
        gates=(),
        gate_problems=8,
        train_size=5,
        pilot_seeds=(100, 101, 102),
    )
    pilot = pilot_of("bare", plan)
    seen = []

    def own(subject, seed):
        seen.append(seed)
        problems = subject.inner.problems
        return {"problems": len(problems), "value": {100: 0.5, 101: 0.4}.get(seed, 0.3)}

    measure(pilot, own, tmp_path)
    measure(pilot, own, tmp_path)
    assert seen == [100, 101, 102]
    found = rows(pilot, tmp_path)
    assert [(row["arm"], row["seed"], row["problems"]) for row in found] == [
        ("untrained", seed, 5) for seed in (100, 101, 102)
    ]
    check_rows(pilot, found)
    assert planned(pilot, tmp_path) == []
    design = from_pilot("bare", plan, found, lambda arms: {"high": arms["untrained"]["value"]})
    # 0.5, 0.4, 0.3: sd 0.1; ten seeds see 0.0995.
    assert design.pilot_sd == {"high": pytest.approx(0.1)}
    assert design.seeds == tuple(range(FIRST_SEED, FIRST_SEED + 10))


# Files, commits and published rows.


def commit(folder, when):
    names = {
        f"GIT_{who}_{what}": "x" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    dates = {"GIT_AUTHOR_DATE": when, "GIT_COMMITTER_DATE": when}
    for words in (["add", "."], ["commit", "-qm", "x"]):
        subprocess.run(["git", *words], cwd=folder, check=True, env=os.environ | names | dates)


@pytest.fixture
def room(tmp_path, monkeypatch):
    """The folders of designs, pilots and published rows in a repository of their own."""
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    for name in ("DESIGNS", "PILOTS", "PUBLISHED"):
        monkeypatch.setattr(registry, name, tmp_path / name.lower())
    return tmp_path


def test_rows_that_began_before_their_design_was_committed_are_refused(design, room):
    file = registry.add_design(design, pilot_rows(a_0=0.2, a_1=0.3, b_0=0.5, b_1=0.4))
    found = whole(design)
    with pytest.raises(
        ConfigError, match=r"committed before its runs, got 'toy_1\.json' uncommitted"
    ):
        registry.publish(design, 1, found)
    commit(room, "2026-03-01T09:59:59+00:00")
    registry.publish(design, 1, found)
    assert registry.published("toy", 1) == sorted(found, key=lambda own: own["seed"])
    late = [own | {"started": "2026-03-01T09:59:58+00:00"} for own in found]
    with pytest.raises(ConfigError, match=r"got 'toy_1\.json' of 2026-03-01T09:59:59"):
        registry.publish(design, 1, late)
    # One early run is enough.
    with pytest.raises(ConfigError, match="must be committed before its runs"):
        registry.publish(design, 1, [late[0], *found[1:]])
    file.write_text(file.read_text() + "\n")
    with pytest.raises(ConfigError, match="uncommitted and a run of now; commit it, then run"):
        registry.check_older(file, [])
    commit(room, "2026-03-02T00:00:00+00:00")
    with pytest.raises(ConfigError, match=r"got 'toy_1\.json' of 2026-03-02"):
        registry.check_older(file, [own["started"] for own in found])


def test_a_run_that_another_design_shares_and_is_older_is_refused_before_anything_is_run(
    design, room, monkeypatch
):
    registry.add_design(design, [])
    commit(room, "2026-03-01T09:59:59+00:00")
    given = Namespace(pilot=False, preset="full", out=room)
    toy = SimpleNamespace(PLAN=SimpleNamespace(content_hash=design.plan))
    found = whole(design)
    monkeypatch.setattr("benchmarks.claims.__main__.rows", lambda *_: found)
    assert designs_to_run({"toy": toy}, given) == {"toy": design}
    found[-1] = found[-1] | {"started": "2026-03-01T09:59:58+00:00"}
    with pytest.raises(ConfigError, match="choose other seeds, and commit the design before"):
        designs_to_run({"toy": toy}, given)


def test_another_design_has_another_number_and_the_first_stays(design, room):
    first = registry.add_design(design, [])
    second = registry.add_design(replace(design, budget=3001), [])
    assert (first.name, second.name) == ("toy_1.json", "toy_2.json")
    assert registry.current("toy") == (2, replace(design, budget=3001))
    assert read_design(first) == design
    assert registry.current("other") is None


@pytest.mark.parametrize("claim", CLAIMS)
def test_every_plan_can_be_run_and_names_the_contrasts_of_its_claim(claim):
    module = MODULES[claim]
    pilot = pilot_of(claim, module.PLAN)
    if module.PLAN.arms:
        config = pilot.comparison(pilot.seeds[0])
        assert len(config.arms) == len(module.PLAN.arms) * len(module.PLAN.rates)
    assert bool(module.PLAN.arms) != hasattr(module, "measure")
    arms = {
        label: row(label, 0, 0.1) | {"curve": [(0, 0, 0.1, 0.2), (1, 5, 0.1, 0.2)]}
        for label in module.PLAN.arms or ("untrained",)
    }
    arms = {label: own | dict.fromkeys(MEASURED, 0.1) for label, own in arms.items()}
    assert set(module.contrasts(arms)) == set(module.PLAN.effects)
    assert module.PLAN.gates
    names = {name for gate in module.PLAN.gates for name in gate.figures}
    assert any(name.startswith("own/") for name in names) == hasattr(module, "figures")


def test_the_contrasts_of_each_claim_are_worked_out_by_hand():
    def arms(**values):
        return {
            label.replace("_", " "): {"pass_at_1": first, "pass_at_k": at_k}
            for label, (first, at_k) in values.items()
        }

    # Means over 100 tokens: 0.2; 0.9; (0.1 + 0.5) / 2 over 20 and 0.5 over 80 are 0.46.
    curves = {
        "random": [(0, 0, 0.1, 0), (9, 100, 0.3, 0)],
        "half": [(0, 0, 0.9, 0), (9, 100, 0.9, 0)],
        "exact": [(0, 0, 0.1, 0), (2, 20, 0.5, 0), (9, 100, 0.5, 0)],
    }
    found = MODULES["localisation_accuracy"].contrasts(
        {label: {"curve": curve, "prepared_tokens": 0} for label, curve in curves.items()}
    )
    # The middle is at the mean share, so it moves no slope: (0.46 - 0.2) / 1.
    assert found == {MODULES["localisation_accuracy"].SLOPE: pytest.approx(0.26)}
    found = MODULES["pope_restating"].contrasts(arms(free=(0.5, 0.7), forbidden=(0.4, 0.75)))
    assert list(found.values()) == pytest.approx([0.1, -0.05])
    values = {"pope": {"pass_at_k": 0.5}, "entropy bonus": {"pass_at_k": 0.1}}
    values |= {"clip-higher": {"pass_at_k": 0.2}, "pass@k": {"pass_at_k": 0.6}}
    found = MODULES["pope_alternatives"].contrasts(values)
    assert list(found.values()) == pytest.approx([0.4, 0.3, -0.1])
    found = MODULES["grpo_sharpening"].contrasts(arms(grpo=(0, 0.02), pope=(0.6, 0.9)))
    assert list(found.values()) == pytest.approx([0.08, 0.4])
    found = MODULES["pope_lifts"].contrasts(arms(grpo=(0.1, 0.2), pope=(0.6, 0.9)))
    assert list(found.values()) == pytest.approx([0.5, 0.7])
    mixed = {"hard alone": {"pass_at_k": 0.5}, "grpo": {"pass_at_k": 0.2}}
    mixed["pope"] = {"pass_at_k": 0.25}
    assert list(MODULES["pope_mixing"].contrasts(mixed).values()) == pytest.approx([0.3, 0.05])
    found = MODULES["srpo_order"].contrasts(arms(grpo=(0.1, 0), rrpo=(0.15, 0), srpo=(0.4, 0)))
    assert list(found.values()) == pytest.approx([0.25, 0.05])
    values = {"lte": {"pass_at_1": 0.4, "pass_at_k": 0.7}}
    values |= {"grpo": {"pass_at_1": 0.3, "pass_at_k": 0.8}}
    values |= {"grpo, extra": {"pass_at_1": 0.35, "pass_at_k": 0.6}}
    found = MODULES["lte_gain"].contrasts(values)
    assert list(found.values()) == pytest.approx([0.1, -0.1, 0.05, 0.1])
    # Half of the tokens is at 20 of 40: 0.3 + (0.4 - 0.3) * (20 - 10) / 20 = 0.35.
    own = [(0, 0, 0, 0.1), (3, 10, 0, 0.3), (9, 30, 0, 0.4), (12, 40, 0, 0.5)]
    curves = {"lte": {"curve": own}, "grpo": {"curve": [(0, 0, 0, 0.1), (2, 40, 0, 0.2)]}}
    found = MODULES["lte_never_solved"].contrasts(curves)
    assert list(found.values()) == pytest.approx([0.15, 0.15 - 0.05])
    # Leads 0.1, 0.2, 0.3, 0.6 over 0, 0.5, 1, 2 nats: mean 0.875, squares 2.1875, products 0.55.
    values = {"expo": 0.6, "expert at 0": 0.5, "expert at 0.5": 0.4, "expert at 1": 0.3}
    values |= {"expert at 2": 0.0}
    found = MODULES["expo_gain"].contrasts({k: {"pass_at_1": v} for k, v in values.items()})
    assert list(found.values()) == pytest.approx([0.55 / 2.1875, 0.6])
    found = MODULES["expo_properties"].contrasts({"untrained": {"likelier": 2.0, "leads_on": 3.0}})
    assert list(found.values()) == [2.0, 3.0]
    found = MODULES["suffix_success"].contrasts({"untrained": {"clean": 0.3, "unclean": 0.1}})
    assert list(found.values()) == pytest.approx([0.2])
    curves = {
        "plain": {"curve": [(0, 0, 0.1, 0), (1, 9, 0.5, 0), (2, 20, 0.2, 0), (3, 31, 0.4, 0)]},
        "accepted": {"curve": [(0, 0, 0.3, 0), (1, 9, 0.25, 0), (2, 20, 0.6, 0)]},
    }
    # The largest falls are 0.3 and 0.05; accepted updates gained 0.6 - 0.3.
    found = MODULES["cpi_monotone"].contrasts(curves)
    assert list(found.values()) == pytest.approx([0.25, 0.3])


@pytest.mark.parametrize("claim", CLAIMS)
def test_what_is_published_of_a_claim_is_of_its_plan_and_of_designs_older_than_their_runs(claim):
    gates = registry.published_gates(claim)
    assert gates is None or gates.gates == MODULES[claim].PLAN.gates_hash
    for number in registry.numbers(claim):
        file = registry.design_file(claim, number)
        own = read_design(file)
        assert own.claim == claim
        if number == registry.numbers(claim)[-1]:
            assert own.plan == MODULES[claim].PLAN.content_hash
            pilot = read_rows(registry.PILOTS / f"{claim}_{number}.jsonl")
            assert from_pilot(claim, MODULES[claim].PLAN, pilot, MODULES[claim].contrasts) == own
        found = registry.published(claim, number)
        if found:
            check_rows(own, found)
            if registry.has_history():
                registry.check_older(file, [row["started"] for row in found])


def test_the_table_of_claims_is_what_the_published_rows_say(capsys):
    main(["--published"])
    printed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert len(printed) == 1 + len(CLAIMS)
    text = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    for line in printed:
        assert line in text, line


def test_a_table_has_one_line_a_claim_with_gates_power_and_verdict(design):
    own = Evidence(
        claim=Claim(text="b beats a", paper="none"),
        gates=precondition("holds"),
        design=design,
        contrasts=(contrast(UP),),
    )
    found = table(findings({"toy": own}))
    # 5 seeds at sd 0.04: (2.77645 + 0.94096) x 0.04 / sqrt(5) = 0.0665.
    assert re.search(r"\| 5 seeds see 0\.066 of 0\.1 \| \*\*reproduced\*\* \| x: \+0\.120 ", found)
    quick = findings({"toy": replace(own, design=design.quick(0.1), contrasts=())})
    assert "| one seed | **not run** | - |" in table(quick)


def test_unknown_claims_and_flags_that_contradict_are_refused(capsys, tmp_path):
    for words, message in (
        (["srpo_ordre"], "no claim 'srpo_ordre' among grpo_sharpening"),
        (["--publish", "--preset", "quick"], "--preset quick is for gates and runs"),
        (["--pilot", "--preset", "quick"], "--preset quick is for gates and runs"),
        (["--workers", "0"], "--workers must be at least 1, got 0"),
    ):
        with pytest.raises(SystemExit):
            main(words)
        assert message in capsys.readouterr().err
    with pytest.raises(SystemExit, match="error: the pilot of 'cpi_monotone' must have run each"):
        main(["--design", "cpi_monotone", "--out", str(tmp_path)])
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit, match="file/runs' must be a folder, or one that can be made"):
        main(["--gates", "cpi_monotone", "--out", str(tmp_path / "file" / "runs")])
