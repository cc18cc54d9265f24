import json
import os
import subprocess
import sys
from dataclasses import make_dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load, load_file, save, save_file

import reason_env
from reason_env.agents.runs import (
    CheckpointConfig,
    RunDir,
    latest_checkpoint,
    load_checkpoint,
    save_checkpoint,
    whole_checkpoint,
)
from reason_env.agents.runs.checkpoint import checkpoints, prune_checkpoints
from reason_env.agents.runs.state_tree import pack, unpack
from reason_env.errors import CheckpointError, ConfigError


class TinyPolicy:
    def __init__(self, value: float) -> None:
        self.weight = torch.full((4, 3), value)

    def save(self, path: Path) -> None:
        path.mkdir()
        save_file({"weight": self.weight}, path / "model.safetensors")
        (path / "config.json").write_text("{}")


class DyingPolicy(TinyPolicy):
    def save(self, path: Path) -> None:
        super().save(path)
        raise KeyboardInterrupt


KILLED_WRITER = """
import sys, time
from pathlib import Path
from reason_env.agents.runs import save_checkpoint
from reason_env.agents.runs import RunDir

class SlowPolicy:
    def save(self, path):
        path.mkdir()
        (path / "config.json").write_text("{")
        print("writing", flush=True)
        time.sleep(60)

run = RunDir.open(sys.argv[1])
run.resume(1)
run.write_metrics(2, {})
save_checkpoint(run, 2, SlowPolicy(), {}, {})
"""


def run_with(path: Path, *, iterations: int) -> RunDir:
    run = RunDir.create(path / "run", make_dataclass("Config", [])(), command=[])
    lines = [json.dumps({"iteration": i}) + "\n" for i in range(1, iterations + 1)]
    (run.path / "metrics.jsonl").write_text("".join(lines))
    run.resume(iterations)
    return run


def saved(path: Path, *iterations: int) -> RunDir:
    run = run_with(path, iterations=max(iterations))
    for iteration in iterations:
        save_checkpoint(run, iteration, TinyPolicy(iteration), {"n": iteration}, {})
    return run


