"""A model's folder is data: its code does not run, and no pickle in it is read."""

import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from reason_env.agents.policy import load_model
from reason_env.agents.policy.adapter_files import merge_adapter
from reason_env.codec import load_codec
from reason_env.errors import ModelError

BASE = Path(__file__).parents[2] / "agents" / "base_model"


class Canary:
    """Unpickling it writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "model"
    shutil.copytree(BASE, place)
    return place


def with_keys(path, **changes):
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | changes))


def code_that_writes(folder):
    ran = folder.parent / "ran"
    (folder / "own.py").write_text(
        f"open({str(ran)!r}, 'w')\nclass Config: ...\nclass Model: ...\n"
    )
    return ran


def test_the_code_of_a_model_s_folder_is_refused_in_one_line_and_does_not_run(folder, monkeypatch):
    ran = code_that_writes(folder)
    with_keys(
        folder,
        model_type="own",
        auto_map={"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"},
    )

    def asks(*_):
        raise AssertionError("nobody may be asked whether to run it")

    monkeypatch.setattr("builtins.input", asks)
    with pytest.raises(ModelError, match="contains custom code which must be executed"):
        load_model(str(folder))
    assert not ran.exists()


def test_the_code_of_a_tokenizer_s_folder_is_refused_and_does_not_run(folder, monkeypatch):
    ran = code_that_writes(folder)
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["own.Config", None]}})
    )
    with_keys(folder, model_type="own")
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    with pytest.raises(ModelError, match="none could be loaded"):
        load_codec(str(folder))
    assert not ran.exists()


def test_pickled_weights_are_refused_whatever_they_hold(folder):
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"no file named model\.safetensors"):
        load_model(str(folder))
    ran = folder.parent / "ran"
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Canary(ran)))
    with pytest.raises(ModelError, match=r"no file named model\.safetensors"):
        load_model(str(folder))
    assert not ran.exists()


def test_a_pickled_adapter_is_refused(folder):
    adapter = folder.parent / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "base_model_name_or_path": str(folder), "r": 2})
    )
    ran = folder.parent / "ran"
    (adapter / "adapter_model.bin").write_bytes(pickle.dumps(Canary(ran)))
    with pytest.raises(ModelError, match=r"must hold adapter_model\.safetensors"):
        load_model(str(adapter))
    with pytest.raises(ModelError, match=r"must hold adapter_model\.safetensors"):
        merge_adapter(load_model(str(folder))[0], adapter)
    assert not ran.exists()


def test_weights_that_are_cut_off_or_no_weights_are_one_line(folder):
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    for bad in (
        whole[:1000],
        b"",
        b"\xff" * 64,
        (2**60).to_bytes(8, "little") + b"{}",
        b"PK\x03\x04",
    ):
        path.write_bytes(bad)
        with pytest.raises(ModelError, match="no causal language model can be loaded"):
            load_model(str(folder))


@pytest.mark.parametrize(
    "text", ["", "[]", "null", "{", "[" * 100_000, '{"model_type": 3}', '{"model_type": "qwen3"}',
             "\x00", '{"model_type": "qwen3", "hidden_size": "x"}'],
)  # fmt: skip
def test_a_config_that_is_none_is_one_line(folder, text):
    (folder / "config.json").write_text(text)
    with pytest.raises(ModelError) as told:
        load_model(str(folder))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"hidden_size": 8192, "intermediate_size": 65536},
            "got [0-9,]+ parameters for 820,864 numbers",
        ),
        ({"vocab_size": 2**40}, "got [0-9,]+ parameters for 820,864 numbers"),
        ({"num_hidden_layers": 10**9}, "got 1,000,000,000 layers for 820,864 numbers in "),
    ],
)
def test_a_config_that_asks_for_more_memory_than_the_weights_hold_is_refused(
    folder, changes, message
):
    with_keys(folder, layer_types=None, **changes)
    before = torch.get_rng_state()
    with pytest.raises(ModelError, match=rf"config\.json must describe its weights, {message}"):
        load_model(str(folder))
    assert torch.equal(torch.get_rng_state(), before)


def test_weights_that_lack_a_tensor_are_refused_and_not_filled_with_random_numbers(folder):
    weights = load_file(folder / "model.safetensors")
    weights.pop("model.norm.weight")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"without 1 of them \(the first is model\.norm\.weight"):
        load_model(str(folder))
