import json
import math
import shutil
import threading
from dataclasses import replace

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from reason_env.agents.cpi import CPIConfig
from reason_env.agents.evaluate import EvalConfig
from reason_env.agents.learning import AdvantageConfig, Learner, LearnerConfig
from reason_env.agents.methods import ComposedConfig, GRPOConfig, LTEConfig
from reason_env.agents.metrics import metric
from reason_env.agents.policy import LanguageModelPolicy
from reason_env.agents.runs import (
    CheckpointConfig,
    RunDir,
    checkpoint,
    config_json,
    latest_checkpoint,
)
from reason_env.agents.train import TrainConfig, build_session, iterate, prepare, train
from reason_env.codec import ByteCodec
from reason_env.env import EnvConfig, RewardConfig
from reason_env.errors import (
    ConfigError,
    ModelError,
    ProblemError,
    TrainingError,
    UnknownNameError,
    VerifierError,
)
from reason_env.state import GUIDANCE_TEXTS


def small(**changes):
    """Build the config of a run of seconds: the base model on easy problems."""
    arguments = {
        "method": GRPOConfig(group_size=4),
        "env": EnvConfig(levels=(3, 4), max_tokens=64),
        "eval": EvalConfig(num_problems=8, samples=2, k=2, greedy=False),
        "checkpoint": CheckpointConfig(every=1, keep_last=10),
        "learner": LearnerConfig(learning_rate=2e-4, updates_per_iteration=2),
        "iterations": 3,
        "problems_per_iteration": 4,
        "episodes_per_iteration": 2,
    }
    return TrainConfig(**(arguments | changes))


def run_to_end(config, path, **options):
    session = build_session(config)
    with RunDir.create(path, session.config, command=["test"]) as run:
        return session, train(session, run, **options)


def resumed(path, **options):
    with RunDir.open(path) as run:
        checkpoint = latest_checkpoint(run)
        session = build_session(run.config(TrainConfig), checkpoint=checkpoint)
        run.resume(None if checkpoint is None else session.iteration)
        return session, train(session, run, **options)


def weights(session):
    return {name: value.clone() for name, value in session.policy.model.state_dict().items()}


class KilledError(Exception):
    pass


def kill_at(iteration):
    def on_row(row):
        if row["iteration"] == iteration:
            raise KilledError

    return on_row


@pytest.fixture(scope="module")
def three_iterations(tmp_path_factory):
    """The session, rows and directory of an uninterrupted run."""
    path = tmp_path_factory.mktemp("three") / "whole"
    return *run_to_end(small(), path), path


@pytest.fixture(scope="module")
def one_iteration(tmp_path_factory):
    """The same of a run of one iteration; a test that writes to the directory copies it."""
    path = tmp_path_factory.mktemp("one") / "run"
    return *run_to_end(small(iterations=1), path), path


@pytest.mark.parametrize("iteration", [0, 1, 2])
def test_a_run_killed_anywhere_resumes_to_the_same_bits(tmp_path, three_iterations, iteration):
    whole, _, path = three_iterations
    with pytest.raises(KilledError):
        run_to_end(small(), tmp_path / "killed", on_row=kill_at(iteration))
    again, _ = resumed(tmp_path / "killed")
    assert again.iteration == 3
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(again)[name]), name
    for name in ("metrics.jsonl", "config.json", "episodes/iteration_000003.jsonl"):
        assert (path / name).read_bytes() == (tmp_path / "killed" / name).read_bytes()


def test_a_checkpoint_written_after_the_next_update_holds_what_was_before_it(
    tmp_path, three_iterations, monkeypatch
):
    write, learn, has_learned = checkpoint._write_checkpoint, Learner.update, threading.Event()

    def late(*args):
        has_learned.wait(3.0)
        write(*args)

    def update(*args, **options):
        report = learn(*args, **options)
        has_learned.set()
        return report

    def clear(row):
        has_learned.clear()

    monkeypatch.setattr(checkpoint, "_write_checkpoint", late)
    monkeypatch.setattr(Learner, "update", update)
    run_to_end(small(), tmp_path / "slow", on_row=clear)
    for number in (1, 2, 3):
        place = f"checkpoints/iteration_{number:06d}"
        for name in ("state.safetensors", "state.json", "model/model.safetensors"):
            written = [path / place / name for path in (three_iterations[2], tmp_path / "slow")]
            assert written[0].read_bytes() == written[1].read_bytes(), (number, name)


