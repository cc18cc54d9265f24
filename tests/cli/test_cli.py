import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from reason_env.errors import ConfigError

ROWS = [
    {"question": "What is 12*3?", "answer": "36"},
    {"question": "What is 10-4 in ℤ → ?", "answer": "6"},
]


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def test_a_wrong_command_gets_the_near_match(refused):
    assert "no command 'trian'; did you mean 'train'?" in refused("trian")


def test_a_wrong_method_gets_the_near_match(refused):
    assert "no method 'grop'; did you mean 'grpo'?" in refused("train", "grop")


def test_train_without_a_method_says_what_to_type(refused):
    message = refused("train", "--problems", "chain")
    assert "must name a method, or several joined by '+' (reason-env methods lists them)" in message
    assert "reason-env train --resume RUN" in message


def test_a_wrong_problem_source_gets_the_near_match(refused):
    line = refused("train", "grpo", "--problems", "chian")
    assert "no problem source 'chian'" in line
    assert "did you mean 'chain'?" in line


def test_a_missing_problem_file_gives_a_one_line_error(refused, tmp_path):
    line = refused("train", "grpo", "--problems", str(tmp_path / "none.jsonl"))
    assert "none.jsonl" in line


def test_an_empty_problem_file_gives_a_one_line_error(refused, tmp_path):
    path = write_rows(tmp_path / "empty.jsonl", [])
    assert "empty.jsonl" in refused("train", "grpo", "--problems", path)


def test_a_group_size_of_one_gives_a_one_line_error(refused):
    line = refused("train", "grpo", "--group-size", "1")
    assert "group_size must be at least 2, got 1" in line


def test_a_prompt_longer_than_the_context_gives_a_one_line_error(refused, tmp_path):
    path = write_rows(tmp_path / "long.jsonl", [{"question": "why? " * 900, "answer": "36"}])
    line = refused("train", "grpo", "--problems", path, "--out", str(tmp_path / "run"))
    assert "prompt of 'long/train/0' must have at most 1024 tokens, got 4502" in line
    line = refused(
        "train", "grpo", "--problems", path, "--out", str(tmp_path / "run"),
        "--max-prompt-tokens", "5000",
    )  # fmt: skip
    assert "must fit the model's 2048 tokens, got 4502 of 'long/train/0' + max_tokens 256" in line
    assert not (tmp_path / "run").exists()


