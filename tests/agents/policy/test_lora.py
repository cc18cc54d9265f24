"""LoRA layers: what they compute, what is trained, what is written, and what is refused."""

import json
from dataclasses import replace

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from reason_env.agents.engines import Context, SamplingConfig, adapter_tensors, lora_layers
from reason_env.agents.policy import LanguageModelPolicy, LoraConfig, load, lora_line
from reason_env.agents.policy.adapter_files import base_of
from reason_env.agents.policy.lora import adapter_off, add_lora, merged_state
from reason_env.agents.policy.weights_hash import weights_hash
from reason_env.codec import ByteCodec
from reason_env.errors import ConfigError, ModelError
from tests.agents.engines.test_lora import noisy

SIZES = {
    "vocab_size": 264,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}
KINDS = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SIZES, tie_word_embeddings=True)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**SIZES)),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**SIZES, head_dim=8)),
    "gpt2": lambda: GPT2LMHeadModel(
        GPT2Config(vocab_size=264, n_embd=24, n_layer=2, n_head=2, n_positions=128,
                   bos_token_id=None, eos_token_id=None)
    ),
}  # fmt: skip
SEVEN = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
LORA = LoraConfig(rank=3, alpha=6)
CONTEXTS = [
    Context(token_ids=(72, 101, 108), num_samples=2, max_new_tokens=9),
    Context(token_ids=(72, 101, 108, 111, 10), num_samples=3, max_new_tokens=6),
]


def plain(kind="llama"):
    return noisy(KINDS[kind])


def adapted(kind="llama", config=LORA, *, is_trained=True):
    """A model with an adapter; after some training, if its B is not to be 0."""
    model = plain(kind)
    add_lora(model, config, seed=5)
    if is_trained:
        generator = torch.Generator().manual_seed(9)
        with torch.no_grad():
            for name, weight in adapter_tensors(model).items():
                if "lora_B" in name:
                    weight.copy_(0.2 * torch.randn(weight.shape, generator=generator))
    return model


def logits(model, ids=(5, 9, 200, 17)):
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids])).logits


@pytest.fixture(scope="module")
def base_dir(tmp_path_factory):
    path = tmp_path_factory.mktemp("base") / "model"
    LanguageModelPolicy(plain(), ByteCodec()).save(path)
    return path


def loaded(base_dir, config=LORA, *, is_trained=True, seed=5):
    policy = LanguageModelPolicy.load(str(base_dir), lora=config, lora_seed=seed)
    if is_trained:
        source = adapter_tensors(adapted(config=config))
        with torch.no_grad():
            for name, weight in adapter_tensors(policy.model).items():
                weight.copy_(source[name])
    return policy


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_adapter_changes_nothing_and_a_trained_one_adds_its_product_to_the_weights(kind):
    before = logits(plain(kind))
    assert torch.equal(logits(adapted(kind, is_trained=False)), before)
    model = adapted(kind)
    found = logits(model)
    assert (found - before).abs().max() > 0.05
    # By hand: W + alpha / rank * B A, transposed for GPT-2's Conv1D.
    other, matrices = plain(kind), adapter_tensors(model)
    with torch.no_grad():
        for name in {name.rsplit(".", 2)[0] for name in matrices}:
            change = 2.0 * matrices[f"{name}.lora_B.weight"] @ matrices[f"{name}.lora_A.weight"]
            weight = other.get_submodule(name).weight
            weight += change.T if kind == "gpt2" else change
    torch.testing.assert_close(logits(other), found, atol=2e-5, rtol=1e-5)
    merged = plain(kind)
    merged.load_state_dict(merged_state(model))
    for name, value in other.state_dict().items():
        torch.testing.assert_close(merged.state_dict()[name], value, atol=1e-6, rtol=1e-6)


def test_all_linear_layers_of_the_blocks_are_adapted_and_nothing_else_is_trained():
    model = adapted()
    assert set(lora_layers(model)) == {
        f"model.layers.{layer}.{part}.{name}"
        for layer in range(2)
        for part, names in (("self_attn", SEVEN[:4]), ("mlp", SEVEN[4:]))
        for name in names
    }
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert trained == {
        name.replace(".weight", ".default.weight") for name in adapter_tensors(model)
    }
    assert type(model.lm_head) is nn.Linear
    names = {name.rpartition(".")[2] for name in lora_layers(adapted("gpt2"))}
    assert names == {"c_attn", "c_proj", "c_fc"}