def test_a_checkpoint_that_cannot_be_written_ends_the_run_before_the_next_metrics(
    tmp_path, monkeypatch
):
    def full(*args):
        raise OSError("no space left on device")

    monkeypatch.setattr(checkpoint, "_write_checkpoint", full)
    config = small(iterations=4, checkpoint=CheckpointConfig(every=2))
    with pytest.raises(OSError, match="no space left on device"):
        run_to_end(config, tmp_path / "run")
    assert [row["iteration"] for row in RunDir.open(tmp_path / "run").read_metrics()] == [0, 1, 2]


def test_a_run_in_mixed_precision_samples_learns_and_resumes_to_the_same_bits(tmp_path):
    config = small(precision="bf16-mixed", iterations=2)
    whole, rows = run_to_end(config, tmp_path / "whole")
    with pytest.raises(KilledError):
        run_to_end(config, tmp_path / "killed", on_row=kill_at(1))
    again, _ = resumed(tmp_path / "killed")
    written = [(tmp_path / name / "metrics.jsonl").read_bytes() for name in ("whole", "killed")]
    assert written[0] == written[1]
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(again)[name]), name
        assert value.dtype == torch.float32
    engine = whole.policy.engine
    assert whole.policy.precision == engine.precision == "bf16-mixed"
    assert engine.path == "fused"
    # Sampler and trainer round the same products.
    assert rows[1]["rollout/mismatch_mean"] < 1e-4
    assert rows[1]["update/num_updates"] == 2


def test_a_scheduled_run_resumes_to_the_same_bits_and_a_prolonged_one_follows_the_longer_plan(
    tmp_path,
):
    learner = LearnerConfig(schedule="linear")
    session = build_session(small(learner=learner, iterations=2))
    # The default of the shipped model; the config that is written repeats the run.
    assert session.config.learner.learning_rate == 2e-4
    _, whole = run_to_end(session.config, tmp_path / "whole")
    rates = [row["update/learning_rate"] for row in whole[1:]]
    assert rates == pytest.approx([2e-4, 2e-4 * (1 - 0.9 * 1 / 2)])
    with pytest.raises(KilledError):
        run_to_end(session.config, tmp_path / "run", on_row=kill_at(1))
    resumed(tmp_path / "run")
    metrics = [(tmp_path / name / "metrics.jsonl").read_bytes() for name in ("whole", "run")]
    assert metrics[0] == metrics[1]
    longer = replace(session.config, iterations=4)
    (tmp_path / "run" / "config.json").write_text(config_json.dump(longer))
    _, rows = resumed(tmp_path / "run")
    rates = [row["update/learning_rate"] for row in rows[3:]]
    assert rates == pytest.approx([2e-4 * (1 - 0.9 * 2 / 4), 2e-4 * (1 - 0.9 * 3 / 4)])


def test_a_model_that_cannot_share_prefixes_is_named_in_a_warning(tmp_path, caplog):
    sizes = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 512}
    ids = {"bos_token_id": None, "eos_token_id": None}
    model = GPT2LMHeadModel(GPT2Config(vocab_size=258, **sizes, **ids))
    LanguageModelPolicy(model, ByteCodec()).save(tmp_path / "gpt2")
    build_session(small(model=str(tmp_path / "gpt2")))
    assert "once for each sample, because the architecture is 'gpt2', known are" in caplog.text
    caplog.clear()
    build_session(small())
    assert not caplog.text


def test_the_share_of_a_run_is_that_of_its_token_budget_if_that_is_nearer():
    session = build_session(small(iterations=10, max_generated_tokens=1000))
    session.iteration, session.sampled_tokens_total = 3, 250
    assert session.run_share == 0.3
    session.sampled_tokens_total = 450
    assert session.run_share == 0.45
    session.sampled_tokens_total = 1100
    assert session.run_share == 1.0


def test_resuming_a_finished_run_changes_nothing(tmp_path, one_iteration):
    first, rows, path = one_iteration
    second, again = resumed(shutil.copytree(path, tmp_path / "run"))
    assert again == rows
    assert all(torch.equal(v, weights(second)[n]) for n, v in weights(first).items())


