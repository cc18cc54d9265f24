"""What a wrong flag or value gets: one line that names the right one."""

import re
import subprocess
import sys

import pytest

from reason_env.cli import flags
from reason_env.cli.mistakes import flag_defaults, in_flags, near_flag, with_true

TRAIN = ("train", "grpo")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--lr", "1e-5"), "has no flag --lr; did you mean --learning-rate?"),
        (("--batch-size", "8"), "has no flag --batch-size; did you mean --problems-per-iteration?"),
        (("--clip-high", "0.3"), "has no flag --clip-high; did you mean --loss.clip-high?"),
        (("--kl", "0.1"), "has no flag --kl; did you mean --loss.kl-coefficient?"),
        (("--max_new_tokens", "9"), "has no flag --max-new-tokens; did you mean --max-tokens?"),
        (("--zzz", "3"), "reason-env train grpo has no flag --zzz; see: reason-env train grpo"),
        (("chain",), "has no use for the word 'chain'; see: reason-env train grpo --help"),
        (("--iterations", "many"), "--iterations must be INT, got 'many'; see: reason-env train"),
        (("--iterations=many",), "--iterations must be INT, got 'many'; see: reason-env train"),
        (("--levels", "low"), "--levels must be None or INT INT, got 'low'; see: reason-env"),
        (("--group-size",), "--group-size must have a value, got none; see: reason-env train"),
        (
            ("--schedule", "lineer"),
            "--schedule must be one of constant, linear, cosine, got 'lineer'; d",
        ),
        (("--greedy",), "has no flag --greedy; did you mean --eval.greedy?"),
        (
            ("--loss.clip-high", "-3"),
            "reason-env: error: clip_high must be at least 0 and finite, got -3.0",
        ),
    ],
)
def test_a_mistake_in_a_flag_is_one_line_that_says_what_to_write(refused, words, line):
    assert line in refused(*TRAIN, *words)


@pytest.mark.parametrize("words", [("--levels", "4"), ("--levels=4",)])
def test_one_level_means_from_it_to_itself(command, words):
    status, text, _ = command("problems", "show", "chain", "--count", "1", *words)
    assert status == 0
    assert "(level 4)" in text
    _, same, _ = command("problems", "show", "chain", "--count", "1", "--levels", "4", "4")
    assert text == same


def test_one_level_before_another_flag_means_from_it_to_itself(command):
    words = ("problems", "show", "chain", "--levels", "4")
    assert command(*words, "--count", "2") == command(*words, "4", "--count", "2")


def test_a_flag_of_yes_or_no_needs_no_value_and_keeps_a_given_one():
    defaults = {"dry-run": False, "out": None}
    assert with_true(["--dry-run"], defaults) == ["--dry-run", "True"]
    assert with_true(["--dry-run", "False"], defaults) == ["--dry-run", "False"]
    assert with_true(["--dry_run", "--out", "x"], defaults) == ["--dry_run", "True", "--out", "x"]
    assert with_true(["--out"], defaults) == ["--out"]


def test_the_end_of_a_nested_flag_is_nearer_than_an_alias_and_that_nearer_than_a_misspelling():
    assert near_flag("alpha", ["cpi.alpha", "learning-rate"]) == "cpi.alpha"
    assert near_flag("alpha", ["learning-rate", "alphabet"]) == "learning-rate"
    assert near_flag("sede", ["seed", "out"]) == "seed"
    assert near_flag("question", ["solution", "out"]) is None


@pytest.mark.parametrize(
    "words",
    [
        ("train", "grpo"),
        ("train", "srpo+lte"),
        ("train", "cpi", "--restart", "srpo"),
        ("compare",),
        ("eval",),
        ("play",),
        ("pretrain",),
        ("problems", "show", "chain"),
        ("report",),
        ("tabular",),
    ],
)
def test_the_flags_that_mistakes_are_compared_with_are_those_of_help(command, monkeypatch, words):
    found = []

    def recorded(config):
        found.append(flag_defaults(config))
        return found[-1]

    monkeypatch.setattr(flags, "flag_defaults", recorded)
    status, text, _ = command(*words, "--help")
    assert status == 0
    shown = set(re.findall(r"^\W*(?:-h, )?--(\w[\w-]*(?:\.[\w-]+)*)", text, re.MULTILINE)) - {
        "help"
    }
    assert shown == set(found[-1])


