import io
import os
import re
import signal
import time
from dataclasses import replace

import pytest
from rich.console import Console

from reason_env.agents.compare import Comparison, summary
from reason_env.agents.compare.summary import _loss_notes
from reason_env.agents.methods import method_names, sb3_names
from reason_env.cli import compare as command
from reason_env.cli import main
from reason_env.cli.tables import arm_table

ARMS = {"grpo": (0.02, ("base",)), "lte": (0.05, ("base", "hinted"))}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["grppo"], "no method 'grppo'; did you mean 'grpo'?"),
        (
            ["grpo", "lte:gama=0.2"],
            "no setting 'gama' in arm 'lte:gama=0.2'; did you mean 'gamma'?",
        ),
        (["grpo", "--budget", "255"], "budget must hold an iteration, got 255 tokens"),
        (["rrpo", "--group-size", "4"], "the flag --group-size must be a setting of every arm"),
        (
            ["grpo", "--problems", "chain,chainn"],
            "no problem source 'chainn'; for a file give its path; did you mean 'chain'?",
        ),
        (["grpo", "--problems", "no/such.jsonl"], "no/such.jsonl"),
        (["grpo", "--eval.problems", "chian"], "no problem source 'chian'"),
        (
            ["grpo", "--env", "spec.json", "--problems", "chain"],
            "must replace every flag of the environment, got --problems too",
        ),
        (["grpo", "--size", "0"], "size must be at least 1, got 0"),
        (["grpo", "--problems", "HERE/one.jsonl"], "must have problems to evaluate on, got none"),
        (["grpo", "--problems", "HERE/bad.jsonl"], "bad.jsonl"),
        (
            ["exp-dpo", "grpo", "--same-loss", "True"],
            "--same-loss must have a baseline with a loss of policy tokens, got 'exp-dpo'",
        ),
        ([], "compare must name arms, the baseline first; for example: reason-env compare"),
        (["grpo", "--max-generated-tokens", "9"], "use --budget alone"),
        (
            ["grpo", "--resume", "runs/x"],
            "--resume must be the only flag except --workers, --trust, got grpo too",
        ),
    ],
)
def test_a_mistake_on_the_command_line_gives_one_line_with_the_remedy(
    words, message, tmp_path, capsys
):
    out = [] if "--resume" in words else ["--out", str(tmp_path / "cmp")]
    good, bad = '{"question": "2+2", "answer": "4"}\n', '{"question": "2+2"}\n'
    (tmp_path / "one.jsonl").write_text(good, encoding="utf-8")
    (tmp_path / "bad.jsonl").write_text(good * 100 + bad, encoding="utf-8")
    words = [word.replace("HERE", str(tmp_path)) for word in words]
    with pytest.raises(SystemExit) as ended:
        main(["compare", *words, *out])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "cmp").exists()


def test_the_directory_of_another_comparison_is_refused_and_kept(build, tmp_path, capsys):
    made = build["comparison"](tmp_path / "cmp", ARMS, num_seeds=1)
    before = (made.path / "config.json").read_text(encoding="utf-8")
    with pytest.raises(SystemExit) as ended:
        main(
            ["compare", "grpo", "lte", "--budget", "90000", "--seeds", "1", "--out", str(made.path)]
        )
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "budget 80000 there and 90000 here" in said
    assert f"--resume {made.path}" in said
    assert (made.path / "config.json").read_text(encoding="utf-8") == before


def test_compare_prints_the_table_the_sentences_and_the_report_s_path(build, tmp_path, capsys):
    made = build["comparison"](tmp_path / "cmp", ARMS, sources=("chain", "inverse"), num_seeds=3)
    main(["compare", "--resume", str(made.path)])
    said = capsys.readouterr().out
    for source in ("chain", "inverse"):
        part = summary(made)["by_source"][source]
        assert f"{source}: means over seeds, 95 % bootstrap intervals; differences to grpo" in said
        assert [own["sentence"] in said for own in part["arms"].values()] == [True, True]
        final = part["arms"]["lte"]["final_pass_at_1"]
        assert re.search(rf"lte +3 +{final['mean']:.3f} ", said)
    assert f"report: {made.path / 'report.html'}" in said
    assert "The budgets are not equal" not in said
    assert "<title>grpo" in (made.path / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [80, 140])
