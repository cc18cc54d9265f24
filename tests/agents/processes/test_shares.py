"""One process alone; tests/scale has two."""

import copy
import json

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import nn

from reason_env.agents.processes import (
    Processes,
    check_shared,
    load_optimizer_state,
    load_shares,
    optimizer_state,
    read_shares,
    save_shares,
    weights_of,
)
from reason_env.errors import CheckpointError

TENSORS = {
    "a/b.weight": torch.arange(6.0).reshape(2, 3),
    "step": torch.tensor(7.0),
    "half": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
}


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(2, 3, bias=False), nn.Linear(2, 3, bias=False)
        self.last.weight = self.first.weight
        self.other = nn.Linear(3, 1)
        self.other.requires_grad_(requires_grad=False)


def stepped(model, number):
    trained = [own for own in model.parameters() if own.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.1, betas=(0.9, 0.95))
    for _ in range(number):
        step(model, optimizer)
    return optimizer


def step(model, optimizer):
    optimizer.zero_grad()
    model.other(model.last(torch.tensor([[1.0, 2.0]]))).square().sum().backward()
    optimizer.step()


def test_tensors_come_back_bit_for_bit_from_files_without_pickle(tmp_path):
    save_shares(tmp_path / "shares", TENSORS)
    (file,) = (tmp_path / "shares").iterdir()
    assert file.name == "shard-00001-model-00001-of-00001.safetensors"
    for found in (read_shares(tmp_path / "shares"), load_file(file)):
        assert found.keys() == TENSORS.keys()
        assert all(torch.equal(found[name], own) for name, own in TENSORS.items())
        assert {name: own.dtype for name, own in found.items()}["half"] == torch.bfloat16
    own = {"step": torch.tensor(0.0)}
    load_shares(tmp_path / "shares", own)
    assert own["step"] == 7


def cut_in_three(file):
    """Write a file of shares as three processes would have."""
    whole = load_file(file)
    file.unlink()
    for place in range(3):
        parts, offsets = {}, {}
        for name, tensor in whole.items():
            rows = torch.arange(len(tensor)).tensor_split(3)[place]
            if len(rows):
                parts[name] = tensor[rows]
                offsets[name] = {"saved_offsets": [int(rows[0]), *[0] * (tensor.ndim - 1)]}
        name = f"shard-0000{place + 1}-model-00001-of-00001.safetensors"
        save_file(parts, file.with_name(name), metadata={"DCP_SHARDING_INFO": json.dumps(offsets)})


def test_a_share_that_is_missing_is_an_error_and_no_undefined_numbers(tmp_path):
    whole = {"rows": torch.arange(8.0).reshape(4, 2), "few": torch.ones(2)}
    save_shares(tmp_path, whole)
    cut_in_three(next(tmp_path.iterdir()))
    found = read_shares(tmp_path)
    assert all(torch.equal(found[name], own) for name, own in whole.items())
    (tmp_path / "shard-00002-model-00001-of-00001.safetensors").unlink()
    message = rf"a part of (rows|few) is missing in {tmp_path}; restore"
    with pytest.raises(ValueError, match=message):
        read_shares(tmp_path)
    with pytest.raises(ValueError, match=message):
        load_shares(tmp_path, {"rows": torch.zeros(4, 2)})


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("missing", torch.zeros(2), "Missing key in checkpoint state_dict: missing"),
        ("step", torch.zeros(3), "Size mismatch between saved .* for step"),
    ],
)
def test_a_tensor_that_is_not_there_is_an_error(tmp_path, name, tensor, message):
    save_shares(tmp_path, TENSORS)
    with pytest.raises(ValueError, match=message):
        load_shares(tmp_path, {name: tensor})


def test_what_the_system_refuses_to_write_is_its_own_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="file"):
        save_shares(tmp_path / "file" / "shares", TENSORS)


def test_a_weight_that_is_used_twice_is_written_once():
    assert list(weights_of(Tied())) == ["first.weight", "other.weight", "other.bias"]


def test_an_optimizer_goes_on_as_if_it_had_not_been_saved(tmp_path):
    model = Tied()
    optimizer = stepped(model, 3)
    tensors, groups = optimizer_state(model, optimizer)
    assert sorted(tensors) == [
        f"optimizer/first.weight/{key}" for key in ("exp_avg", "exp_avg_sq", "step")
    ]
    save_shares(tmp_path, tensors | {"average/0": torch.zeros(2)})
    copied = copy.deepcopy(model)
    fresh = stepped(copied, 0)
    load_optimizer_state(copied, fresh, tmp_path, groups)
    for own, other in ((model, optimizer), (copied, fresh)):
        step(own, other)
    assert torch.equal(model.first.weight, copied.first.weight)
    assert fresh.state_dict()["state"][0]["step"] == 4


def test_an_optimizer_without_a_step_stays_without_one(tmp_path):
    model = Tied()
    optimizer = stepped(model, 0)
    assert optimizer_state(model, optimizer) == ({}, None)
    save_shares(tmp_path / "none", {})
    load_optimizer_state(model, optimizer, tmp_path / "none", None)
    load_shares(tmp_path / "none", {})
    assert optimizer.state_dict()["state"] == {}


def test_the_state_of_another_model_is_refused(tmp_path):
    model = Tied()
    tensors, groups = optimizer_state(model, stepped(model, 1))
    save_shares(tmp_path, {**tensors, "optimizer/middle.weight/exp_avg": torch.zeros(1)})
    with pytest.raises(ValueError, match=r"optimizer/middle\.weight/exp_avg of no parameter"):
        load_optimizer_state(model, stepped(model, 0), tmp_path, groups)


def test_processes_that_do_not_see_one_folder_are_found(tmp_path, monkeypatch):
    file = tmp_path / "run" / "provenance.json"
    file.parent.mkdir()
    file.write_text("of this run")
    told = []
    monkeypatch.setattr(dist, "broadcast_object_list", lambda message, src: told.append(message))

    def gather(found, value):
        assert value == b"of this run"
        found[:] = replies

    monkeypatch.setattr(dist, "all_gather_object", gather)
    replies = [b"of this run"] * 3
    check_shared(file, Processes(0, 3))
    assert told == [[("check_shared", (file,))]]
    replies = [b"of this run", None, b"of another"]
    with pytest.raises(
        CheckpointError, match=rf"got '{tmp_path}/run', which 2 of 3 \(the first is 1\) do not; put"
    ):
        check_shared(file, Processes(0, 3))