def test_a_model_directory_without_a_tokenizer_gives_a_one_line_error(refused, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    line = refused("eval", "--model", str(tmp_path))
    assert str(tmp_path) in line


def test_an_unknown_flag_exits_with_status_2(command):
    status, _, error = command("train", "grpo", "--iteration", "3")
    assert status == 2
    assert "reason-env train grpo has no flag --iteration; did you mean --iterations?" in error


def test_resume_with_another_flag_is_refused(refused, tmp_path):
    line = refused("train", "grpo", "--resume", str(tmp_path), "--group-size", "3")
    assert (
        "--resume must be the only flag except --iterations, --max-generated-tokens, --max-minutes,"
        " --accept-changed-data, --trust, --devices, got --group-size too; a run keeps its settings"
    ) in line


def test_resuming_a_directory_without_a_run_gives_a_one_line_error(refused, tmp_path):
    assert "config.json" in refused("train", "grpo", "--resume", str(tmp_path))


def test_a_run_directory_is_never_written_over(refused, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    line = refused("train", "grpo", "--out", str(tmp_path))
    assert "must not hold a run already" in line


def test_a_directory_with_foreign_files_is_not_written_into(refused, tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    line = refused("train", "grpo", "--out", str(tmp_path))
    assert "--out must be a new or empty directory, got" in line
    assert "which holds 'thesis.tex'; give another --out" in line
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_an_environment_flag_together_with_a_spec_is_refused_even_at_its_default(refused):
    for method in ("grpo", "cpi"):
        line = refused("train", method, "--env", "spec.json", "--max-tokens", "256")
        assert (
            "--env must replace every flag of the environment, got --max-tokens too; change" in line
        )


def test_a_config_of_another_method_is_refused(refused, tmp_path):
    from reason_env.agents.methods import method_config
    from reason_env.agents.runs import config_json
    from reason_env.agents.train import TrainConfig

    path = tmp_path / "config.json"
    path.write_text(config_json.dump(TrainConfig(method=method_config("srpo+lte"))))
    line = refused("train", "grpo", "--from-config", str(path))
    assert "--from-config must name a config of 'grpo', got one of 'srpo+lte'" in line
    assert f"reason-env train srpo+lte --from-config {path}" in line


def test_a_refused_run_leaves_no_directory_that_blocks_the_next(refused, tmp_path, monkeypatch):
    file = write_rows(tmp_path / "mine.jsonl", ROWS)
    out = tmp_path / "run"
    words = ("train", "pope", "--problems", file)
    assert "must have problems with a reference solution" in refused(*words, "--out", str(out))
    assert not out.exists()
    monkeypatch.chdir(tmp_path)
    assert "must have problems with a reference solution" in refused(*words)
    assert list((tmp_path / "runs").iterdir()) == []


def test_runs_without_a_name_get_numbered_directories(tmp_path, monkeypatch):
    from reason_env.agents.train import TrainConfig
    from reason_env.cli.train import _reserved_directory

    monkeypatch.chdir(tmp_path)
    names = [_reserved_directory(TrainConfig()).name for _ in range(3)]
    assert names == ["grpo-chain-001", "grpo-chain-002", "grpo-chain-003"]


GSM8K = Path(__file__).parents[3] / "shared" / "data" / "gsm8k"


@pytest.mark.skipif(
    not GSM8K.is_dir(),
    reason="no ../shared/data/gsm8k beside the project: nothing is trained on GSM8K",
)
@pytest.mark.parametrize("method", ["grpo", "rrpo", "srpo", "pope", "lte", "expo"])
def test_every_method_trains_on_gsm8k_and_its_token_counts_add_up(method, command, tmp_path):
    small = {
        "problems": str(GSM8K),
        "size": 6,
        "max-tokens": 48,
        "max-prompt-tokens": 900,
        "iterations": 2,
        "problems-per-iteration": 2,
        "eval.num-problems": 2,
        "eval.samples": 2,
        "eval.k": 2,
        "out": tmp_path / "run",
    } | ({"hard-samples": 2, "probe-samples": 1} if method == "pope" else {})
    flags = [str(word) for name, value in small.items() for word in (f"--{name}", value)]
    status, _, error = command("train", method, *flags)
    assert status == 0, error
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    first, *rows = map(json.loads, lines)
    total = first.get("rollout/preparation_tokens", 0)
    assert (total > 0) == (method == "pope")
    assert len(rows) == 2
    for row in rows:
        head = "rollout/sampled_tokens"
        own = [value for name, value in row.items() if name.startswith(f"{head}/")]
        # A run with one role has no metrics by role.
        assert not own or sum(own) == row[head]
        total += row[head]
        assert row[f"{head}_total"] == total
        outcomes = [value for name, value in row.items() if name.startswith("grade/")]
        assert sum(outcomes) == pytest.approx(1)
        assert 0 <= row["advantage/groups_without_signal_fraction"] <= 1


def test_problems_list_names_every_source(command):
    status, text, _ = command("problems", "list")
    assert status == 0
    assert [line.split()[0] for line in text.splitlines()][:2] == ["chain", "inverse"]


def test_problems_show_prints_reference_steps_and_answer(command):
    status, text, _ = command("problems", "show", "chain", "--count", "1", "--levels", "2", "2")
    assert status == 0
    assert "answer: " in text
    assert re.search(r"[A-Z]:\d[-+*]\d [xyz]=\d", text)
    assert "4,000 problems, content hash" in text


def test_play_takes_typed_steps_and_steps_back(command, monkeypatch):
    typed = iter(["A:wrong", ":back", "#### 588"])
    monkeypatch.setattr("builtins.input", lambda prompt: next(typed))
    status, text, _ = command(
        "play", "--problems", "inverse", "--problem", "inverse/train/0", "--split", "train"
    )
    assert status == 0
    assert "(back at step 1)" in text
    assert "correct" in text


def test_play_ends_at_the_end_of_the_input(command, monkeypatch):
    def end(prompt):
        raise EOFError

    monkeypatch.setattr("builtins.input", end)
    status, text, _ = command("play", "--problems", "chain")
    assert status == 0
    assert "no_answer" in text


def test_play_lets_the_base_model_write_and_shows_the_verdict(command):
    status, text, _ = command("play", "--problems", "chain", "--model", "base")
    assert status == 0
    assert "reward" in text
    assert "answer: " in text


def test_train_on_a_file_writes_a_run_that_its_own_config_repeats(command, tmp_path):
    path = write_rows(tmp_path / "mine.jsonl", ROWS)
    flags = ["--problems", path, "--iterations", "2", "--problems-per-iteration", "2"]
    flags += ["--group-size", "2", "--max-tokens", "16"]
    first, second = tmp_path / "first", tmp_path / "second"
    status, text, _ = command("train", "grpo", *flags, "--out", str(first))
    assert status == 0
    assert "mine.jsonl has no test split" in text
    assert "learning rate 0.0002 (default for all of 0.8 M parameters), constant" in text
    assert json.loads((first / "config.json").read_text())["learner"]["learning_rate"] == 2e-4
    config = str(first / "config.json")
    status, _, _ = command("train", "grpo", "--from-config", config, "--out", str(second))
    assert status == 0
    for name in ("config.json", "metrics.jsonl"):
        assert (first / name).read_bytes() == (second / name).read_bytes()
    rows = [json.loads(line) for line in (first / "metrics.jsonl").read_text().splitlines()]
    outcomes = [value for name, value in rows[-1].items() if name.startswith("grade/")]
    assert sum(outcomes) == pytest.approx(1.0)
    assert (first / "report.html").stat().st_size > 10_000


def test_grade_shows_outcomes_and_where_a_peer_disagrees(command, tmp_path):
    rows = [
        {"text": r"\boxed{36}", "gold": "36"},
        {"text": r"\boxed{35}", "gold": "36"},
        {"text": "no idea", "gold": "36"},
        {"text": r"\boxed{17 \times 23}", "gold": "391"},
    ]
    path = write_rows(tmp_path / "responses.jsonl", rows)
    flags = ["--response", "text", "--answer", "gold", "--against", "math_verify"]
    status, text, _ = command("grade", path, *flags)
    assert status == 0
    cells = [line.split() for line in text.splitlines()]
    counts = {row[0]: row[1] for row in cells if len(row) == 3}
    assert (counts["correct"], counts["incorrect"], counts["no_answer"]) == ("1", "2", "1")
    assert "line 4: incorrect" in text
    assert "the other grader accepts it" in text


def test_grade_reports_mistakes_in_one_line(refused, tmp_path):
    path = write_rows(tmp_path / "responses.jsonl", [{"respones": "36", "answer": "36"}])
    assert "must name a .jsonl file" in refused("grade")
    assert "none.jsonl" in refused("grade", str(tmp_path / "none.jsonl"))
    assert "did you mean 'respones'?" in refused("grade", path)
    line = refused("grade", path, "--response", "respones", "--grading", "stric")
    assert "did you mean 'strict'?" in line


def test_columns_of_a_file_are_mapped_by_name(command, tmp_path):
    rows = [{"problem": "What is 12*3?", "final": "36"}]
    path = write_rows(tmp_path / "mine.jsonl", rows)
    flags = ["--problems", path, "--iterations", "1", "--problems-per-iteration", "1"]
    flags += ["--group-size", "2", "--max-tokens", "8", "--out", str(tmp_path / "run")]
    status, _, _ = command(
        "train", "grpo", *flags, "--columns", "question", "problem", "answer", "final"
    )
    assert status == 0


def test_check_puts_an_environment_through_the_quality_suite(command, refused):
    status, text, _ = command("check", "MathReason-v0", "--num-problems", "3")
    assert status == 0
    assert "ok       fork law" in text
    assert "did you mean: `mathreason`?" in refused("check", "MathReson-v0").lower()
    assert "must be a stack on ReasonEnv" in refused("check", "CartPole-v1")


def test_tabular_lists_its_settings_and_writes_rows_and_a_figure(command, refused, tmp_path):
    status, text, _ = command("tabular")
    assert status == 0
    assert "curriculum" in text
    flags = ["--seeds", "1", "--workers", "1", "--out", str(tmp_path)]
    status, _, _ = command("tabular", "curriculum", *flags)
    assert status == 0
    assert (tmp_path / "curriculum.csv").read_text().count("\n") == 7
    assert (tmp_path / "curriculum.png").stat().st_size > 1000
    line = refused("tabular", "curiculum")
    assert "did you mean 'curriculum'?" in line


def test_tabular_without_matplotlib_writes_rows_and_says_how_to_get_figures(
    command, tmp_path, monkeypatch
):
    from reason_env.agents.tabular.ablations import figures, setting

    monkeypatch.setattr(figures, "find_spec", lambda name: None)
    flags = ["--seeds", "1", "--workers", "1", "--out", str(tmp_path)]
    status, text, error = command("tabular", "curriculum", *flags)
    assert (status, error) == (0, "")
    assert text.endswith("no figures without matplotlib: pip install 'reason-env[figures]'\n")
    assert [path.name for path in tmp_path.iterdir()] == ["curriculum.csv"]
    with pytest.raises(ConfigError, match="a figure must be drawn with matplotlib, got none"):
        figures.write(setting("curriculum").draw, [], tmp_path / "curriculum.png")


def test_an_experiment_s_environment_is_one_spec_file(command, refused, tmp_path):
    import gymnasium as gym

    from reason_env.wrappers.prefix_rollin import PrefixRollin

    env = gym.make("MathReason-v0", problems="chain", levels=(3, 3), max_tokens=64)
    spec = tmp_path / "spec.json"
    spec.write_text(PrefixRollin(env, fraction=(0.5, 0.5)).spec.to_json())
    flags = ["--env", str(spec), "--iterations", "1", "--problems-per-iteration", "2"]
    flags += ["--eval.num-problems", "4", "--group-size", "2"]
    status, text, _ = command("train", "grpo", *flags, "--out", str(tmp_path / "run"))
    assert status == 0
    assert "before" in text
    lines = (tmp_path / "run" / "episodes" / "iteration_000001.jsonl").read_text().splitlines()
    assert all(json.loads(line)["start_tokens"] == 20 for line in lines)
    line = refused("train", "grpo", "--env", str(spec), "--problems", "inverse")
    assert "must replace every flag of the environment, got --problems too" in line
    foreign = json.loads(spec.read_text())
    foreign["additional_wrappers"][0] |= {"name": "system", "entry_point": "os:system"}
    spec.write_text(json.dumps(foreign))
    line = refused("train", "grpo", "--env", str(spec))
    assert "wrappers must be ours or Gymnasium's, got 'system'" in line
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    config["env"]["stack"] = json.dumps(foreign)
    (tmp_path / "config.json").write_text(json.dumps(config))
    line = refused("train", "grpo", "--from-config", str(tmp_path / "config.json"))
    assert "wrappers must be ours or Gymnasium's, got 'system'" in line
    spec.write_text("{}")
    assert "must be JSON as env.spec.to_json()" in refused("train", "grpo", "--env", str(spec))


def save_small_model(directory):
    """Saves a random Qwen3 and a byte-level tokenizer with a chat template, as a hub model lies."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<|end|>", "<|user|>", "<|assistant|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([row["question"] for row in ROWS], trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>")
    fast.chat_template = (
        "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}<|assistant|>"
    )
    fast.save_pretrained(directory)
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(fast), hidden_size=16, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=1, head_dim=8, max_position_embeddings=256,
        tie_word_embeddings=True, eos_token_id=0, pad_token_id=0, bos_token_id=None,
    )  # fmt: skip
    Qwen3ForCausalLM(config).save_pretrained(directory)
    return str(directory)


def test_a_hugging_face_model_trains_through_its_own_tokenizer_and_chat_template(
    command, capsys, tmp_path
):
    model = save_small_model(tmp_path / "model")
    capsys.readouterr()
    path = write_rows(tmp_path / "mine.jsonl", ROWS)
    flags = ["--problems", path, "--iterations", "1", "--problems-per-iteration", "2"]
    flags += ["--model", model, "--prompt", "chat", "--max-tokens", "12", "--system", "Be exact."]
    status, text, error = command("train", "grpo", *flags, "--out", str(tmp_path / "run"))
    assert (status, error) == (0, "")
    assert "iteration   1/1" in text
    trained = tmp_path / "run" / "checkpoints" / "iteration_000001" / "model"
    status, text, _ = command(
        "eval", "--model", str(trained), "--problems", path, "--prompt", "chat",
        "--max-tokens", "12", "--samples", "2", "--k", "2",
    )  # fmt: skip
    assert status == 0
    assert "pass@2" in text


def test_training_a_model_without_a_tokenizer_is_refused(refused, capsys, tmp_path):
    model = save_small_model(tmp_path / "model")
    capsys.readouterr()
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (tmp_path / "model" / name).unlink(missing_ok=True)
    line = refused("train", "grpo", "--model", model, "--out", str(tmp_path / "run"))
    assert "must hold a tokenizer" in line


def test_the_console_script_reports_a_mistake_without_a_traceback():
    script = Path(sys.executable).with_name("reason-env")
    done = subprocess.run([script, "trian"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "did you mean 'train'?" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["train", "--help"], "cpi"),
        (["check", "--help"], "--num-problems"),
        (["grade", "-h"], "--against"),
        (["problems", "--help"], "problems show SOURCE"),
        (["problems", "list", "--help"], "problems show SOURCE"),
    ],
)
def test_a_command_without_its_first_word_has_help(command, words, shown):
    status, text, _ = command(*words)
    assert status == 0
    assert shown in text
