"""README's command for a GPU, on a random Qwen3 of 10 M parameters with SmolLM2's tokenizer."""

import json
import shlex
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen3Config

from reason_env import cli

pytestmark = pytest.mark.real
README = Path(__file__).parents[2] / "README.md"
SMALL = """--iterations 2 --problems-per-iteration 8 --max-tokens 24 --checkpoint.every 1
  --eval.num-problems 4 --eval.samples 2 --eval.k 2 --eval.every 0"""


@pytest.fixture(scope="module")
def model_dir(smollm2_dir, tmp_path_factory):
    path = tmp_path_factory.mktemp("qwen3") / "random"
    tokenizer = AutoTokenizer.from_pretrained(smollm2_dir)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=160,
        intermediate_size=480,
        num_hidden_layers=6,
        num_attention_heads=5,
        num_key_value_heads=5,
        head_dim=32,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        pad_token_id=None,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config)
    assert 9.5e6 < sum(weight.numel() for weight in model.parameters()) < 10.5e6
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture
def problems(tmp_path):
    """A file of problems whose answer one token gives."""
    rows = [
        {"question": f"{n % 3} + 0 = ? ({n})", "answer": str(n % 3), "solution": "Same."}
        for n in range(20)
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "my.jsonl").write_text(text, encoding="utf-8")
    return tmp_path


def readme_command():
    lines = README.read_text(encoding="utf-8").splitlines()
    (line,) = (line for line in lines if line.startswith("reason-env train") and "cuda" in line)
    return shlex.split(line, comments=True)[1:]


def replaced(words, **values):
    words = list(words)
    for name, value in values.items():
        words[words.index(f"--{name}") + 1] = str(value)
    return words


def weights(run, iteration):
    return load_file(run / f"checkpoints/iteration_{iteration:06d}/model/model.safetensors")


def test_the_command_for_a_gpu_learns_and_resumes_on_a_cpu(model_dir, problems, monkeypatch):
    monkeypatch.chdir(problems)
    command = readme_command()
    assert command[command.index("--precision") + 1] == "bf16-mixed"
    small = shlex.split(SMALL)
    # A random model solves nothing: it first imitates the solutions, by the same flags.
    first = replaced(command, **{"device": "cpu", "model": model_dir, "learning-rate": "3e-3"})
    first[first.index("grpo")] = "sft"
    cli.main([*first, *small, "--iterations", "30", "--out", "runs/first"])
    metrics = Path("runs/first/metrics.jsonl").read_text(encoding="utf-8")
    losses = [json.loads(line)["loss/total"] for line in metrics.splitlines()[1:]]
    assert len(losses) == 30
    assert losses[-1] < losses[0] - 2
    start = problems / "runs/first/checkpoints/iteration_000030/model"
    cli.main([*replaced(command, device="cpu", model=start), *small, "--out", "runs/second"])
    run, before = problems / "runs/second", load_file(start / "model.safetensors")
    after = weights(run, 2)
    changed = sum((after[name] != value).sum().item() for name, value in before.items())
    assert changed > 0.5 * sum(value.numel() for value in before.values())
    assert {value.dtype for value in after.values()} == {torch.float32}
    # A run that was killed after its first iteration ends with the same bits.
    shutil.rmtree(run / "checkpoints/iteration_000002")
    cli.main(["train", "--resume", "runs/second"])
    again = weights(run, 2)
    assert all(torch.equal(after[name], again[name]) for name in after)