def resumed_after_a_kill(script: str, run: RunDir) -> RunDir:
    """Kill a script once it prints "writing", amid checkpoint 2; resume from checkpoint 1."""
    run.close()
    root = str(Path(reason_env.__file__).parents[1])
    with subprocess.Popen(
        [sys.executable, "-c", script, str(run.path)],
        env=os.environ | {"PYTHONPATH": root},
        stdout=subprocess.PIPE,
        text=True,
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "writing\n"
        writer.kill()
    assert (run.path / "checkpoints/.partial_iteration_000002/model/config.json").exists()
    again = RunDir.open(run.path)
    newest = latest_checkpoint(again)
    assert newest is not None
    assert newest.name == "iteration_000001"
    again.resume(load_checkpoint(newest).iteration)
    assert os.listdir(run.path / "checkpoints") == ["iteration_000001"]
    return again


def same(a, b) -> bool:
    """Equal in value, type, dtype and every bit."""
    if isinstance(a, torch.Tensor):
        is_alike = isinstance(b, torch.Tensor) and (a.dtype, a.shape) == (b.dtype, b.shape)
        return is_alike and a.contiguous().numpy(force=True).tobytes() == b.numpy().tobytes()
    if isinstance(a, np.ndarray):
        return (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return repr(a) == repr(b)


def trained_optimizer() -> torch.optim.Optimizer:
    generator = torch.Generator().manual_seed(0)
    weights = [torch.nn.Parameter(torch.randn(3, 2, generator=generator)) for _ in range(2)]
    optimizer = torch.optim.AdamW(weights, lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        sum((weight**2).sum() for weight in weights).backward()
        optimizer.step()
    return optimizer


def test_a_checkpoint_restores_the_learner_and_the_progress_bit_for_bit(tmp_path):
    run = run_with(tmp_path, iterations=10)
    optimizer = trained_optimizer()
    generator = np.random.default_rng(2**90)
    generator.random(17)
    learner_state = {"optimizer": optimizer.state_dict(), "schedule": {"warm_up": 5, "scale": 0.1}}
    progress = {
        "iteration": 10,
        "rng": generator.bit_generator.state,
        "old_rng": np.random.RandomState(3).get_state(legacy=False),
        "torch_rng": torch.Generator().manual_seed(1).get_state(),
        "cursor": [4, 2],
        "best": None,
    }
    path = save_checkpoint(run, 10, TinyPolicy(0.5), learner_state, progress)
    assert path.name == "iteration_000010"
    back = load_checkpoint(path)
    assert back.iteration == 10
    assert same(learner_state, back.learner_state)
    assert same(progress, back.progress)
    assert load_file(back.model_dir / "model.safetensors")["weight"][0, 0] == 0.5
    restored = np.random.default_rng()
    restored.bit_generator.state = back.progress["rng"]
    assert restored.random() == generator.random()


def test_a_restored_optimizer_continues_as_the_original():
    first, second = trained_optimizer(), trained_optimizer()
    second.state.clear()
    second.load_state_dict(unpack(*pack(first.state_dict())))
    for optimizer in (first, second):
        optimizer.step()
    for a, b in zip(first.param_groups[0]["params"], second.param_groups[0]["params"], strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.tensor([1.0, -0.0, float("nan"), float("inf"), 1e-45]),
        torch.tensor(3, dtype=torch.int64),
        torch.zeros(0, 4),
        torch.tensor([True, False]),
        torch.arange(6).reshape(2, 3).T,
        torch.arange(6, dtype=torch.uint8)[2:4],
        torch.nn.Parameter(torch.ones(2)),
    ],
)
def test_any_tensor_survives_and_so_does_a_view_that_shares_memory(tensor):
    tree = {"a": tensor, "b": tensor}
    assert same(tree, unpack(*through_files(tree))) or isinstance(tensor, torch.nn.Parameter)
    assert torch.equal(unpack(*through_files(tree))["b"].nan_to_num(), tensor.nan_to_num())


def test_sixteen_bit_floats_survive():
    tensor = torch.tensor([0.1, -3.0]).to(torch.bfloat16)
    back = unpack(*through_files({"a": tensor}))["a"]
    assert back.dtype == torch.bfloat16
    assert torch.equal(back, tensor)


def test_keys_that_join_to_equal_paths_do_not_overwrite_each_other():
    tree = {
        "a/b": torch.tensor(1),
        "a": {"b": torch.tensor(2)},
        1: torch.tensor(3),
        "1": torch.tensor(4),
        "$tensor": "a",
        "$list": {"$tuple": [1]},
        (2, "x"): {},
        None: (),
    }
    assert same(tree, unpack(*through_files(tree)))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text() | st.integers() | st.sampled_from(["$float", "$dict"]), inner)
    ),
    max_leaves=10,
)


@given(VALUES)
def test_any_nest_of_plain_values_survives_json(tree):
    packed, tensors = pack(tree)
    assert same(tree, unpack(json.loads(json.dumps(packed, allow_nan=False)), tensors))


def through_files(tree):
    packed, tensors = pack(tree)
    return json.loads(json.dumps(packed)), load(save(tensors))


@pytest.mark.parametrize("value", [{1, 2}, np.int64(3), np.float32(0.5), b"x", object()])
def test_a_value_that_does_not_round_trip_is_refused_with_its_path(value):
    with pytest.raises(ConfigError, match=r"state 'learner/x/1' must hold tensors, .*convert it"):
        pack({"learner": {"x": [0, value]}})


def test_a_double_of_numpy_is_kept_as_the_equal_number():
    assert pack(np.float64(0.1))[0] == 0.1


def test_a_writer_that_dies_leaves_the_old_checkpoint_and_the_next_one_cleans_up(tmp_path):
    run = saved(tmp_path, 1, 2)
    run.resume(1)
    run.write_metrics(2, {})
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(run, 2, DyingPolicy(2), {}, {})
    left = run.path / "checkpoints" / ".partial_iteration_000002"
    assert left.is_dir()
    assert list(checkpoints(run)) == [1]
    assert load_checkpoint(run.path / "checkpoints/iteration_000001").learner_state == {"n": 1}
    save_checkpoint(run, 2, TinyPolicy(2), {"n": 2}, {})
    assert not left.exists()
    assert load_checkpoint(run.path / "checkpoints/iteration_000002").learner_state == {"n": 2}


def test_a_process_killed_while_it_writes_leaves_a_run_that_resumes(tmp_path):
    again = resumed_after_a_kill(KILLED_WRITER, saved(tmp_path, 1))
    assert [row["iteration"] for row in again.read_metrics()] == [1]