def test_zero_advantages_change_no_weight(tmp_path):
    config = small(zero_advantages=True)
    before = weights(build_session(config))
    session, rows = run_to_end(config, tmp_path / "run")
    assert all(torch.equal(value, before[name]) for name, value in weights(session).items())
    evaluated = [row["eval/pass_at_1"] for row in rows if "eval/pass_at_1" in row]
    assert len(evaluated) == 2
    assert evaluated[0] == evaluated[1]


@pytest.mark.slow
def test_grpo_lifts_the_pass_rate_and_zero_advantages_do_not(tmp_path):
    config = small(
        method=GRPOConfig(group_size=8),
        env=EnvConfig(levels=(4, 8), max_tokens=128),
        eval=EvalConfig(num_problems=60, samples=4, k=4, greedy=False),
        checkpoint=CheckpointConfig(every=100),
        learner=LearnerConfig(learning_rate=4e-4),
        iterations=8,
        problems_per_iteration=24,
    )
    _, rows = run_to_end(config, tmp_path / "learns")
    _, flat = run_to_end(replace(config, zero_advantages=True), tmp_path / "flat")
    before, after = rows[0], rows[-1]
    assert after["eval/pass_at_1_low"] > before["eval/pass_at_1_high"]
    assert flat[-1]["eval/pass_at_1"] == flat[0]["eval/pass_at_1"] == before["eval/pass_at_1"]
    curve = [row["rollout/pass_rate"] for row in flat[1:]]
    assert max(curve) - min(curve) < 0.25


def test_two_runs_of_one_config_are_equal_and_another_seed_is_not(tmp_path, one_iteration):
    for name, seed in (("b", 0), ("c", 1)):
        run_to_end(small(iterations=1, seed=seed), tmp_path / name)
    folders = (one_iteration[-1], tmp_path / "b", tmp_path / "c")
    a, b, c = ((folder / "metrics.jsonl").read_bytes() for folder in folders)
    assert a == b
    assert a != c


def test_every_written_metric_is_in_the_table_and_outcomes_add_up(three_iterations):
    _, rows, _ = three_iterations
    for row in rows:
        for name in row:
            if name != "iteration":
                metric(name)
    for row in rows[1:]:
        outcomes = [value for name, value in row.items() if name.startswith("grade/")]
        assert sum(outcomes) == pytest.approx(1.0)
        assert row["rollout/num_trajectories"] == 16
        assert row["update/behavior_gap_max"] < 1e-3
    total = sum(row["rollout/sampled_tokens"] for row in rows[1:])
    assert rows[-1]["rollout/sampled_tokens_total"] == total


def test_the_last_checkpoint_is_a_model_that_loads_and_is_the_trained_one(one_iteration):
    session, _, path = one_iteration
    model = path / "checkpoints" / "iteration_000001" / "model"
    loaded = LanguageModelPolicy.load(str(model)).model.state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in weights(session).items())


def test_a_kl_coefficient_is_enough_to_train_with_a_reference_policy(tmp_path):
    from reason_env.agents.learning import LossConfig

    method = GRPOConfig(group_size=4, loss=LossConfig(kl_coefficient=0.1))
    config = small(method=method, iterations=1)
    _, rows = run_to_end(config, tmp_path / "run")
    assert rows[-1]["update/num_updates_total"] > 0


def test_a_deadline_ends_the_run_after_the_iteration_with_an_evaluation(tmp_path):
    _, rows = run_to_end(small(iterations=50), tmp_path / "run", deadline=0.0)
    assert rows[-1]["iteration"] == 1
    assert rows[-1]["eval/pass_at_1"] is not None
    assert (tmp_path / "run" / "checkpoints" / "iteration_000001").is_dir()