def test_only_the_named_layers_are_adapted():
    model = adapted(config=replace(LORA, target_modules=("v_proj", "q_proj")))
    assert {name.rpartition(".")[2] for name in lora_layers(model)} == {"q_proj", "v_proj"}
    # Rank 3: A takes 24 inputs, B gives 24 of q and 8 of v; two layers.
    assert lora_line(model, LORA).startswith(
        "LoRA of rank 3, scale 2, on 4 layers (q_proj, v_proj): 0.00 M of"
    )
    number = sum(weight.numel() for weight in adapter_tensors(model).values())
    assert number == 2 * 3 * ((24 + 24) + (24 + 8))


def test_the_scale_of_rslora_is_alpha_by_the_square_root_of_the_rank():
    config = LoraConfig(rank=4, alpha=6, use_rslora=True)
    layer = next(iter(lora_layers(adapted(config=config)).values()))
    assert config.scale == layer.scaling["default"] == 3.0


def test_the_first_values_follow_from_the_seed_alone():
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    one = plain()
    state = torch.random.get_rng_state()
    add_lora(one, LORA, seed=5)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.random.set_rng_state(before)
    two, three = plain(), plain()
    add_lora(two, LORA, seed=5)
    add_lora(three, LORA, seed=6)
    first, again, other = (adapter_tensors(model) for model in (one, two, three))
    name = "model.layers.1.mlp.down_proj.lora_A.weight"
    assert torch.equal(first[name], again[name])
    assert not torch.equal(first[name], other[name])
    # Uniform within 1 / sqrt(inputs), as peft and torch.nn.Linear begin.
    assert first[name].abs().max() <= 40**-0.5
    assert first[name].std().item() == pytest.approx(40**-0.5 / 3**0.5, rel=0.2)


def test_switched_off_the_adapter_leaves_the_base_model_and_switched_on_again_itself():
    model = adapted()
    before = logits(model)
    with adapter_off(model):
        assert torch.equal(logits(model), logits(plain()))
    assert torch.equal(logits(model), before)
    assert sum(weight.requires_grad for weight in model.parameters()) == 28


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_pass_over_a_prefix_tree_gives_the_gradients_of_the_plain_pass(kind, checkpointing):
    rows = torch.tensor([[1, 2, 3, 4, 5, 6], [1, 2, 3, 9, 8, 7], [1, 2, 4, 4, 0, 0]])
    mask = torch.tensor([[1] * 6, [1] * 6, [1, 1, 1, 1, 0, 0]])

    def found(is_shared):
        policy = LanguageModelPolicy(adapted(kind), ByteCodec())
        if not is_shared:
            policy.forget_structure()
        assert policy.is_prefix_shared == is_shared
        log_probs, _ = policy.token_log_probs(rows, mask, checkpointing=checkpointing and is_shared)
        (log_probs * torch.arange(18).view(3, 6)).sum().backward()
        grads = {
            name: weight.grad
            for name, weight in policy.model.named_parameters()
            if weight.grad is not None
        }
        return log_probs.detach(), grads

    (shared, shared_grads), (own, own_grads) = found(True), found(False)
    torch.testing.assert_close(shared, own, atol=1e-5, rtol=1e-5)
    assert all(".lora_" in name for name in own_grads)
    assert len(own_grads) == 28
    assert shared_grads.keys() == own_grads.keys()
    for name, grad in own_grads.items():
        torch.testing.assert_close(shared_grads[name], grad, atol=2e-4, rtol=2e-4)


