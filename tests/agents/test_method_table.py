"""The benchmarks of the methods: their arms, rows and scores; a run of theirs is of seconds."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def benchmark(name):
    """Returns the module of a script in benchmarks/, which is no package."""
    known = sys.modules.get(f"benchmarks_{name}")
    if known is not None:
        return known
    place = ROOT / "benchmarks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"benchmarks_{name}", place)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def row(arm, seed, before, after, **changes):
    values = {"pass_at_1_before": before, "pass_at_1_after": after, "setting": "s", "tokens": 90}
    return {"arm": arm, "seed": seed, "pass_at_k_after": 2 * after} | values | changes


def test_every_arm_is_built_and_differs_from_every_other():
    table = benchmark("method_table")
    for setting in table.SETTINGS.values():
        configs = [table.arm_config(setting, arm, 3) for arm in table.ARMS]
        assert len({repr(config.method) for config in configs}) == len(configs) == 30
        assert {config.max_generated_tokens for config in configs} == {setting.max_generated_tokens}
        assert {config.seed for config in configs} == {3}


def test_all_arms_have_the_setting_s_loss_but_those_that_are_about_it():
    table = benchmark("method_table")
    setting = replace(table.SETTINGS["smoke"], loss=table.LossConfig(clip_low=0.11))
    own = {
        "rrpo, unclipped",
        "srpo, unclipped",
        "pope, wide clip and sum",
        "grpo + entropy bonus",
        "grpo, clip higher",
    }
    for arm in table.ARMS:
        method = table.ARMS[arm](setting)
        if arm.startswith("exp-dpo"):
            continue
        first = method.methods[0] if arm.count("+") and hasattr(method, "methods") else method
        assert (first.loss == setting.loss) == (arm not in own), arm


def test_scores_are_over_seeds_and_paired_with_grpo():
    table = benchmark("method_table")
    rows = [
        row("grpo", 0, 0.1, 0.2),
        row("grpo", 1, 0.1, 0.4),
        row("pope", 0, 0.1, 0.5, tokens=110),
        row("pope", 1, 0.1, 0.5),
        row("lte", 7, 0.1, 0.9),
    ]
    scores = table.score(rows)
    assert scores["grpo"]["pass_at_1"].mean == pytest.approx(0.3)
    assert scores["pope"]["tokens"].mean == 100
    # 0.5 - 0.2 and 0.5 - 0.4.
    assert scores["pope"]["pass_at_1 - grpo"].mean == pytest.approx(0.2)
    assert scores["pope"]["pass_at_k - grpo"].mean == pytest.approx(0.4)
    assert scores["lte"]["pass_at_1 - grpo"] is None
    text = table.table(rows).splitlines()
    assert [line.split(" | ")[:2] for line in text[2:]] == [
        ["| grpo", "2"],
        ["| pope", "2"],
        ["| lte", "1"],
    ]
    assert "| 0.900 |" in text[4]


def test_a_row_that_a_kill_has_cut_is_left_out_and_written_again(tmp_path):
    table = benchmark("method_table")
    file = tmp_path / "new" / "rows.jsonl"
    table._written({"arm": "grpo"}, file)
    with file.open("a") as lines:
        lines.write('{"arm": "po')
    assert table.read_rows(file) == [{"arm": "grpo"}]
    table._written({"arm": "pope"}, file)
    assert table.read_rows(file) == [{"arm": "grpo"}, {"arm": "pope"}]
    assert table.read_rows(tmp_path / "none") == table.read_rows(None) == []


def test_a_table_goes_on_where_it_was_stopped(tmp_path):
    table = benchmark("method_table")
    setting = replace(table.SETTINGS["smoke"], seeds=(0,), arms=("grpo",))
    file = tmp_path / "rows.jsonl"
    (first,) = table.run(setting, file, processes=1)
    assert first["arm"] == "grpo"
    assert first["tokens"] >= setting.max_generated_tokens
    written = file.read_bytes()
    assert table.run(setting, file, processes=1) == [first]
    assert file.read_bytes() == written
    # Another setting's rows are not taken for this one's.
    other = replace(setting, max_generated_tokens=1, seeds=())
    assert table.run(other, file, processes=1) == []


def test_localisation_is_scored_against_chance_and_by_clean_prefixes():
    localisation = benchmark("srpo_localisation")

    def reset(named, wrong, kept, correct, steps=4):
        values = {"named": named, "wrong": wrong, "kept": kept, "num_steps": steps}
        return values | {"arm": "self", "num_graded": 4, "num_correct": correct}

    rows = [reset(2, 2, 1, 3), reset(1, 3, 0, 2, 2), reset(4, 1, 3, 0), reset(3, None, 2, 4)]
    scores = localisation.score([*rows, rows[0] | {"arm": "random", "named": None}])
    own = scores["self"]
    assert own["resets"] == 4
    assert own["accuracy"].estimate == pytest.approx(1 / 3)
    assert own["chance"] == pytest.approx((1 / 4 + 1 / 2 + 1 / 4) / 3)
    assert own["clean prefixes"].estimate == pytest.approx(3 / 4)
    assert own["success from clean"].estimate == pytest.approx(9 / 12)
    assert own["success from unclean"].estimate == 0.0
    assert scores["random"]["accuracy"] is None
    assert scores["random"]["success from unclean"] is None


def test_localisation_runs_on_the_base_model():
    localisation = benchmark("srpo_localisation")
    setting = localisation.Setting(levels=(9, 9), num_problems=4, max_tokens=96, arms=("self",))
    rows = localisation.run(setting)
    assert rows
    for own in rows:
        assert 1 <= own["named"] <= own["num_steps"]
        assert own["kept"] == own["named"] - 1
        assert own["wrong"] is None or 1 <= own["wrong"] <= own["num_steps"]
        assert own["num_graded"] == 4
