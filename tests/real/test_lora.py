"""LoRA on a model of 135 M parameters: an iteration of GRPO, its checkpoint, and its export."""

import json

import pytest
import torch
from safetensors.torch import load_file

from reason_env import cli
from reason_env.agents.policy import LanguageModelPolicy

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The directory of a run of one iteration, at rank 8, in mixed precision."""
    folder = tmp_path_factory.mktemp("lora")
    rows = [
        {
            "question": f"What is {n} + {m}?",
            "answer": str(n + m),
            "solution": f"{n} + {m} = {n + m}",
        }
        for n, m in ((3, 4), (17, 5), (8, 26), (12, 12), (31, 9), (6, 47))
    ]
    file = folder / "sums.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    words = f"""train grpo --model smollm2 --problems {file} --lora.rank 8 --iterations 1
        --template gsm8k-fewshot --num-examples 2 --precision bf16-mixed
        --problems-per-iteration 6 --group-size 6 --max-tokens 24 --loss.kl-coefficient 0.01
        --out {folder / "run"}"""
    cli.main(words.split())
    return folder / "run"


def sizes(folder):
    return {path.name: path.stat().st_size for path in folder.rglob("*.safetensors")}


def test_a_checkpoint_is_a_fiftieth_of_one_of_all_weights(run):
    found = sizes(run / "checkpoints/iteration_000001")
    # 2,442,240 weights at rank 8, and two moments of each.
    assert 9.7e6 < found["adapter_model.safetensors"] < 9.9e6
    assert 19.5e6 < found["state.safetensors"] < 19.8e6
    assert sum(found.values()) < 3 * 4 * 134_515_008 / 50


def test_the_iteration_trained_the_adapter_as_it_was_sampled(run):
    row = json.loads((run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    assert row["update/num_updates_total"] == 1
    # As close as without an adapter.
    assert row["rollout/mismatch_mean"] < 1e-4
    # The policy is its reference in the first update: the adapter's B is 0.
    assert abs(row["update/kl_policy_ref"]) < 1e-6
    adapter = load_file(run / "checkpoints/iteration_000001/model/adapter_model.safetensors")
    changed = [name for name, value in adapter.items() if "lora_B" in name and value.any()]
    assert len(changed) == 210


def test_the_merged_model_computes_what_base_and_adapter_compute(run, smollm2):
    merged = LanguageModelPolicy.load(str(run / "model"))
    loaded = LanguageModelPolicy.load(str(run / "checkpoints/iteration_000001/model"))
    ids = torch.tensor([merged.codec.encode("The capital of France is Paris.")])
    with torch.no_grad():
        found, same, base = (
            policy.token_log_probs(ids, torch.ones_like(ids))[0]
            for policy in (merged, loaded, smollm2)
        )
    assert torch.equal(found, same)
    assert 1e-6 < (found - base).abs().max() < 0.5
