"""The commands of the page on LoRA, with fewer samples."""

import json
import re
import shlex
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "models.md"
SMALL = (
    "--levels", "3", "--problems-per-iteration", "2", "--group-size", "2", "--max-tokens", "24",
    "--eval.num-problems", "2", "--eval.samples", "2", "--eval.k", "2", "--eval.greedy", "False",
    "--iterations", "1",
)  # fmt: skip


def page_commands():
    section = PAGE.read_text(encoding="utf-8").partition("\n## LoRA\n")[2].partition("\n## ")[0]
    (block,) = re.findall(r"^```\n(.*?)```", section, re.DOTALL | re.MULTILINE)
    return [shlex.split(line)[1:] for line in block.splitlines()]


def test_the_commands_of_the_page_train_resume_and_evaluate(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, resume, evaluate = page_commands()
    status, text, error = command(*first, *SMALL)
    assert status == 0, error
    assert (
        "learning rate 0.002 (default for an adapter on 0.8 M parameters), constant\n"
        "LoRA of rank 16, scale 2, on 28 layers (q_proj, k_proj, v_proj, o_proj, gate_proj, "
        "up_proj, down_proj): 0.16 M of 1.0 M parameters"
    ) in text
    assert (tmp_path / "runs/adapter/model/config.json").is_file()
    status, text, error = command(*resume[:-1], "2")
    assert status == 0, error
    assert "resuming runs/adapter after iteration 1" in text
    status, text, error = command(*evaluate, "--json", "found.json")
    assert status == 0, error
    assert "runs/adapter/model: grpo from base, iteration 2" in text
    trained = json.loads((tmp_path / "found.json").read_text())["trained"]
    assert trained["lora"]["rank"] == 16


def test_a_dry_run_counts_the_adapter_s_gradients_and_no_reference(command):
    words = ("train", "grpo", *SMALL, "--dry-run", "--loss.kl-coefficient", "0.1")
    status, text, error = command(*words, "--lora.rank", "4")
    assert status == 0, error
    assert "LoRA of rank 4, scale 8, on 28 layers" in text
    lines = dict(re.findall(r"^(gradients|optimizer|reference policy) +(.*)$", text, re.MULTILINE))
    # 38,912 weights of 4 bytes, and two moments of each.
    assert lines == {"gradients": "0.2 MB", "optimizer": "0.3 MB", "reference policy": "none"}


def test_settings_that_do_not_fit_are_refused(command, refused):
    status, _, error = command("train", "grpo", "--lora.alpha", "16")
    assert status == 2
    assert "lora.rank must be above 0 with lora.alpha, got 0;" in error
    line = refused("train", "grpo", "--lora.rank", "4", "--lora.target-modules", "qkv")
    assert "must name linear layers of the model's blocks, got 'qkv'; the model has q_proj" in line


def test_an_evaluation_computes_in_the_precision_of_the_run(command, tmp_path):
    words = ("train", "grpo", *SMALL, "--precision", "bf16-mixed", "--lora.rank", "2")
    assert command(*words, "--out", str(tmp_path / "run"))[0] == 0
    found = []
    for flags in ((), ("--precision", "bf16-mixed"), ("--precision", "float32")):
        file = tmp_path / "found.json"
        words = ("eval", "--model", str(tmp_path / "run"), *flags, "--json", str(file))
        status, _, error = command(*words)
        assert status == 0, error
        found.append(json.loads(file.read_text())["precision"])
    assert found == ["bf16-mixed", "bf16-mixed", "float32"]
