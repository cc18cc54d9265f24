import json
import logging

import numpy as np
import pytest

from reason_env.agents.engines import SamplingConfig
from reason_env.agents.evaluate import EvalConfig
from reason_env.agents.learning import AdvantageConfig, LearnerConfig, LossConfig
from reason_env.agents.methods.explanation import ExplanationRule
from reason_env.agents.methods.expo import ExPO, ExPOConfig
from reason_env.agents.methods.protocol import plain_reference_ids
from reason_env.agents.rollout import Start, collect
from reason_env.agents.runs import CheckpointConfig
from reason_env.agents.scripted import ScriptedPolicy, dry_run, scripted_log_probs
from reason_env.agents.train import TrainConfig
from reason_env.codec import ByteCodec
from reason_env.env import EnvConfig, reason_env_of
from reason_env.errors import ConfigError, ProblemError
from reason_env.problem import Problem
from reason_env.state import ReasonState
from reason_env.verify import GradeOptions, grade
from tests.agents.methods.toy import toy_env

CODEC = ByteCodec()
PROBLEM = Problem(
    problem_id="toy/train/0", question="2*3*4=?", answer="24", solution=("2*3=6", "6*4=24")
)
BARE = Problem(problem_id="toy/train/1", question="1+1=?", answer="2")
PROMPT, SHOWN = "2*3*4=?\n>", "2*3*4=?\nAnswer: 24\n>"
RIGHT, WRONG = "#### 24$", "#### 20$"
EXPLAINED = "6*4\n#### 24$"
BASE, EXPLANATION = "0:toy/train/0", "0:toy/train/0/explanation"


def ids(text):
    return CODEC.encode(text.removesuffix("$")) + ((CODEC.eos_id,) if text.endswith("$") else ())


def make(**changes):
    config = {"group_size": 2, "advantage": AdvantageConfig(kind="mean")}
    return ExPO(ExPOConfig(**(config | changes)))


def run(method, script, *, problems=("toy/train/0",)):
    env = toy_env(PROBLEM, BARE, max_tokens=30)
    policy = ScriptedPolicy(script)
    return dry_run(method, list(problems), env=env, policy=policy), policy


def test_an_explanation_is_sampled_under_the_answer_and_trained_without_it():
    found, policy = run(make(beta=0.5), {PROMPT: [RIGHT, WRONG], SHOWN: [EXPLAINED]})
    assert [[(s.group, s.role, s.num_samples) for s in batch] for batch in found.batches] == [
        [(BASE, "base", 2), (EXPLANATION, "explanation", 1)]
    ]
    assert [asked.text for asked in policy.asked] == [PROMPT, SHOWN]
    assert [item.advantage for item in found.samples] == [0.5, -0.5, 0.5]
    (sample,) = found.of_role("explanation")
    assert sample.context_ids == ids(PROMPT)
    assert sample.token_ids == ids(EXPLAINED)
    assert sample.action_mask == (True,) * 12
    # Log-probabilities of the sampler under the answer: the gap between contexts is reported.
    assert sample.behavior_log_probs == scripted_log_probs(0, 12)
    assert sample.group == EXPLANATION
    assert found.num_sampled_tokens == 8 + 8 + 12


def test_the_explanation_is_not_in_the_group_and_has_no_ratio_and_no_clip():
    method = make(length="sum")
    assert method.loss == method.config.loss
    assert method.role_losses == {
        "explanation": LossConfig(
            surrogate="reinforce",
            aggregation="seq_mean_token_sum",
            importance_weight_cap=None,
            separate_normaliser=True,
            temperature=1.0,
        )
    }
    other = make(likelihood_temperature=None)
    assert other.role_losses["explanation"].temperature is None
    with pytest.raises(ConfigError, match="likelihood_temperature must be above 0 and finite"):
        make(likelihood_temperature=0.0)
    assert make().role_losses["explanation"].aggregation == "seq_mean_token_mean"
    found, _ = run(make(beta=0.25), {PROMPT: [WRONG, WRONG], SHOWN: [EXPLAINED]})
    # All wrong: the group has no signal, though the explanation is right.
    assert [item.advantage for item in found.samples] == [0, 0, 0.25]


@pytest.mark.parametrize(
    "explanation",
    [
        WRONG,
        "no answer$",
        "1\n2\n3\n4\n5\n6\n7\n8\n9\n1\n2\n3\n4\n5\n6\n7\n8\n9\n",
        "as the Answer given\n#### 24$",
        "by THE HINT\n#### 24$",
    ],
    ids=["wrong", "none", "truncated", "betrayed", "betrayed in capitals"],
)
def test_an_explanation_that_fails_the_filter_is_not_trained_but_counted(explanation):
    found, _ = run(make(), {PROMPT: [RIGHT, WRONG], SHOWN: [explanation]})
    assert [item.role for item in found.samples] == ["base", "base"]
    assert found.num_sampled_tokens == 16 + min(30, len(explanation))