@pytest.mark.parametrize(
    "name", ["model/model.safetensors", "model/config.json", "state.json", "state.safetensors"]
)
def test_a_checkpoint_with_a_missing_file_is_refused_and_the_file_named(tmp_path, name):
    run = saved(tmp_path, 1, 2)
    path = latest_checkpoint(run)
    assert path is not None
    (path / name).unlink()
    with pytest.raises(
        CheckpointError,
        match=rf"iteration_000002' must be whole, got a damaged one: {name} is missing; remove "
        r"this directory and resume again to continue from iteration_000001",
    ):
        load_checkpoint(path)


@pytest.mark.parametrize(
    "name", ["model/model.safetensors", "model/config.json", "state.json", "state.safetensors"]
)
def test_a_single_changed_bit_is_found(tmp_path, name):
    run = saved(tmp_path, 1)
    path = latest_checkpoint(run)
    assert path is not None
    content = bytearray((path / name).read_bytes())
    content[-1] ^= 1
    (path / name).write_bytes(content)
    with pytest.raises(
        CheckpointError, match=rf"{name} has changed since it was written; .* to start again"
    ):
        load_checkpoint(path)


def test_a_run_resumes_from_its_newest_whole_checkpoint_with_a_line_for_each_damaged_one(
    tmp_path, caplog
):
    run = saved(tmp_path, 1, 2, 3, 4)
    paths = list((run.path / "checkpoints").iterdir())
    assert whole_checkpoint(run) == max(paths)
    assert caplog.text == ""
    (run.path / "checkpoints/iteration_000004/state.json").write_text("{}")
    (run.path / "checkpoints/iteration_000003/manifest.json").write_text("{")
    found = whole_checkpoint(run)
    assert found == run.path / "checkpoints/iteration_000002"
    folder = run.path / "checkpoints"
    rest = "has changed since it was written; the run resumes from iteration_000002"
    assert [record.message for record in caplog.records] == [
        f"checkpoint '{folder}/iteration_000004' is damaged: state.json {rest}",
        f"checkpoint '{folder}/iteration_000003' is damaged: manifest.json {rest}",
    ]
    # What is newer, damaged too, is removed, so that it is written again.
    run.resume(load_checkpoint(found).iteration)
    assert sorted(os.listdir(run.path / "checkpoints")) == ["iteration_000001", "iteration_000002"]
    for name in ("iteration_000001", "iteration_000002"):
        (run.path / "checkpoints" / name / "state.json").unlink()
    with pytest.raises(CheckpointError, match=r"iteration_000002' must be whole, got a damaged"):
        whole_checkpoint(run)


def test_a_checkpoint_of_another_version_is_no_reason_to_fall_back(tmp_path):
    run = saved(tmp_path, 1, 2)
    file = run.path / "checkpoints/iteration_000002/manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"format": 9}))
    with pytest.raises(CheckpointError, match="must be of format 1 or 2, got 9"):
        whole_checkpoint(run)


@pytest.mark.parametrize("text", ["", "{", "{}", "[]", "7"])
def test_a_cut_off_manifest_is_refused(tmp_path, text):
    run = saved(tmp_path, 1)
    path = run.path / "checkpoints/iteration_000001"
    (path / "manifest.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"manifest\.json has changed since it was written"):
        load_checkpoint(path)
    (path / "manifest.json").unlink()
    with pytest.raises(CheckpointError, match=r"got a damaged one: manifest\.json is missing"):
        load_checkpoint(path)


def test_a_checkpoint_of_another_format_is_refused(tmp_path):
    run = saved(tmp_path, 1)
    path = run.path / "checkpoints/iteration_000001"
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(manifest | {"format": 3}))
    with pytest.raises(
        CheckpointError, match="must be of format 1 or 2, got 3; resume with the version"
    ):
        load_checkpoint(path)


def test_a_path_without_a_checkpoint_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="a checkpoint must be a directory, got"):
        load_checkpoint(tmp_path / "iteration_000007")


def test_a_copied_checkpoint_loads_under_another_name(tmp_path):
    run = saved(tmp_path, 3)
    (run.path / "checkpoints/iteration_000003").rename(tmp_path / "best")
    assert load_checkpoint(tmp_path / "best").iteration == 3


def test_a_run_without_checkpoints_has_no_latest(tmp_path):
    assert latest_checkpoint(run_with(tmp_path, iterations=1)) is None


def test_the_latest_checkpoint_is_the_highest_number(tmp_path):
    path = latest_checkpoint(saved(tmp_path, 9, 10))
    assert path is not None
    assert path.name == "iteration_000010"


