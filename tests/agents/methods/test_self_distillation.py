"""OPSD and SDPO: who is taught, what the teacher sees, and what is trained."""

import math
from dataclasses import replace

import numpy as np
import pytest

from reason_env.agents.evaluate import EvalConfig
from reason_env.agents.learning import AdvantageConfig, LossConfig
from reason_env.agents.methods import (
    GRPOConfig,
    OPSDConfig,
    SDPOConfig,
    build_method,
    method_config,
    method_name,
)
from reason_env.agents.methods.registry import ComposedConfig
from reason_env.agents.policy import LanguageModelPolicy
from reason_env.agents.runs import CheckpointConfig
from reason_env.agents.scripted import ScriptedPolicy, dry_run
from reason_env.agents.train import TrainConfig, build_session, iterate
from reason_env.codec import ByteCodec, HuggingFaceCodec
from reason_env.env import EnvConfig, reason_env_of
from reason_env.errors import ConfigError, ProblemError
from reason_env.problem import Problem
from tests.agents.methods.toy import toy_env
from tests.agents.policy.test_policy import tiny_model, word_tokenizer

CODEC = ByteCodec()
PROBLEMS = (
    Problem(problem_id="toy/train/0", question="2*3*4=?", answer="24", solution=("2*3=6",)),
    Problem(problem_id="toy/train/1", question="1+1=?", answer="2"),
)
PROMPT = "2*3*4=?\n>"
RIGHT, OTHER, WRONG, SILENT = "#### 24$", "6*4\n#### 24$", "#### 20$", "hm$"


def env_of():
    return toy_env(*PROBLEMS, max_tokens=40)


def dry_run_of(config, script, problems=("toy/train/0",), **built):
    env = env_of()
    method = build_method(config, prompt_ids=reason_env_of(env).prompt.token_ids, **built)
    policy = ScriptedPolicy({PROMPT: script})
    return method, dry_run(method, list(problems), env=env, policy=policy)


def teachers_of(found):
    return [
        None if s.teacher_context_ids is None else CODEC.decode(s.teacher_context_ids)
        for s in found.samples
    ]


# OPSD.


def test_every_episode_is_scored_by_a_teacher_that_sees_the_solution():
    config = OPSDConfig(group_size=2, weight=0.5)
    method, found = dry_run_of(config, [RIGHT, WRONG])
    assert [(s.role, s.group, s.advantage) for s in found.samples] == [
        ("taught", "0:toy/train/0/taught", 0.5)
    ] * 2
    # The reference solution with its answer, as the template shows a partial solution.
    assert teachers_of(found) == ["2*3*4=?\nBegin:\n2*3=6\n#### 24>"] * 2
    first = found.samples[0]
    assert first.context_ids == CODEC.encode(PROMPT)
    assert first.token_ids == (*CODEC.encode("#### 24"), CODEC.eos_id)
    assert first.action_mask == (True,) * 8
    assert found.num_sampled_tokens == 16
    assert found.samples[1].trajectory_id == found.groups[0].trajectories[1].trajectory_id
    assert method.loss.distillation == config.distillation
    assert method.role_losses == {}


def test_the_teacher_may_see_the_answer_alone_or_own_words():
    _, found = dry_run_of(OPSDConfig(shown="answer"), [WRONG])
    assert teachers_of(found) == ["2*3*4=?\nAnswer: 24\n>"]
    _, found = dry_run_of(OPSDConfig(wording="Solved so:\n{solution}\nNow you."), [WRONG])
    assert teachers_of(found) == ["2*3*4=?\nSolved so:\n2*3=6\n#### 24\nNow you.\n>"]


