"""SFT on the reference: the one place where tokens that nobody sampled carry gradient."""

import logging
import math
from dataclasses import replace

import numpy as np
import pytest

from reason_env.agents.evaluate import EvalConfig
from reason_env.agents.learning import AdvantageConfig, Learner, LearnerConfig
from reason_env.agents.methods import ComposedConfig, LTEConfig, build_method
from reason_env.agents.methods.expo import ExPOConfig
from reason_env.agents.methods.sft import SFTConfig
from reason_env.agents.metrics import metric
from reason_env.agents.rollout import source_metrics
from reason_env.agents.runs import CheckpointConfig
from reason_env.agents.scripted import ScriptedPolicy, dry_run
from reason_env.agents.train import TrainConfig, build_session, prepare
from reason_env.codec import ByteCodec
from reason_env.env import EnvConfig
from reason_env.errors import ConfigError, ProblemError
from reason_env.problem import Problem
from reason_env.state import ReasonState
from tests.agents.methods.toy import toy_env

CODEC = ByteCodec()
PROBLEMS = (
    Problem(problem_id="toy/train/0", question="2*3*4=?", answer="24", solution=("2*3=6",)),
    Problem(problem_id="toy/train/1", question="1+1=?", answer="2"),
)
PROMPT, RIGHT, WRONG = "2*3*4=?\n>", "#### 24$", "#### 20$"
SOLUTION = (*CODEC.encode("2*3=6\n#### 24"), CODEC.eos_id)


def dry_run_of(config, problems=("toy/train/0",)):
    env = toy_env(*PROBLEMS, max_tokens=40)
    method = build_method(config)
    policy = ScriptedPolicy({PROMPT: [RIGHT, WRONG]})
    return method, dry_run(method, list(problems), env=env, policy=policy)


CONFIG = SFTConfig(group_size=2, weight=0.3, advantage=AdvantageConfig(kind="mean"))


@pytest.mark.parametrize("limit", [len(SOLUTION), len(SOLUTION) - 1])
def test_references_beyond_the_response_budget_are_left_out_by_id_and_counted(caplog, limit):
    short = Problem(problem_id="toy/train/2", question="1+1=?", answer="2", solution=("1+1",))
    codec_states = [ReasonState(problem=one, codec=CODEC) for one in (*PROBLEMS, short)]
    method = build_method(CONFIG, max_response_tokens=limit)
    with caplog.at_level(logging.WARNING):
        kept = method.prepare(codec_states, lambda starts: [])
    first = "SFT leaves out 1 of 3 problems without a reference solution: toy/train/1"
    second = (
        f"SFT leaves out 1 of 2 problems without a reference solution of at most {limit} tokens "
        "that fits the context: toy/train/0"
    )
    if limit == len(SOLUTION):
        assert [state.problem.problem_id for state in kept] == ["toy/train/0", "toy/train/2"]
        assert caplog.messages == [first]
    else:
        assert [state.problem.problem_id for state in kept] == ["toy/train/2"]
        assert caplog.messages == [first, second]


def test_references_whose_prompt_leaves_no_room_in_the_context_are_left_out():
    state = ReasonState(problem=PROBLEMS[0], codec=CODEC)
    method = build_method(CONFIG, fits=lambda state: False)
    with pytest.raises(ProblemError, match="fits the context, got none in 1; raise max_tokens if"):
        method.prepare([state], lambda starts: [])


def test_a_run_checks_references_against_its_own_budget_before_it_samples():
    config = TrainConfig(method=SFTConfig(), env=EnvConfig(levels=(3, 4), size=4, max_tokens=24))
    session = build_session(config)
    with pytest.raises(ProblemError, match="solution of at most 24 tokens"):
        prepare(session)
    assert session.policy.engine.num_prefill_tokens == 0


def test_the_likelihood_is_at_temperature_one_by_default():
    assert build_method(CONFIG).role_losses["reference"].temperature == 1.0
    sampling = replace(CONFIG, likelihood_temperature=None)
    assert build_method(sampling).role_losses["reference"].temperature is None
    with pytest.raises(ConfigError, match="likelihood_temperature must be above 0 and finite"):
        replace(CONFIG, likelihood_temperature=-1.0)


def test_the_reference_is_trained_with_the_group_under_the_problem_alone():
    _, found = dry_run_of(CONFIG)
    assert [(s.role, s.source, s.advantage) for s in found.samples] == [
        ("base", "policy", 0.5),
        ("base", "policy", -0.5),
        ("reference", "reference", 0.3),
    ]
    sample = found.samples[2]
    assert sample.context_ids == CODEC.encode(PROMPT)
    assert sample.token_ids == SOLUTION
    assert sample.action_mask == (True,) * len(SOLUTION)
    assert sample.group == "0:toy/train/0/reference"
    assert found.num_sampled_tokens == 16


