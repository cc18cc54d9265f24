"""The benchmarks of the methods: their arms, rows and scores, in runs of seconds."""

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def benchmark(name):
    """Import a script of benchmarks/, which is not a package."""
    known = sys.modules.get(f"benchmarks_{name}")
    if known is not None:
        return known
    place = ROOT / "benchmarks" / "methods" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"benchmarks_{name}", place)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def row(arm, seed, before, after, **changes):
    values = {"first_pass_at_1": before, "first_pass_at_k": 2 * before, "tokens": 90}
    own = {"arm": arm, "seed": seed, "pass_at_1": after, "pass_at_k": 2 * after}
    return own | values | changes


def test_the_table_is_of_all_six_methods_and_the_control_arms_of_each():
    table = benchmark("method_table")
    arms = {name: set(table.ALL[name].arms) for name in table.FAMILIES}
    six = {"grpo", "rrpo", "srpo", "pope", "lte", "expo"}
    assert six <= arms["precedence"] & arms["inverse"]
    assert set().union(*arms.values()) - six == {
        "expo, expert chains",
        "grpo, clip higher",
        "grpo, entropy bonus",
        "grpo, extra",
        "grpo, pass@k",
        "pope, guided only",
        "pope, hard prefix",
        "pope, no restating",
        "sft",
        "srpo, checker",
        *(f"srpo, checker {offset:+d}" for offset in (-4, -2, -1, 1, 2, 4)),
    }


def test_scores_are_over_seeds_and_paired_with_grpo():
    table = benchmark("method_table")
    rows = [
        row("grpo", 0, 0.1, 0.2),
        row("grpo", 1, 0.3, 0.4),
        row("pope", 0, 0.1, 0.5, tokens=110),
        row("pope", 1, 0.3, 0.5),
        row("lte", 7, 0.1, 0.9),
    ]
    scores = table.score(rows)
    assert scores["grpo"]["pass_at_1"].mean == pytest.approx(0.3)
    assert scores["grpo"]["pass_at_1 - grpo"] is None
    assert scores["pope"]["tokens"].mean == 100
    # 0.5 - 0.2 and 0.5 - 0.4.
    assert scores["pope"]["pass_at_1 - grpo"].mean == pytest.approx(0.2)
    assert scores["pope"]["pass_at_k - grpo"].mean == pytest.approx(0.4)
    assert scores["lte"]["pass_at_1 - grpo"] is None
    text = table.table(rows).splitlines()
    # Before: seeds 0, 1 and 7 have 0.1, 0.3 and 0.1.
    assert text[2].startswith("| (before) | 3 |  | 0.167 [")
    assert [line.split(" | ")[:2] for line in text[3:]] == [
        ["| grpo", "2"],
        ["| pope", "2"],
        ["| lte", "1"],
    ]
    assert "| 0.900 |" in text[5]


@pytest.mark.parametrize(
    ("words", "names"), [([], "FAMILIES"), (["--further"], "FURTHER")], ids=["six", "further"]
)
def test_the_tables_of_the_page_are_what_the_published_rows_say(capsys, monkeypatch, words, names):
    table = benchmark("method_table")
    monkeypatch.setattr(sys, "argv", ["method_table", "--published", *words])
    table.main()
    page = (ROOT / "docs" / "results_tables.md").read_text(encoding="utf-8")
    printed = capsys.readouterr().out
    assert printed.count("### ") == len(getattr(table, names))
    assert printed.strip() in page


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--publish"], "takes the rows of --further"),
        (["--publish", "--further", "--seeds", "2"], "takes the rows of --further"),
        (["--publish", "--further", "--preset", "quick"], "takes the rows of --further"),
        (["--publish", "--further", "--published"], "takes the rows of --further"),
        (["--published", "--seeds", "2"], "leave out --seeds and --preset"),
        (["--published", "--preset", "quick"], "leave out --seeds and --preset"),
    ],
)
def test_flags_of_the_table_without_effect_are_refused(capsys, monkeypatch, words, message):
    table = benchmark("method_table")
    monkeypatch.setattr(sys, "argv", ["method_table", *words])
    with pytest.raises(SystemExit):
        table.main()
    assert message in capsys.readouterr().err


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
