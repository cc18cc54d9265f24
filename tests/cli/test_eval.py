"""`eval`: models of runs, the files it writes, specs."""

import json

import gymnasium as gym
import pytest

from reason_env.wrappers import PrefixRollin

TINY = ("--num-problems", "2", "--samples", "2", "--k", "1", "--greedy", "False")


@pytest.fixture(scope="module")
def run_path(tmp_path_factory):
    from reason_env import cli

    path = tmp_path_factory.mktemp("eval") / "run"
    cli.main(
        [
            *("train", "grpo", "--problems", "inverse", "--levels", "8", "--max-tokens", "40"),
            *("--iterations", "1", "--problems-per-iteration", "2", "--group-size", "2"),
            *("--eval.num-problems", "3", "--eval.samples", "2", "--eval.k", "2"),
            *("--eval.greedy", "False", "--out", str(path)),
        ]
    )
    return path


def test_a_run_is_evaluated_as_it_evaluates_itself(command, run_path, tmp_path):
    numbers, episodes = tmp_path / "numbers.json", tmp_path / "episodes.jsonl"
    files = ("--json", str(numbers), "--transcripts", str(episodes))
    status, text, error = command("eval", "--model", str(run_path), *files)
    assert status == 0, error
    assert "grpo from base, iteration 1" in text
    assert "WARNING" not in error
    found = json.loads(numbers.read_text())
    assert found["trained"]["method"] == "grpo"
    assert found["environment"]["problems"] == "inverse"
    assert found["environment"]["max_tokens"] == 40
    assert found["report"]["num_problems"] == 3
    rows = [json.loads(line) for line in episodes.read_text().splitlines()]
    assert [row["problem_id"] for row in rows] == [f"inverse/test/{at // 2}" for at in range(6)]
    assert {row["level"] for row in rows} == {8}
    assert sum(row["is_success"] for row in rows) == found["report"]["outcomes"].get("correct", 0)
    assert sum(row["sampled_tokens"] for row in rows) == found["report"]["sampled_tokens"]
    # The content hash is the run's: the same held-out problems.
    config = json.loads((run_path / "provenance.json").read_text())
    assert config["problem_sets"]["eval"] is not None
    assert all(row["prompt"].endswith(">") for row in rows)


def test_flags_that_differ_from_the_training_act_and_warn(command, run_path, caplog):
    model = ("--model", str(run_path / "checkpoints"))
    status, text, _ = command("eval", *model, *TINY, "--max-tokens", "3", "--levels", "9")
    assert status == 0
    assert "truncated 4" in text
    assert [item.getMessage() for item in caplog.records] == [
        "--max-tokens is 3, but the model was trained with 40"
    ]


def test_output_files_are_checked_before_anything_is_sampled(refused, tmp_path):
    line = refused("eval", *TINY, "--json", str(tmp_path / "none" / "x.json"))
    assert "--json must name a file in an existing directory, got" in line
    line = refused("eval", *TINY, "--transcripts", str(tmp_path))
    assert "--transcripts must name a file in an existing directory, got" in line


def test_a_spec_is_evaluated_with_its_wrappers(command, refused, tmp_path):
    env = gym.make("MathReason-v0", problems="chain", split="test", levels=(3, 3), max_tokens=64)
    spec = tmp_path / "spec.json"
    spec.write_text(PrefixRollin(env, fraction=(0.5, 0.5)).spec.to_json())
    episodes = tmp_path / "episodes.jsonl"
    status, _, error = command("eval", "--env", str(spec), *TINY, "--transcripts", str(episodes))
    assert status == 0, error
    rows = [json.loads(line) for line in episodes.read_text().splitlines()]
    assert all(row["response"].startswith(("A:", "B:", "C:", "D:", "E:", "F:")) for row in rows)
    assert all(len(row["response"]) - row["sampled_tokens"] in (19, 20) for row in rows)
    _, with_file, _ = command("eval", "--env", str(spec), *TINY)
    assert command("eval", "--stack", spec.read_text(), *TINY)[:2] == (0, with_file)
    line = refused("eval", "--env", str(spec), "--max-tokens", "9")
    assert "--env must replace every flag of the environment, got --max-tokens too" in line
    assert "--env must name a file, got" in refused("eval", "--env", str(tmp_path / "none.json"))