def test_the_reference_is_the_base_model_without_a_copy(base_dir):
    frozen = LanguageModelPolicy.load(str(base_dir))
    policy = loaded(base_dir)
    reference = policy.without_adapter()
    assert reference.model is policy.model
    rows = torch.tensor([[72, 101, 108, 3, 5], [72, 101, 9, 4, 0]])
    mask = torch.tensor([[1] * 5, [1, 1, 1, 1, 0]])
    for temperature in (1.0, 0.7):
        own, entropy = reference.token_log_probs(
            rows, mask, temperature=temperature, with_entropy=True
        )
        expected, expected_entropy = frozen.token_log_probs(
            rows, mask, temperature=temperature, with_entropy=True
        )
        torch.testing.assert_close(own, expected, atol=1e-6, rtol=0)
        torch.testing.assert_close(entropy, expected_entropy, atol=1e-6, rtol=0)
        assert not own.requires_grad
        trained, _ = policy.token_log_probs(rows, mask, temperature=temperature)
        assert (trained - expected).abs().max() > 0.05
        assert trained.requires_grad
    with reference.computing():
        assert torch.equal(logits(policy.model), logits(frozen.model))
    with pytest.raises(AssertionError, match="never updated"):
        reference.mark_updated()


def test_dropout_acts_in_passes_with_gradients_only_and_follows_from_the_updates(base_dir):
    config = replace(LORA, dropout=0.5)
    policy, without = loaded(base_dir, config), loaded(base_dir)
    rows = torch.tensor([[72, 101, 108, 3, 5, 30, 40]])
    mask = torch.ones_like(rows)
    with torch.no_grad():
        expected, _ = without.token_log_probs(rows, mask)
        assert torch.equal(policy.token_log_probs(rows, mask)[0], expected)
    state = torch.random.get_rng_state()
    first, second = (policy.token_log_probs(rows, mask)[0].detach() for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert (first - expected).abs().max() > 1e-3
    assert not torch.equal(first, second)
    policy.mark_updated()
    third = policy.token_log_probs(rows, mask)[0].detach()
    assert not torch.equal(third, first)
    again = loaded(base_dir, config)
    again.mark_updated(1)
    assert torch.equal(again.token_log_probs(rows, mask)[0].detach(), third)
    other = loaded(base_dir, config, seed=6)
    other.mark_updated(1)
    assert not torch.equal(other.token_log_probs(rows, mask)[0].detach(), third)
    # Half of the inputs are dropped, the others doubled: the mean is that without dropout.
    with torch.no_grad():
        assert torch.equal(policy.token_log_probs(rows, mask)[0], expected)


def test_what_is_saved_is_the_adapter_alone_and_loads_with_peft_and_by_its_directory(
    base_dir, tmp_path
):
    policy = loaded(base_dir)
    policy.save(tmp_path / "adapter")
    names = sorted(path.name for path in (tmp_path / "adapter").iterdir())
    assert names == ["adapter_config.json", "adapter_model.safetensors", "base_model.json"]
    saved = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    own = adapter_tensors(policy.model)
    assert {f"base_model.model.{name}" for name in own} == set(saved)
    base = base_of(tmp_path / "adapter")
    assert (base.name, base.place) == (str(base_dir), str(base_dir))
    assert base.sha256 == weights_hash(plain())
    # peft reads it, and computes the same.
    theirs = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(base_dir), tmp_path / "adapter"
    ).eval()
    assert torch.equal(logits(theirs), logits(policy.model))
    # By its directory it is a model with the adapter added to the weights, all of them trainable.
    again = LanguageModelPolicy.load(str(tmp_path / "adapter"))
    policy.save_merged(tmp_path / "merged")
    merged = LanguageModelPolicy.load(str(tmp_path / "merged"))
    assert lora_layers(again.model) == {}
    assert all(weight.requires_grad for weight in again.model.parameters())
    for name, value in merged.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], value), name
    torch.testing.assert_close(logits(merged.model), logits(policy.model), atol=2e-5, rtol=1e-5)
    # Any loader reads the merged model.
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    assert torch.equal(logits(theirs.eval()), logits(merged.model))
    # A merged model can get another adapter.
    second = LanguageModelPolicy.load(str(tmp_path / "adapter"), lora=LORA, lora_seed=2)
    assert torch.equal(logits(second.model), logits(again.model))
    # The policy itself is as before.
    assert len(lora_layers(policy.model)) == 14