def test_updates_that_are_not_finite_are_skipped_and_end_the_run_with_its_state_saved(
    tmp_path, monkeypatch, three_iterations
):
    score = LanguageModelPolicy.token_log_probs

    def broken(self, *args, **options):
        log_probs, entropy = score(self, *args, **options)
        return log_probs + (math.nan if torch.is_grad_enabled() else 0.0), entropy

    def on_row(row):
        if row["iteration"] == 1:
            monkeypatch.setattr(LanguageModelPolicy, "token_log_probs", broken)

    learner = replace(small().learner, max_nonfinite_updates=4)
    config = small(learner=learner, checkpoint=CheckpointConfig(every=5), iterations=4)
    session = build_session(config)
    with RunDir.create(tmp_path / "run", session.config, command=["test"]) as run:
        with pytest.raises(TrainingError, match="updates in a row must have a loss or gradient"):
            train(session, run, on_row=on_row)
        rows = run.read_metrics()
    assert [row.get("update/num_nonfinite") for row in rows] == [None, 0, 2, 2]
    assert [row.get("update/num_updates_total") for row in rows] == [None, 2, 2, 2]
    assert rows[3]["loss/total"] == 0
    path = three_iterations[2] / "checkpoints" / "iteration_000001"
    saved = tmp_path / "run" / "checkpoints" / "iteration_000003"
    assert (saved / "model" / "model.safetensors").read_bytes() == (
        path / "model" / "model.safetensors"
    ).read_bytes()
    monkeypatch.undo()
    # Later iterations go on from there, and the count begins again.
    again, rows = resumed(tmp_path / "run")
    assert rows[-1]["update/num_nonfinite"] == 0
    assert again.learner.num_nonfinite_in_a_row == 0
    assert again.learner.num_updates == 4


def test_a_model_whose_numbers_are_lost_samples_nothing(tmp_path):
    session = build_session(small())
    with torch.no_grad():
        session.policy.model.model.norm.weight[0] = math.nan
    message = r"log-probabilities must be finite, got \d+ of \d+ sampled tokens without; its wei"
    with pytest.raises(ModelError, match=message):
        iterate(session)


def test_candidates_that_are_not_finite_count_although_cpi_puts_them_back(tmp_path):
    session = build_session(small(cpi=CPIConfig(num_restarts=2, samples=1)))
    before = weights(session)
    head = session.policy.model.model.norm.weight
    head.register_hook(lambda gradient: gradient * math.nan)
    found = iterate(session)
    assert found.metrics["update/num_nonfinite"] == 2
    assert found.metrics["cpi/accepted"] == 0
    assert session.learner.num_nonfinite_in_a_row == 2
    assert all(torch.equal(value, before[name]) for name, value in weights(session).items())


def test_a_budget_of_tokens_ends_the_run_with_the_iteration_that_reaches_it(
    tmp_path, three_iterations
):
    _, rows, _ = three_iterations
    totals = [row["rollout/sampled_tokens_total"] for row in rows[1:]]
    for budget, last in ((totals[1], 2), (totals[1] - 1, 2), (totals[0], 1)):
        _, cut = run_to_end(
            small(iterations=3, max_generated_tokens=budget), tmp_path / str(budget)
        )
        assert [row["iteration"] for row in cut] == list(range(last + 1))
        assert cut[-1]["eval/pass_at_1"] is not None
        assert cut[-1]["rollout/sampled_tokens_total"] == totals[last - 1]
    again, rows = resumed(tmp_path / str(totals[0]))  # nothing is left to do
    assert again.is_over
    assert len(rows) == 2


def test_a_preparation_that_spends_the_whole_budget_is_refused():
    from reason_env.agents.methods.pope import POPEConfig

    method = POPEConfig(group_size=2, hard_samples=2, probe_samples=1)
    env = EnvConfig(levels=(6, 8), size=2, max_tokens=48)
    # 2 problems x 2 samples x 48 tokens, and 2 x 2 x 2 responses of an iteration, fit; the search's
    # probes do not.
    config = small(method=method, env=env, max_generated_tokens=200, problems_per_iteration=2)
    session = build_session(config)
    with pytest.raises(ConfigError, match=r"must leave tokens to train with, got 200 and \d+ in"):
        prepare(session)
    session = build_session(replace(config, max_generated_tokens=199))
    message = (
        r"max_generated_tokens must hold an iteration and what comes before it, got 199 tokens; "
        r"pope samples at least 4 responses before training, 8 responses in an iteration, together "
        r"200 tokens or more: raise it, .* or measure with fewer samples or problems \(--size\)"
    )
    with pytest.raises(ConfigError, match=message):
        prepare(session)
    assert session.policy.engine.num_prefill_tokens == 0


@pytest.mark.parametrize(
    ("name", "least"),
    [("grpo", 24), ("rrpo", 15), ("lte", 24), ("expo+srpo", 24), ("srpo+lte", 15), ("sft", 24)],
)
def test_a_budget_below_one_iteration_is_refused_before_anything_is_sampled(name, least):
    from reason_env.agents.methods import method_config

    config = small(method=method_config(name), problems_per_iteration=3)
    session = build_session(replace(config, max_generated_tokens=least - 1))
    message = f"got {least - 1} tokens; {name.replace('+', '.')} samples at least {least} responses"
    with pytest.raises(ConfigError, match=message):
        prepare(session)
    assert session.policy.engine.num_prefill_tokens == 0
    prepare(build_session(replace(config, max_generated_tokens=least)))