def test_a_checkpoint_comes_after_the_metrics_of_its_iteration(tmp_path):
    run = run_with(tmp_path, iterations=2)
    with pytest.raises(
        CheckpointError, match="got iteration 3 and metrics up to 2; call write_met"
    ):
        save_checkpoint(run, 3, TinyPolicy(1), {}, {})


def test_a_checkpoint_is_not_written_twice(tmp_path):
    run = saved(tmp_path, 1)
    with pytest.raises(CheckpointError, match=r"must not be written twice, got .*iteration_000001"):
        save_checkpoint(run, 1, TinyPolicy(1), {}, {})


@pytest.mark.parametrize(
    ("config", "kept"),
    [
        (CheckpointConfig(keep_last=1), [6]),
        (CheckpointConfig(keep_last=3), [4, 5, 6]),
        (CheckpointConfig(keep_last=1, keep_every=2), [2, 4, 6]),
        (CheckpointConfig(keep_last=9), [1, 2, 3, 4, 5, 6]),
    ],
)
def test_the_newest_checkpoints_stay_and_those_of_every_nth_iteration(tmp_path, config, kept):
    run = saved(tmp_path, 1, 2, 3, 4, 5, 6)
    prune_checkpoints(run, config)
    assert list(checkpoints(run)) == kept
    assert len(os.listdir(run.path / "checkpoints")) == len(kept)


def test_saving_with_a_config_prunes(tmp_path):
    run = run_with(tmp_path, iterations=3)
    for iteration in (1, 2, 3):
        save_checkpoint(run, iteration, TinyPolicy(1), {}, {}, config=CheckpointConfig(keep_last=2))
    assert list(checkpoints(run)) == [2, 3]


def test_a_checkpoint_is_due_every_nth_iteration_and_after_the_last():
    config = CheckpointConfig(every=4)
    assert [i for i in range(1, 11) if config.is_due(i, num_iterations=10)] == [4, 8, 10]


@pytest.mark.parametrize("name", ["every", "keep_last", "keep_every"])
def test_a_checkpoint_config_of_zero_is_refused(name):
    with pytest.raises(ConfigError, match=f"{name} must be at least 1, got 0; raise it"):
        CheckpointConfig(**{name: 0})


def test_no_file_of_a_checkpoint_is_a_pickle(tmp_path):
    run = run_with(tmp_path, iterations=1)
    path = save_checkpoint(
        run, 1, TinyPolicy(1), {"optimizer": trained_optimizer().state_dict()}, {}
    )
    names = [item.name for item in path.rglob("*") if item.is_file()]
    assert {Path(name).suffix for name in names} == {".json", ".safetensors"}


def written_by_several(folder):
    folder.mkdir()
    save_file({"moment": torch.ones(2)}, folder / "shard-00001.safetensors")
    return {"steps": 3}


def test_a_checkpoint_of_several_processes_names_their_shares_and_verifies_them(tmp_path):
    run = run_with(tmp_path, iterations=2)
    path = save_checkpoint(run, 2, TinyPolicy(1), written_by_several, {"array": np.arange(3)})
    loaded = load_checkpoint(path)
    assert loaded.learner_state == {"steps": 3}
    assert loaded.shares == path / "shares"
    assert loaded.progress["array"].tolist() == [0, 1, 2]
    assert json.loads((path / "manifest.json").read_text())["format"] == 2
    (path / "shares/shard-00001.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"shares/shard-00001\.safetensors has changed"):
        load_checkpoint(path)
    assert load_checkpoint(path, verify=False).learner_state == {"steps": 3}
    assert load_checkpoint(save_checkpoint(run, 1, TinyPolicy(1), {}, {})).shares is None


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_shares_that_are_not_written_to_the_end_leave_the_older_checkpoint(tmp_path, error):
    run = saved(tmp_path, 1)
    run.write_metrics(2, {})

    def failing(folder):
        written_by_several(folder)
        raise error

    with pytest.raises(type(error) if isinstance(error, OSError) else error):
        save_checkpoint(run, 2, TinyPolicy(2), failing, {})
    newest = whole_checkpoint(run)
    assert newest is not None
    assert newest.name == "iteration_000001"
    path = save_checkpoint(run, 2, TinyPolicy(2), written_by_several, {})
    assert load_checkpoint(path).iteration == 2
    assert sorted(os.listdir(path.parent)) == ["iteration_000001", "iteration_000002"]
