"""The small model of the benchmarks: a Qwen3 of 0.79 M parameters, random weights, float32."""

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

VOCAB_SIZE = 52


def small_model(vocab_size: int = VOCAB_SIZE) -> Qwen3ForCausalLM:
    """Build the model, of 794,496 parameters with 52 ids: 0 pads, 1 ends, 2 begins."""
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=vocab_size,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        tie_word_embeddings=True,
        max_position_embeddings=1024,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=2,
    )
    return Qwen3ForCausalLM(config)
