import dataclasses
import json
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, Qwen3Config, Qwen3ForCausalLM

from reason_env.agents.engines import checksum as checksum_module
from reason_env.agents.engines.checksum import checksum
from reason_env.agents.engines.vllm.weights import WeightFiles, lora_rank
from reason_env.errors import ModelError

PADDED, VOCAB = 24, 19


def tiny_model(*, is_tied=True, seed=1):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Qwen3ForCausalLM(
            Qwen3Config(
                vocab_size=PADDED,
                hidden_size=16,
                intermediate_size=24,
                num_hidden_layers=1,
                num_attention_heads=2,
                num_key_value_heads=1,
                head_dim=8,
                max_position_embeddings=32,
                tie_word_embeddings=is_tied,
                bos_token_id=None,
                eos_token_id=None,
            )
        ).eval()


@pytest.mark.parametrize("is_tied", [True, False])
def test_written_weights_are_the_model_without_rows_beyond_the_vocabulary(is_tied, tmp_path):
    model = tiny_model(is_tied=is_tied)
    files = WeightFiles(model, vocab_size=VOCAB, folder=str(tmp_path))
    weights = files.current()
    loaded = AutoModelForCausalLM.from_pretrained(weights.directory).eval()
    assert loaded.config.vocab_size == VOCAB
    assert loaded.config.tie_word_embeddings is False
    assert "lm_head.weight" in load_file(weights.directory / "model.safetensors")
    assert loaded.get_input_embeddings().weight.shape == (VOCAB, 16)
    ids = torch.tensor([[3, 18, 5, 0]])
    with torch.no_grad():
        assert torch.equal(loaded(input_ids=ids).logits, model(input_ids=ids).logits[..., :VOCAB])
    assert model.config.vocab_size == PADDED
    files.close()
    assert list(tmp_path.iterdir()) == []


def test_weights_are_written_again_only_when_a_number_has_changed(tmp_path):
    model = tiny_model()
    files = WeightFiles(model, vocab_size=VOCAB, folder=str(tmp_path))
    first = files.current()
    assert files.current() == first
    parameter = model.model.layers[0].mlp.up_proj.weight
    # Through .data, which no version counter of autograd sees.
    parameter.data[3, 2] = torch.nextafter(parameter.data[3, 2], torch.tensor(9.0))
    second = files.current()
    assert (first.version.split("-")[0], second.version.split("-")[0]) == ("1", "2")
    assert first.version != second.version
    assert first.directory.exists()
    files.drop_old()
    assert [path.name for path in files.root.iterdir()] == ["weights-000002"]
    state = AutoModelForCausalLM.from_pretrained(second.directory).state_dict()
    assert torch.equal(state["model.layers.0.mlp.up_proj.weight"], parameter)
    files.close()


def test_weights_that_return_to_earlier_values_get_a_new_version(tmp_path):
    model = tiny_model()
    files = WeightFiles(model, vocab_size=VOCAB, folder=str(tmp_path))
    first = files.current()
    with torch.no_grad():
        model.model.norm.weight += 1
    files.current()
    with torch.no_grad():
        model.model.norm.weight -= 1
    assert files.current().version not in (first.version,)
    files.close()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64, torch.int8])
def test_a_checksum_sees_an_exchange_a_sign_a_name_a_shape_and_a_type(dtype):
    numbers = torch.tensor([[1.0, -2.0, 0.0], [3.0, 4.0, 5.0]]).to(dtype)
    same = checksum([("w", numbers)])
    assert checksum([("w", numbers.clone())]) == same
    swapped = numbers.clone()
    swapped[0, 0], swapped[1, 2] = numbers[1, 2].clone(), numbers[0, 0].clone()
    others = [("w", swapped), ("w", -numbers), ("v", numbers), ("w", numbers.reshape(3, 2))]
    others += [("w", numbers.to(torch.float16))]
    assert len({checksum([other]) for other in others} | {same}) == 1 + len(others)


def test_a_checksum_over_several_chunks_sees_a_change_in_each(monkeypatch):
    monkeypatch.setattr(checksum_module, "CHUNK", 4)
    numbers = torch.arange(10.0)
    found = {checksum([("w", numbers)])}
    for place in range(10):
        changed = numbers.clone()
        changed[place] += 0.5
        found.add(checksum([("w", changed)]))
    # Whole chunks exchanged: each has the same numbers as before.
    found.add(checksum([("w", torch.cat([numbers[4:8], numbers[:4], numbers[8:]]))]))
    assert len(found) == 12


@dataclasses.dataclass
class FakeLora:
    r: int = 6
    peft_type: str = "LORA"
    modules_to_save: object = None
    use_dora: bool = False
    bias: str = "none"


def test_the_lora_rank_is_0_for_a_plain_model():
    assert lora_rank(tiny_model()) == 0
    assert lora_rank(SimpleNamespace(peft_config={"default": FakeLora()})) == 6


@pytest.mark.parametrize(
    "adapters",
    [
        {"default": FakeLora(), "second": FakeLora()},
        {"other": FakeLora()},
        {"default": FakeLora(peft_type="IA3")},
        {"default": FakeLora(use_dora=True)},
        {"default": FakeLora(bias="all")},
        {"default": FakeLora(modules_to_save=["lm_head"])},
    ],
)
def test_an_adapter_that_vllm_does_not_serve_is_refused(adapters):
    with pytest.raises(ModelError, match="one LoRA adapter named 'default'"):
        lora_rank(SimpleNamespace(peft_config=adapters))


def test_the_config_that_is_written_names_the_vocabulary_and_the_architecture(tmp_path):
    files = WeightFiles(tiny_model(), vocab_size=VOCAB, folder=str(tmp_path))
    config = json.loads((files.current().directory / "config.json").read_text())
    assert config["vocab_size"] == VOCAB
    assert config["architectures"] == ["Qwen3ForCausalLM"]
    files.close()


def test_the_first_weights_are_kept_for_a_server_that_restarts(tmp_path):
    model = tiny_model()
    files = WeightFiles(model, vocab_size=VOCAB, folder=str(tmp_path), keeps_first=True)
    for _ in range(3):
        files.current()
        files.drop_old()
        with torch.no_grad():
            model.model.norm.weight += 1
    assert sorted(path.name for path in files.root.iterdir()) == [
        "weights-000001",
        "weights-000003",
    ]
    files.close()
