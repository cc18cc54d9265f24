"""What two runs of one config share to the bit, and what shares only most of its digits."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from reason_env.agents.engines import Context, SamplingConfig
from reason_env.agents.evaluate import EvalConfig
from reason_env.agents.methods import GRPOConfig
from reason_env.agents.policy import LanguageModelPolicy
from reason_env.agents.runs import CheckpointConfig, RunDir
from reason_env.agents.train import TrainConfig, build_session, train
from reason_env.env import EnvConfig
from reason_env.problems import load_problems
from reason_env.verify import clear_cache, grade_many
from reason_env.verify.workers import pool as pools
from reason_env.verify.workers.process import SYMBOLIC

ROOT = Path(__file__).parents[2]


def in_algebra(path, count=12):
    """Write problems of the base model whose references only a worker process can compare."""
    problems = load_problems("chain", levels=(2, 2), size=count)
    rows = [{"question": own.question, "answer": rf"\int_0^1 {own.answer} dx"} for own in problems]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def small(problems, **changes):
    config = TrainConfig(
        method=GRPOConfig(group_size=4),
        env=EnvConfig(problems=problems, max_tokens=48),
        eval=EvalConfig(num_problems=4, samples=2, k=2, greedy=False, problems=problems),
        checkpoint=CheckpointConfig(every=2),
        iterations=2,
        problems_per_iteration=4,
        episodes_per_iteration=4,
    )
    return replace(config, **changes)


def files_of(run):
    """Everything that a run says and learned, without its times."""
    found = {"metrics": (run.path / "metrics.jsonl").read_bytes()}
    for folder in ("episodes", "checkpoints"):
        for path in sorted((run.path / folder).rglob("*")):
            if path.suffix in (".jsonl", ".safetensors"):
                found[str(path.relative_to(run.path))] = path.read_bytes()
    return found


def run_to_end(config, path):
    clear_cache()
    session = build_session(config)
    with RunDir.create(path, session.config, command=["test"]) as run:
        train(session, run)
    return files_of(run)


@pytest.fixture
def workers(monkeypatch):
    """Call with a number: this process grades with a pool of that many workers."""
    made = []

    def use(number):
        pool = pools.WorkerPool(number, SYMBOLIC)
        made.append(pool)
        monkeypatch.setitem(pools._Shared.pools, SYMBOLIC, pool)
        clear_cache()
        return pool

    yield use
    for pool in made:
        pool.close()


def test_a_run_is_equal_to_the_bit_with_any_number_of_grader_workers(tmp_path, workers):
    problems = in_algebra(tmp_path / "rows.jsonl")
    found = {}
    for number in (1, 2, 3):
        pool = workers(number)
        found[number] = run_to_end(small(problems), tmp_path / str(number))
        assert 1 <= len(pool._all) <= number
    assert len(pool._all) > 1, "several workers graded at once"
    assert found[1] == found[2] == found[3]
    assert any(name.endswith(".safetensors") for name in found[1])
    rows = [json.loads(line) for line in found[1]["metrics"].splitlines()]
    assert any(row["grade/incorrect_fraction"] > 0 for row in rows[1:])


def test_verdicts_keep_their_order_with_any_number_of_workers(workers):
    pairs = [(f"#### {at}", rf"\int_0^1 {at if at % 3 else at + 1} dx") for at in range(40)]
    expected = [bool(at % 3) for at in range(40)]
    for number in (1, 2, 5):
        workers(number)
        assert [verdict.is_correct for verdict in grade_many(pairs)] == expected


def test_runs_of_two_processes_with_other_hash_seeds_are_equal_to_the_bit(tmp_path):
    words = (
        "train", "grpo", "--levels", "3", "--max-tokens", "32", "--problems-per-iteration", "2",
        "--group-size", "2", "--iterations", "1", "--eval.num-problems", "2", "--eval.samples",
        "2", "--eval.k", "2", "--checkpoint.every", "1",
    )  # fmt: skip
    found = []
    for hash_seed in ("0", "7"):
        out = tmp_path / hash_seed
        subprocess.run(
            [sys.executable, "-c", "from reason_env.cli import main; main()", *words, "--out", out],
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            check=True,
            capture_output=True,
        )
        found.append(files_of(RunDir.open(out)))
    assert found[0] == found[1]


@pytest.fixture
def policy():
    return LanguageModelPolicy.load("base")


def contexts(policy, count):
    problems = load_problems("chain", levels=(3, 3), size=count)
    return [
        Context(token_ids=policy.codec.encode(own.question), num_samples=2, max_new_tokens=24)
        for own in problems
    ]


def test_samples_of_one_context_do_not_depend_on_the_seed_s_repetition_or_on_another_process(
    policy,
):
    own = contexts(policy, 5)
    one, two = (policy.sample(own, SamplingConfig(), seed=3) for _ in range(2))
    assert one == two
    assert policy.sample(own, SamplingConfig(), seed=4) != one


def test_threads_change_the_last_bits_at_most(policy):
    own = contexts(policy, 6)
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(policy.sample(own, SamplingConfig(temperature=0.0), seed=3))
    finally:
        torch.set_num_threads(before)
    for one, two in zip(*found, strict=True):
        assert [each.token_ids for each in one] == [each.token_ids for each in two]
        for each, other in zip(one, two, strict=True):
            assert each.log_probs == pytest.approx(other.log_probs, abs=1e-4)


def test_the_table_of_the_page_names_a_test_for_each_row():
    text = (ROOT / "docs" / "trust.md").read_text(encoding="utf-8")
    table = text.partition("## What repeats")[2].partition("| not promised")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 9
    for row in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", row)
        assert named, row
        for path, test in named:
            assert f"def {test}(" in (ROOT / path).read_text(encoding="utf-8"), test