@pytest.mark.parametrize(
    ("changes", "prepared", "planned"),
    [
        ({}, 7 * 16, 16),
        ({"hard_samples": 3, "group_size": 2, "copies": "guided_only"}, 21, 2),
        ({"easy": "mix"}, 7 * 16, 8),
        ({"search": "first_draw"}, 0, 16),
    ],
)
def test_pope_counts_the_samples_of_its_search(changes, prepared, planned):
    from reason_env.agents.methods import build_method
    from reason_env.agents.methods.pope import POPEConfig

    method = build_method(POPEConfig(**changes))
    assert (method.prepared_responses(7), method.planned_responses) == (prepared, planned)


def test_offline_pairs_are_sampled_before_training_and_online_pairs_in_iterations():
    from reason_env.agents.methods import ExPDPOConfig, build_method

    for sampled, expected in (("offline", (15, 0)), ("online", (0, 3))):
        method = build_method(ExPDPOConfig(sampled=sampled, chains=3))
        assert (method.prepared_responses(5), method.planned_responses) == expected


def searching(**changes):
    from reason_env.agents.methods.pope import POPEConfig

    method = POPEConfig(group_size=2, hard_samples=2, probe_samples=1)
    env = EnvConfig(levels=(6, 8), size=3, max_tokens=48)
    return small(method=method, env=env, **changes)


def test_a_preparation_runs_once_reports_progress_and_is_in_the_first_row(tmp_path):
    session, calls = build_session(searching(iterations=1, problems_per_iteration=1)), []
    prepare(session, on_prepared=lambda *what: calls.append(what))
    assert calls[0][:2] == (3, 3)
    assert calls[-1][2] == session.sampled_tokens_total > 0
    with RunDir.create(tmp_path / "run", session.config, command=["test"]) as run:
        rows = train(session, run)
    prepared = rows[0]["rollout/preparation_tokens"]
    assert prepared == calls[-1][2]
    assert rows[1]["rollout/sampled_tokens_total"] == prepared + rows[1]["rollout/sampled_tokens"]


def test_a_preparation_that_uses_up_the_time_is_refused():
    session = build_session(searching(max_minutes=0.5))
    with pytest.raises(ConfigError, match=r"must leave time to train, got 0\.5 and 0 of"):
        prepare(session, deadline=0.0)


def test_a_directory_has_the_splits_of_its_files_with_and_without_a_prefix(tmp_path):
    for name in ("train.jsonl", "test.parquet", "mine.jsonl"):
        (tmp_path / name).write_text("")
    known = {
        str(tmp_path): True,
        f"file:{tmp_path}": True,
        f"gsm8k:{tmp_path}": True,
        f"{tmp_path}/mine.jsonl": False,
        f"file:{tmp_path}/mine.jsonl": False,
        "chain": True,
        "mix:chain@1-3": True,
    }
    assert {name: EnvConfig(problems=name).has_split("test") for name in known} == known
    assert not EnvConfig(problems=str(tmp_path)).has_split("validation")


def test_a_directory_without_a_test_split_has_no_evaluation_and_a_named_split_must_exist(
    tmp_path,
):
    row = '{"question": "2+2", "answer": "4"}\n'
    for name in ("train.jsonl", "validation.jsonl"):
        (tmp_path / name).write_text(row, encoding="utf-8")

    def evaluated(**changes):
        config = small(env=EnvConfig(problems=str(tmp_path)), eval=EvalConfig(**changes))
        return config.make_eval_env(ByteCodec())

    assert evaluated() is None
    assert evaluated(split="validation").unwrapped.problems[0].answer == "4"
    with pytest.raises(ProblemError, match=r"must hold dev\.jsonl"):
        evaluated(split="dev")


