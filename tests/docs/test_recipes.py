"""The recipes of docs/scale.md run as they stand, with a small random model of the same kind."""

import json
import re
import shlex
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from reason_env.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "scale.md"
TIED = {"Qwen/Qwen3-0.6B-Base": True, "Qwen/Qwen3-4B-Base": True, "Qwen/Qwen3-8B-Base": False}
HEADS = {"Qwen/Qwen3-0.6B-Base": 2, "Qwen/Qwen3-4B-Base": 4, "Qwen/Qwen3-8B-Base": 4}
"""Query heads for each head of keys."""
ON_A_PROCESSOR = {
    "--device": "cpu",
    "--max-tokens": "8",
    "--problems-per-iteration": "2",
    "--lora.rank": "2",
}
"""What a recipe says -> what this machine can do."""
SHORT = ("--iterations", "1", "--eval.num-problems", "1", "--eval.samples", "2", "--eval.k", "2")


def recipes():
    """Commands of the page's recipes, from `train` on, without `--devices`."""
    text = PAGE.read_text(encoding="utf-8").split("## Recipes")[1].split("```")[1]
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [re.sub(r" --devices \d+", "", line[line.index(" train ") + 1 :]) for line in lines]


def write_small(name, folder):
    """Write a random model of the architecture of `name`, with a tokenizer of bytes."""
    ids = {char: at for at, char in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()), 1)}
    bytes_alone = Tokenizer(models.BPE(vocab={"<end>": 0} | ids, merges=[]))
    bytes_alone.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytes_alone.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bytes_alone, eos_token="<end>")
    tokenizer.chat_template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=96, num_hidden_layers=2,
        num_attention_heads=HEADS[name], num_key_value_heads=1, head_dim=16,
        tie_word_embeddings=TIED[name], max_position_embeddings=4096, eos_token_id=0,
        bos_token_id=None, pad_token_id=None,
    )  # fmt: skip
    Qwen3ForCausalLM(config).save_pretrained(folder)


def test_there_is_a_recipe_for_each_size_that_fits():
    found = recipes()
    assert {line.split("--model ")[1].split()[0] for line in found} == set(TIED)
    assert len({line.split()[1] for line in found}) == len(found)


@pytest.mark.parametrize("recipe", recipes(), ids=lambda recipe: recipe.split()[1])
def test_a_recipe_trains_a_small_model_of_the_same_architecture(recipe, tmp_path):
    words = shlex.split(recipe)
    for flag, value in ON_A_PROCESSOR.items():
        if flag in words:
            words[words.index(flag) + 1] = value
    place = words.index("--model") + 1
    write_small(words[place], tmp_path / "model")
    words[place] = str(tmp_path / "model")
    problems = tmp_path / "my.jsonl"
    rows = [
        {
            "question": f"What is {n} + {n}?",
            "answer": str(2 * n),
            "solution": f"{n} + {n} = {2 * n}",
        }
        for n in range(20)
    ]
    problems.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    words[words.index("--problems") + 1] = str(problems)
    main([*words, *SHORT, "--out", str(tmp_path / "run")])
    metrics = [
        json.loads(line)
        for line in (tmp_path / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert metrics[-1]["iteration"] == 1
    assert metrics[-1]["rollout/sampled_tokens_total"] > 0
