import pytest
import torch

from reason_env.agents.policy import LanguageModelPolicy
from reason_env.agents.pretraining import PretrainConfig
from reason_env.agents.pretraining.pretrain import build_model
from reason_env.agents.probe import token_energies
from reason_env.codec import ByteCodec


def policy_of(seed: int) -> LanguageModelPolicy:
    codec = ByteCodec()
    config = PretrainConfig(hidden_size=32, num_layers=2, num_heads=2, seed=seed)
    model = build_model(config, codec)
    # Far from uniform, and different from token to token.
    with torch.no_grad():
        model.model.embed_tokens.weight.mul_(12)
    return LanguageModelPolicy(model.eval(), codec)


def test_energies_are_one_minus_the_squared_probabilities_of_each_token():
    policy = policy_of(3)
    pairs = [((65, 66, 67), (70, 71, 72, 73)), ((90,), (80, 81))]
    found = token_energies(policy, pairs)
    for (prompt, response), energies in zip(pairs, found, strict=True):
        with torch.no_grad():
            logits = policy.model(input_ids=torch.tensor([[*prompt, *response]])).logits[0]
        p_TV = logits.double().softmax(-1)
        # The token at place t is drawn from the prediction at t - 1.
        expected = [
            1 - float((p_TV[len(prompt) - 1 + at] ** 2).sum()) for at in range(len(response))
        ]
        assert energies == pytest.approx(expected, abs=1e-5)
        assert len({round(energy, 3) for energy in energies}) > 1


def test_the_energy_of_a_uniform_choice_is_one_minus_its_probability():
    policy = policy_of(0)
    with torch.no_grad():
        policy.model.model.norm.weight.zero_()
    ((first, second),) = token_energies(policy, [((65,), (66, 67))])
    assert first == second == pytest.approx(1 - 1 / 258, abs=1e-6)