@pytest.fixture
def learned(uniform_policy):
    def learn(method, samples):
        learner = Learner(
            uniform_policy(),
            LearnerConfig(),
            loss=method.loss,
            role_losses=method.role_losses,
            max_response_tokens=40,
        )
        return learner.update(samples, np.random.default_rng(0))

    return learn


def test_the_reference_term_is_the_weight_times_the_mean_negative_log_likelihood(learned):
    method, found = dry_run_of(CONFIG)
    assert learned(method, found.samples[2:]).loss == pytest.approx(0.3 * math.log(258), rel=1e-12)
    # A group in the batch does not dilute the term: the losses add up.
    both, alone = learned(method, found.samples), learned(method, found.samples[:2])
    assert both.loss == pytest.approx(alone.loss + 0.3 * math.log(258), rel=1e-12)


@pytest.mark.parametrize(
    "config", [CONFIG, ExPOConfig(group_size=2, explanations="expert")], ids=lambda c: c.kind
)
def test_update_metrics_are_split_by_the_source_of_the_tokens(config, learned):
    method, found = dry_run_of(config)
    report = learned(method, found.samples)
    assert set(report.metrics_by_source) == {"policy", "reference"}
    # The reference was sampled by nobody: 0 is recorded, the policy gives each token 1/258.
    reference = report.metrics_by_source["reference"]
    assert reference["update/tokens"] == len(SOLUTION)
    assert reference["update/behavior_gap_mean"] == pytest.approx(math.log(258), rel=1e-12)
    assert report.metrics_by_source["policy"]["update/tokens"] == 16
    written = source_metrics(report.metrics_by_source)
    for name in ("ratio_mean", "effective_sample_fraction", "chi_square", "kl_old_policy"):
        assert f"update/{name}/from_reference" in written
    assert all(metric(name) for name in written)


def test_update_metrics_are_not_split_if_the_policy_wrote_every_token(learned):
    method, found = dry_run_of(CONFIG)
    report = learned(method, found.samples[:2])
    assert set(report.metrics_by_source) == {"policy"}
    assert source_metrics(report.metrics_by_source) == {}


def test_problems_without_a_reference_solution_are_left_out_by_name(caplog):
    with caplog.at_level(logging.WARNING):
        _, found = dry_run_of(CONFIG, problems=("toy/train/1", "toy/train/0"))
    assert caplog.messages == [
        "SFT leaves out 1 of 2 problems without a reference solution: toy/train/1"
    ]
    assert len(found.samples) == 3
    with pytest.raises(ProblemError, match="SFT must have problems with a reference solution, got"):
        dry_run_of(CONFIG, problems=("toy/train/1",))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"group_size": 1}, "group_size must be at least 2, got 1"),
        ({"weight": 0.0}, "weight must be above 0 and finite, got 0.0"),
        ({"weight": math.inf}, "weight must be above 0 and finite, got inf"),
    ],
)
def test_numbers_out_of_range_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        SFTConfig(**changes)


def test_imitation_alone_samples_nothing_and_trains_each_drawn_solution():
    method, found = dry_run_of(replace(CONFIG, group_size=0), ["toy/train/0", "toy/train/0"])
    assert found.batches == ()
    assert found.num_sampled_tokens == 0
    _, alone = dry_run_of(CONFIG)
    (_, _, sample) = alone.samples
    assert list(found.samples) == [sample, replace(sample, group="1:toy/train/0/reference")]
    assert method.planned_responses == 0


def test_imitation_alone_has_nothing_to_share():
    with pytest.raises(ConfigError, match="use a group_size of 2 or more"):
        ComposedConfig(methods=(SFTConfig(group_size=0), LTEConfig()))
    with pytest.raises(ConfigError, match="group_size must be at least 2, got -1"):
        SFTConfig(group_size=-1)


def test_imitation_alone_resumes_and_raises_the_likelihood(cut_and_resumed):
    config = TrainConfig(
        method=SFTConfig(group_size=0),
        env=EnvConfig(levels=(3, 4), size=6),
        eval=EvalConfig(num_problems=2, samples=1, k=1, greedy=False),
        learner=LearnerConfig(learning_rate=1e-3),
        checkpoint=CheckpointConfig(every=1),
        iterations=4,
        problems_per_iteration=6,
    )
    _, _, rows = cut_and_resumed(config)
    losses = [row["loss/total"] for row in rows if row["iteration"] > 0]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.8 * losses[0]
    assert rows[-1]["rollout/sampled_tokens_total"] == 0
    assert rows[-1]["update/tokens"] > 0