def test_a_model_trained_on_a_spec_is_evaluated_without_wrappers(command, refused, tmp_path):
    env = gym.make("MathReason-v0", problems="chain", levels=(3, 3), max_tokens=64)
    spec, run = tmp_path / "spec.json", tmp_path / "run"
    spec.write_text(PrefixRollin(env, fraction=(0.5, 0.5)).spec.to_json())
    small = ("--iterations", "1", "--problems-per-iteration", "2", "--group-size", "2")
    evaluated = ("--eval.num-problems", "2", "--eval.samples", "2", "--eval.k", "2")
    command("train", "grpo", "--env", str(spec), *small, *evaluated, "--out", str(run))
    episodes = tmp_path / "episodes.jsonl"
    status, _, error = command("eval", "--model", str(run), "--transcripts", str(episodes))
    assert status == 0, error
    rows = [json.loads(line) for line in episodes.read_text().splitlines()]
    assert {row["problem_id"] for row in rows} == {"chain/test/0", "chain/test/1"}
    assert all(row["sampled_tokens"] - len(row["response"]) in (0, 1) for row in rows)
    status, _, error = command(
        "eval", "--model", str(run), "--problems", "inverse", "--levels", "8", *TINY,
        "--transcripts", str(episodes),
    )  # fmt: skip
    assert status == 0, error
    assert "inverse/test/0" in episodes.read_text()
    line = refused("eval", "--model", str(run), "--stop-at-answer", "False")
    assert "must be evaluated with its spec, got --stop-at-answer too" in line


def test_a_run_without_held_out_problems_asks_for_some(command, refused, tmp_path):
    path, run = tmp_path / "mine.jsonl", tmp_path / "run"
    path.write_text('{"question": "What is 12*3?", "answer": "36"}\n')
    small = ("--iterations", "1", "--problems-per-iteration", "1", "--group-size", "2")
    command("train", "grpo", "--problems", str(path), *small, "--out", str(run))
    line = refused("eval", "--model", str(run))
    assert "must be evaluated on problems that it was not trained on, got none held out" in line
    status, _, _ = command("eval", "--model", str(run), "--split", "train", *TINY)
    assert status == 0


def test_held_out_problems_are_those_that_eval_measures(command, refused, tmp_path):
    path, run = tmp_path / "mine.jsonl", tmp_path / "run"
    rows = [{"question": f"What is {number}?", "answer": str(number)} for number in range(8)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    small = ("--iterations", "1", "--problems-per-iteration", "2", "--group-size", "2")
    evaluated = ("--eval.samples", "2", "--eval.k", "1", "--eval.greedy", "False")
    words = ("train", "grpo", "--problems", str(path), "--max-tokens", "8", *small, *evaluated)
    status, text, error = command(*words, "--hold-out", "0.25", "--out", str(run))
    assert status == 0, error
    assert "6 problems, model base" in text
    assert "Evaluation on 2 problems" in text
    found = json.loads((run / "provenance.json").read_text())["problem_sets"]
    assert json.loads((run / "config.json").read_text())["env"]["hold_out"] == 0.25
    numbers = tmp_path / "numbers.json"
    status, _, error = command("eval", "--model", str(run), "--json", str(numbers))
    assert status == 0, error
    report = json.loads(numbers.read_text())
    assert report["report"]["num_problems"] == 2
    assert report["problems_content_hash"] == found["eval"]
    # Another file is evaluated as a whole.
    other = tmp_path / "other.jsonl"
    other.write_text(path.read_text())
    command("eval", "--model", str(run), "--problems", str(other), "--json", str(numbers))
    assert json.loads(numbers.read_text())["report"]["num_problems"] == 8
    line = refused(*words, "--hold-out", "2", "--eval.problems", str(path))
    assert "eval.problems must be None with hold_out, got" in line
    line = refused(*words, "--hold-out", "8")
    assert "hold_out must leave questions to train on, got 8 of 8 different questions" in line