def test_problems_without_a_solution_that_fits_are_left_out():
    states = [
        start.learn_from
        for start in build_method(GRPOConfig()).plan(
            [_state(number) for number in (0, 1)], np.random.default_rng(0)
        )
    ]
    method = build_method(OPSDConfig())
    assert [s.problem.problem_id for s in method.prepare(states, lambda starts: [])] == [
        "toy/train/0"
    ]
    narrow = build_method(OPSDConfig(), fits=lambda state: not state.guidance)
    message = "OPSD must have problems with a reference solution that .* raise max_prompt_tokens"
    with pytest.raises(ProblemError, match=message):
        narrow.prepare(states, lambda starts: [])
    with pytest.raises(
        ProblemError, match="a reference solution, got none in 1; give a `solution`"
    ):
        narrow.prepare(states[1:], lambda starts: [])
    assert build_method(OPSDConfig(shown="answer")).prepare(states, lambda starts: []) == states
    narrow = build_method(OPSDConfig(shown="answer"), fits=lambda state: not state.guidance)
    with pytest.raises(
        ProblemError, match="must have problems with an answer that fits the prompt"
    ):
        narrow.prepare(states, lambda starts: [])


def _state(number):
    from reason_env.state import ReasonState

    return ReasonState(problem=PROBLEMS[number], codec=CODEC)


def test_after_grpo_the_taught_episodes_are_added_to_the_compared_ones():
    config = ComposedConfig(
        methods=(
            GRPOConfig(group_size=2, advantage=AdvantageConfig(kind="mean")),
            OPSDConfig(weight=0.25),
        )
    )
    method, found = dry_run_of(config, [RIGHT, WRONG])
    assert [(s.role, s.advantage) for s in found.samples] == [
        ("base", 0.5),
        ("base", -0.5),
        ("taught", 0.25),
        ("taught", 0.25),
    ]
    assert teachers_of(found)[:2] == [None, None]
    assert found.num_sampled_tokens == 16
    assert method.loss == LossConfig()
    assert set(method.role_losses) == {"taught"}
    assert method.role_losses["taught"].separate_normaliser


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "opsd+lte",
            r"opsd must come after another method, got opsd\+lte; it compares .*lte\+opsd",
        ),
        ("sdpo+grpo", r"sdpo must come after another method, got sdpo\+grpo"),
        ("grpo+opsd+sdpo", r"opsd and sdpo must not be combined, .* own the episodes of taught"),
    ],
)
def test_compositions_without_meaning_are_refused(name, message):
    with pytest.raises(ConfigError, match=message):
        method_config(name)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("vineppo+opsd", "grpo+vineppo+opsd"),
        ("opsd+lte+grpo", "grpo+lte+opsd"),
        ("opsd+vineppo+lte", "lte+opsd+vineppo"),
    ],
)
def test_the_order_that_a_refusal_advises_is_accepted(name, advice):
    with pytest.raises(ConfigError, match="the first method has to: ") as error:
        method_config(name)
    assert str(error.value).rpartition(" ")[2] == advice
    assert method_name(method_config(advice)) == advice


# SDPO.


def test_the_teacher_sees_the_first_other_success_of_the_group():
    config = SDPOConfig(group_size=4)
    method, found = dry_run_of(config, [WRONG, RIGHT, SILENT, OTHER])
    shown = "2*3*4=?\nBegin:\n{}>"
    # The first success sees the second one; all others see the first.
    first, second = (shown.format(text) for text in ("#### 24", "6*4\n#### 24"))
    assert teachers_of(found) == [first, second, first, first]
    assert method.metrics(found.groups) == {"rollout/taught_fraction": 1.0}


def test_an_episode_without_another_success_is_not_trained():
    method, found = dry_run_of(SDPOConfig(group_size=3), [WRONG, RIGHT, SILENT])
    # The only success has no teacher.
    assert [s.token_ids[:-1] for s in found.samples] == [
        CODEC.encode("#### 20"),
        CODEC.encode("hm"),
    ]
    assert method.metrics(found.groups) == {"rollout/taught_fraction": pytest.approx(2 / 3)}
    method, found = dry_run_of(SDPOConfig(group_size=2), [WRONG, SILENT])
    assert found.samples == ()
    assert method.metrics(found.groups) == {"rollout/taught_fraction": 0.0}


def test_feedback_shows_the_own_wrong_answer_where_no_other_episode_succeeded():
    config = SDPOConfig(group_size=2, feedback="mistakes")
    _, found = dry_run_of(config, [WRONG, SILENT])
    # An episode without an answer has no wrong one.
    assert teachers_of(found) == ["2*3*4=?\nNot: 20\n>"]
    _, found = dry_run_of(config, [WRONG, RIGHT])
    assert teachers_of(found) == ["2*3*4=?\nBegin:\n#### 24>"]