@pytest.mark.parametrize(
    ("explanation", "trained", "num_own"),
    [
        # What is right stays as it was sampled, betrayals too.
        ("6*4\n#### 24$", "6*4\n#### 24$", 12),
        ("by THE HINT\n#### 24$", "by THE HINT\n#### 24$", 20),
        ("6*4 is \\boxed{24}$", "6*4 is \\boxed{24}$", 18),
        # The reference answer replaces a wrong answer, or follows a text without one.
        ("6*4\n#### 20$", "6*4\n#### 24$", 4),
        ("6*4 is \\boxed{20}$", "6*4 is \n#### 24$", 7),
        ("the final answer is 20.$", "the final answer is \n#### 24$", 20),
        ("6*4$", "6*4\n#### 24$", 3),
        ("6*4\n\n$", "6*4\n\n#### 24$", 5),
        ("6*4 ###$", "6*4 \n#### 24$", 4),
    ],
)
def test_without_the_filter_the_trained_text_always_ends_in_the_reference_answer(
    explanation, trained, num_own
):
    script = {PROMPT: [RIGHT, WRONG], SHOWN: [explanation]}
    found, _ = run(make(filter_answers=False, beta=0.5), script)
    (sample,) = found.of_role("explanation")
    assert sample.token_ids == ids(trained)
    assert grade(CODEC.decode(sample.token_ids[:-1]), "24").outcome == "correct"
    # Every token is trained, the reference's too; what the policy wrote keeps its numbers.
    assert sample.action_mask == (True,) * len(ids(trained))
    own = scripted_log_probs(0, len(ids(explanation)))[:num_own]
    assert sample.behavior_log_probs == own + (0.0,) * (len(ids(trained)) - num_own)
    assert sample.source == ("policy" if trained == explanation else "reference")
    assert (sample.advantage, sample.context_ids) == (0.5, ids(PROMPT))
    (group,) = [group for group in found.groups if group.key == EXPLANATION]
    assert sample.trajectory_id == group.trajectories[0].trajectory_id


@pytest.mark.parametrize("explanation", [WRONG, "$", "  \n$"], ids=["answer", "end", "blank"])
def test_an_answer_without_any_explanation_is_not_completed(explanation):
    script = {PROMPT: [RIGHT, WRONG], SHOWN: [explanation]}
    found, _ = run(make(filter_answers=False), script)
    assert not found.of_role("explanation")


@pytest.mark.parametrize(("max_tokens", "is_trained"), [(12, True), (11, False), (None, True)])
def test_a_completed_explanation_is_trained_up_to_the_response_budget(max_tokens, is_trained):
    method = make(filter_answers=False)
    method.max_response_tokens = max_tokens
    found, _ = run(method, {PROMPT: [RIGHT, WRONG], SHOWN: ["6*4\n#### 20$"]})
    assert bool(found.of_role("explanation")) is is_trained


def test_the_reference_answer_follows_the_prefix_of_a_start_untrained():
    state = ReasonState(problem=PROBLEM, codec=CODEC).extend(ids("2*3=6\n"), "reference")
    env = toy_env(PROBLEM)
    start = Start(state=state, num_samples=1, learn_from=state, group="g", role="explanation")
    policy = ScriptedPolicy({PROMPT + "2*3=6\n": ["6*4\n#### 20$"]})
    batch = collect([start], env=env, policy=policy, sampling=SamplingConfig(), seed=0)
    rule = ExplanationRule(
        filter_answers=False,
        betrayals=(),
        reference_ids=plain_reference_ids,
        grade_options=GradeOptions(),
        max_tokens=None,
    )
    sample = rule.sample(batch.trajectories[0])
    assert sample.token_ids == ids("2*3=6\n6*4\n#### 24$")
    assert sample.action_mask == (False,) * 6 + (True,) * 12
    assert sample.behavior_log_probs == (0.0,) * 6 + scripted_log_probs(0, 12)[:4] + (0.0,) * 8


def test_an_own_answer_is_replaced_where_and_how_the_template_states_it():
    template = {"base": "ours", "grading": "dapo", "example": "{solution}\nAnswer: {answer}\n\n"}
    env = toy_env(PROBLEM, template=template)
    inner = reason_env_of(env)
    state = inner.initial_state(PROBLEM)
    start = Start(state=state, num_samples=1, learn_from=state, group="g", role="explanation")
    policy = ScriptedPolicy({PROMPT: ["6*4\nAnswer: 20$"]})
    batch = collect([start], env=env, policy=policy, sampling=SamplingConfig(), seed=0)
    rule = ExplanationRule(
        filter_answers=False,
        betrayals=(),
        reference_ids=lambda state: inner.reference_ids(state.problem),
        grade_options=inner.grade_options,
        max_tokens=None,
    )
    assert rule.sample(batch.trajectories[0]).token_ids == ids("6*4\nAnswer: 24$")


