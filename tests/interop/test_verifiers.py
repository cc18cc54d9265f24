"""verifiers' own command and types around the taskset."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from reason_env.errors import ConfigError, VerifierError
from reason_env.problems import load_problems
from reason_env.verdict import Outcome, Verdict

pytestmark = [
    pytest.mark.interop,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:pydantic"),
]
PAGE = Path(__file__).parents[2] / "docs" / "verifiers.md"
SHIM = """from reason_env.agents.integrations.verifiers import ReasonTaskset

__all__ = ["ReasonTaskset"]
"""


@pytest.fixture(scope="module")
def module():
    return importlib.import_module("reason_env.agents.integrations.verifiers")


def tasks_of(module, **fields):
    return list(module.ReasonTaskset(module.ReasonTasksetConfig(**fields)))


def test_verifiers_own_command_finds_every_reference_right_and_every_empty_reply_wrong(tmp_path):
    assert SHIM in PAGE.read_text(encoding="utf-8")
    (tmp_path / "reason_env_taskset.py").write_text(SHIM)
    command = [
        str(Path(sys.executable).parent / "vf-validate"), "reason-env-taskset",
        "--taskset.problems", "mix:chain@4-6+precedence@4-6", "--taskset.split", "test",
        "--taskset.size", "20", "--rich", "False", "--runtime.type", "subprocess",
        "--output-dir", str(tmp_path / "out"), "--run.dir", "run",
    ]  # fmt: skip
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ['PYTHONPATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    summary = json.loads((tmp_path / "out/run/summary.json").read_text())
    assert summary["checks"]["gold"]["valid"] == summary["checks"]["noop"]["valid"] == 20


def test_a_task_holds_the_prompt_the_problem_and_the_demonstration(module):
    problems = load_problems("chain", split="test", size=3)
    tasks = tasks_of(module, problems="chain", split="test", size=3)
    assert [task.data.idx for task in tasks] == [0, 1, 2]
    for task, problem in zip(tasks, problems, strict=True):
        sent = type(task.data).model_validate_json(task.data.model_dump_json())
        assert sent == task.data
        assert sent.id == problem.problem_id
        assert problem.question in sent.prompt_text
        assert "\\boxed" in sent.prompt_text
        assert module.reward_of(sent, sent.demonstration) == 1.0
        assert module.reward_of(sent, f"so \\boxed{{{problem.answer}}}") == 1.0
        assert module.reward_of(sent, "\\boxed{none}") == 0.0
        assert module.reward_of(sent, "") == 0.0


def test_the_grading_of_the_config_replaces_the_template_s(module):
    (task,) = tasks_of(module, problems="chain", split="test", size=1, grading="strict")
    assert task.data.grading == "strict"


def test_a_template_with_examples_is_refused(module):
    with pytest.raises(ConfigError, match="must have no examples to draw, got 'gsm8k-fewshot'"):
        tasks_of(module, template="gsm8k-fewshot")


def test_a_grader_that_failed_is_no_wrong_answer(module, monkeypatch):
    (task,) = tasks_of(module, problems="chain", split="test", size=1)
    failed = Verdict(Outcome.TIMEOUT, "1", "10 s")
    monkeypatch.setattr(module, "grade", lambda *_: failed)
    with pytest.raises(VerifierError, match="must be graded, got timeout: 10 s"):
        module.reward_of(task.data, "\\boxed{1}")
