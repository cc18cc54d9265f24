import json
import math

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from reason_env.agents.engines import Context, SamplingConfig, processed_log_probs
from reason_env.agents.policy import LanguageModelPolicy, Policy
from reason_env.agents.policy import load as load_model_module
from reason_env.agents.policy import log_probs as log_probs_module
from reason_env.agents.policy import policy as policy_module
from reason_env.agents.policy.log_probs import next_token_log_probs
from reason_env.agents.processes import SHARES, save_shares, weights_of
from reason_env.codec import ByteCodec, HuggingFaceCodec
from reason_env.errors import CodecError, ConfigError, ModelError

SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 96,
    "pad_token_id": None,
    "bos_token_id": None,
    "eos_token_id": None,
}


@pytest.fixture(autouse=True)
def one_thread():
    """Threads that wait for each other cost more than these models' arithmetic."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def tiny_model(kind="qwen3", *, vocab_size=258, dtype=torch.float32):
    sizes = SIZES | {"vocab_size": vocab_size}
    with torch.random.fork_rng():
        torch.manual_seed(2)
        if kind == "qwen3":
            model = Qwen3ForCausalLM(Qwen3Config(**sizes, head_dim=8, tie_word_embeddings=True))
        elif kind == "llama":
            model = LlamaForCausalLM(LlamaConfig(**sizes))
        else:
            ids = {"bos_token_id": None, "eos_token_id": None}
            model = GPT2LMHeadModel(
                GPT2Config(
                    vocab_size=vocab_size, n_embd=32, n_layer=2, n_head=2, n_positions=96, **ids
                )
            )
        # Fresh weights give a nearly uniform distribution, which hides most mistakes.
        for weight in model.parameters():
            if weight.ndim > 1:
                torch.nn.init.normal_(weight, std=0.25)
    return model.to(dtype)


def tiny_policy(kind="qwen3", **sizes):
    return LanguageModelPolicy(tiny_model(kind, **sizes), ByteCodec())


def word_tokenizer():
    words = {"<end>": 0, "two": 1, "and": 2, "make": 3, "four": 4}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<end>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>")


def asked(*texts, num_samples=6, max_new_tokens=20):
    return [
        Context(
            token_ids=ByteCodec().encode(text),
            num_samples=num_samples,
            max_new_tokens=max_new_tokens - index,
        )
        for index, text in enumerate(texts)
    ]


def flat(contexts, found):
    """Contexts and completions, one row for each completion."""
    return [
        (context.token_ids, completion)
        for context, group in zip(contexts, found, strict=True)
        for completion in group
    ]


@pytest.mark.parametrize("kind", ["qwen3", "llama", "gpt2"])
@pytest.mark.parametrize("temperature", [0, 0.6, 1.0, 1.4])
@pytest.mark.parametrize("truncation", [{}, {"top_k": 7}])
def test_scoring_agrees_with_sampling(kind, temperature, truncation):
    sampling = SamplingConfig(temperature=temperature, **truncation)
    policy = tiny_policy(kind)
    contexts = asked("12*3=?", "what is seven and eight?", "1")
    rows = flat(contexts, policy.sample(contexts, sampling, seed=1))
    scores = policy.score([a for a, _ in rows], [b.token_ids for _, b in rows], sampling)
    for numbers, (_, completion) in zip(scores, rows, strict=True):
        assert numbers == pytest.approx(completion.log_probs, abs=1e-4)


@pytest.mark.parametrize(
    "sampling", [SamplingConfig(top_p=0.9), SamplingConfig(temperature=0.8, top_k=40, top_p=0.7)]
)
def test_scoring_agrees_with_sampling_under_top_p_but_on_its_edge(sampling):
    policy = tiny_policy()
    contexts = asked("12*3=?", "what is seven and eight?", num_samples=16)
    rows = flat(contexts, policy.sample(contexts, sampling, seed=1))
    scores = policy.score([a for a, _ in rows], [b.token_ids for _, b in rows], sampling)
    gaps = [
        abs(x - y)
        for numbers, (_, completion) in zip(scores, rows, strict=True)
        for x, y in zip(numbers, completion.log_probs, strict=True)
    ]
    # The edge lies within rounding (1e-6) of a token of probability 0.01 once in 10,000 positions.
    assert len(gaps) > 500
    assert sum(gap > 1e-4 for gap in gaps) <= 1


@pytest.mark.parametrize(
    ("kind", "refusal", "limit"),
    [
        ("qwen3", None, "MAX_SCORED_TOKENS"),
        ("gpt2", None, "MAX_SCORED_TOKENS"),
        ("gpt2", "unknown", "MAX_SCORED_LOGITS"),
    ],
)
def test_scores_do_not_depend_on_the_batch(monkeypatch, kind, refusal, limit):
    policy, sampling = tiny_policy(kind), SamplingConfig(temperature=0.9)
    monkeypatch.setattr(policy, "_head_refusal", refusal)
    contexts, completions = [(1, 2, 3), (4,), (5, 6)], [(7, 8), (9, 10, 11, 12), ()]
    together = policy.score(contexts, completions, sampling)
    sizes, score_batch = [], policy._score_batch
    monkeypatch.setattr(policy_module, limit, 1)
    monkeypatch.setattr(
        policy,
        "_score_batch",
        lambda ids, *others: sizes.append(len(ids)) or score_batch(ids, *others),
    )
    alone = policy.score(contexts, completions, sampling)
    assert sizes == [1, 1, 1]
    assert [len(numbers) for numbers in together] == [2, 4, 0]
    for one, other in zip(together, alone, strict=True):
        assert one == pytest.approx(other, abs=1e-5)


def test_a_token_that_truncation_cuts_off_scores_minus_infinity():
    policy = tiny_policy()
    with torch.no_grad():
        order = policy.model(torch.tensor([[65, 66]])).logits[0, -1].argsort(descending=True)
    likeliest, third = int(order[0]), int(order[2])
    scores = policy.score([(65, 66)] * 2, [(likeliest,), (third,)], SamplingConfig(top_k=2))
    assert -math.inf < scores[0][0] < 0
    assert scores[1][0] == -math.inf


def naive(policy, ids, mask, temperature):
    """The whole log-softmax, without padding tricks: each sequence alone."""
    log_probs, entropy = torch.zeros(ids.shape), torch.zeros(ids.shape)
    for row, length in enumerate(mask.sum(-1).tolist()):
        logits = policy.model(ids[row : row + 1, :length]).logits[0, :-1]
        full = torch.log_softmax(logits / temperature, dim=-1)
        log_probs[row, 1:length] = full.gather(-1, ids[row, 1:length, None])[:, 0]
        entropy[row, 1:length] = -(full.exp() * full).sum(-1)
    return log_probs, entropy


@pytest.mark.parametrize("kind", ["qwen3", "gpt2"])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_token_log_probs_and_gradients_equal_a_whole_log_softmax(kind, temperature, monkeypatch):
    monkeypatch.setattr(log_probs_module, "MAX_CHUNK_LOGITS", 3 * 258)
    policy = tiny_policy(kind)
    ids = torch.randint(0, 256, (3, 9), generator=torch.Generator().manual_seed(1))
    mask = torch.arange(9) < torch.tensor([9, 4, 6])[:, None]
    weights = torch.rand((2, 3, 9), generator=torch.Generator().manual_seed(2))
    gradients = []
    results = []
    for method in ("ours", "naive"):
        policy.model.zero_grad()
        if method == "ours":
            log_probs, entropy = policy.token_log_probs(
                ids, mask.long(), temperature=temperature, with_entropy=True
            )
        else:
            log_probs, entropy = naive(policy, ids, mask, temperature)
        (weights[0] * log_probs + 0.3 * weights[1] * entropy).sum().backward()
        results.append((log_probs.detach(), entropy.detach()))
        gradients.append([weight.grad.clone() for weight in policy.model.parameters()])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-5)
        assert (ours[~mask] == 0).all()
        assert (ours[:, 0] == 0).all()
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=2e-5)
    assert max(float(gradient.abs().max()) for gradient in gradients[0]) > 0.1


def test_gradients_of_log_probs_and_entropy_pass_a_numerical_check(monkeypatch):
    monkeypatch.setattr(log_probs_module, "MAX_CHUNK_LOGITS", 10)
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn((2, 4, 6), dtype=torch.float64, generator=generator, requires_grad=True)
    ids = torch.tensor([[0, 3, 1, 4], [2, 2, 0, 0]])
    mask = torch.tensor([[True] * 4, [True, True, False, False]])

    def both(values):
        return next_token_log_probs(
            values, ids, mask, temperature=0.7, vocab_size=5, with_entropy=True
        )

    assert torch.autograd.gradcheck(both, (logits,))


def test_nan_in_padding_changes_neither_log_probs_nor_gradients():
    logits = torch.zeros((1, 3, 4))
    logits[0, 1:] = math.nan
    logits.requires_grad_()
    ids, mask = torch.tensor([[1, 2, 3]]), torch.tensor([[True, True, False]])
    log_probs, entropy = next_token_log_probs(
        logits, ids, mask, temperature=1.0, vocab_size=4, with_entropy=True
    )
    (log_probs.sum() + entropy.sum()).backward()
    assert log_probs.tolist() == pytest.approx(torch.tensor([[0, -math.log(4), 0]]))
    assert entropy.tolist() == pytest.approx(torch.tensor([[0, math.log(4), 0]]))
    # One token of four equal ones: 1 - 1/4 at the token, -1/4 elsewhere; entropy is at its top.
    assert logits.grad[0, 0].tolist() == pytest.approx([-0.25, -0.25, 0.75, -0.25])
    assert (logits.grad[0, 1:] == 0).all()


def test_the_entropy_is_computed_only_on_request():
    policy = tiny_policy()
    ids = torch.tensor([[1, 2, 3]])
    log_probs, entropy = policy.token_log_probs(ids, torch.ones_like(ids), temperature=1.0)
    assert entropy is None
    assert log_probs.requires_grad


def test_log_probs_of_training_are_those_of_sampling_without_truncation():
    policy, sampling = tiny_policy(), SamplingConfig(temperature=0.8)
    contexts = asked("12*3=?", num_samples=3, max_new_tokens=9)
    for context, completion in flat(contexts, policy.sample(contexts, sampling, seed=5)):
        ids = torch.tensor([context + completion.token_ids])
        found, _ = policy.token_log_probs(ids, torch.ones_like(ids), temperature=0.8)
        assert found[0, len(context) :].tolist() == pytest.approx(completion.log_probs, abs=1e-4)


def test_ids_without_text_are_left_out_of_every_distribution():
    policy = tiny_policy(vocab_size=300)
    contexts = asked("12*3=?", num_samples=40)
    sampling = SamplingConfig(temperature=1.5)
    rows = flat(contexts, policy.sample(contexts, sampling, seed=0))
    assert max(token for _, completion in rows for token in completion.token_ids) < 258
    context, completion = rows[0]
    ids = torch.tensor([context + completion.token_ids])
    with torch.no_grad():
        logits = policy.model(ids).logits[0, len(context) - 1 : -1, :258]
    full = processed_log_probs(logits, sampling)
    expected = full[range(len(completion.token_ids)), completion.token_ids].tolist()
    trained, _ = policy.token_log_probs(ids, torch.ones_like(ids), temperature=1.5)
    assert completion.log_probs == pytest.approx(expected, abs=1e-4)
    assert trained[0, len(context) :].tolist() == pytest.approx(expected, abs=1e-4)
    assert policy.score([context], [completion.token_ids], sampling)[0] == pytest.approx(
        expected, abs=1e-4
    )


def test_bfloat16_policies_sample_score_and_train():
    policy = tiny_policy(dtype=torch.bfloat16)
    contexts = asked("12*3=?", "7+8", num_samples=3)
    rows = flat(contexts, policy.sample(contexts, SamplingConfig(), seed=0))
    scores = policy.score([a for a, _ in rows], [b.token_ids for _, b in rows], SamplingConfig())
    for numbers, (_, completion) in zip(scores, rows, strict=True):
        # bfloat16 has 8 bits: logits of size 8 are rounded to 1/32.
        assert numbers == pytest.approx(completion.log_probs, abs=0.15)
    ids = torch.tensor([rows[0][0] + rows[0][1].token_ids])
    log_probs, _ = policy.token_log_probs(ids, torch.ones_like(ids), temperature=1.0)
    assert log_probs.dtype == torch.float32
    log_probs.sum().backward()
    assert policy.model.get_input_embeddings().weight.grad.dtype == torch.bfloat16


def test_sampling_stops_at_the_codec_s_end_token_by_default():
    policy = tiny_policy()
    embedding = policy.model.get_input_embeddings().weight
    with torch.no_grad():
        embedding[257] *= 4
    contexts = asked("12*3=?", num_samples=60)
    found = policy.sample(contexts, SamplingConfig(), seed=0)[0]
    assert {item.is_finished for item in found} == {True, False}
    assert all((item.token_ids[-1] == 257) == item.is_finished for item in found)
    unstopped = policy.sample(contexts, SamplingConfig(), seed=0, stop_ids=())[0]
    assert {len(item.token_ids) for item in unstopped} == {20}
    assert {item.is_finished for item in unstopped} == {False}


def test_sampling_stops_at_each_end_token_of_the_model_and_of_the_tokenizer(tmp_path):
    backend = Tokenizer(models.WordLevel({"two": 0, "and": 1}, unk_token="two"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.add_special_tokens(["<eos>", "<turn>", "<other>"])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<eos>")
    model = tiny_model(vocab_size=5)
    # As Gemma declares them, the tokenizer's end token missing.
    model.generation_config.eos_token_id = [3]
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    policy = LanguageModelPolicy.load(str(tmp_path))
    assert (policy.codec.eos_id, policy.codec.end_ids) == (2, (2, 3))
    context = Context(token_ids=(0, 1), num_samples=64, max_new_tokens=30)
    found = policy.sample([context], SamplingConfig(), seed=0)[0]
    assert {item.token_ids[-1] for item in found if item.is_finished} == {2, 3}
    for item in found:
        assert not {2, 3}.intersection(item.token_ids[:-1])
        assert item.is_finished == (item.token_ids[-1] in (2, 3))


def test_a_saved_policy_keeps_the_end_tokens_of_its_codec(tmp_path):
    backend = Tokenizer(models.WordLevel({"two": 0, "and": 1}, unk_token="two"))
    backend.add_special_tokens(["<eos>", "<turn>", "<other>"])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<eos>")
    codec = HuggingFaceCodec(tokenizer, end_ids=(4, 3))
    LanguageModelPolicy(tiny_model(vocab_size=5), codec).save(tmp_path)
    again = LanguageModelPolicy.load(str(tmp_path)).codec
    assert (again.end_ids, again.codec_id) == ((2, 4, 3), codec.codec_id)


def test_marking_an_update_increments_or_sets_the_policy_version():
    policy = tiny_policy()
    assert policy.policy_version == 0
    policy.mark_updated()
    policy.mark_updated()
    assert policy.policy_version == 2
    policy.mark_updated(17)
    assert policy.policy_version == 17


def test_the_policy_fits_its_protocol_and_knows_its_context():
    policy: Policy = tiny_policy("gpt2")
    assert policy.context_length == 96
    assert policy.device == torch.device("cpu")
    assert not policy.model.training


def test_a_saved_byte_policy_loads_with_equal_log_probs(tmp_path, capsys):
    policy = tiny_policy()
    policy.save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["reason_env_codec"] == "bytes"
    assert (tmp_path / "model.safetensors").is_file()
    loaded = LanguageModelPolicy.load(str(tmp_path), step_delimiter=";")
    assert loaded.codec.codec_id == ByteCodec(";").codec_id
    contexts = asked("12*3=?", num_samples=4)
    assert loaded.sample(contexts, SamplingConfig(), seed=1) == policy.sample(
        contexts, SamplingConfig(), seed=1
    )
    assert capsys.readouterr().err == ""


def test_a_saved_tokenizer_policy_loads_with_its_tokenizer(tmp_path):
    codec = HuggingFaceCodec(word_tokenizer())
    policy = LanguageModelPolicy(tiny_model(vocab_size=8), codec)
    policy.save(tmp_path)
    loaded = LanguageModelPolicy.load(str(tmp_path))
    assert loaded.codec.codec_id == codec.codec_id
    assert loaded.codec.encode("two and two make four") == (1, 2, 1, 3, 4)
    assert "reason_env_codec" not in json.loads((tmp_path / "config.json").read_text())


def test_base_is_the_shipped_directory(tmp_path, monkeypatch):
    monkeypatch.setattr(load_model_module, "SHIPPED", {"base": tmp_path / "base_model"})
    with pytest.raises(ModelError, match=r"shipped model 'base' must be in .*reason-env pretrain"):
        LanguageModelPolicy.load("base")
    tiny_policy().save(tmp_path / "base_model")
    assert LanguageModelPolicy.load("base").context_length == 96


def test_a_context_that_does_not_fit_is_refused_before_sampling():
    policy = tiny_policy()
    fits = Context(token_ids=(1,) * 90, num_samples=2, max_new_tokens=6)
    assert len(policy.sample([fits], SamplingConfig(), seed=0, stop_ids=())[0][1].token_ids) == 6
    long = Context(token_ids=(1,) * 90, num_samples=2, max_new_tokens=7)
    message = r"must fit the model's 96 tokens, got 90 \+ 7; shorten the prompt or lower"
    with pytest.raises(ModelError, match=message):
        policy.sample([fits, long], SamplingConfig(), seed=0)
    with pytest.raises(ModelError, match=message):
        policy.score([(1,) * 90], [(2,) * 7], SamplingConfig())
    with pytest.raises(ModelError, match="a context must hold at least one token"):
        policy.score([()], [(2,)], SamplingConfig())


def test_ids_outside_the_vocabulary_are_refused():
    policy = tiny_policy(vocab_size=300)
    context = Context(token_ids=(1, 258), num_samples=1, max_new_tokens=1)
    message = r"token ids must lie in 0\.\.257, got "
    with pytest.raises(CodecError, match=message + "258"):
        policy.sample([context], SamplingConfig(), seed=0)
    with pytest.raises(CodecError, match=message + "-1"):
        policy.sample([], SamplingConfig(), seed=0, stop_ids=(-1,))
    with pytest.raises(CodecError, match=message + "299"):
        policy.score([(1,)], [(299,)], SamplingConfig())


@pytest.mark.parametrize("temperature", [0, -1.0, math.nan])
def test_training_needs_a_temperature_above_zero(temperature):
    ids = torch.tensor([[1, 2]])
    with pytest.raises(ConfigError, match="temperature must be above 0 for training, got"):
        tiny_policy().token_log_probs(ids, torch.ones_like(ids), temperature=temperature)


def test_a_codec_larger_than_the_model_is_refused():
    with pytest.raises(
        ModelError, match=r"must fit the model's 100 ids, got 258 ids of .*; use the model's own"
    ):
        tiny_policy(vocab_size=100)


def test_a_model_that_states_no_context_length_is_refused():
    model = BloomForCausalLM(BloomConfig(vocab_size=258, hidden_size=16, n_layer=1, n_head=2))
    with pytest.raises(ModelError, match="must state max_position_embeddings, got None; set it"):
        LanguageModelPolicy(model, ByteCodec())


def test_a_model_with_recurrent_layers_is_refused():
    model = tiny_model()
    model.config.layer_types = ["full_attention", "linear_attention"]
    with pytest.raises(
        ModelError, match=r"must keep keys and values, got .* linear_attention; use"
    ):
        LanguageModelPolicy(model, ByteCodec())


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("toaster", "device must be a torch device, got 'toaster'; use 'cpu' or 'cuda'"),
        ("cuda:99", "device must exist on this machine, got 'cuda:99'"),
    ],
)
def test_an_unavailable_device_is_refused(device, message):
    with pytest.raises(ConfigError, match=message):
        LanguageModelPolicy.load("base", device=device)


def test_half_precision_weights_of_a_directory_become_float32(tmp_path):
    policy = tiny_policy(dtype=torch.bfloat16)
    policy.save(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == "bfloat16"
    loaded = LanguageModelPolicy.load(str(tmp_path))
    assert {weight.dtype for weight in loaded.model.parameters()} == {torch.float32}
    for one, other in zip(policy.model.parameters(), loaded.model.parameters(), strict=True):
        assert torch.equal(one.float(), other)


def save_in_shares(policy, directory, *, without=""):
    policy.save_description(directory)
    weights = weights_of(policy.model)
    weights.pop(without, None)
    save_shares(directory / SHARES, weights)


@pytest.mark.parametrize("kind", ["qwen3", "gpt2"])
def test_a_model_in_shares_loads_as_the_same_model(tmp_path, kind):
    policy = tiny_policy(kind)
    policy.model.generation_config.eos_token_id = [3, 5]
    save_in_shares(policy, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "config.json",
        "generation_config.json",
        "shares",
    ]
    loaded = LanguageModelPolicy.load(str(tmp_path))
    one, other = policy.model.state_dict(), loaded.model.state_dict()
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert loaded.model.generation_config.eos_token_id == [3, 5]
    # It can be written whole.
    loaded.save(tmp_path / "whole")
    again = LanguageModelPolicy.load(str(tmp_path / "whole")).model.state_dict()
    assert all(torch.equal(one[name], again[name]) for name in one)


def test_a_model_in_shares_without_a_weight_is_refused(tmp_path):
    save_in_shares(tiny_policy(), tmp_path, without="model.norm.weight")
    with pytest.raises(ModelError, match=r"without 1 of them \(the first is model\.norm\.weight\)"):
        LanguageModelPolicy.load(str(tmp_path))
    next((tmp_path / SHARES).iterdir()).write_bytes(b"damaged")
    with pytest.raises(ModelError, match="no causal language model can be loaded from"):
        LanguageModelPolicy.load(str(tmp_path))


def test_a_missing_directory_is_refused(tmp_path):
    missing = str(tmp_path / "nothing")
    with pytest.raises(ModelError, match=r"which is not a directory; check the path"):
        LanguageModelPolicy.load(missing)
    with pytest.raises(ModelError, match=r"got './a/b', which is not a directory"):
        LanguageModelPolicy.load("./a/b")


def test_a_directory_without_a_model_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"must hold config.json, got .* without one; save a"):
        LanguageModelPolicy.load(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "qwen3"}')
    with pytest.raises(ModelError, match="no causal language model can be loaded from") as caught:
        LanguageModelPolicy.load(str(tmp_path))
    assert "\n" not in str(caught.value)
    (tmp_path / "config.json").write_text("{broken")
    with pytest.raises(ModelError, match="no causal language model can be loaded from") as caught:
        LanguageModelPolicy.load(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_model_directory_without_a_tokenizer_is_refused(tmp_path):
    tiny_model().save_pretrained(tmp_path)
    message = r'must hold a tokenizer, got .* without one; .*"reason_env_codec": "bytes"'
    with pytest.raises(ModelError, match=message) as caught:
        LanguageModelPolicy.load(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_an_unknown_codec_in_the_config_is_refused(tmp_path):
    model = tiny_model()
    model.config.reason_env_codec = "characters"
    model.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"reason_env_codec .* must be 'bytes', got 'characters'"):
        LanguageModelPolicy.load(str(tmp_path))
