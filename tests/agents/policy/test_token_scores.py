"""Scores of given tokens: against a whole softmax, in any batch; the judge's replies."""

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, Qwen3Config, Qwen3ForCausalLM

from reason_env.agents.policy import (
    Judge,
    JudgeConfig,
    LanguageModelPolicy,
    TokenScores,
    token_scores,
)
from reason_env.agents.policy import policy as policy_module
from reason_env.codec import ByteCodec
from reason_env.errors import CodecError, ConfigError, ModelError

CODEC = ByteCodec()
ENDS = {"bos_token_id": None, "eos_token_id": None}
PAIRS = [("12*3=?", "36"), ("1", ""), ("12*3=?", "3 and six"), ("12*3=?3", "6 and six\n")]


def tiny_policy(kind="qwen3"):
    with torch.random.fork_rng():
        torch.manual_seed(4)
        if kind == "qwen3":
            config = Qwen3Config(
                vocab_size=300,
                hidden_size=24,
                intermediate_size=32,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                head_dim=8,
                max_position_embeddings=64,
                pad_token_id=None,
                **ENDS,
            )
            model = Qwen3ForCausalLM(config)
        else:
            model = GPT2LMHeadModel(
                GPT2Config(vocab_size=300, n_embd=24, n_layer=2, n_head=2, n_positions=64, **ENDS)
            )
        for weight in model.parameters():
            if weight.ndim > 1:
                torch.nn.init.normal_(weight, std=0.3)
    return LanguageModelPolicy(model, CODEC)


def scored(policy, pairs=PAIRS, **options):
    contexts = [CODEC.encode(a) for a, _ in pairs]
    return policy.token_scores(contexts, [CODEC.encode(b) for _, b in pairs], **options)


@torch.no_grad()
def log_probs_of(policy, context, completion, temperature):
    """[T, V] of one pair, by one pass of the model."""
    ids = torch.tensor([CODEC.encode(context + completion)])
    logits = policy.model(ids).logits[0, len(context) - 1 : -1, :258]
    return (logits / temperature).log_softmax(-1)


@pytest.mark.parametrize("kind", ["qwen3", "gpt2", "forgotten"])
@pytest.mark.parametrize("max_tokens", [1024, 12])
def test_scores_are_those_of_a_whole_softmax_at_the_temperature(kind, max_tokens, monkeypatch):
    monkeypatch.setattr(policy_module, "MAX_SCORED_TOKENS", max_tokens)
    # Three distributions in a chunk.
    monkeypatch.setattr(token_scores, "MAX_CHUNK_LOGITS", 258 * 3)
    policy = tiny_policy("gpt2" if kind == "gpt2" else "qwen3")
    if kind == "forgotten":
        policy.forget_structure()
    found = scored(policy, temperature=0.7, top_k=3)
    for (context, completion), own in zip(PAIRS, found, strict=True):
        whole = log_probs_of(policy, context, completion, 0.7)
        ids = list(CODEC.encode(completion))
        assert own.log_probs == pytest.approx(whole[range(len(ids)), ids].tolist(), abs=1e-4)
        entropies = torch.special.entr(whole.exp()).sum(-1).tolist()
        assert own.entropies == pytest.approx(entropies, abs=1e-4)
        top = whole.topk(3, dim=-1)
        assert own.top_ids == tuple(map(tuple, top.indices.tolist()))
        for numbers, expected in zip(own.top_log_probs, top.values.tolist(), strict=True):
            assert numbers == pytest.approx(expected, abs=1e-4)


def test_without_likeliest_ids_there_are_none_and_more_than_all_are_all():
    policy = tiny_policy()
    (plain,) = scored(policy, PAIRS[:1])
    assert (plain.top_ids, plain.top_log_probs) == ((), ())
    (whole,) = scored(policy, PAIRS[:1], top_k=9999)
    assert [sorted(ids) for ids in whole.top_ids] == [list(range(258))] * 2
    assert policy.token_scores([], []) == []
    assert scored(policy, [("1", "")]) == [TokenScores(log_probs=(), entropies=())]


def test_what_cannot_be_scored_is_refused():
    policy = tiny_policy()
    with pytest.raises(ConfigError, match="temperature must be above 0 for scores, got 0"):
        scored(policy, temperature=0)
    with pytest.raises(ConfigError, match="top_k must be at least 0, got -1"):
        scored(policy, top_k=-1)
    with pytest.raises(ModelError, match="fit the model's 64 tokens, got 60 \\+ 5"):
        scored(policy, [("x" * 60, "12345")])
    with pytest.raises(CodecError, match=r"token ids must lie in 0\.\.257"):
        policy.token_scores([(299,)], [(1,)])


def test_a_judge_replies_as_its_model_samples_and_counts_both_sides():
    policy = tiny_policy()
    judge = Judge(policy, JudgeConfig(max_new_tokens=6))
    questions = ["Is 35 right?", "y" * 59, "And 36?"]
    first, long, last = judge.replies(questions, seed=1)
    assert (long.text, long.num_read_tokens, long.num_sampled_tokens) == (None, 0, 0)
    assert (first.num_read_tokens, last.num_read_tokens) == (12, 7)
    assert 1 <= first.num_sampled_tokens <= 6
    # Greedy: whatever the seed, and whatever else is asked.
    assert judge.replies(questions[:1], seed=9) == [first]
    warm = Judge(policy, JudgeConfig(max_new_tokens=6, temperature=2.0))
    texts = {warm.replies(["Is 35 right?"], seed=seed)[0].text for seed in range(4)}
    assert len(texts) > 1
    assert warm.replies(["Is 35 right?"], seed=2) == warm.replies(["Is 35 right?"], seed=2)
    # 58 tokens and 6 new ones are the whole context.
    assert judge.replies(["z" * 58], seed=0)[0].text is not None
    assert judge.replies([], seed=0) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": ""}, "a judge's model must have a name, got ''"),
        ({"temperature": -1.0}, "temperature must be finite and at least 0, got -1.0"),
        ({"max_new_tokens": 0}, "max_new_tokens must be at least 1, got 0"),
    ],
)
def test_a_judge_out_of_range_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        JudgeConfig(**changes)


def test_a_reply_that_fills_the_judge_s_context_is_refused():
    with pytest.raises(ConfigError, match="room for a question in its context of 64 tokens"):
        Judge(tiny_policy(), JudgeConfig(max_new_tokens=64))
