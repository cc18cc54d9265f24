"""`reason-env methods`: the table, one row, and the page that holds both."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from reason_env.agents.methods import (
    GRPOConfig,
    MethodBase,
    MethodEntry,
    method_names,
    register_method,
    registry,
    sb3_names,
)
from reason_env.cli.flags import out
from reason_env.cli.methods import every_method

PAGE = Path(__file__).parents[2] / "docs" / "methods.md"
BEGIN, END = "<!-- reason-env methods --format markdown -->\n\n", "\n<!-- end -->"


@pytest.fixture
def wide(monkeypatch):
    """No cell of a table is broken; COLUMNS counts only when the console is made."""
    monkeypatch.setattr(out, "_width", 300)


def test_the_page_holds_what_the_command_prints(command):
    text = PAGE.read_text(encoding="utf-8")
    block = text.partition(BEGIN)[2].partition(END)[0]
    status, printed, _ = command("methods", "--format", "markdown")
    assert status == 0
    assert block == printed, (
        "put the output of reason-env methods --format markdown between the two marks of the page"
    )


def test_the_table_has_every_method_and_six_columns(command, wide):
    _, printed, _ = command("methods")
    heads = ("start states", "guidance shown", "context trained", "scored under", "estimator")
    assert all(head in printed for head in (*heads, "update"))
    firsts = {line.split()[0] for line in printed.splitlines() if line.strip()}
    assert {*method_names(), "cpi", *sb3_names()} <= firsts


def test_one_row_has_defaults_the_paper_s_numbers_and_the_differences(command):
    _, printed, _ = command("methods", "srpo")
    lines = [" ".join(line.split()) for line in printed.splitlines()]
    assert "tries_per_round 4 paper: 1" in lines
    assert "localiser_temperature 0.3" in lines
    assert "max_localiser_tokens 224 paper: not given" in lines
    assert "sampling.temperature 1.0 paper: 0.7" in lines
    assert any(line.startswith("paper: arXiv 2605.25507") for line in lines)
    assert any(line.startswith("- A reply is read as the release reads it") for line in lines)
    assert "SRPO: resets to the step before the first error" in printed
    assert "reason-env train srpo --problems chain --model base" in lines


def test_a_combination_is_shown_part_by_part_and_together(command, wide):
    _, printed, _ = command("methods", "srpo+lte")
    assert "\nlte\n" in printed
    assert "srpo+lte" in printed
    assert "own wrong answers, an instruction" in printed


def test_rows_are_data(command):
    _, printed, _ = command("methods", "--format", "json")
    rows = {row["method"]: row for row in json.loads(printed)}
    assert list(rows) == [*method_names(), "cpi", *sb3_names()]
    assert rows["pope"]["defaults"]["hard_samples"] == 16
    assert {"field": "hard_samples", "default": 16, "paper": 128} in rows["pope"]["paper_numbers"]


def test_a_wrong_name_or_format_gets_the_right_one(refused):
    assert "no method 'srop'; did you mean 'srpo'?" in refused("methods", "srop")
    assert "rrpo and srpo must not be combined" in refused("methods", "rrpo+srpo")
    assert "markdown" in refused("methods", "--format", "markdwon")


def test_a_package_that_does_not_load_hides_no_other_method(monkeypatch, command):
    class Point:
        name, value, dist = "broken", "nowhere:METHOD", None

        def load(self):
            raise ImportError("no nowhere")

    monkeypatch.setattr(registry, "_installed", lambda: {"broken": (Point(),)})
    methods, broken = every_method()
    assert {item.columns.method for item in methods} == {*registry._REGISTERED, "cpi"}
    assert len(broken) == 1
    assert "the method 'broken' of the package (unnamed) must load, got ImportError" in broken[0]
    status, printed, _ = command("methods")
    assert status == 0
    assert "not shown: the method 'broken'" in printed


@dataclass(frozen=True, kw_only=True)
class QuietConfig(GRPOConfig):
    """A config of another package, which describes nothing."""

    kind: Literal["quiet"] = "quiet"


def test_a_method_of_another_package_is_listed(monkeypatch, command, wide):
    monkeypatch.setattr(registry, "_REGISTERED", dict(registry._REGISTERED))
    register_method(MethodEntry(config=QuietConfig, build=MethodBase))
    _, printed, _ = command("methods")
    (line,) = (line for line in printed.splitlines() if line.split()[:1] == ["quiet"])
    assert "not described" in line
    assert "(r - mean) / (std + eps)" in line
    _, printed, _ = command("methods", "quiet")
    assert "reason-env train quiet --problems chain --model base" in printed
    assert "group_size" in printed


SMALL = (
    "--size 6 --levels 3 4 --max-tokens 48 --problems-per-iteration 3 --eval.num-problems 2 "
    "--eval.samples 1 --eval.k 1 --eval.greedy False --iterations 2"
).split()


def test_the_page_s_commands_imitate_first_and_then_reinforce(command, monkeypatch, tmp_path):
    section = PAGE.read_text(encoding="utf-8").partition("## SFT, then RL")[2].partition("\n## ")[0]
    lines = section.partition("```\n")[2].partition("```")[0].splitlines()
    monkeypatch.chdir(tmp_path)
    for line in lines:
        program, *words = line.split()
        assert program == "reason-env"
        status, _, error = command(*words, *SMALL)
        assert status == 0, error

    def rows(name):
        text = (tmp_path / "runs" / name / "metrics.jsonl").read_text("utf-8")
        return [json.loads(row) for row in text.splitlines()]

    assert rows("sft")[-1]["rollout/sampled_tokens_total"] == 0
    assert rows("sft-then-grpo")[-1]["rollout/sampled_tokens_total"] > 0
    after, before = rows("sft")[-1], rows("sft-then-grpo")[0]
    assert before["eval/pass_at_1"] == after["eval/pass_at_1"]
    config = json.loads((tmp_path / "runs" / "sft-then-grpo" / "config.json").read_text("utf-8"))
    assert "runs/sft/" in config["model"]
