"""A checkpoint's model says how it was trained; what is not understood is refused."""

import json
from dataclasses import replace
from shutil import copytree

import pytest

from reason_env.agents.evaluate import EvalConfig
from reason_env.agents.methods import GRPOConfig
from reason_env.agents.runs import RunDir, latest_checkpoint, load_checkpoint, model_directory
from reason_env.agents.train import ModelRecord, TrainConfig, build_session, read_record, train
from reason_env.codec import ByteCodec
from reason_env.env import EnvConfig, reason_env_of
from reason_env.errors import CheckpointError, ConfigError

CONFIG = TrainConfig(
    method=GRPOConfig(group_size=2),
    env=EnvConfig(levels=(3, 3), max_tokens=31, max_steps=7, grading="math", stop_at_answer=False),
    eval=EvalConfig(num_problems=3, samples=2, k=1, greedy=False, cache_dir="somewhere"),
    iterations=1,
    problems_per_iteration=2,
)


@pytest.fixture(scope="module")
def run_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("record") / "run"
    session = build_session(replace(CONFIG, eval=replace(CONFIG.eval, cache_dir=None)))
    with RunDir.create(path, session.config, command=["test"]) as run:
        train(session, run)
    return path


def test_a_checkpoint_keeps_how_its_model_was_trained(run_path):
    with RunDir.open(run_path) as run:
        checkpoint = latest_checkpoint(run)
        config = run.config(TrainConfig)
    record = read_record(checkpoint / "model")
    assert record == ModelRecord.of(config, 1)
    assert (record.method, record.base_model, record.iteration) == ("grpo", "base", 1)
    assert (record.env.max_tokens, record.env.max_steps, record.env.grading) == (31, 7, "math")
    # The checkpoint's hashes cover the record.
    (checkpoint / "model" / "reason_env.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"model/reason_env.json has changed since"):
        load_checkpoint(checkpoint)
    record.write(checkpoint / "model")


def test_a_record_s_environment_is_that_of_the_run_s_evaluation(run_path):
    record = read_record(model_directory(str(run_path)))
    session = build_session(replace(CONFIG, eval=record.eval))
    own, other = reason_env_of(record.eval_env(ByteCodec())), reason_env_of(session.eval_env)
    assert own.problems.content_hash == other.problems.content_hash
    assert (own.rules, own.prompt, own.grade_options) == (
        other.rules,
        other.prompt,
        other.grade_options,
    )
    changed = reason_env_of(record.eval_env(ByteCodec(), problems="inverse", levels=(8, 8)))
    assert changed.problems.name == "inverse"
    assert changed.rules == own.rules


def test_a_record_never_names_the_cache_of_a_machine():
    assert ModelRecord.of(CONFIG, 1).eval.cache_dir is None


def test_a_model_without_a_record_has_none(tmp_path):
    assert read_record(tmp_path) is None
    assert read_record("base") is None


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda tree: tree | {"format": 2}, "must be of format 1, got 2; use the version"),
        (lambda tree: tree | {"colour": 1}, "unknown key 'config.colour'"),
        (lambda tree: {k: v for k, v in tree.items() if k != "env"}, "must hold the key 'env'"),
        (lambda tree: [], "must hold the record of a model, got a damaged one"),
    ],
)
def test_a_record_that_is_not_understood_is_refused(tmp_path, change, line):
    record = ModelRecord.of(CONFIG, 4)
    record.write(tmp_path)
    path = tmp_path / "reason_env.json"
    assert read_record(tmp_path) == record
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(CheckpointError, match=line):
        read_record(tmp_path)


def test_a_model_is_found_from_its_run_its_checkpoints_and_its_checkpoint(run_path, tmp_path):
    model = run_path / "checkpoints" / "iteration_000001" / "model"
    for name in (run_path, run_path / "checkpoints", model.parent, model):
        assert model_directory(str(name)) == str(model)
    for name in ("base", "Qwen/Qwen3-0.6B", str(tmp_path)):
        assert model_directory(name) == name
    with pytest.raises(CheckpointError, match=r"must be of one run, got .* with 1; name one, for"):
        model_directory(str(run_path.parent))


def test_a_mistyped_run_or_checkpoint_is_not_looked_up_elsewhere(run_path):
    for wrong, right in ((run_path.parent / "rum", "run"), (run_path / "checkpoints" / "x", "")):
        advice = f"did you mean '{right}'" if right else "choose one of iteration_000001"
        with pytest.raises(CheckpointError, match=f"which is not among the runs there; {advice}"):
            model_directory(str(wrong))


def test_of_several_checkpoints_the_newest_is_found(run_path, tmp_path):
    for number in (9, 10, 2):
        copytree(run_path / "checkpoints/iteration_000001", tmp_path / f"iteration_{number:06d}")
    assert model_directory(str(tmp_path)).endswith("iteration_000010/model")


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x40
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (lambda own: flip(own / "model/model.safetensors"), r"model\.safetensors has changed"),
        (lambda own: (own / "model/model.safetensors").unlink(), r"model\.safetensors is missing"),
        (lambda own: (own / "manifest.json").unlink(), r"manifest\.json is missing"),
    ],
)
def test_the_model_of_a_damaged_checkpoint_is_refused(run_path, tmp_path, harm, reason):
    run = copytree(run_path, tmp_path / "run")
    folder = run / "checkpoints"
    newest = copytree(folder / "iteration_000001", folder / "iteration_000002")
    harm(newest)
    line = rf"iteration_000002' must be whole, got a damaged one: .*{reason}.* iteration_000001"
    for name in (run, folder, newest):
        with pytest.raises(CheckpointError, match=line):
            model_directory(str(name))


def test_a_model_does_not_need_the_learner_s_state(run_path, tmp_path):
    own = copytree(run_path / "checkpoints/iteration_000001", tmp_path / "iteration_000001")
    flip(own / "state.safetensors")
    assert model_directory(str(own)) == str(own / "model")


def test_a_run_without_a_checkpoint_says_so(tmp_path):
    RunDir.create(tmp_path / "run", CONFIG, command=["test"])
    with pytest.raises(CheckpointError, match="must have a checkpoint to give its model, got"):
        model_directory(str(tmp_path / "run"))


def test_a_run_that_held_nothing_out_asks_for_problems(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text('{"question": "What is 12*3?", "answer": "36"}\n')
    record = ModelRecord.of(replace(CONFIG, env=EnvConfig(problems=str(path))), 1)
    with pytest.raises(ConfigError, match=r"got none held out of .*; give --problems FILE, or"):
        record.eval_env(ByteCodec())
    assert len(reason_env_of(record.eval_env(ByteCodec(), split="train")).problems) == 1