def test_no_number_of_the_table_is_cut_on_a_narrow_terminal(build, tmp_path, width):
    arms = ARMS | {"srpo+lte:lte.gamma=0.2,srpo.num_base=6": (0.04, ("base",))}
    made = build["comparison"](tmp_path / "cmp", arms, num_seeds=3)
    part = summary(made)["by_source"]["chain"]
    console = Console(width=width, soft_wrap=True, record=True, file=io.StringIO())
    console.print(arm_table("chain", part, "grpo"))
    said = console.export_text()
    assert "…" not in said
    assert max(map(len, said.splitlines())) <= width
    for own in part["arms"].values():
        numbers = [own[name] for name in ("final_pass_at_1", "final_pass_at_k", "area")]
        for estimate in numbers:
            for name in ("mean", "low", "high"):
                assert f"{estimate[name]:.3f}" in said
    difference = part["arms"]["lte"]["differences"]["final_pass_at_1"]
    assert all(f"{difference[name]:+.3f}" in said for name in ("mean", "low", "high"))


def test_two_seeds_have_no_interval_in_table_or_sentence(build, tmp_path, capsys):
    made = build["comparison"](tmp_path / "cmp", ARMS, num_seeds=2)
    main(["compare", "--resume", str(made.path)])
    said = capsys.readouterr().out
    assert "2 pairs: too few for an interval, so nothing is claimed" in said
    assert "[" not in said.split("arm")[-1].split("report:")[0]


def test_the_help_names_every_method(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["compare", "--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    listed = re.search(r"Methods: ([^;]*);", said)
    assert listed
    assert listed[1].replace(",", "").split() == [*method_names(), *sb3_names()]


def configured(monkeypatch, *words):
    """Parse a command line into the config of a comparison, without running it."""
    made = []
    monkeypatch.setattr(
        command, "_show", lambda comparison, workers, trusted: made.append(comparison)
    )
    main(["compare", *words])
    return made[0].config


def test_a_warning_names_arms_with_unequal_losses_and_how_to_equalise_them(monkeypatch, tmp_path):
    words = ["grpo", "srpo", "pope+rrpo", "exp-dpo"]
    alike = configured(monkeypatch, *words, "--same-loss", "True", "--out", str(tmp_path / "a"))
    grpo, srpo, both, _ = alike.arms.values()
    assert srpo.method.loss == grpo.method.loss
    assert [own.loss for own in both.method.methods] == [grpo.method.loss] * 2
    assert srpo.method.advantage.std == "population"
    assert _loss_notes(alike) == []
    unlike = configured(monkeypatch, *words, "--out", str(tmp_path / "b"))
    (note,) = _loss_notes(unlike)
    assert "srpo, pope+rrpo have another loss than grpo" in note
    assert "--same-loss True" in note
    # The further groups of a composition have the loss of their own method.
    (note,) = _loss_notes(configured(monkeypatch, "lte", "lte+srpo", "--out", str(tmp_path / "c")))
    assert "lte+srpo has another loss than lte" in note


def test_same_loss_takes_the_baseline_s_loss_and_refuses_another_arm_that_sets_one(
    monkeypatch, tmp_path, capsys
):
    words = ["grpo:loss.clip_high=0.3", "srpo", "--same-loss", "True", "--out", str(tmp_path / "a")]
    baseline, srpo = configured(monkeypatch, *words).arms.values()
    assert srpo.method.loss == baseline.method.loss
    assert srpo.method.loss.clip_high == 0.3
    with pytest.raises(SystemExit):
        main(["compare", "grpo", *words[:1], *words[2:4], "--out", str(tmp_path / "b")])
    said = "with an arm that sets its loss, got 'grpo:loss.clip_high=0.3'"
    assert said in capsys.readouterr().err


def test_family_sources_default_to_64_problems_and_files_keep_all_rows(monkeypatch, tmp_path):
    file = tmp_path / "mine.jsonl"
    file.write_text('{"question": "2+2", "answer": "4"}\n', encoding="utf-8")
    words = ["grpo", "--problems", f"chain,mix:unlock@1-3,{file}", "--eval.problems", str(file)]

    def sizes(out, *more):
        config = configured(monkeypatch, *words, *more, "--out", str(tmp_path / out))
        return [config.run_config(s, "grpo", 0).env.size for s in config.sources], config

    found, config = sizes("a")
    assert found == [64, 64, None]
    assert sizes("b", "--size", "9")[0] == [9, 9, 9]
    # A comparison from before the setting keeps what its runs began with.
    old = replace(config, family_size=None)
    assert old.run_config("chain", "grpo", 0).env.size is None


def test_sigterm_exits_with_130_and_prints_the_command_that_resumes(monkeypatch, tmp_path, capsys):
    def ended(comparison, **options):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(Comparison, "run", ended)
    with pytest.raises(SystemExit) as stopped:
        main(["compare", "grpo", "--out", str(tmp_path / "cmp")])
    assert stopped.value.code == 130
    assert "go on with: reason-env compare --resume" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGTERM) == before