@pytest.mark.parametrize("kind", KINDS)
def test_a_merged_model_of_each_architecture_is_read_back(kind, tmp_path):
    policy = LanguageModelPolicy(adapted(kind), ByteCodec())
    policy.save_merged(tmp_path)
    found = LanguageModelPolicy.load(str(tmp_path)).model
    torch.testing.assert_close(logits(found), logits(policy.model), atol=2e-5, rtol=1e-5)
    assert set(found.state_dict()) == set(plain(kind).state_dict())


def test_equal_adapters_are_written_as_equal_bytes(base_dir, tmp_path):
    for name in ("one", "two"):
        loaded(base_dir).save(tmp_path / name)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
    config = json.loads((tmp_path / "one" / "adapter_config.json").read_text())
    assert config["target_modules"] == sorted(SEVEN)
    assert (config["r"], config["lora_alpha"], config["inference_mode"]) == (3, 6, True)


def test_an_adapter_is_loaded_bit_for_bit_into_a_policy_on_the_same_base(base_dir, tmp_path):
    policy, again = loaded(base_dir), loaded(base_dir, is_trained=False, seed=11)
    policy.save(tmp_path)
    again.load_adapter(tmp_path)
    for name, value in adapter_tensors(policy.model).items():
        assert torch.equal(adapter_tensors(again.model)[name], value), name
    sampling = SamplingConfig()
    assert policy.sample(CONTEXTS, sampling, seed=3) == again.sample(CONTEXTS, sampling, seed=3)


def changed_copy(base_dir, place):
    model = AutoModelForCausalLM.from_pretrained(base_dir)
    with torch.no_grad():
        model.model.norm.weight[3] += 1e-3
    LanguageModelPolicy(model, ByteCodec()).save(place)
    return place


def test_an_adapter_is_refused_on_a_base_model_that_changed(base_dir, tmp_path):
    base = tmp_path / "base"
    LanguageModelPolicy.load(str(base_dir)).save(base)
    loaded(base).save(tmp_path / "adapter")
    changed_copy(base_dir, base)
    line = (
        "the base model must be the one that the adapter was trained on, got '.*base' with weights "
        "of SHA-256 [0-9a-f]{12}, not [0-9a-f]{12}; restore the model"
    )
    with pytest.raises(ModelError, match=line):
        loaded(base, is_trained=False).load_adapter(tmp_path / "adapter")
    with pytest.raises(ModelError, match=line):
        LanguageModelPolicy.load(str(tmp_path / "adapter"))


def test_an_adapter_of_another_program_names_its_base_alone(base_dir, tmp_path):
    loaded(base_dir).save(tmp_path)
    (tmp_path / "base_model.json").unlink()
    found = LanguageModelPolicy.load(str(tmp_path))
    torch.testing.assert_close(
        logits(found.model), logits(loaded(base_dir).model), atol=2e-5, rtol=1e-5
    )
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = None
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="must name the adapter's base_model_name_or_path"):
        LanguageModelPolicy.load(str(tmp_path))


def test_damaged_files_of_an_adapter_are_refused(base_dir, tmp_path):
    policy = loaded(base_dir)
    policy.save(tmp_path)
    for config, what in (
        (LoraConfig(rank=4, alpha=6), "r 3 for 4"),
        (LoraConfig(rank=3, alpha=7), "lora_alpha 6 for 7"),
        (LoraConfig(rank=3, alpha=6, use_rslora=True), "use_rslora False for True"),
    ):
        with pytest.raises(ModelError, match=f"must fit the model's, got {what}; use the settings"):
            loaded(base_dir, config, is_trained=False).load_adapter(tmp_path)
    few = loaded(base_dir, replace(LORA, target_modules=("q_proj",)), is_trained=False)
    with pytest.raises(ModelError, match=r"must fit the model's adapter, got .* for one of None"):
        few.load_adapter(tmp_path)
    (tmp_path / "adapter_model.safetensors").write_bytes(b"not an adapter")
    with pytest.raises(ModelError, match="must hold an adapter, got an unreadable file"):
        policy.load_adapter(tmp_path)
    with pytest.raises(ModelError, match="must fit its base model, got "):
        LanguageModelPolicy.load(str(tmp_path))
    (tmp_path / "base_model.json").write_text("{}")
    with pytest.raises(ModelError, match="must describe an adapter, got a damaged file"):
        policy.load_adapter(tmp_path)