def test_expert_solutions_longer_than_a_response_are_left_out_with_a_warning(caplog):
    method = make(explanations="expert")
    method.max_response_tokens = 20  # the solution has 21 tokens
    with pytest.raises(ProblemError, match=r"solution of at most 20 tokens that fits .* none in 1"):
        run(method, {})
    method.max_response_tokens = 21
    found, _ = run(method, {PROMPT: [RIGHT, WRONG]})
    assert len(found.of_role("explanation")[0].token_ids) == 21


def test_betrayal_phrases_are_a_setting():
    script = {PROMPT: [RIGHT, WRONG], SHOWN: ["Somebody SAID\n#### 24$"]}
    assert run(make(), script)[0].of_role("explanation")
    assert not run(make(betrayals=("body said",)), script)[0].of_role("explanation")


def test_expert_explanations_train_on_the_reference_solution():
    found, policy = run(make(explanations="expert", beta=0.5), {PROMPT: [RIGHT, WRONG]})
    assert [asked.text for asked in policy.asked] == [PROMPT]
    (sample,) = found.of_role("explanation")
    assert sample.context_ids == ids(PROMPT)
    assert sample.token_ids == ids("2*3=6\n6*4=24\n#### 24$")
    assert sample.action_mask == (True,) * len(sample.token_ids)
    assert sample.behavior_log_probs == (0.0,) * len(sample.token_ids)
    assert sample.advantage == 0.5
    assert sample.group == EXPLANATION


def test_expert_explanations_skip_problems_without_a_solution_with_a_warning(caplog):
    both = ("toy/train/0", "toy/train/1")
    with caplog.at_level(logging.WARNING):
        found, _ = run(make(explanations="expert"), {PROMPT: [RIGHT, WRONG]}, problems=both)
    assert caplog.messages == [
        "ExPO with explanations 'expert' leaves out 1 of 2 problems without a reference solution: "
        "toy/train/1"
    ]
    assert {item.group for item in found.samples} == {BASE, EXPLANATION}
    with pytest.raises(ProblemError, match="reference solution, got none in 1; give a `solution`"):
        run(make(explanations="expert"), {}, problems=("toy/train/1",))


def test_a_self_explanation_needs_no_reference_solution():
    script = {
        "1+1=?\n>": ["#### 2$", "#### 3$"],
        "1+1=?\nAnswer: 2\n>": ["#### 2$"],
    }
    found, _ = run(make(), script, problems=("toy/train/1",))
    assert len(found.of_role("explanation")) == 1


def test_an_explanation_is_sampled_again_in_every_iteration():
    method = make(beta=0.5)
    for explanation in (EXPLAINED, RIGHT):
        found, policy = run(method, {PROMPT: [RIGHT, WRONG], SHOWN: [explanation]})
        assert [asked.text for asked in policy.asked] == [PROMPT, SHOWN]
        assert found.of_role("explanation")[0].token_ids == ids(explanation)
    assert method.state_dict() == {"iterations": 2, "known": {}}


def test_refresh_once_reuses_an_accepted_explanation_without_sampling():
    method = make(refresh="once", beta=0.5)
    first, _ = run(method, {PROMPT: [RIGHT, WRONG], SHOWN: [EXPLAINED]})
    second, policy = run(method, {PROMPT: [WRONG, WRONG]})
    assert [asked.text for asked in policy.asked] == [PROMPT]
    assert second.of_role("explanation") == first.of_role("explanation")
    assert len(second.of_role("explanation")) == 1


def test_refresh_once_samples_again_after_a_failed_explanation():
    method = make(refresh="once")
    run(method, {PROMPT: [RIGHT, WRONG], SHOWN: [WRONG]})
    assert method.known == {}
    found, _ = run(method, {PROMPT: [RIGHT, WRONG], SHOWN: [EXPLAINED]})
    assert len(found.of_role("explanation")) == 1


def test_a_problem_that_occurs_twice_in_an_iteration_has_two_explanations():
    twice = ("toy/train/0", "toy/train/0")
    method = make(refresh="once")
    script = {PROMPT: [RIGHT, WRONG] * 2, SHOWN: [EXPLAINED, RIGHT]}
    found, _ = run(method, script, problems=twice)
    assert [item.token_ids for item in found.of_role("explanation")] == [ids(EXPLAINED), ids(RIGHT)]
    found, _ = run(method, {PROMPT: [RIGHT, WRONG] * 2}, problems=twice)
    assert [item.token_ids for item in found.of_role("explanation")] == [ids(RIGHT), ids(RIGHT)]


