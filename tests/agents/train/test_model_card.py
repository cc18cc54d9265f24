"""The card beside the weights of a run says what the run did."""

from dataclasses import replace

import pytest
from huggingface_hub import ModelCard as HubCard

from reason_env.agents.cpi import CPI_ROW, CPIConfig
from reason_env.agents.evaluate import EvalConfig
from reason_env.agents.methods import method_config, row_of
from reason_env.agents.policy import LoraConfig
from reason_env.agents.runs import CheckpointConfig, RunDir, latest_checkpoint, model_directory
from reason_env.agents.train import ModelRecord, TrainConfig, build_session, train
from reason_env.agents.train.model_card import model_card
from reason_env.env import EnvConfig

CONFIG = TrainConfig(
    method=method_config("grpo"),
    env=EnvConfig(levels=(3, 3), max_tokens=64),
    eval=EvalConfig(num_problems=3, samples=2, k=2, greedy=False, every=1),
    checkpoint=CheckpointConfig(every=1),
    iterations=2,
    problems_per_iteration=2,
)
ROWS = [
    {"iteration": 0, "eval/pass_at_1": 0.25, "eval/pass_at_1_low": 0.125,
     "eval/pass_at_1_high": 0.5, "eval/pass_at_k": 0.75, "eval/pass_at_k_low": 0.5,
     "eval/pass_at_k_high": 1.0, "eval/k": 4, "eval/num_problems": 1200},
    {"iteration": 1, "rollout/sampled_tokens_total": 1500, "update/num_updates_total": 1},
    {"iteration": 2, "eval/pass_at_1": 0.3, "eval/pass_at_1_low": 0.2,
     "eval/pass_at_1_high": 0.4, "eval/pass_at_k": 0.8, "eval/pass_at_k_low": 0.6,
     "eval/pass_at_k_high": 0.9, "eval/k": 4, "eval/num_problems": 1200,
     "rollout/sampled_tokens_total": 3021, "update/num_updates_total": 2},
]  # fmt: skip


def card_of(config, rows=ROWS, licence="mit", **sets):
    record = ModelRecord.of(config, 2)
    sets = sets or {"train": "a1", "eval": "b2"}
    return model_card(record, config, rows, problem_sets=sets, licence=licence)


def test_a_card_holds_method_data_figures_and_licence():
    config = replace(CONFIG, method=method_config("srpo+lte"))
    text = card_of(config).markdown()
    lines = text.splitlines()
    assert "# srpo+lte on chain" in lines
    (method,) = [line for line in lines if line.startswith("| method |")]
    assert all(row_of(method_config(own)).paper in method for own in ("srpo", "lte"))
    assert "| base model | `base` |" in lines
    assert "| licence of the base model | mit |" in lines
    assert "| training problems | `chain`, content hash `a1` |" in lines
    assert "| evaluation problems | `chain`, split `test`, content hash `b2` |" in lines
    assert "| iterations, updates | 2, 2 |" in lines
    assert "| generated tokens | 3,021 |" in lines
    at = lines.index("## Figures: 1,200 problems, 95 % intervals over problems")
    assert lines[at + 2 : at + 6] == [
        "|  | pass@1 | pass@4 |",
        "| --- | --- | --- |",
        "| before training | 0.250 [0.125, 0.500] | 0.750 [0.500, 1.000] |",
        "| after iteration 2 | 0.300 [0.200, 0.400] | 0.800 [0.600, 0.900] |",
    ]
    data = HubCard(text).data
    assert [(own.metric_type, own.metric_value) for own in data.eval_results] == [
        ("pass@1", 0.3),
        ("pass@4", 0.8),
    ]
    assert "srpo+lte" in data.tags


def test_a_card_names_the_papers_of_all_parts():
    text = card_of(replace(CONFIG, method=method_config("rrpo"), cpi=CPIConfig())).markdown()
    assert "# cpi on chain" in text
    assert row_of(method_config("rrpo")).paper in text
    assert CPI_ROW.paper in text


def test_a_card_without_evaluation_or_licence_says_so():
    text = card_of(CONFIG, [ROWS[1]], licence="unknown", train="a1").markdown()
    assert "Figures" not in text
    assert "evaluation problems" not in text
    assert "name no licence" in text
    assert HubCard(text).data.license == "unknown"
    assert HubCard(text).data.eval_results is None


def test_a_card_names_no_folder_of_the_machine(tmp_path):
    source = tmp_path / "secret" / "mine.jsonl"
    source.parent.mkdir()
    config = replace(CONFIG, model=str(source.parent), env=EnvConfig(problems=str(source)))
    text = card_of(config).markdown()
    assert "mine.jsonl" in text
    assert str(tmp_path) not in text


@pytest.fixture(scope="module")
def run_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("card") / "run"
    session = build_session(replace(CONFIG, lora=LoraConfig(rank=2)))
    with RunDir.create(path, session.config, command=["test"]) as run:
        train(session, run)
    return path


def test_every_saved_model_of_a_run_has_its_card(run_path):
    with RunDir.open(run_path) as run:
        checkpoint = latest_checkpoint(run)
        rows = run.read_metrics()
    alone = HubCard.load(checkpoint / "model/README.md")
    merged = HubCard.load(run_path / "model/README.md")
    assert (alone.data.library_name, merged.data.library_name) == ("peft", "transformers")
    for found in (alone, merged):
        assert found.data.license == "apache-2.0"
        assert "an adapter of rank 2, float32" in found.text
        (first, *_) = found.data.eval_results
        assert first.metric_value == round(rows[-1]["eval/pass_at_1"], 4)
    hashes = build_session(CONFIG).problem_sets
    assert all(f"content hash `{own}`" in merged.text for own in hashes.values())


def test_a_model_that_is_trained_further_keeps_the_licence(run_path, tmp_path):
    directory = model_directory(str(run_path))
    card = HubCard.load(f"{directory}/README.md")
    card.data.license = "gemma"
    copy = tmp_path / "copy"
    copy.mkdir()
    for item in (run_path / "model").iterdir():
        (copy / item.name).write_bytes(item.read_bytes())
    card.save(copy / "README.md")
    session = build_session(replace(CONFIG, model=str(copy), iterations=1))
    with RunDir.create(tmp_path / "run", session.config, command=["test"]) as run:
        train(session, run)
        path = latest_checkpoint(run)
    assert HubCard.load(path / "model/README.md").data.license == "gemma"