def test_an_adapter_on_the_hub_is_refused_with_what_to_do(base_dir, tmp_path):
    """Of a hub name, transformers itself loads base and adapter; a directory stands in for it."""
    loaded(base_dir).save(tmp_path)
    line = r"must be that of a whole model, got 'owner/name', an adapter; download it \(hf download"
    with pytest.raises(ModelError, match=line):
        load._load_weights("owner/name", str(tmp_path))


def test_an_adapter_of_the_wrong_shape_is_not_merged(base_dir, tmp_path):
    loaded(base_dir).save(tmp_path)
    path = tmp_path / "adapter_model.safetensors"
    save_file({name: value[:2].contiguous() for name, value in load_file(path).items()}, path)
    with pytest.raises(
        ModelError, match=r"must fit its base model, got Error.* loading state_dict"
    ):
        LanguageModelPolicy.load(str(tmp_path))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rank": -1}, "lora.rank must be at least 0, got -1; 0 is off"),
        ({"rank": 4, "alpha": 0}, "lora.alpha must be at least 1, got 0; use 32"),
        ({"rank": 4, "dropout": 1.0}, "lora.dropout must lie in 0 <= dropout < 1, got 1.0"),
        ({"rank": 4, "export": "adaptor"}, "got 'adaptor'; did you mean 'adapter'"),
        ({"alpha": 16}, "lora.rank must be above 0 with lora.alpha, got 0; give --lora.rank 16"),
        ({"export": "adapter"}, "lora.rank must be above 0 with lora.export, got 0"),
    ],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        LoraConfig(**changes)


@pytest.mark.parametrize(
    ("kind", "names", "message"),
    [
        ("llama", ("q_prj",), "linear layers of the model's blocks, got 'q_prj'; the model has "
         "q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj"),
        ("llama", ("q_proj", "lm_head"), "linear layers of the model's blocks, got 'lm_head'"),
        ("llama", ("embed_tokens",), "linear layers of the model's blocks, got 'embed_tokens'"),
        ("gpt2", ("q_proj",), "got 'q_proj'; the model has c_attn, c_proj, c_fc"),
    ],
)  # fmt: skip
def test_names_that_are_no_linear_layers_of_the_blocks_are_refused(kind, names, message):
    with pytest.raises(ModelError, match=message):
        adapted(kind, replace(LORA, target_modules=names))


class OwnLinear(nn.Module):
    def __init__(self, linear):
        super().__init__()
        self.weight = linear.weight

    def forward(self, inputs):
        return inputs @ self.weight.T


def test_a_model_without_known_linear_layers_is_refused_with_what_it_has():
    model = plain()
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Linear) and "layers" in name:
            parent, _, own = name.rpartition(".")
            setattr(model.get_submodule(parent), own, OwnLinear(module))
    line = (
        r"linear layers in its blocks for LoRA, got none among its modules .*LlamaMLP.*OwnLinear.*"
        r"--lora\.rank 0"
    )
    with pytest.raises(ModelError, match=line):
        add_lora(model, LORA, seed=0)


def test_a_name_that_also_stands_for_a_layer_outside_of_the_blocks_is_refused():
    config = OPTConfig(
        vocab_size=264, hidden_size=24, word_embed_proj_dim=16, ffn_dim=32, num_hidden_layers=1,
        num_attention_heads=2, max_position_embeddings=64,
    )  # fmt: skip
    model = OPTForCausalLM(config)
    add_lora(model, LORA, seed=0)
    assert {name.rpartition(".")[2] for name in lora_layers(model)} == {
        *("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")
    }
    model = OPTForCausalLM(config)
    model.model.decoder.fc1 = nn.Linear(2, 2)
    line = (
        r"got 'fc1', which also names a layer outside of them; leave it out: "
        r"--lora\.target-modules k_proj v_proj q_proj out_proj fc2"
    )
    with pytest.raises(ModelError, match=line):
        add_lora(model, LORA, seed=0)


def test_a_second_adapter_is_refused():
    with pytest.raises(ModelError, match="no adapter before LoRA adds one"):
        add_lora(adapted(), LORA, seed=0)
