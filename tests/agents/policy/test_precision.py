import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, Qwen3Config

from reason_env.agents.engines import Context, SamplingConfig, TorchEngine, check_precision
from reason_env.agents.learning import Learner, LearnerConfig, LossConfig
from reason_env.agents.policy import LanguageModelPolicy
from reason_env.agents.rollout import TrainingSample
from reason_env.codec import ByteCodec
from reason_env.errors import ConfigError, ModelError

VOCAB = 258


def model_of(dtype=torch.float32, *, is_tied=True):
    config = Qwen3Config(
        vocab_size=VOCAB,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=128,
        tie_word_embeddings=is_tied,
    )
    with torch.random.fork_rng():
        torch.manual_seed(4)
        model = AutoModelForCausalLM.from_config(config)
        for weight in model.parameters():
            if weight.ndim > 1:
                torch.nn.init.normal_(weight, std=0.12)
    return model.to(dtype)


def policy_of(precision, dtype=torch.float32, **kinds):
    return LanguageModelPolicy(model_of(dtype, **kinds), ByteCodec(), precision=precision)


def sampled(policy, num=6, length=40):
    contexts = [
        Context(token_ids=ByteCodec().encode(text), num_samples=num, max_new_tokens=length)
        for text in ("12*3=?", "7+8")
    ]
    found = policy.sample(contexts, SamplingConfig(), seed=0)
    pairs = zip(contexts, found, strict=True)
    return [(context.token_ids, item) for context, group in pairs for item in group]


def samples_of(rows):
    return [
        TrainingSample(
            context_ids=context,
            token_ids=item.token_ids,
            action_mask=(True,) * len(item.token_ids),
            behavior_log_probs=item.log_probs,
            advantage=1.0 if number % 2 else -0.7,
            role="base",
            group="toy/train/0",
        )
        for number, (context, item) in enumerate(rows)
    ]


def flat_weights(policy):
    return torch.cat([weight.detach().flatten().clone() for weight in policy.model.parameters()])


def test_products_are_rounded_and_the_vocabulary_s_projection_is_not():
    exact, mixed = policy_of("float32"), policy_of("bf16-mixed")
    ids = torch.tensor([ByteCodec().encode("12*3=36")])
    with torch.no_grad():
        expected = exact.model(ids).logits
        with mixed.computing():
            output = mixed.model(input_ids=ids, output_hidden_states=True)
        hidden = output.hidden_states[-1]
        assert hidden.dtype == output.logits.dtype == torch.float32
        # Not one bit is lost after the last norm.
        assert torch.equal(output.logits, hidden @ mixed.model.lm_head.weight.T)
        assert not torch.equal(output.logits, output.logits.bfloat16().float())
        # Outside the block everything is float32 again.
        assert torch.equal(mixed.model(ids).logits, expected)
    gap = (output.logits - expected).abs()
    assert 1e-3 < gap.mean() < 0.05


def test_the_block_restores_the_head_after_an_error():
    policy = policy_of("bf16-mixed")
    head = policy.model.get_output_embeddings()
    with pytest.raises(KeyError), policy.computing(), policy.computing():
        raise KeyError
    assert "forward" not in vars(head)
    assert not torch.is_autocast_enabled("cpu")
    head.forward = kept = lambda hidden: hidden
    with policy.computing():
        assert head.forward is not kept
    assert head.forward is kept


@pytest.mark.parametrize("is_tied", [True, False])
def test_sampler_and_trainer_agree_in_mixed_precision(is_tied):
    """Both round the same products; what is left comes from the order of their sums."""
    exact, mixed = policy_of("float32", is_tied=is_tied), policy_of("bf16-mixed", is_tied=is_tied)
    rows = sampled(mixed)
    contexts, completions = [a for a, _ in rows], [b.token_ids for _, b in rows]
    recorded = torch.tensor([x for _, b in rows for x in b.log_probs])

    def gap(policy):
        scores = policy.score(contexts, completions, SamplingConfig())
        return (torch.tensor([x for row in scores for x in row]) - recorded).abs().mean()

    assert gap(mixed) < 2e-3
    # The rounding itself is larger, so that the agreement is none of two float32 passes.
    assert gap(exact) > 2 * gap(mixed)
    ids = torch.tensor([contexts[0] + completions[0]])
    trained, _ = mixed.token_log_probs(ids, torch.ones_like(ids))
    gaps = trained[0, len(contexts[0]) :].detach() - torch.tensor(rows[0][1].log_probs)
    assert trained.dtype == torch.float32
    assert gaps.abs().mean() < 2e-3


def trained(precision, *, updates=20, rate=1e-6):
    policy = policy_of(precision)
    before = flat_weights(policy)
    samples = samples_of(sampled(policy_of("float32")))
    learner = Learner(policy, LearnerConfig(learning_rate=rate), loss=LossConfig())
    losses = [
        learner.update(samples, np.random.default_rng(0)).metrics["loss/policy"]
        for _ in range(updates)
    ]
    return before, flat_weights(policy), losses, learner


def test_twenty_small_updates_change_the_weights_as_in_float32():
    before, exact, exact_losses, _ = trained("float32")
    _, mixed, mixed_losses, learner = trained("bf16-mixed")
    moved_exact, moved_mixed = exact - before, mixed - before
    share_exact, share_mixed = ((x != 0).float().mean().item() for x in (moved_exact, moved_mixed))
    assert share_exact > 0.9
    assert share_mixed == pytest.approx(share_exact, abs=0.02)
    # Adam's first updates are signs: their directions agree where the gradient is not noise.
    cosine = torch.nn.functional.cosine_similarity(moved_exact, moved_mixed, dim=0)
    assert cosine > 0.9
    assert mixed_losses == pytest.approx(exact_losses, abs=5e-3)
    assert mixed_losses[-1] < mixed_losses[0]
    state = learner.optimizer.state_dict()["state"]
    assert {x.dtype for item in state.values() for x in item.values()} == {torch.float32}


def test_a_learner_refuses_half_precision_weights():
    for dtype in (torch.bfloat16, torch.float16):
        name = str(dtype).removeprefix("torch.")
        with pytest.raises(
            ModelError, match=rf"must be float32, got {name} in 'model.embed_tokens.weight', .*load"
        ):
            Learner(policy_of("float32", dtype))
    # Frozen ones are no loss.
    policy = policy_of("float32", torch.bfloat16)
    for weight in policy.model.parameters():
        weight.requires_grad = False
    policy.model.model.norm.to(torch.float32).weight.requires_grad = True
    Learner(policy)


def test_wrong_precisions_are_refused():
    with pytest.raises(ConfigError, match=r"got 'bf16-mix'; did you mean 'bf16-mixed'"):
        check_precision("bf16-mix")
    with pytest.raises(ConfigError, match=r"got 'float16', in which .*; use bf16-mixed"):
        policy_of("float16")
    with pytest.raises(ConfigError, match=r"got 'bfloat16', in which .* cannot be resumed: begin"):
        LanguageModelPolicy.load("base", precision="bfloat16")
    with pytest.raises(ConfigError, match="float32 or bf16-mixed, got 'int8'"):
        TorchEngine(model_of(), vocab_size=VOCAB, precision="int8")
