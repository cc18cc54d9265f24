"""The Ray engine on real clusters of this machine: equality, losses, a killed head."""

import importlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from reason_env import cli
from reason_env.agents.engines import (
    Context,
    EngineConfig,
    SamplingConfig,
    TorchEngine,
    build_graders,
)
from reason_env.agents.evaluate import EvalConfig
from reason_env.agents.learning import LearnerConfig
from reason_env.agents.methods import RRPOConfig
from reason_env.agents.policy import LanguageModelPolicy
from reason_env.agents.runs import RunDir, latest_checkpoint, model_directory
from reason_env.agents.train import TrainConfig, build_session, iterate, prepare
from reason_env.env import EnvConfig
from reason_env.verdict import Outcome
from reason_env.verify import clear_cache, grade_many

pytestmark = [
    pytest.mark.interop,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
CONTEXTS = [
    Context(
        token_ids=tuple(f"x={n} y=4 z=2\nA:x-8 B:y+8\n>".encode()), num_samples=8, max_new_tokens=64
    )
    for n in range(12)
]


GUARD = str(Path(__file__).parents[1] / "no_network")


def without_guard():
    """Give the environment of Ray's processes.

    Ray's own processes run without the guard against connections: its nodes speak to each other by
    this machine's address, and its dashboard asks, without a switch, in whose cloud it runs.
    """
    places = os.environ["PYTHONPATH"].split(os.pathsep)
    return {"PYTHONPATH": os.pathsep.join(place for place in places if place != GUARD)}


@pytest.fixture(scope="module")
def policy():
    """A policy with two actors."""
    torch.set_num_threads(1)
    config = EngineConfig(kind="ray", actors=2, deadline_s=60.0, start_s=60.0)
    own = LanguageModelPolicy.load("base", engine=config)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", without_guard()["PYTHONPATH"])
        yield own
        own.engine.close()
        importlib.import_module("ray").shutdown()


@pytest.fixture
def expected(policy):
    """What one process samples."""
    engine = TorchEngine(policy.model, vocab_size=policy.codec.vocab_size)
    return engine.sample(CONTEXTS, SamplingConfig(), seed=1, stop_ids=policy.codec.end_ids)


def tokens_of(found):
    return [[one.token_ids for one in own] for own in found]


def sampled(policy):
    return policy.sample(CONTEXTS, SamplingConfig(), seed=1)


def test_two_actors_sample_what_one_process_samples(policy, expected):
    found = sampled(policy)
    assert tokens_of(found) == tokens_of(expected)
    assert sampled(policy) == found
    assert len(set(policy.engine.actors.pids.values()) | {os.getpid()}) == 3


def test_new_weights_reach_every_actor(policy):
    weight = policy.model.model.norm.weight
    with torch.no_grad():
        weight.mul_(1.5)
    changed = TorchEngine(policy.model, vocab_size=policy.codec.vocab_size)
    own = changed.sample(CONTEXTS, SamplingConfig(), seed=1, stop_ids=policy.codec.end_ids)
    found = sampled(policy)
    with torch.no_grad():
        weight.div_(1.5)
    assert tokens_of(found) == tokens_of(own)


@pytest.mark.parametrize("delay_s", [0.0, 0.1])
def test_a_killed_actor_s_share_is_sampled_again_to_the_same_bits(policy, delay_s):
    before = sampled(policy)
    restarts, tokens = policy.engine.num_restarts, policy.engine.num_sampled_tokens
    pid = policy.engine.actors.pids[0]
    killer = threading.Timer(delay_s, os.kill, (pid, signal.SIGKILL))
    killer.start()
    if not delay_s:
        killer.join()
    assert sampled(policy) == before
    assert policy.engine.num_restarts == restarts + 1
    own = sum(len(one.token_ids) for group in before for one in group)
    assert policy.engine.num_sampled_tokens == tokens + own
    assert pid not in policy.engine.actors.pids.values()


def test_an_actor_that_hangs_is_replaced_at_the_deadline(policy):
    before = sampled(policy)
    actors = policy.engine.actors
    config, restarts = actors.config, policy.engine.num_restarts
    pid = actors.pids[1]
    os.kill(pid, signal.SIGSTOP)
    actors.config = EngineConfig(kind="ray", actors=2, deadline_s=3.0, start_s=60.0)
    try:
        assert sampled(policy) == before
    finally:
        actors.config = config
    assert policy.engine.num_restarts == restarts + 1
    assert pid not in actors.pids.values()


def test_a_run_that_loses_an_actor_has_the_numbers_of_one_process(policy):
    config = TrainConfig(
        method=RRPOConfig(),
        env=EnvConfig(size=8, levels=(4, 6)),
        eval=EvalConfig(num_problems=2, samples=1, k=1),
        learner=LearnerConfig(learning_rate=1e-3),
        problems_per_iteration=3,
        iterations=2,
    )
    plain, shared = build_session(config), build_session(config)
    engine = shared.policy.engine = policy.engine
    engine.rebind(shared.policy.model)
    prepare(plain)
    prepare(shared)
    restarts = []
    for iteration in range(2):
        expected = iterate(plain).metrics
        if iteration:
            os.kill(engine.actors.pids[0], signal.SIGKILL)
        found = iterate(shared).metrics
        for name in ("return_mean", "sampled_tokens", "sampled_tokens_total", "num_trajectories"):
            assert found[f"rollout/{name}"] == expected[f"rollout/{name}"], name
        assert found["loss/total"] == pytest.approx(expected["loss/total"], abs=1e-5)
        assert found["rollout/mismatch_alarm"] == 0
        restarts.append(found["rollout/engine_restarts"])
    engine.rebind(policy.model)
    assert restarts == [0, 1]


def test_a_killed_grader_s_share_is_graded_again_to_the_same_verdicts(policy):
    sampled(policy)
    pairs = [(rf"\boxed{{{n * n + n % 2}}}", rf"\int_0^{{{n}}} 2t\,dt") for n in range(1, 9)]
    clear_cache()
    expected = grade_many(pairs)
    assert {one.outcome for one in expected} == {Outcome.CORRECT, Outcome.INCORRECT}
    # The cluster has a CPU for each of two samplers, and Ray would wait for a third.
    policy.engine.close()
    graders = build_graders(EngineConfig(kind="ray", graders=1, deadline_s=60.0, start_s=60.0))
    for restarts in (0, 1):
        clear_cache()
        assert grade_many(pairs, grades_jobs=graders) == expected
        assert graders.num_restarts == restarts
        os.kill(graders.actors.pids[0], signal.SIGKILL)
    graders.close()


TINY = (
    "--levels", "4", "--size", "8", "--problems-per-iteration", "2", "--group-size", "4",
    "--max-tokens", "32", "--checkpoint.every", "1", "--checkpoint.keep-last", "2",
    "--eval.num-problems", "1", "--eval.samples", "1", "--eval.k", "1", "--eval.greedy", "False",
)  # fmt: skip
IMPATIENT = {"RAY_gcs_rpc_server_reconnect_timeout_s": "3"}
"""Seconds after which Ray ends a driver that cannot reach its head; 60 otherwise."""


def head_of(driver):
    """Find the process of the head among the children of a driver that started its own cluster."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            program = (folder / "cmdline").read_bytes().split(b"\0")[0]
        except OSError:
            # It has ended.
            continue
        if parent == driver and program.endswith(b"gcs_server"):
            return int(folder.name)
    raise AssertionError(f"no gcs_server below {driver}")


def command(*words):
    return [sys.executable, "-m", "reason_env.cli", "train", *words]


def kept_of(run):
    """Give what a run must repeat, iteration by iteration."""
    rows = RunDir.open(run).read_metrics()
    names = ("sampled_tokens", "return_mean", "sampled_tokens_total", "num_trajectories")
    return [[row.get(f"rollout/{name}") for name in names] for row in rows]


def test_a_run_whose_head_is_killed_ends_and_goes_on_in_another_cluster_with_its_numbers(tmp_path):
    run, whole = tmp_path / "run", tmp_path / "whole"
    environment = {**os.environ, **without_guard(), **IMPATIENT, "OMP_NUM_THREADS": "1"}
    ray = ("grpo", *TINY, "--engine", "ray", "--iterations", "2000", "--out", str(run))
    with subprocess.Popen(
        command(*ray), env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as driver:
        while not (run / "checkpoints/iteration_000002").is_dir():
            assert driver.poll() is None, driver.communicate()
            time.sleep(0.05)
        os.kill(head_of(driver.pid), signal.SIGKILL)
        output, _ = driver.communicate(timeout=60)
    assert driver.returncode not in (0, None), output

    newest = latest_checkpoint(RunDir.open(run))
    assert newest is not None
    last = int(newest.name.rpartition("_")[2]) + 2
    resumed = command("--resume", str(run), "--iterations", str(last))
    subprocess.run(resumed, env=environment, check=True, capture_output=True, timeout=120)
    cli.main(["train", "grpo", *TINY, "--iterations", str(last), "--out", str(whole)])
    assert len(kept_of(run)) == last + 1
    assert kept_of(run) == kept_of(whole)
    one, other = (
        LanguageModelPolicy.load(model_directory(str(own))).model.state_dict()
        for own in (run, whole)
    )
    assert max(float((one[name] - other[name]).abs().max()) for name in one) < 1e-5