def test_a_success_that_does_not_fit_gives_way_to_the_next_one():
    def fits(state):
        return sum(len(piece) for own in state.guidance for piece in own.pieces) < 8

    _, found = dry_run_of(SDPOConfig(group_size=3), [OTHER, RIGHT, WRONG], fits=fits)
    # The longer success (12 characters) is shown to nobody, so the shorter one has no teacher.
    assert teachers_of(found) == ["2*3*4=?\nBegin:\n#### 24>"] * 2
    assert [s.token_ids[0] for s in found.samples] == [ord("6"), ord("#")]


def test_the_defaults_are_the_release_s():
    config = SDPOConfig().distillation
    assert (config.divergence, config.mixture, config.top_k, config.support, config.tail) == (
        "jensen_shannon",
        0.5,
        100,
        "policy",
        True,
    )
    assert (config.teacher, config.average_rate, config.ratio_cap) == ("average", 0.05, 2.0)
    assert build_method(SDPOConfig()).loss.importance_weight_cap == 2.0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: OPSDConfig(group_size=0), "group_size must be at least 1, got 0"),
        (lambda: OPSDConfig(weight=0.0), "weight must be above 0 and finite, got 0.0"),
        (lambda: OPSDConfig(shown="all"), "shown must be one of solution, answer, got 'all'"),
        (lambda: OPSDConfig(wording="x"), r"wording must hold \{solution\}, got 'x'"),
        (
            lambda: OPSDConfig(wording="{solution}", shown="answer"),
            "wording must be empty with shown 'answer'",
        ),
        (lambda: OPSDConfig(likelihood_temperature=0.0), "likelihood_temperature must be above 0"),
        (lambda: SDPOConfig(group_size=1), "group_size must be at least 2, got 1; a teacher sees"),
        (lambda: SDPOConfig(weight=math.inf), "weight must be above 0 and finite, got inf"),
        (lambda: SDPOConfig(feedback="yes"), "feedback must be one of none, mistakes, got 'yes'"),
    ],
)
def test_numbers_out_of_range_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


# Runs.


def config_of(method, **changes):
    return TrainConfig(
        method=method,
        env=EnvConfig(levels=(2, 3), max_tokens=48, size=6),
        eval=EvalConfig(num_problems=2, samples=2, k=2, greedy=False),
        checkpoint=CheckpointConfig(every=1),
        problems_per_iteration=2,
        iterations=3,
        **changes,
    )


@pytest.mark.parametrize(
    "method",
    [
        OPSDConfig(),
        SDPOConfig(group_size=4, feedback="mistakes"),
        replace(method_config("grpo+opsd"), methods=(GRPOConfig(group_size=4), OPSDConfig())),
    ],
    ids=["opsd", "sdpo", "grpo+opsd"],
)
def test_a_resumed_run_is_bit_equal(method, cut_and_resumed):
    _, _, rows = cut_and_resumed(config_of(method))
    sampled = [row["rollout/sampled_tokens"] for row in rows if row["iteration"]]
    totals = [row["rollout/sampled_tokens_total"] for row in rows if row["iteration"]]
    assert totals == np.cumsum(sampled).tolist()
    taught = [row["update/teacher_tokens"] for row in rows if row["iteration"]]
    assert all(count > 0 for count in taught)


def test_another_model_teaches_under_the_same_context(tmp_path):
    first = build_session(config_of(OPSDConfig()))
    iterate(first)
    first.policy.save(tmp_path / "teacher")
    distillation = replace(OPSDConfig().distillation, teacher=str(tmp_path / "teacher"))
    session = build_session(config_of(OPSDConfig(distillation=distillation)))
    found = iterate(session)
    assert found.metrics["update/teacher_divergence"] > 0


def test_a_teacher_with_other_token_ids_is_refused(tmp_path):
    policy = LanguageModelPolicy(tiny_model(vocab_size=8), HuggingFaceCodec(word_tokenizer()))
    policy.save(tmp_path)
    distillation = replace(OPSDConfig().distillation, teacher=str(tmp_path))
    with pytest.raises(ConfigError, match="a teacher must share the policy's token ids, got"):
        build_session(config_of(OPSDConfig(distillation=distillation)))
