import json
from dataclasses import replace

import pytest

from reason_env.agents.evaluate import EvalConfig
from reason_env.agents.learning import LearnerConfig
from reason_env.agents.methods import GRPOConfig
from reason_env.agents.methods.lte import LTEConfig
from reason_env.agents.runs import CheckpointConfig, RunDir
from reason_env.agents.train import TrainConfig, build_session, evaluation, train
from reason_env.agents.train.evaluation import initial_metrics
from reason_env.env import EnvConfig
from reason_env.errors import ConfigError


def config(folder, **changes):
    own = TrainConfig(
        env=EnvConfig(size=4, levels=(2, 3), max_tokens=40),
        eval=EvalConfig(
            num_problems=2, samples=3, k=2, greedy=False, cache_dir=folder and str(folder)
        ),
        checkpoint=CheckpointConfig(),
        iterations=1,
        problems_per_iteration=2,
        method=GRPOConfig(group_size=4),
    )
    return replace(own, **changes)


def entries(folder):
    return sorted(path.name for path in folder.iterdir())


def test_arms_of_one_seed_share_the_evaluation_before_training(tmp_path, monkeypatch):
    plain = initial_metrics(build_session(config(None)))
    folder = tmp_path / "kept"
    assert initial_metrics(build_session(config(folder))) == plain
    assert len(entries(folder)) == 1
    # Another method, learning rate and place in the comparison: measured alike, so not again.
    other = config(folder, method=LTEConfig(), learner=LearnerConfig(learning_rate=1e-3))
    again = build_session(other)
    monkeypatch.setattr(
        evaluation, "evaluate", lambda *_, **__: pytest.fail("it was measured again")
    )
    assert initial_metrics(again) == plain
    assert len(entries(folder)) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"env": EnvConfig(size=4, levels=(2, 3), max_tokens=39)},
        {"eval": {"samples": 4}},
        {"eval": {"split": "validation"}},
        {"eval": {"temperature": 0.9}},
        {"max_batch_size": 5},
    ],
    ids=str,
)
def test_every_setting_that_affects_an_evaluation_changes_its_cache_entry(changes, tmp_path):
    first = config(tmp_path)
    initial_metrics(build_session(first))
    if isinstance(changes.get("eval"), dict):
        changes = {"eval": replace(first.eval, **changes["eval"])}
    initial_metrics(build_session(replace(first, **changes)))
    assert len(entries(tmp_path)) == 2


def test_other_weights_have_another_cache_entry(tmp_path):
    trained = build_session(config(tmp_path))
    initial_metrics(trained)
    with_other = build_session(config(tmp_path))
    weight = next(with_other.policy.model.parameters())
    weight.data[0, 0] += 1.0
    initial_metrics(with_other)
    assert len(entries(tmp_path)) == 2


def test_a_run_writes_equal_metrics_with_and_without_a_cached_evaluation(tmp_path):
    texts = []
    for number, folder in enumerate((None, tmp_path / "kept", tmp_path / "kept")):
        own = config(folder)
        with RunDir.create(tmp_path / str(number), own, command=["test"]) as run:
            train(build_session(own), run)
        texts.append((tmp_path / str(number) / "metrics.jsonl").read_text())
    assert texts[0] == texts[1] == texts[2]


def test_a_damaged_entry_is_refused_with_the_remedy(tmp_path):
    initial_metrics(build_session(config(tmp_path)))
    (name,) = entries(tmp_path)
    for text in ("{", json.dumps({"rollout/pass_rate": 1.0}), "[]", "3"):
        (tmp_path / name).write_text(text)
        with pytest.raises(
            ConfigError, match="a cached evaluation must be unchanged since it was written, got"
        ):
            initial_metrics(build_session(config(tmp_path)))


def test_without_evaluation_problems_no_cache_entry_is_written(tmp_path):
    own = config(tmp_path / "kept", env=EnvConfig(problems=str(_file(tmp_path))))
    assert initial_metrics(build_session(own)) == {}
    assert not (tmp_path / "kept").exists()


def _file(folder):
    path = folder / "own.jsonl"
    path.write_text('{"question": "1+1=?", "answer": "2"}\n{"question": "1+2=?", "answer": "3"}\n')
    return path
