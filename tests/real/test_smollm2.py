import math

import pytest
import torch

from reason_env.agents.engines import SamplingConfig
from reason_env.agents.policy import LanguageModelPolicy

pytestmark = pytest.mark.real


def test_the_name_smollm2_loads_the_converted_weights(smollm2_dir):
    policy = LanguageModelPolicy.load("smollm2")
    config = policy.model.config
    assert (config.model_type, config.name_or_path) == ("llama", str(smollm2_dir))
    assert config.eos_token_id == policy.codec.eos_id == 2
    assert policy.context_length == 8192
    assert sum(weight.numel() for weight in policy.model.parameters()) == 134_515_008
    assert {weight.dtype for weight in policy.model.parameters()} == {torch.float32}


def test_it_is_a_language_model(smollm2):
    """Random weights, or a wrong layout of the heads, would give 1 / 49,152."""
    texts = {
        "The quick brown fox jumps over the lazy": " dog",
        "The capital of France is": " Paris",
    }
    contexts, completions = (
        [smollm2.codec.encode(x) for x in part] for part in zip(*texts.items(), strict=True)
    )
    dog, paris = smollm2.score(contexts, completions, SamplingConfig(temperature=1.0))
    assert math.exp(sum(dog)) == pytest.approx(0.89, abs=0.03)
    assert math.exp(sum(paris)) == pytest.approx(0.77, abs=0.03)


def test_a_digit_is_a_token_and_two_line_breaks_are_one(smollm2_dir):
    """The published tokenizer splits digits one by one before anything else."""
    tokenizer = LanguageModelPolicy.load(str(smollm2_dir)).codec.tokenizer
    assert tokenizer.tokenize("a\n\n1. 345  7") == [
        *("a", "ĊĊ", "1", ".", "Ġ", "3", "4", "5", "ĠĠ", "7")
    ]