def test_guidance_texts_are_settings_and_get_a_final_newline():
    words = {"mistakes": "Not one of {pieces}.", "partial_solution": "So far:\n{pieces}"}
    config = EnvConfig(guidance=words)
    shown = config.make(ByteCodec()).unwrapped.prompt.guidance
    assert shown["mistakes"] == "Not one of {pieces}.\n"
    assert shown["partial_solution"] == "So far:\n{pieces}"
    assert shown["answer"] == GUIDANCE_TEXTS["answer"]
    assert config_json.load(EnvConfig, config_json.dump(config)) == config
    with pytest.raises(UnknownNameError, match="no kind of guidance 'hint' among answer, mistakes"):
        EnvConfig(guidance={"hint": "{pieces}"})
    with pytest.raises(ConfigError, match=r"must hold \{pieces\} for every kind, missing"):
        EnvConfig(guidance={"answer": "It is seven."})


def test_episodes_hold_what_regrading_needs(one_iteration):
    lines = (one_iteration[-1] / "episodes" / "iteration_000001.jsonl").read_text().splitlines()
    assert len(lines) == 2
    episode = json.loads(lines[0])
    from reason_env.state import ReasonState
    from reason_env.verify import grade

    state = ReasonState.from_dict(episode["state"])
    verdict = grade(state.text, state.problem.answer)
    assert verdict.outcome.value == episode["outcome"]
    sampled = [source for source in state.sources if source == "policy"]
    assert len(sampled) == len(episode["behavior_log_probs"])


def test_every_problem_comes_once_an_epoch_in_an_order_of_the_seed():
    config = small(problems_per_iteration=3)
    ids = [f"p{index}" for index in range(6)]
    epochs = [config.chosen(ids, n) + config.chosen(ids, n + 1) for n in (1, 3)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == ids
    assert epochs[0] != epochs[1]
    assert epochs[0] == config.chosen(ids, 1) + config.chosen(ids, 2)
    wrapped = small(problems_per_iteration=4).chosen(ids, 2)
    assert len(set(wrapped[:2])) == 2


def test_a_config_survives_json():
    config = small(env=EnvConfig(levels=(2, 5), problems="inverse"), max_minutes=1.5)
    assert config_json.load(TrainConfig, config_json.dump(config)) == config


def test_a_verifier_that_fails_on_most_responses_stops_the_run(tmp_path, monkeypatch):
    from reason_env.env import reason_env as env_module
    from reason_env.verdict import Outcome, Verdict

    monkeypatch.setattr(
        env_module,
        "grade",
        lambda response, answer, options: Verdict(Outcome.TIMEOUT, None, "too slow"),
    )
    session = build_session(small(iterations=1))
    with pytest.raises(VerifierError, match="16 of 16 failed"):
        iterate(session)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"iterations": 0}, "iterations must be at least 1, got 0"),
        ({"problems_per_iteration": 0}, "problems_per_iteration must be at least 1"),
        ({"max_minutes": 0.0}, "max_minutes must be above 0"),
        ({"max_generated_tokens": 0}, "max_generated_tokens must be at least 1, got 0"),
        ({"max_ungraded_fraction": 1.5}, "max_ungraded_fraction must lie in 0..1, got 1.5"),
        ({"episodes_per_iteration": -1}, "episodes_per_iteration must be at least 0"),
    ],
)
def test_numbers_out_of_range_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        small(**changes)


def test_greedy_sampling_is_refused_for_training():
    from reason_env.agents.engines import SamplingConfig

    with pytest.raises(ConfigError, match="temperature must be above 0 for training"):
        small(sampling=SamplingConfig(temperature=0.0))


def test_maxrl_is_refused_with_negative_rewards_before_the_run():
    maxrl = AdvantageConfig(kind="maxrl")
    penalty = EnvConfig(reward=RewardConfig(truncated=-0.25, incorrect=0.5))
    expected = r"at least 0 with advantage kind 'maxrl', got -0.25; it divides by the mean"
    for method in (
        GRPOConfig(advantage=maxrl),
        ComposedConfig(methods=(GRPOConfig(), LTEConfig(advantage=maxrl))),
    ):
        with pytest.raises(ConfigError, match=expected):
            small(method=method, env=penalty)
        assert small(method=method).method == method
    assert small(env=penalty).env == penalty


def test_a_checkpoint_of_a_run_that_lost_its_metrics_is_refused(tmp_path, one_iteration):
    shutil.copytree(one_iteration[-1], tmp_path / "torn")
    (tmp_path / "torn" / "metrics.jsonl").write_text("")
    from reason_env.errors import CheckpointError

    with pytest.raises(CheckpointError, match="must reach iteration 1"):
        resumed(tmp_path / "torn")
