"""Inspect's own command and evaluation around the task."""

import gc
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from reason_env.errors import ConfigError
from reason_env.problems import load_problems
from reason_env.verdict import Outcome, Verdict

pytestmark = [
    pytest.mark.interop,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    # Inspect leaves streams to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
COMMAND = "inspect eval reason_env/reasoning"
REPLY = """from inspect_ai.model import ModelOutput
from inspect_ai.solver import solver


@solver
def reply():
    async def solve(state, generate):
        text = state.metadata["demonstration"] if state.sample_id[-1] != "1" else ""
        state.output = ModelOutput.from_content("mockllm/model", text)
        return state

    return solve
"""
ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "inspect.md").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def collected():
    """Collect what Inspect leaves, while its warnings are ignored."""
    yield
    gc.collect()


@pytest.fixture(scope="module")
def module():
    return importlib.import_module("reason_env.agents.integrations.inspect_ai")


def evaluated(task, replies, folder):
    """Evaluate a task with a model that has replies to each problem, one after the other."""
    inspect_ai, models = (importlib.import_module(f"inspect_ai{name}") for name in ("", ".model"))
    waiting = {sample.metadata["problem"]["question"]: iter(own) for sample, own in replies}

    def output(messages, *_):
        text = next(next(own for key, own in waiting.items() if key in messages[-1].text))
        found = models.ModelOutput.from_content("mockllm/model", text)
        # Otherwise Inspect downloads a tokenizer to count.
        found.usage = models.ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
        return found

    model = models.get_model("mockllm/model", custom_outputs=output, memoize=False)
    (log,) = inspect_ai.eval(task, model=model, log_dir=str(folder), display="none")
    assert log.status == "success", log.error
    return log


def accuracies(log):
    return {score.reducer: score.metrics["accuracy"].value for score in log.results.scores}


def test_inspect_s_own_command_finds_the_task_and_grades_the_replies(tmp_path):
    assert COMMAND in PAGE
    (tmp_path / "reply.py").write_text(REPLY, encoding="utf-8")
    command = [
        str(Path(sys.executable).parent / "inspect"), *COMMAND.split()[1:],
        "-T", "problems=chain", "-T", "size=3", "--model", "mockllm/model",
        "--solver", "reply.py@reply", "--log-dir", str(tmp_path), "--log-format", "json",
        "--display", "plain",
    ]  # fmt: skip
    # Inspect names a task by the installed package, which a checkout on the path hides.
    paths = [own for own in os.environ["PYTHONPATH"].split(os.pathsep) if Path(own) != ROOT]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    (file,) = tmp_path.glob("*.json")
    log = json.loads(file.read_text(encoding="utf-8"))
    assert log["status"] == "success"
    assert log["eval"]["task"] == "reason_env/reasoning"
    (score,) = log["results"]["scores"]
    assert score["metrics"]["accuracy"]["value"] == pytest.approx(2 / 3)


def test_accuracy_is_the_share_of_right_replies_and_pass_at_k_counts_a_problem_once(
    module, tmp_path
):
    task = module.reasoning(problems="chain", size=4, epochs=2)
    right = [f"so \\boxed{{{sample.target}}}" for sample in task.dataset]
    replies = [(right[0], right[0]), ("\\boxed{none}", right[1]), ("", "7"), ("7", "")]
    log = evaluated(task, zip(task.dataset, replies, strict=True), tmp_path)
    assert accuracies(log) == {"mean": 3 / 8, "pass_at_2": 2 / 4}
    first = next(own for own in log.samples if own.id == task.dataset[0].id)
    assert first.scores["verdict"].answer == task.dataset[0].target


def test_a_sample_holds_the_prompt_of_the_template_and_the_whole_problem(module):
    (problem,) = load_problems("chain", split="test", size=1)
    (sample,) = module.reasoning(size=1, template="boxed").dataset
    assert sample.id == problem.problem_id
    assert sample.target == problem.answer
    assert sample.metadata["problem"] == problem.to_dict()
    assert [message.role for message in sample.input] == ["user"]
    assert problem.question in sample.input[0].text
    assert "\\boxed" in sample.input[0].text
    (with_system,) = module.reasoning(size=1, template="qwen-math").dataset
    assert [message.role for message in with_system.input] == ["system", "user"]


def test_every_reference_solution_is_right(module, tmp_path):
    task = module.reasoning(problems="mix:chain@4-6+precedence@4-6", size=6)
    replies = [(own, [own.metadata["demonstration"]]) for own in task.dataset]
    assert accuracies(evaluated(task, replies, tmp_path)) == {None: 1.0}


def test_a_grader_that_failed_is_no_wrong_answer(module, monkeypatch, tmp_path):
    task = module.reasoning(size=2)
    first, second = task.dataset
    failed = Verdict(Outcome.TIMEOUT, "1", "10 s")
    grade = module.grade
    monkeypatch.setattr(
        module, "grade", lambda reply, *rest: failed if reply == "hard" else grade(reply, *rest)
    )
    replies = [(first, [f"\\boxed{{{first.target}}}"]), (second, ["hard"])]
    log = evaluated(task, replies, tmp_path)
    (score,) = log.results.scores
    assert (score.scored_samples, score.unscored_samples) == (1, 1)
    assert score.metrics["accuracy"].value == 1.0
    unscored = next(own for own in log.samples if own.id == second.id).scores["verdict"]
    assert unscored.explanation == "timeout: 10 s"


def test_a_wrong_argument_is_refused(module):
    with pytest.raises(ConfigError, match="must have no examples to draw, got 'gsm8k-fewshot'"):
        module.reasoning(template="gsm8k-fewshot")
    with pytest.raises(ConfigError, match="epochs must be at least 1, got 0"):
        module.reasoning(epochs=0)