def test_kept_explanations_survive_json():
    method = make(refresh="once", beta=0.5, beta_iterations=4)
    run(method, {PROMPT: [RIGHT, WRONG], SHOWN: [EXPLAINED]})
    again = make(refresh="once", beta=0.5, beta_iterations=4)
    again.load_state_dict(json.loads(json.dumps(method.state_dict())))
    assert again.state_dict() == method.state_dict()
    script = {PROMPT: [RIGHT, WRONG]}
    (one, _), (other, _) = run(method, script), run(again, script)
    assert one.samples == other.samples
    assert one.of_role("explanation")[0].advantage == 0.5 * 0.75
    assert one.of_role("explanation")[0].behavior_log_probs == scripted_log_probs(0, 12)


@pytest.mark.parametrize(
    ("explanations", "contexts"), [("self", [2, 2, 1, 1]), ("expert", [1, 1, 1, 1])]
)
def test_beta_decays_linearly_to_zero_and_then_no_explanation_is_sampled(explanations, contexts):
    method = make(beta=0.5, beta_iterations=2, explanations=explanations)
    weights, asked = [], []
    for _ in range(4):
        found, policy = run(method, {PROMPT: [RIGHT, WRONG], SHOWN: [EXPLAINED]})
        weights.append([item.advantage for item in found.of_role("explanation")])
        asked.append(len(policy.asked))
    assert weights == [[0.5], [0.25], [], []]
    assert asked == contexts


def test_beta_is_constant_without_a_schedule_and_zero_gives_grpo():
    method = make(beta=0.3)
    for _ in range(3):
        run(method, {PROMPT: [RIGHT, WRONG], SHOWN: [EXPLAINED]})
        assert method.beta == 0.3
    found, policy = run(make(beta=0.0), {PROMPT: [RIGHT, WRONG]})
    assert [item.role for item in found.samples] == ["base", "base"]
    assert len(policy.asked) == 1
    found, _ = run(make(beta=0.0, explanations="expert"), {PROMPT: [RIGHT, WRONG]})
    assert [item.role for item in found.samples] == ["base", "base"]


def test_the_paper_s_numbers_are_the_defaults():
    config = ExPOConfig()
    assert (config.beta, config.beta_iterations) == (0.04, None)
    assert (config.explanations, config.refresh, config.length, config.filter_answers) == (
        "self",
        "every_iteration",
        "token_mean",
        True,
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"group_size": 1}, "group_size must be at least 2, got 1"),
        ({"beta": -0.1}, "beta must be finite and at least 0, got -0.1"),
        ({"beta": float("inf")}, "beta must be finite and at least 0, got inf"),
        ({"beta_iterations": 0}, "beta_iterations must be at least 1, got 0"),
        ({"explanations": "own"}, "explanations must be one of self, expert, got 'own'"),
        ({"refresh": "never"}, "refresh must be one of every_iteration, once, got 'never'"),
        ({"length": "mean"}, "length must be one of token_mean, sum, got 'mean'"),
    ],
)
def test_numbers_and_names_out_of_range_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        ExPOConfig(**changes)


def test_a_run_that_was_killed_resumes_to_the_same_bits_with_its_explanations(cut_and_resumed):
    config = TrainConfig(
        method=ExPOConfig(group_size=2, refresh="once", beta_iterations=5),
        env=EnvConfig(levels=(3, 4), size=4, max_tokens=64),
        eval=EvalConfig(num_problems=2, samples=1, k=1, greedy=False),
        checkpoint=CheckpointConfig(every=1),
        learner=LearnerConfig(learning_rate=2e-4),
        iterations=2,
        problems_per_iteration=4,
        episodes_per_iteration=0,
    )

    def remembers(whole, again):
        assert again.method.state_dict()["iterations"] == 1

    whole, again, rows = cut_and_resumed(config, remembers)
    known = whole.method.state_dict()["known"]
    assert known
    assert again.method.state_dict()["known"] == known
    # What is known is not sampled again; the update is reported by role.
    assert rows[1]["rollout/num_trajectories/explanation"] == 4
    assert rows[2].get("rollout/num_trajectories/explanation", 0) < 4
    for name in ("tokens", "effective_sample_fraction", "chi_square", "kl_old_policy"):
        for role in ("base", "explanation"):
            assert np.isfinite(rows[2][f"update/{name}/{role}"])