def test_a_missing_column_is_answered_in_flags_and_by_a_column_that_may_hold_it(refused, tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text('{"q": "What is 1?", "solution": "1", "answer": "1"}\n')
    line = refused("problems", "show", str(path))
    assert line.endswith("got columns q, solution, answer; map one with --columns question q")
    path.write_text('{"input": "Of 1.", "instruction": "What?", "gold": "1", "label": "2"}\n')
    line = refused("problems", "show", str(path))
    assert line.endswith("map them with --columns question input answer gold")
    line = refused("problems", "show", str(path), "--columns", "question", "input")
    assert line.endswith("map one with --columns answer gold")
    line = refused("problems", "show", str(path), "--columns", "input", "question")
    assert line.endswith("write: --columns question input")


def test_columns_and_the_seed_of_problems_have_one_name_in_every_command(command, tmp_path, caplog):
    path = tmp_path / "mine.jsonl"
    path.write_text('{"problem": "What is 1?", "gold": "1"}\n')
    columns = ("--columns", "question", "problem", "answer", "gold")
    status, text, _ = command("problems", "show", str(path), *columns)
    assert status == 0
    assert "What is 1?" in text
    assert "1 problem, content hash" in text
    shown = [
        command("problems", "show", "chain", f"--{name}", "3") for name in ("problem-seed", "seed")
    ]
    assert shown[0][:2] == shown[1][:2] == (0, shown[0][1])
    assert shown[0][1] != command("problems", "show", "chain")[1]
    assert [item.getMessage() for item in caplog.records] == [
        "the flag --seed is now --problem-seed"
    ]


def test_an_ungradable_answer_is_answered_in_flags(refused, tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text('{"question": "Who?", "answer": "####"}\n')
    line = refused("problems", "show", str(path))
    assert line.endswith("correct or drop them, or keep them with --allow-ungradable")


@pytest.mark.parametrize("name", ["mine.csv", "mine.jsonl", "some/where/mine.parquet", "mine.txt"])
def test_a_missing_file_is_a_missing_file_whatever_its_suffix(refused, name):
    line = refused("train", "grpo", "--problems", name)
    assert f"problem file must exist, got {name!r}; check the path" in line


def test_the_advice_of_a_warning_is_in_flags_on_the_command_line(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text('{"problem": "What is 1?", "final_answer": "1"}\n')
    program = "import sys; from reason_env.cli import main; main(sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", program, "problems", "show", str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.startswith("reason-env: WARNING: reading ")
    assert done.stderr.endswith("; name other columns with --columns FIELD COLUMN\n")


def test_a_chat_prompt_without_a_chat_template_is_answered_in_flags():
    assert in_flags("x; use PromptTemplate(kind='plain')") == (
        "x; use a plain one: --template boxed-plain"
    )


@pytest.mark.parametrize("command_name", ["train", "pretrain", "eval", "compare", "play"])
def test_every_flag_has_help(command, command_name):
    words = ("train", "grpo") if command_name == "train" else (command_name,)
    _, text, _ = command(*words, "--help")
    options = re.split(r"(?m)^\W*(?:-h, )?--", text)[1:]
    # The parts of dictionaries and of nested configs have the help of the whole.
    single = [option for option in options if option.split()[0].replace("-", "").isalnum()]
    assert len(single) > 4
    assert [text for text in single if len(text.split("(default")[0].split()) < 3] == []


def test_warnings_of_the_hub_are_shown_once(command):
    import logging

    command("problems", "list")
    assert not logging.getLogger("huggingface_hub").propagate


def test_the_hub_s_client_says_nothing_while_a_model_is_loaded():
    import logging

    from reason_env.agents.engines import quiet_transformers

    logger = logging.getLogger("huggingface_hub")
    before = logger.level
    with quiet_transformers():
        assert not logger.isEnabledFor(logging.WARNING)
        assert logger.isEnabledFor(logging.ERROR)
    assert logger.level == before
